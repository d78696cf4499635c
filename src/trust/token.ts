/**
 * Token: the words that let a host into a cluster.
 *
 * `SKTKN-1-<digest>-<secret>`: the digest of an authority's certificate, so that the joiner knows whom it speaks to
 * before it says the secret; and the secret, which says as what it may come. Both are numbers in base36 of fixed width,
 * so that a token is one word to a double click, a shell and a URL.
 *
 * No secret is stored anywhere. It is made from the authority's private key, the role and a generation, so whoever has
 * the key can print and check it, and a rotation is a generation more: what came before is good no longer. A failure's
 * text never repeats what was given: a mistyped token is nearly a token.
 *
 * Pure.
 */

import { createHmac, timingSafeEqual } from "node:crypto";

import { failed, success, type Result } from "../base/failure.ts";
import type { Role } from "../model/credential.ts";

/** What a token says. */
export interface Token {
  /** SHA-256 of the authority's certificate, in hexadecimal digits: a root's fingerprint. */
  readonly fingerprint: string;
  /** 25 digits of base36: 128 bits. */
  readonly secret: string;
}

const PREFIX = "SKTKN-1-";
const DIGEST_BYTES = 32;
const DIGEST_CHARACTERS = 50;
const SECRET_BYTES = 16;
const SECRET_CHARACTERS = 25;
const SHAPE = /^SKTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/;

/** The token as people pass it on. */
export function renderToken({ fingerprint, secret }: Token): string {
  return `${PREFIX}${base36(Buffer.from(fingerprint, "hex"), DIGEST_CHARACTERS)}-${secret}`;
}

/**
 * Parses a token; space around it is not looked at, as files and terminals add some.
 *
 * @returns a failure whose text repeats nothing of what was given
 */
export function parseToken(text: string): Result<Token> {
  const trimmed = text.trim();
  const match = SHAPE.exec(trimmed);
  const digest = match === null ? null : unbase36(match[1] ?? "", DIGEST_BYTES);
  const secret = match === null ? null : unbase36(match[2] ?? "", SECRET_BYTES);
  if (digest !== null && secret !== null) {
    return success({ fingerprint: Buffer.from(digest).toString("hex"), secret: match?.[2] ?? "" });
  }
  const shape = `${PREFIX}, ${DIGEST_CHARACTERS} and ${SECRET_CHARACTERS} lower-case characters, "-" between`;
  return failed("usage", `join token is malformed (${trimmed.length} characters); expected ${shape}`);
}

/**
 * The secret of a token.
 *
 * @param authorityKey  the private number of the authority: 32 bytes
 * @param generation  from 1; one more makes another secret
 */
export function secretOf(authorityKey: Uint8Array, role: Role, generation: number): string {
  const text = `skein join token\0${role}\0${generation}`;
  const hash = createHmac("sha256", authorityKey).update(text).digest();
  return base36(hash.subarray(0, SECRET_BYTES), SECRET_CHARACTERS);
}

/** Whether two secrets are one, in a time that does not tell where they differ. */
export function isSameSecret(one: string, other: string): boolean {
  const [oneBytes, otherBytes] = [Buffer.from(one), Buffer.from(other)];
  return oneBytes.length === otherBytes.length && timingSafeEqual(oneBytes, otherBytes);
}

function base36(bytes: Uint8Array, characters: number): string {
  return BigInt(`0x${Buffer.from(bytes).toString("hex")}`)
    .toString(36)
    .padStart(characters, "0");
}

/** Null when the number does not fit: each value has one text. */
function unbase36(text: string, sizeBytes: number): Uint8Array | null {
  let value = 0n;
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  const hex = value.toString(16).padStart(sizeBytes * 2, "0");
  return hex.length > sizeBytes * 2 ? null : Buffer.from(hex, "hex");
}
