/**
 * Request id: the word by which one request is found in the logs of all it passed through.
 *
 * A trusted proxy's is kept, since its log and ours then speak of the same; a stranger's is not, or anybody could make
 * two requests look like one. It goes upstream, into the access log, and to a client that gets an error.
 *
 * Pure. For finding a log line, not for secrecy.
 */

import type { Random } from "../../base/random.ts";

import { valuesOf } from "./headers.ts";

/** None of them is mistaken for another. */
const LETTERS = "0123456789abcdefghjkmnpqrstvwxyz";
const HALF_LENGTH = 6;

/** A new request id: twelve letters. */
export function newRequestId(random: Random): string {
  return half(random) + half(random);
}

/** Six letters of five bits each: what one random number holds. */
function half(random: Random): string {
  let bits = Math.floor(random() * 32 ** HALF_LENGTH);
  let text = "";
  for (let count = 0; count < HALF_LENGTH; count += 1) {
    text += LETTERS.charAt(bits & 31);
    bits >>>= 5;
  }
  return text;
}

/** What X-Request-Id may be, to be kept: those of nginx, Envoy, AWS and W3C traces are. */
const SANE = /^[\w.:@=+/-]{1,128}$/;

/** The id of a request: the one it came with when a trusted proxy sent it and it is sane, a new one else. */
export function requestIdOf(rawHeaders: readonly string[], isTrusted: boolean, random: Random): string {
  if (!isTrusted) return newRequestId(random);
  const [given, ...others] = valuesOf(rawHeaders, "x-request-id");
  return given !== undefined && others.length === 0 && SANE.test(given) ? given : newRequestId(random);
}
