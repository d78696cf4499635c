/**
 * Answers: the forms in which the admin API answers, and how long it works at one.
 *
 * Whatever is told, a value or a problem (RFC 9457), goes out under the same headers: no answer may be framed, kept,
 * guessed at or read by another site; and each tells that it is of this API.
 *
 * Touches: timers of the deadlines.
 */

import { Failure, type Result } from "../base/failure.ts";

import { API_HEADER, API_VERSION, problemOf, type Problem } from "./contract.ts";

/** What goes out; a `stream` has begun by itself, and somebody else writes it on. */
export type Answer =
  | {
      readonly kind: "whole";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string | Uint8Array;
    }
  | { readonly kind: "stream" };

/** On every answer. */
export const HEADERS = {
  [API_HEADER]: API_VERSION,
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "x-content-type-options": "nosniff",
};

const ROOM_AFTER_SECONDS = 5;

/** A value as JSON. */
export function json(value: unknown, status = 200): Answer & { kind: "whole" } {
  const headers = { ...HEADERS, "content-type": "application/json" };
  return { kind: "whole", status, headers, body: `${JSON.stringify(value)}\n` };
}

/** Text of a media type. */
export function text(body: string, type: string): Answer {
  return { kind: "whole", status: 200, headers: { ...HEADERS, "content-type": type }, body };
}

/** A problem. `more`: further headers. */
export function problem(
  told: Problem,
  more: Readonly<Record<string, string>> = {},
): Answer & { kind: "whole" } {
  const headers = { ...HEADERS, ...more, "content-type": "application/problem+json" };
  return { kind: "whole", status: told.status, headers, body: `${JSON.stringify(told)}\n` };
}

/** A stream has as many readers as it may. It is no fault of who asks, and it passes: so it says when to ask again. */
export class Full extends Failure {
  constructor(text: string) {
    super("busy", `${text}; expected fewer: ask again in ${ROOM_AFTER_SECONDS} s, or end one`);
  }

  /** The answer to it. */
  answer(): Answer {
    const more = { "retry-after": String(ROOM_AFTER_SECONDS) };
    return problem(problemOf(this.code, this.message, 503), more);
  }
}

/** The value of a result; throws its failure. */
export function valueOf<T>(result: Result<T>): T {
  if (!result.ok) throw result.failure;
  return result.value;
}

/** What `promise` brings, or Failure `timeout` when `deadlineMs` pass first; its late end is then ignored. */
export async function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  const { promise: deadline, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new Failure("timeout", `${what} took more than ${deadlineMs} ms; expected an answer by then`));
  }, deadlineMs);
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
