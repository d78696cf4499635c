/**
 * Answers: the forms in which the admin API answers, and how long it works at one.
 *
 * Whatever is told, a value or a problem (RFC 9457), goes out under the same headers: no answer may be framed, kept,
 * guessed at or read by another site.
 *
 * Touches: responses; timers of the deadlines.
 */

import { Failure, type Result } from "../base/failure.ts";

import type { Problem } from "./contract.ts";

/** On every answer. */
export const HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "x-content-type-options": "nosniff",
};

/** A value as JSON. */
export function json(value: unknown, status = 200): Response {
  const headers = { ...HEADERS, "content-type": "application/json" };
  return new Response(`${JSON.stringify(value)}\n`, { status, headers });
}

/** Text of a media type. */
export function text(body: string, type: string): Response {
  return new Response(body, { headers: { ...HEADERS, "content-type": type } });
}

/** A problem. `more`: further headers. */
export function problem(told: Problem, more: Readonly<Record<string, string>> = {}): Response {
  const headers = { ...HEADERS, ...more, "content-type": "application/problem+json" };
  return new Response(`${JSON.stringify(told)}\n`, { status: told.status, headers });
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
