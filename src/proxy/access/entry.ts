/**
 * Entry: what is logged of one request, connection or flow, once it is over.
 *
 * One shape for all of them: who came, where it led, how much passed, how long it took, and why it was tried more than
 * once. The parts of the proxy that carry traffic make entries and hand them over; what becomes of them (all, some or
 * none; JSON or a line) is decided behind `AccessLog`.
 *
 * Pure. Types only.
 */

import type { AttemptEnd } from "../choice/retry.ts";

/** One line of the access log. */
export interface AccessEntry {
  /** `tls`: a TLS connection that passed unopened. */
  readonly kind: "http" | "websocket" | "tcp" | "tls" | "udp";
  /** When it began, Unix milliseconds. */
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** Who called, as told by a trusted proxy where there was one; without `::ffff:`. */
  readonly client: string;
  /** `<network>/<service>`; null where no route led anywhere. */
  readonly service: string | null;
  /** The replica that answered or was tried last, and its host; null when none was tried. */
  readonly replica: string | null;
  readonly node: string | null;
  /** Body bytes of a request and an answer; all bytes of a connection or flow. From the client's point of view. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Why each further attempt was made, in order. */
  readonly retries: readonly AttemptEnd[];
  /** `ok`, or in a few words what ended it: `client left`, `no replica`, `upstream reset`. */
  readonly result: string;
  readonly http: HttpFacts | null;
}

/** What only requests have. */
export interface HttpFacts {
  readonly requestId: string;
  readonly method: string;
  readonly host: string;
  /** The request target; its query is left to the log to drop. */
  readonly target: string;
  /** `1.0`, `1.1` or `2.0`. */
  readonly version: string;
  readonly proto: "http" | "https";
  /** 0 when the client left before an answer. */
  readonly status: number;
  /** From the request's head to the answer's; null without one. */
  readonly firstByteMs: number | null;
  readonly userAgent: string;
  readonly referer: string;
}

/** Takes entries. Never throws, never blocks: what it has no room for it drops and counts. */
export interface AccessLog {
  /** False when it wants none at all: then nobody needs to make entries. */
  readonly isOn: boolean;
  append(entry: AccessEntry): void;
}

/** Wants nothing. */
export const NO_ACCESS_LOG: AccessLog = { isOn: false, append: () => undefined };
