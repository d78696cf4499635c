/**
 * Bytes: hashing and rendering of bytes, the same on every host.
 *
 * Claims (VIPs, subnets) and digests rest on hosts computing equal numbers from equal text, so the hash is a standard
 * one (SHA-256, FIPS 180-4) and the encodings are spelled out here.
 *
 * Pure.
 */

import { createHash, hash } from "node:crypto";

/** The digits of base32: `a` to `z` are 0 to 25, `2` to `7` are 26 to 31. */
const LOWER_A = 97;
const DIGIT_2 = 50;

/** SHA-256 of text (as UTF-8) or bytes: 32 bytes. */
export function sha256(input: string | Uint8Array): Uint8Array {
  return createHash("sha256").update(input).digest();
}

/** SHA-256 of text (as UTF-8) or bytes, in 64 hexadecimal digits. */
export function sha256Hex(input: string | Uint8Array): string {
  return hash("sha256", input, "hex");
}

/** SHAKE128 (FIPS 202) of text (as UTF-8) or bytes: as many bytes as are asked for, each fewer the begin of more. */
export function shake128(input: string | Uint8Array, sizeBytes: number): Uint8Array {
  return hash("shake128", input, { outputEncoding: "buffer", outputLength: sizeBytes });
}

/** The first 48 bits of SHA-256 as a whole number: exact in a double, even enough for a choice out of 2^32. */
export function hash48(text: string): number {
  return createHash("sha256").update(text).digest().readUIntBE(0, 6);
}

/**
 * RFC 4648 base32, lower case, without padding, of `bytes` from `at` on.
 *
 * @param characters  how many to render; as many as tell all the bytes when left out. Fewer may end within a byte.
 */
export function base32(
  bytes: Uint8Array,
  at = 0,
  characters = Math.ceil(((bytes.length - at) * 8) / 5),
): string {
  // Not by adding characters to a string: that leaves a chain of pieces, which costs more where it is used as a key.
  const text = Buffer.allocUnsafe(characters);
  let next = at;
  let held = 0;
  let heldBits = 0;
  for (let index = 0; index < characters; index += 1) {
    if (heldBits < 5) {
      held = ((held & 31) << 8) | (bytes[next] ?? 0);
      heldBits += 8;
      next += 1;
    }
    heldBits -= 5;
    const digit = (held >>> heldBits) & 31;
    text[index] = digit < 26 ? digit + LOWER_A : digit - 26 + DIGIT_2;
  }
  return text.toString("latin1");
}

/**
 * Writes what base32 text stands for into `bytes` from `at` on: 5 bits a character, the last byte filled up with zeros.
 *
 * @returns false when a character is none of lower-case base32 or the bytes do not suffice; some may be written then
 */
export function unbase32(text: string, bytes: Uint8Array, at = 0): boolean {
  if (at + Math.ceil((text.length * 5) / 8) > bytes.length) return false;
  let next = at;
  let held = 0;
  let heldBits = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    const digit = code >= LOWER_A ? code - LOWER_A : code - DIGIT_2 + 26;
    if (digit > 31 || (code >= LOWER_A ? digit > 25 : digit < 26)) return false;
    held = ((held & 255) << 5) | digit;
    heldBits += 5;
    if (heldBits < 8) continue;
    heldBits -= 8;
    bytes[next] = held >>> heldBits;
    next += 1;
  }
  if (heldBits > 0) bytes[next] = held << (8 - heldBits);
  return true;
}
