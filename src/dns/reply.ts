/**
 * Reply: whether bytes from an upstream are the reply to what it was asked, and what their header says.
 *
 * Pure. forward.ts waits past what is no reply.
 */

import { RCODE } from "./codes.ts";
import { readQuestion } from "./packet.ts";
import { HEADER_BYTES } from "./query.ts";

/** What an upstream's reply says in its header. */
export interface ReplyHeader {
  readonly rcodeCode: number;
  readonly truncated: boolean;
}

/**
 * Reads the header of an upstream's reply to `query`, both in bytes.
 *
 * @returns null when it is no reply to it: another id or question, or not a reply at all (RFC 5452 9.1); the letter
 *   case of the question does not count, since some servers lower it. An error may come without its question.
 */
export function readReply(reply: Buffer, query: Buffer): ReplyHeader | null {
  if (reply.length < HEADER_BYTES || reply.readUInt16BE(0) !== query.readUInt16BE(0)) return null;
  const flags = reply.readUInt16BE(2);
  if ((flags & 0xf800) !== 0x8000) return null;
  const rcodeCode = flags & 15;
  const header = { rcodeCode, truncated: (flags & 0x0200) !== 0 };
  const questions = reply.readUInt16BE(4);
  if (questions === 0) return rcodeCode === RCODE.NOERROR ? null : header;
  const asked = readQuestion(query);
  const answered = questions === 1 ? readQuestion(reply) : null;
  if (asked === null || answered === null) return null;
  const same =
    answered.question.name.toLowerCase() === asked.question.name.toLowerCase() &&
    answered.question.typeCode === asked.question.typeCode &&
    answered.question.classCode === asked.question.classCode;
  return same ? header : null;
}
