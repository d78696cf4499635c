/**
 * Packet: bytes from clients to questions.
 *
 * A query is filtered before dns2 parses it: size, direction, counts and a question without compression pointers.
 * So what a stranger can make the parser do is bounded (the longest chain of pointers that passes costs 0.04 ms).
 * The question itself is read here and echoed byte for byte, because dns2's names don't survive a dot or a byte over
 * 0x7f inside a label, and clients compare the case they sent.
 *
 * Pure. encode.ts makes bytes of answers, forward/reply.ts reads those of upstreams.
 */

import { Packet } from "dns2";

import { LIMITS } from "../model/limits.ts";

import { RCODE, TYPE, type RcodeName } from "./codes.ts";
import { emptyResponse, encodeResponse, UDP_BYTES_MAX } from "./encode.ts";
import { HEADER_BYTES, type Query } from "./query.ts";

/** Why bytes are not worth an answer: anything said to them would be a reflection, or senseless. */
export type DropReason = "short" | "long" | "answer";

/** What bytes turned out to be. `refused`: the answer is finished, and an error. */
export type Decoded =
  | { readonly kind: "query"; readonly query: Query }
  | { readonly kind: "refused"; readonly rcode: RcodeName; readonly bytes: Buffer }
  | { readonly kind: "drop"; readonly reason: DropReason };

/** Reads one message from a client, without or behind its TCP length. Never throws, whatever the bytes. */
export function decodeQuery(bytes: Buffer): Decoded {
  if (bytes.length < HEADER_BYTES) return { kind: "drop", reason: "short" };
  if (bytes.length > LIMITS.dnsQueryBytes) return { kind: "drop", reason: "long" };
  const flags = bytes.readUInt16BE(2);
  if ((flags & 0x8000) !== 0) return { kind: "drop", reason: "answer" };
  if ((flags & 0x7800) !== 0) return refuseUnread(bytes, "NOTIMP");
  const additionals = bytes.readUInt16BE(10);
  const isPlain = bytes.readUInt16BE(4) === 1 && bytes.readUInt32BE(6) === 0 && additionals <= 2;
  const asked = isPlain ? readQuestion(bytes) : null;
  if (asked === null) return refuseUnread(bytes, "FORMERR");
  const query: Query = {
    id: bytes.readUInt16BE(0),
    recursionDesired: (flags & 0x0100) !== 0,
    checkingDisabled: (flags & 0x0010) !== 0,
    ...asked,
    edns: null,
  };
  return additionals === 0 ? { kind: "query", query } : withAdditionals(bytes, query);
}

/** Completes a query by its OPT: none or one is fine, owned by the root, of version 0 (RFC 6891 6.1). */
function withAdditionals(bytes: Buffer, plain: Query): Decoded {
  const { additionals, errors } = Packet.parse(bytes);
  if (errors.length > 0) return refuseUnread(bytes, "FORMERR");
  const [opt, second] = additionals.filter((record) => record.type === TYPE.OPT);
  if (opt === undefined) return { kind: "query", query: plain };
  const edns = { payloadBytes: opt.class, dnssecOk: opt.doFlag === true };
  const query: Query = { ...plain, edns };
  if (second !== undefined || opt.name !== "") return refuse(query, "FORMERR");
  return opt.version === 0 ? { kind: "query", query } : refuse(query, "BADVERS");
}

function refuse(query: Query, rcode: RcodeName): Decoded {
  return { kind: "refused", rcode, bytes: encodeResponse(query, emptyResponse(rcode), UDP_BYTES_MAX).bytes };
}

/** An error to a message whose question could not be read: its header alone, turned into an answer. */
function refuseUnread(bytes: Buffer, rcode: RcodeName): Decoded {
  const header = Buffer.alloc(HEADER_BYTES);
  bytes.copy(header, 0, 0, 4);
  // Kept: opcode and RD. Set: QR. All counts stay zero.
  header[2] = (header.readUInt8(2) & 0x79) | 0x80;
  header[3] = RCODE[rcode];
  return { kind: "refused", rcode, bytes: header };
}

/** The one question; null when its name is malformed, compressed (RFC 1035 4.1.4 has no reason to) or cut off. */
export function readQuestion(bytes: Buffer): Pick<Query, "question" | "questionBytes"> | null {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const size = bytes[at];
    if (size === undefined || size > LIMITS.labelBytes) return null;
    at += 1 + size;
    if (size === 0) break;
    labels.push(labelText(bytes.toString("latin1", at - size, at)));
  }
  // RFC 1035 2.3.4: 255 octets, lengths and root included.
  if (at - HEADER_BYTES > 255 || at + 4 > bytes.length) return null;
  const question = {
    name: labels.join("."),
    typeCode: bytes.readUInt16BE(at),
    classCode: bytes.readUInt16BE(at + 2),
  };
  return { question, questionBytes: bytes.subarray(HEADER_BYTES, at + 4) };
}

/** A label as text: what is not printable, and the dot and backslash, as `\DDD` (RFC 1035 5.1): never one of ours. */
function labelText(label: string): string {
  if (/^[!-~]*$/.test(label) && !/[.\\]/.test(label)) return label;
  return label.replace(/[^!-~]|[.\\]/g, (char) => `\\${String(char.charCodeAt(0)).padStart(3, "0")}`);
}

/** A message with its length in front, as it goes over TCP (RFC 1035 4.2.2); in one piece, so in one segment. */
export function framed(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(2 + message.length);
  frame.writeUInt16BE(message.length, 0);
  message.copy(frame, 2);
  return frame;
}
