/**
 * Query: what a client asks, once its bytes are understood.
 *
 * A file of its own because both the reader of queries (packet.ts) and the writer of answers (encode.ts) need it, and
 * the reader writes answers to what it refuses.
 *
 * Pure.
 */

import type { Question } from "./names/answer.ts";

/** The header of every message (RFC 1035 4.1.1). */
export const HEADER_BYTES = 12;

/** The client's OPT (RFC 6891 6.1). */
export interface Edns {
  readonly payloadBytes: number;
  readonly dnssecOk: boolean;
}

/** One understood query. */
export interface Query {
  readonly id: number;
  readonly recursionDesired: boolean;
  readonly checkingDisabled: boolean;
  readonly question: Question;
  /** The question section as it was sent; a view into the query's bytes. */
  readonly questionBytes: Buffer;
  readonly edns: Edns | null;
}
