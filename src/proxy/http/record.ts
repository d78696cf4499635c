/**
 * Record: one HTTP request or WebSocket as the access log and traces tell of it.
 *
 * An exchange counts as it goes, in plain fields, and only an access log that wants entries, or a trace that records
 * the request, makes it put them together.
 *
 * Pure.
 */

import type { AccessEntry, AccessLog } from "../access/entry.ts";
import type { Meter } from "../choice/active.ts";
import type { Asker } from "../choice/attempts.ts";
import type { AttemptEnd } from "../choice/retry.ts";
import type { Upstream } from "../routes.ts";
import type { RequestTrace } from "../trace/span.ts";

import { valuesOf } from "./headers.ts";
import type { RequestHead } from "./refusal.ts";

/** What is known of a request when it has come. */
export interface RequestFacts {
  readonly head: RequestHead;
  readonly startedAtMs: number;
  readonly requestId: string;
  /** Who called, as told by a trusted proxy where there was one. */
  readonly client: string;
  readonly proto: "http" | "https";
  /** What traces have to do with it; null when nothing. */
  readonly trace: RequestTrace | null;
}

/** What became of it. */
export interface Course {
  readonly endedAtMs: number;
  readonly service: string | null;
  readonly upstream: Upstream | null;
  readonly retries: readonly AttemptEnd[];
  /** 0 when the client got no head. */
  readonly status: number;
  /** When the answer's head came; null without one. */
  readonly answeredAtMs: number | null;
  /** From the client's point of view. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly result: string;
}

/** What nginx made common for a request whose client left before an answer; never sent. */
export const CLIENT_LEFT = "499";

/**
 * A status as metrics have it. An upstream may send any of 900; those that nobody registered are told by their class,
 * so that no application makes series without end.
 */
export function codeLabel(status: number): string {
  const text = String(status);
  return REGISTERED.has(text) ? text : `${text.charAt(0)}xx`;
}

/** IANA's registry of HTTP status codes, 2025; 499 is ours. */
const REGISTERED: ReadonlySet<string> = new Set(
  [
    "100 101 102 103 104 200 201 202 203 204 205 206 207 208 226 300 301 302 303 304 305 307 308 400 401 402 403",
    "404 405 406 407 408 409 410 411 412 413 414 415 416 417 421 422 423 424 425 426 428 429 431 451 499",
    "500 501 502 503 504 505 506 507 508 511",
  ].flatMap((line) => line.split(" ")),
);

/** Who makes attempts for a request. @param meter  tells of the bytes of bodies */
export function askerOf({ client, trace }: RequestFacts, gone: () => void, meter: Meter): Asker {
  return { client, gone, trace, meter, counts: "requests" };
}

/** True when somebody wants to know what became of a request. */
export function isTold({ access }: { readonly access: AccessLog }, { trace }: RequestFacts): boolean {
  return access.isOn || trace?.isRecorded === true;
}

/** Tells what became of it. */
export function tell(
  { access }: { readonly access: AccessLog },
  entry: AccessEntry,
  { trace }: RequestFacts,
): void {
  if (access.isOn) access.append(entry);
  trace?.over(entry);
}

/** A course of which no upstream was part. */
export const UNTRIED = {
  service: null,
  upstream: null,
  retries: [],
  answeredAtMs: null,
  bytesSent: 0,
  bytesReceived: 0,
} as const;

/** The entry of a request that is over. */
export function entryOf(
  kind: "http" | "websocket",
  { head, startedAtMs, requestId, client, proto }: RequestFacts,
  course: Course,
): AccessEntry {
  const { upstream, status, answeredAtMs, endedAtMs } = course;
  const { method, target, httpVersion: version, rawHeaders } = head;
  const first = (name: string): string => valuesOf(rawHeaders, name)[0] ?? "";
  const [host, userAgent, referer] = [first("host"), first("user-agent"), first("referer")];
  const firstByteMs = answeredAtMs === null ? null : answeredAtMs - startedAtMs;
  return {
    kind,
    startedAtMs,
    durationMs: endedAtMs - startedAtMs,
    client,
    service: course.service,
    replica: upstream?.replica ?? null,
    node: upstream?.nodeName ?? null,
    bytesSent: course.bytesSent,
    bytesReceived: course.bytesReceived,
    retries: course.retries,
    result: course.result,
    http: { requestId, method, host, target, version, proto, status, firstByteMs, userAgent, referer },
  };
}
