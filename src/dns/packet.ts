/**
 * Packet: bytes of DNS to questions, and answers to bytes, over dns2's codec.
 *
 * A query is filtered before dns2 parses it: size, direction, counts and a question without compression pointers.
 * So what a stranger can make the parser do is bounded (the longest chain of pointers that passes costs 0.04 ms).
 * The question itself is read here and echoed byte for byte, because dns2's names don't survive a dot or a byte over
 * 0x7f inside a label, and clients compare the case they sent.
 *
 * dns2's encoder renders the whole message after each record, which is quadratic, so records are written into a writer
 * that renders once. It also gets two kinds of data wrong that are put right before: IPv6 with a dotted tail, and
 * response codes above 15 outside of its own message encoder.
 *
 * Pure.
 */

import { Packet, type Resource } from "dns2";

import { LIMITS } from "../model/limits.ts";

import type { Question } from "./answer.ts";
import { CLASS_IN, RCODE, TYPE, type RcodeName } from "./codes.ts";
import type { DnsRecord } from "./records.ts";

/** What we say we take over UDP, and the most we send: no fragments on any usual path (DNS flag day 2020). */
export const UDP_BYTES_MAX = 1232;

/** What a client without EDNS takes over UDP (RFC 1035 2.3.4). */
const UDP_BYTES_PLAIN = 512;

/** What the two bytes of length before a message over TCP can count (RFC 1035 4.2.2). */
export const TCP_BYTES_MAX = 65_535;

const HEADER_BYTES = 12;
/** Header, the root name, type and class. */
const QUERY_BYTES_MIN = HEADER_BYTES + 5;
/** An OPT without options: root name, type, class, ttl, length. */
const OPT_BYTES = 11;

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

/** Why bytes are not worth an answer: anything said to them would be a reflection, or senseless. */
export type DropReason = "short" | "long" | "answer";

/** What bytes turned out to be. `refused`: the answer is finished, and an error. */
export type Decoded =
  | { readonly kind: "query"; readonly query: Query }
  | { readonly kind: "refused"; readonly rcode: RcodeName; readonly bytes: Buffer }
  | { readonly kind: "drop"; readonly reason: DropReason };

/** Reads one message from a client, without or behind its TCP length. Never throws, whatever the bytes. */
export function decodeQuery(bytes: Buffer): Decoded {
  if (bytes.length < QUERY_BYTES_MIN) return { kind: "drop", reason: "short" };
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

/** Completes a query by its OPT: none or one is fine, of version 0 only (RFC 6891 6.1.1, 6.1.3). */
function withAdditionals(bytes: Buffer, plain: Query): Decoded {
  const { additionals, errors } = Packet.parse(bytes);
  if (errors.length > 0) return refuseUnread(bytes, "FORMERR");
  const [opt, second] = additionals.filter((record) => record.type === TYPE.OPT);
  if (opt === undefined) return { kind: "query", query: plain };
  const edns = { payloadBytes: opt.class, dnssecOk: opt.doFlag === true };
  const query: Query = { ...plain, edns };
  if (second !== undefined) return refuse(query, "FORMERR");
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
function readQuestion(bytes: Buffer): Pick<Query, "question" | "questionBytes"> | null {
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

/** An answer to be encoded. */
export interface Response {
  readonly rcode: RcodeName;
  readonly authoritative: boolean;
  readonly recursionAvailable: boolean;
  readonly records: readonly DnsRecord[];
  readonly authority: readonly DnsRecord[];
  readonly additional: readonly DnsRecord[];
}

/** Answer records of one size each, one after the other, whose order may be turned (see cache.ts). */
export interface Rotation {
  readonly startBytes: number;
  readonly recordBytes: number;
  readonly count: number;
}

/** A finished answer; `rotation` is null where there is nothing to turn. */
export interface Encoded {
  readonly bytes: Buffer;
  readonly rotation: Rotation | null;
}

/** A response with nothing but a code. */
export function emptyResponse(rcode: RcodeName): Response {
  return {
    rcode,
    authoritative: false,
    recursionAvailable: false,
    records: [],
    authority: [],
    additional: [],
  };
}

/** The largest answer that the client takes over UDP (RFC 6891 6.2.3: less than 512 means 512). */
export function udpBytesMax(query: Query): number {
  const asked = query.edns === null ? UDP_BYTES_PLAIN : query.edns.payloadBytes;
  return Math.min(UDP_BYTES_MAX, Math.max(UDP_BYTES_PLAIN, asked));
}

/**
 * Encodes an answer; with an OPT exactly when the query had one (RFC 6891 7).
 *
 * @param sizeBytesMax  what fits; else TC is set and only the question and the OPT remain, so that a client comes back
 *   over TCP and never takes a part for the whole
 */
export function encodeResponse(query: Query, response: Response, sizeBytesMax: number): Encoded {
  const roomBytes = sizeBytesMax - (query.edns === null ? 0 : OPT_BYTES);
  const writer = startMessage(query, response, false);
  const startBytes = writer.byteLength();
  for (const record of [...response.records, ...response.authority]) {
    Packet.Resource.encode(resourceOf(record), writer);
    // Not after the loop: what does not fit need not be encoded to its end.
    if (writer.byteLength() > roomBytes) return encodeTruncated(query, response);
  }
  const count = response.records.length;
  // Invariant: several records in one answer are addresses of one family and owner, hence of one size.
  const canTurn = count > 1 && response.authority.length === 0;
  const recordBytes = canTurn ? (writer.byteLength() - startBytes) / count : 0;
  return {
    bytes: finish(writer, query, response),
    rotation: canTurn ? { startBytes, recordBytes, count } : null,
  };
}

/** The answer that says only: ask again over TCP. */
export function encodeTruncated(query: Query, response: Response): Encoded {
  return { bytes: finish(startMessage(query, response, true), query, response), rotation: null };
}

/**
 * A writer of dns2 that renders once. dns2's record encoder ends with `return writer.toBuffer()`, whose result nobody
 * needs and whose cost is the whole message so far.
 */
class MessageWriter extends Packet.Writer {
  /** Where names begin that later ones may point to; dns2's encoder looks for this by its name. */
  readonly names = new Map<string, number>();

  override toBuffer(): Buffer {
    return NOTHING;
  }

  render(): Buffer {
    return super.toBuffer();
  }
}

const NOTHING = Buffer.alloc(0);

function startMessage(query: Query, response: Response, truncated: boolean): MessageWriter {
  const writer = new MessageWriter();
  const hasBody = !truncated;
  const fields = {
    id: query.id,
    qr: 1 as const,
    aa: bit(response.authoritative),
    tc: bit(truncated),
    rd: bit(query.recursionDesired),
    ra: bit(response.recursionAvailable),
    cd: bit(query.checkingDisabled),
    rcode: RCODE[response.rcode] & 15,
    qdcount: 1,
    ancount: hasBody ? response.records.length : 0,
    nscount: hasBody ? response.authority.length : 0,
    arcount: query.edns === null ? 0 : 1,
  };
  new Packet.Header(fields).toBuffer(writer);
  echoQuestion(writer, query);
  return writer;
}

/** The question as it came, each of its suffixes a target for compression: owners then show the case asked for. */
function echoQuestion(writer: MessageWriter, query: Query): void {
  const labels = query.question.name === "" ? [] : query.question.name.toLowerCase().split(".");
  let at = 0;
  for (const index of labels.keys()) {
    writer.names.set(labels.slice(index).join("."), HEADER_BYTES + at);
    at += 1 + query.questionBytes.readUInt8(at);
  }
  for (const byte of query.questionBytes) writer.write(byte, 8);
}

function finish(writer: MessageWriter, query: Query, response: Response): Buffer {
  if (query.edns !== null) {
    const extendedRcode = RCODE[response.rcode] >> 4;
    const { dnssecOk } = query.edns;
    // RFC 3225 3: DO comes back as it was sent. Options are not echoed: we know none.
    const opt = Packet.Resource.EDNS([], { extendedRcode, doFlag: dnssecOk, udpPayloadSize: UDP_BYTES_MAX });
    Packet.Resource.encode(opt, writer);
  }
  return writer.render();
}

function bit(isSet: boolean): 0 | 1 {
  return isSet ? 1 : 0;
}

function resourceOf(record: DnsRecord): Resource {
  return new Packet.Resource({
    name: record.name,
    ttl: record.ttlSeconds,
    type: TYPE[record.type],
    class: CLASS_IN,
    ...contentOf(record),
  });
}

/** What the record says, as dns2 names it. */
function contentOf(record: DnsRecord): Partial<Resource> {
  switch (record.type) {
    case "A":
      return { address: record.address };
    case "AAAA":
      return { address: withoutDottedTail(record.address) };
    case "NS":
      return { ns: record.target };
    case "PTR":
      return { domain: record.target };
    case "SRV":
      return { priority: record.priority, weight: record.weight, port: record.port, target: record.target };
    case "TXT":
      return { data: [...record.texts] };
    case "SOA":
      return {
        primary: record.primary,
        admin: record.contact,
        serial: record.serial,
        refresh: record.refreshSeconds,
        retry: record.retrySeconds,
        expiration: record.expireSeconds,
        minimum: record.minimumSeconds,
      };
  }
}

/** `64:ff9b::10.0.0.1` to `64:ff9b::a00:1`: dns2 takes the dotted tail for one group of hexadecimal digits. */
function withoutDottedTail(address: string): string {
  const match = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  if (match === null) return address;
  const [a = 0, b = 0, c = 0, d = 0] = match.slice(2).map(Number);
  return `${match[1]}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

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

/** A message with its length in front, as it goes over TCP (RFC 1035 4.2.2); in one piece, so in one segment. */
export function framed(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(2 + message.length);
  frame.writeUInt16BE(message.length, 0);
  message.copy(frame, 2);
  return frame;
}
