/**
 * Span: one request of a client as a trace tells of it, and each try to have it answered.
 *
 * The proxy tells as it goes: an upstream was chosen, it failed, it answered. Of that come a span of the request and
 * one below it for each attempt, so that a retry is seen with what it cost and why it was made. A request that is not
 * recorded costs nothing but its headers.
 *
 * Pure. tracing.ts decides who is recorded, otlp.ts writes it down.
 */

import { LIMITS } from "../../model/limits.ts";

import type { AccessEntry } from "../access/entry.ts";
import type { HeaderFields } from "../http/headers.ts";
import type { Upstream } from "../routes.ts";

import { withContext, type TraceContext } from "./context.ts";

/** One attempt. */
export interface AttemptSpan {
  readonly spanId: string;
  readonly upstream: Upstream;
  readonly startedAtMs: number;
  /** 0 without an answer. */
  readonly status: number;
  /** Why it failed, in one word of a closed set; null while it did not. */
  readonly error: string | null;
  /** Null while it lasts. */
  readonly endedAtMs: number | null;
}

/** A request that is over, and all that was tried for it. */
export interface RequestSpan {
  readonly traceId: string;
  /** The caller's span; null for the first of a trace. */
  readonly parentId: string | null;
  readonly spanId: string;
  readonly flags: number;
  readonly attempts: readonly AttemptSpan[];
  readonly entry: AccessEntry;
}

/** What traces have to do with one request. All of it may be told at any time, and more than once. */
export interface RequestTrace {
  /** True when `over` is to be told what became of it. */
  readonly isRecorded: boolean;
  /** The fields to send upstream, for the attempt that began last. */
  outgoing(fields: HeaderFields): HeaderFields;
  began(upstream: Upstream, atMs: number): void;
  answered(status: number, atMs: number): void;
  /** The attempt has failed, before an answer or in the middle of one. */
  failed(error: string, atMs: number): void;
  over(entry: AccessEntry): void;
}

/** What a recorded request is made of. */
export interface RecordedParts {
  readonly context: Omit<TraceContext, "parentId"> & { readonly parentId: string | null };
  readonly newSpanId: () => string;
  readonly finish: (span: RequestSpan) => void;
}

/** Records one request. */
export function recordRequest(parts: RecordedParts): RequestTrace {
  return new Recorded(parts);
}

/** Says of a request that nobody records it: whoever comes behind is not to begin a trace of its own in the middle. */
export function declineRequest(context: TraceContext): RequestTrace {
  return { ...NOTHING_TOLD, outgoing: (fields) => withContext(fields, context, true) };
}

const nothing = (): void => undefined;
const NOTHING_TOLD = {
  isRecorded: false,
  began: nothing,
  answered: nothing,
  failed: nothing,
  over: nothing,
};

type Attempt = { -readonly [K in keyof AttemptSpan]: AttemptSpan[K] };

class Recorded implements RequestTrace {
  readonly isRecorded = true;
  readonly #parts: RecordedParts;
  readonly #spanId: string;
  readonly #attempts: Attempt[] = [];
  #current: Attempt | null = null;
  #isOver = false;

  constructor(parts: RecordedParts) {
    this.#parts = parts;
    this.#spanId = parts.newSpanId();
  }

  outgoing(fields: HeaderFields): HeaderFields {
    const { traceId, flags, parentId } = this.#parts.context;
    const spanId = this.#current?.spanId ?? this.#spanId;
    return withContext(fields, { traceId, parentId: spanId, flags }, parentId === null);
  }

  began(upstream: Upstream, atMs: number): void {
    const spanId = this.#parts.newSpanId();
    this.#current = { spanId, upstream, startedAtMs: atMs, status: 0, error: null, endedAtMs: null };
    if (this.#attempts.length < LIMITS.spansPerRequest) this.#attempts.push(this.#current);
  }

  answered(status: number): void {
    if (this.#current !== null) this.#current.status = status;
  }

  failed(error: string, atMs: number): void {
    const attempt = this.#current;
    if (attempt === null || attempt.endedAtMs !== null) return;
    attempt.error = error;
    attempt.endedAtMs = atMs;
  }

  over(entry: AccessEntry): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { context, finish } = this.#parts;
    const { traceId, parentId, flags } = context;
    finish({ traceId, parentId, spanId: this.#spanId, flags, attempts: this.#attempts, entry });
  }
}
