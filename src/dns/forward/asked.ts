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

import { TYPE } from "../codes.ts";
import { UDP_BYTES_MAX } from "../encode.ts";
import { readQuestion } from "../packet.ts";
import { HEADER_BYTES } from "../query.ts";

import { readRecords } from "./reply.ts";

/** A query as the forwarder sees it. */
export interface Asked {
  /** Equal for queries that one question to an upstream answers; for those that may be remembered, `rememberedKey`. */
  readonly underWayKey: string;
  /** Equal for queries that one remembered answer serves; null when none may. */
  readonly rememberedKey: string | null;
  /** Equal for queries about one name, type and class. */
  readonly questionKey: string;
  /** The question as it was sent; a view into the query. */
  readonly questionBytes: Buffer;
  /** What goes on behind the question; may be a view into the query. */
  readonly rest: Buffer;
  /** The flags that go on. */
  readonly flags: number;
}

/** Flags that may change an answer: RD, AD (RFC 6840 5.7), CD. Others mean nothing in a query. */
const FLAGS_MASK = 0x0130;

/** Root name, type, size that the client takes, extended code and flags, length of the options. */
const OPT_BYTES = 11;

const NOTHING = Buffer.alloc(0);

/** @returns null for bytes without one readable question */
export function readAsked(query: Buffer): Asked | null {
  const asked = readQuestion(query);
  if (asked === null) return null;
  const { question, questionBytes } = asked;
  const { name, typeCode, classCode } = question;
  const rest = restOf(query, HEADER_BYTES + questionBytes.length);
  if (rest === null) return null;
  const given = query.readUInt16BE(2);
  const flags = rest.isSigned ? given : given & FLAGS_MASK;
  const questionKey = `${typeCode} ${classCode} ${name.toLowerCase()}`;
  const underWayKey = `${flags} ${questionKey} ${rest.bytes.toString("latin1")}`;
  const rememberedKey = rest.isShared ? underWayKey : null;
  return { underWayKey, rememberedKey, questionKey, questionBytes, rest: rest.bytes, flags };
}

/** The query as it goes on; its id is for the sender to set. What was behind its counted records stays behind. */
export function onwardQuery(query: Buffer, { questionBytes, rest, flags }: Asked): Buffer {
  const onward = Buffer.concat([query.subarray(0, HEADER_BYTES), questionBytes, rest]);
  onward.writeUInt16BE(flags, 2);
  return onward;
}

interface Rest {
  readonly bytes: Buffer;
  /** Nothing in it is its sender's alone. */
  readonly isShared: boolean;
  /** A signature may be in it (RFC 8945, RFC 2931): then no byte may change. */
  readonly isSigned: boolean;
}

/**
 * What a query has behind its question, in the one form in which it goes on: with the size that we take over UDP
 * ourselves. That of the client decides only what is cut in the end. Were each size a question of its own, one client
 * could have hundreds of them under way, and a forger as many chances to hit one (RFC 5452 5).
 */
function restOf(query: Buffer, at: number): Rest | null {
  if (query.readUInt32BE(6) === 0 && query.readUInt16BE(10) === 0)
    return { bytes: NOTHING, isShared: true, isSigned: false };
  const places = readRecords(query, at);
  const first = places?.all[0];
  if (places === null || first === undefined) return null;
  const counted = query.subarray(at, places.endAt);
  if (places.all.length !== 1 || first.section !== 2 || first.typeCode !== TYPE.OPT)
    return { bytes: counted, isShared: false, isSigned: true };
  const bytes = Buffer.from(counted);
  bytes.writeUInt16BE(UDP_BYTES_MAX, 3);
  // Of what else is there only DO has a meaning in a query of version 0 (RFC 6891 6.1.3).
  bytes[5] = 0;
  bytes.writeUInt16BE(bytes.readUInt16BE(7) & 0x8000, 7);
  return { bytes, isShared: bytes.length === OPT_BYTES, isSigned: false };
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
