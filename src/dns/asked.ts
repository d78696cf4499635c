/**
 * Asked: what an upstream's answer to a query depends on.
 *
 * Two clients may share an answer only if nothing in their queries could have changed it: the name without its case,
 * type, class, the flags (RD, CD, AD), and the EDNS part. A query with EDNS options is never served from memory: a
 * cookie is its sender's alone, a client subnet (RFC 7871 7.3) makes the answer one for that subnet, and of what is
 * yet to be invented nobody knows. While such a query is under way its own repetitions may still join it.
 *
 * Pure.
 */

import { readQuestion } from "./packet.ts";
import { HEADER_BYTES } from "./query.ts";

/** A query as the forwarder sees it. */
export interface Asked {
  /** Equal for queries that one question to an upstream answers. */
  readonly underWayKey: string;
  /** Equal for queries that one remembered answer serves; null when none may. */
  readonly rememberedKey: string | null;
  /** The question as it was sent; a view into the query. */
  readonly questionBytes: Buffer;
}

/** Root name, type, size that the client takes, extended code and flags, length of the options. */
const OPT_BYTES = 11;

/** @returns null for bytes without one readable question */
export function readAsked(query: Buffer): Asked | null {
  const asked = readQuestion(query);
  if (asked === null) return null;
  const { question, questionBytes } = asked;
  const { name, typeCode, classCode } = question;
  const about = `${query.readUInt16BE(2)} ${typeCode} ${classCode} ${name.toLowerCase()}`;
  const rest = query.subarray(HEADER_BYTES + questionBytes.length);
  const edns = ednsText(rest, query.readUInt16BE(10));
  return {
    underWayKey: `${about} ${rest.toString("latin1")}`,
    rememberedKey: edns === null ? null : `${about} ${edns}`,
    questionBytes,
  };
}

/** The EDNS part without the size that the client takes, which decides only what is cut; null where options are. */
function ednsText(rest: Buffer, additionals: number): string | null {
  if (additionals === 0) return rest.length === 0 ? "" : null;
  const isBareOpt =
    additionals === 1 &&
    rest.length === OPT_BYTES &&
    rest.readUIntBE(0, 3) === 41 &&
    rest.readUInt16BE(9) === 0;
  return isBareOpt ? `edns ${rest.readUInt32BE(5)}` : null;
}

/**
 * Puts the id of `query` into a reply, and the question in the case in which it was asked: clients compare both, and
 * the reply may be to another client's query. Changes the reply's bytes.
 */
export function addressTo(query: Buffer, reply: Buffer): Buffer {
  query.copy(reply, 0, 0, 2);
  // An error may come without its question.
  const hasQuestion = reply.length >= HEADER_BYTES && reply.readUInt16BE(4) === 1;
  const asked = hasQuestion ? readQuestion(query) : null;
  asked?.questionBytes.copy(reply, HEADER_BYTES);
  return reply;
}
