/**
 * Context: which trace a request belongs to, as W3C Trace Context writes it into heads.
 *
 * A header that is not exactly what the specification says is taken for none: whoever followed half of it would join
 * requests that have nothing to do with each other. Of versions to come the part that is known is read, and what is
 * written is the known version (W3C Trace Context 3.2, 4.3).
 *
 * Pure.
 */

import { valuesOf, type HeaderFields } from "../http/headers.ts";

/** Where in a trace a request stands. */
export interface TraceContext {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** The span that the request came from: 16 hexadecimal digits, not all zero. */
  readonly parentId: string;
  readonly flags: number;
}

/** Whoever sent it records this trace (W3C Trace Context 3.2.2.5.1). */
export const SAMPLED = 0x01;
/** The trace's id is random enough to be sampled by (Level 2, 3.2.2.5.2). */
export const RANDOM = 0x02;
/** What is passed on of the flags; others mean something that is not known here, and have to be zero. */
const KNOWN_FLAGS = SAMPLED | RANDOM;

const VERSION_0 = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
/** Any other version but ff, which is none: more may follow, behind a dash. */
const LATER = /^(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const ZEROS = /^0+$/;

/** The context that a head tells of; null for none, for several, and for one that is not well formed. */
export function contextIn(rawHeaders: readonly string[]): TraceContext | null {
  const [value, ...others] = valuesOf(rawHeaders, "traceparent");
  if (value === undefined || others.length > 0) return null;
  const text = value.trim();
  const [, traceId = "", parentId = "", flags = ""] = VERSION_0.exec(text) ?? LATER.exec(text) ?? [];
  if (traceId === "" || ZEROS.test(traceId) || ZEROS.test(parentId)) return null;
  return { traceId, parentId, flags: Number.parseInt(flags, 16) & KNOWN_FLAGS };
}

/** The header's value; version 00. */
export function renderContext({ traceId, parentId, flags }: TraceContext): string {
  return `00-${traceId}-${parentId}-${(flags & KNOWN_FLAGS).toString(16).padStart(2, "0")}`;
}

/**
 * The fields of a request, with this context in place of whatever they told.
 *
 * @param startsTrace  what systems noted of another trace in `tracestate` is then left out (3.3.1.1)
 */
export function withContext(
  fields: HeaderFields,
  context: TraceContext,
  startsTrace: boolean,
): Map<string, readonly string[]> {
  const kept = new Map<string, readonly string[]>();
  for (const [name, values] of fields) {
    const lower = name.toLowerCase();
    if (lower === "traceparent" || (startsTrace && lower === "tracestate")) continue;
    kept.set(name, values);
  }
  return kept.set("traceparent", [renderContext(context)]);
}
