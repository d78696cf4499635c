/**
 * Reply: whether bytes from an upstream are the reply to what it was asked, and what they say.
 *
 * Besides its id and question a reply has to be whole: counted records and nothing behind them. What is not would be
 * passed on to clients that read it each in their own way; the true reply may be right behind it, or with the next
 * server. One that says that it is cut off may be cut anywhere: some middleboxes cut at 512 bytes (RFC 5625 6.2).
 *
 * Pure. exchange.ts waits past what is no reply; remembered.ts keeps what is.
 */

import { RCODE, TYPE } from "../codes.ts";
import { readQuestion } from "../packet.ts";
import { HEADER_BYTES } from "../query.ts";

/** One server's reply. */
export interface UpstreamReply {
  /** With the upper bits that an OPT carries (RFC 6891 6.1.3). */
  readonly rcodeCode: number;
  readonly truncated: boolean;
  /** The reply as it may be passed on: whole, and with its question. */
  readonly bytes: Buffer;
}

/** Where one record of a message is; sections count from 0, the answer. */
export interface RecordPlace {
  readonly section: number;
  readonly typeCode: number;
  readonly startAt: number;
  readonly ttlAt: number;
  readonly endAt: number;
}

/** True for a reply that settles the question; other codes are about the server, and another may know more. */
export function isUsable({ rcodeCode }: Pick<UpstreamReply, "rcodeCode">): boolean {
  return rcodeCode === RCODE.NOERROR || rcodeCode === RCODE.NXDOMAIN;
}

/**
 * Reads an upstream's reply to `query`, both in bytes.
 *
 * @returns null when it is no reply to it: another id or question, damaged, or not a reply at all (RFC 5452 9.1); the
 *   letter case of the question does not count, since some servers lower it. A failure may come without its question,
 *   and gets it back: clients wait past replies without one.
 */
export function readReply(reply: Buffer, query: Buffer): UpstreamReply | null {
  if (reply.length < HEADER_BYTES || reply.readUInt16BE(0) !== query.readUInt16BE(0)) return null;
  const flags = reply.readUInt16BE(2);
  if ((flags & 0xf800) !== 0x8000) return null;
  const questions = reply.readUInt16BE(4);
  const asked = readQuestion(query);
  const answered = questions === 1 ? readQuestion(reply) : null;
  if (asked === null || questions > 1 || (questions === 1 && answered === null)) return null;
  if (answered !== null && !isSame(asked.question, answered.question)) return null;
  const truncated = (flags & 0x0200) !== 0;
  const places = readRecords(reply, HEADER_BYTES + (answered?.questionBytes.length ?? 0));
  const isWhole = places?.endAt === reply.length;
  if (!isWhole && !truncated) return null;
  const opt = (isWhole ? places.all.find(({ typeCode }) => typeCode === TYPE.OPT) : null) ?? null;
  const rcodeCode = (flags & 15) + 16 * (opt === null ? 0 : (reply[opt.ttlAt] ?? 0));
  if (questions === 0 && isUsable({ rcodeCode })) return null;
  const isFit = isWhole && questions === 1;
  return { rcodeCode, truncated, bytes: isFit ? reply : bareReply(reply, asked.questionBytes, opt) };
}

type AskedFor = NonNullable<ReturnType<typeof readQuestion>>["question"];

function isSame(one: AskedFor, other: AskedFor): boolean {
  return (
    one.name.toLowerCase() === other.name.toLowerCase() &&
    one.typeCode === other.typeCode &&
    one.classCode === other.classCode
  );
}

/** Header, question and EDNS part of a reply, without its other records. */
export function bareReply(reply: Buffer, questionBytes: Buffer, opt: RecordPlace | null): Buffer {
  const parts = [reply.subarray(0, HEADER_BYTES), questionBytes];
  if (opt !== null) parts.push(reply.subarray(opt.startAt, opt.endAt));
  const bare = Buffer.concat(parts);
  bare.writeUInt16BE(1, 4);
  bare.writeUInt32BE(0, 6);
  bare.writeUInt16BE(opt === null ? 0 : 1, 10);
  return bare;
}

/** The records behind a message's question, by its counts; null when they are damaged or run out of the message. */
export function readRecords(
  message: Buffer,
  questionEnd: number,
): { readonly all: readonly RecordPlace[]; readonly endAt: number } | null {
  const all: RecordPlace[] = [];
  let at = questionEnd;
  for (const section of [0, 1, 2]) {
    for (let left = message.readUInt16BE(6 + 2 * section); left > 0; left -= 1) {
      const record = readRecord(message, at, section);
      if (record === null) return null;
      all.push(record);
      at = record.endAt;
    }
  }
  return { all, endAt: at };
}

function readRecord(message: Buffer, at: number, section: number): RecordPlace | null {
  const typeAt = endOfName(message, at);
  if (typeAt === null || typeAt + 10 > message.length) return null;
  const endAt = typeAt + 10 + message.readUInt16BE(typeAt + 8);
  const typeCode = message.readUInt16BE(typeAt);
  // An SOA ends with five numbers behind two names; one too short for them has no minimum to read.
  if (endAt > message.length || (typeCode === TYPE.SOA && endAt - typeAt - 10 < 22)) return null;
  // An OPT belongs to the root and says so (RFC 6891 6.1.2): it stands anywhere.
  if (typeCode === TYPE.OPT && typeAt !== at + 1) return null;
  return { section, typeCode, startAt: at, ttlAt: typeAt + 4, endAt };
}

/** Where a name ends: behind its root or its pointer (RFC 1035 4.1.4); null when it runs out of the message. */
function endOfName(bytes: Buffer, start: number): number | null {
  let at = start;
  for (;;) {
    const size = bytes[at];
    if (size === undefined) return null;
    if (size === 0) return at + 1;
    if (size >= 0xc0) return at + 2;
    if (size >= 0x40) return null;
    at += 1 + size;
  }
}
