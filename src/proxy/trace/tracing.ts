/**
 * Tracing: which requests are recorded as spans.
 *
 * Where spans go nowhere, heads pass as they came: a proxy that does not take part in a trace leaves it to those who
 * do. Where they go somewhere, the caller's word counts: a trace that it records is recorded here too, one that it does
 * not is none of ours, and passes untouched. Only requests that come without a trace are chosen among, by a share; all
 * of those get a trace, so that whoever comes behind chooses as was chosen here.
 *
 * Pure: chance and ids are handed in.
 */

import type { Random } from "../../base/random.ts";

import { contextIn, RANDOM, SAMPLED } from "./context.ts";
import { declineRequest, recordRequest, type RequestSpan, type RequestTrace } from "./span.ts";

/** Takes part in traces, or does not. */
export interface Tracing {
  /** What traces have to do with a request; null when nothing: then its head passes as it came. */
  begin(rawHeaders: readonly string[]): RequestTrace | null;
}

/** Takes part in none. */
export const NO_TRACING: Tracing = { begin: () => null };

/** What requests without a trace are recorded by: a share of 0 to 1, or `parent` to begin none. */
export type Sample = "parent" | number;

/** What it needs. */
export interface TracingParts {
  readonly sample: Sample;
  readonly random: Random;
  /** So many random bytes in hexadecimal; not all zero. */
  readonly newId: (sizeBytes: number) => string;
  /** Takes a request that is over; never throws, never blocks. */
  readonly finish: (span: RequestSpan) => void;
}

const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;

/** Takes part in traces by these rules. */
export function openTracing({ sample, random, newId, finish }: TracingParts): Tracing {
  const newSpanId = (): string => newId(SPAN_ID_BYTES);
  return {
    begin(rawHeaders) {
      const given = contextIn(rawHeaders);
      if (given !== null) {
        const isRecorded = (given.flags & SAMPLED) !== 0;
        return isRecorded ? recordRequest({ context: given, newSpanId, finish }) : null;
      }
      if (sample === "parent") return null;
      const traceId = newId(TRACE_ID_BYTES);
      if (random() >= sample) return declineRequest({ traceId, parentId: newSpanId(), flags: RANDOM });
      const context = { traceId, parentId: null, flags: SAMPLED | RANDOM };
      return recordRequest({ context, newSpanId, finish });
    },
  };
}
