/**
 * Bytes: hashing and rendering of bytes, the same on every host.
 *
 * Claims (VIPs, subnets) and digests rest on hosts computing equal numbers from equal text, so the hash is a standard
 * one (SHA-256, FIPS 180-4) and the encodings are spelled out here.
 *
 * Pure.
 */

import { createHash } from "node:crypto";

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

/** SHA-256 of text (as UTF-8) or bytes: 32 bytes. */
export function sha256(input: string | Uint8Array): Uint8Array {
  return createHash("sha256").update(input).digest();
}

/** The first 48 bits of SHA-256 as a whole number: exact in a double, even enough for a choice out of 2^32. */
export function hash48(text: string): number {
  return createHash("sha256").update(text).digest().readUIntBE(0, 6);
}

/** RFC 4648 base32, lower case, without padding. */
export function base32(bytes: Uint8Array): string {
  let text = "";
  let held = 0;
  let heldBits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    heldBits += 8;
    while (heldBits >= 5) {
      heldBits -= 5;
      text += BASE32.charAt((held >>> heldBits) & 31);
    }
    held &= (1 << heldBits) - 1;
  }
  return heldBits === 0 ? text : text + BASE32.charAt((held << (5 - heldBits)) & 31);
}
