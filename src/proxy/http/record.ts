/**
 * Record: one HTTP request or WebSocket as the access log tells of it.
 *
 * An exchange counts as it goes, in plain fields, and only an access log that wants entries makes it put them together.
 *
 * Pure.
 */

import type { AccessEntry } from "../access/entry.ts";
import type { AttemptEnd } from "../choice/retry.ts";
import type { Upstream } from "../routes.ts";

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
