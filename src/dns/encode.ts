/**
 * Encode: answers to bytes, over dns2's codec.
 *
 * What dns2 gets wrong is put right here: targets of SRV records compressed, IPv6 addresses with a dotted tail, texts
 * over 255 bytes, response codes above 15 outside of its own message encoder.
 *
 * Thousands of addresses are the one large answer there is. They differ in 4 or 16 bytes, so dns2 writes the first and
 * the others are copies of it with their own address.
 *
 * Pure. answer.ts decides what is answered, writer.ts keeps the bytes.
 */

import { Packet, type Resource } from "dns2";

import { groupsOf, ipv4ToNumber } from "../base/ip.ts";

import { CLASS_CH, CLASS_IN, RCODE, TYPE, type RcodeName } from "./codes.ts";
import { HEADER_BYTES, type Query } from "./query.ts";
import type { DnsRecord } from "./names/records.ts";
import { MessageWriter } from "./writer.ts";

/** What we say we take over UDP, and the most we send: no fragments on any usual path (DNS flag day 2020). */
export const UDP_BYTES_MAX = 1232;

/** What a client without EDNS takes over UDP (RFC 1035 2.3.4). */
const UDP_BYTES_PLAIN = 512;

/** What the two bytes of length before a message over TCP can count (RFC 1035 4.2.2). */
export const TCP_BYTES_MAX = 65_535;

/** An OPT without options: root name, type, class, ttl, length. */
const OPT_BYTES = 11;

/** TC, in the header's third byte (RFC 1035 4.1.1). */
const TRUNCATED = { atBytes: 2, mask: 0x02 };

/** Where the header counts records (RFC 1035 4.1.1). */
const COUNT_BITS = { answers: 6 * 8, authority: 8 * 8, additional: 10 * 8 };

/** An answer to be encoded. */
export interface Response {
  readonly rcode: RcodeName;
  readonly authoritative: boolean;
  readonly recursionAvailable: boolean;
  readonly records: readonly DnsRecord[];
  readonly authority: readonly DnsRecord[];
  readonly additional: readonly DnsRecord[];
  /** True where `records` are some of those that there are (OwnAnswer). */
  readonly isSample?: boolean;
}

/** What of an answer changes from one time to the next that it is sent. */
export interface Rotation {
  /** Where each answer record begins, and where the last one ends: one offset more than there are records. */
  readonly offsets: Uint16Array;
  /** True for an answer that holds some of the records, since not all fit: another time they should be others. */
  readonly isSample: boolean;
}

/** A finished answer. */
export interface Encoded {
  readonly bytes: Buffer;
  /** Null where there is nothing to turn. */
  readonly rotation: Rotation | null;
  /** Where the serial of the SOA in its authority is; null where there is none. */
  readonly serialAt: number | null;
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
 * What does not fit is left out: additional records first, which nobody is told of. An answer without all of its
 * records has TC over UDP, and then nothing but answers, the question and the OPT. A client that knows TC ignores them
 * and comes back over TCP (RFC 2181 9); musl before 1.2.4 cannot, and with some of a hundred addresses it works.
 *
 * @param sizeBytesMax  what fits; TCP_BYTES_MAX means TCP, where nobody can come back for more: no TC
 */
export function encodeResponse(query: Query, response: Response, sizeBytesMax: number): Encoded {
  const writer = startMessage(query, response);
  const limits = {
    roomBytes: sizeBytesMax - (query.edns === null ? 0 : OPT_BYTES),
    classCode: query.question.classCode === CLASS_CH ? CLASS_CH : CLASS_IN,
  };
  const { offsets, isWhole: hasAnswers } = writeRecords(writer, response.records, limits);
  const count = offsets.length - 1;
  writer.patch(COUNT_BITS.answers, count, 16);
  const endBytes = writer.byteLength();
  const authority = writeRecords(writer, response.authority, limits);
  const isWhole = hasAnswers && authority.isWhole;
  if (isWhole) writer.patch(COUNT_BITS.authority, authority.offsets.length - 1, 16);
  else writer.truncate(endBytes);
  if (!isWhole && sizeBytesMax < TCP_BYTES_MAX) writer.mark(TRUNCATED);
  const additional = isWhole ? writeAdditional(writer, response.additional, limits) : 0;
  const isTurned = count > 1 || (count === 1 && !hasAnswers);
  return {
    bytes: finish(writer, { query, response, additional }),
    rotation: isTurned ? { offsets, isSample: !hasAnswers || response.isSample === true } : null,
    serialAt: isWhole ? serialAt(authority.offsets, response.authority) : null,
  };
}

/** The answer that says only: ask again over TCP. It is no larger than its query. */
export function encodeTruncated(query: Query, response: Response): Encoded {
  const writer = startMessage(query, response);
  writer.mark(TRUNCATED);
  return { bytes: finish(writer, { query, response, additional: 0 }), rotation: null, serialAt: null };
}

/** Where the serial is when the last record written is an SOA: it and four more numbers end it (RFC 1035 3.3.13). */
function serialAt(offsets: Uint16Array, authority: readonly DnsRecord[]): number | null {
  const endBytes = offsets[authority.length];
  return endBytes === undefined || authority.at(-1)?.type !== "SOA" ? null : endBytes - 5 * 4;
}

/** The message up to its question; TC and its counts of records are zero until they are patched. */
function startMessage(query: Query, response: Response): MessageWriter {
  const writer = new MessageWriter();
  const fields = {
    id: query.id,
    qr: 1 as const,
    aa: bit(response.authoritative),
    tc: 0 as const,
    rd: bit(query.recursionDesired),
    ra: bit(response.recursionAvailable),
    cd: bit(query.checkingDisabled),
    rcode: RCODE[response.rcode] & 15,
    qdcount: 1,
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
    writer.names.add(labels.slice(index).join("."), HEADER_BYTES + at);
    at += 1 + query.questionBytes.readUInt8(at);
  }
  writer.append(query.questionBytes);
}

interface Limits {
  readonly roomBytes: number;
  readonly classCode: number;
}

interface Written {
  /** As in Rotation; of one element where nothing was written. */
  readonly offsets: Uint16Array;
  readonly isWhole: boolean;
}

/** Writes records as long as there is room. */
function writeRecords(writer: MessageWriter, records: readonly DnsRecord[], limits: Limits): Written {
  const offsets = new Uint16Array(records.length + 1);
  let written = 0;
  let previous: DnsRecord | null = null;
  offsets[0] = writer.byteLength();
  for (const record of records) {
    const startBytes = writer.byteLength();
    if (previous !== null && isRun(previous, record)) writer.repeat(offsets[written - 1] ?? 0);
    else if (isWritable(record)) writeRecord(writer, record, limits.classCode);
    else continue;
    writeAddress(writer, record);
    if (writer.byteLength() > limits.roomBytes) {
      writer.truncate(startBytes);
      return { offsets: offsets.slice(0, written + 1), isWhole: false };
    }
    written += 1;
    offsets[written] = writer.byteLength();
    previous = record;
  }
  return { offsets: written === records.length ? offsets : offsets.slice(0, written + 1), isWhole: true };
}

/** Writes all addresses of one name, then of the next, until those of a name don't fit. @returns how many records */
function writeAdditional(writer: MessageWriter, records: readonly DnsRecord[], limits: Limits): number {
  let written = 0;
  for (let from = 0; from < records.length;) {
    let end = from + 1;
    while (records[end]?.name === records[from]?.name) end += 1;
    const set = records.slice(from, end);
    const startBytes = writer.byteLength();
    const { isWhole, offsets } = writeRecords(writer, set, limits);
    if (!isWhole) {
      writer.truncate(startBytes);
      break;
    }
    written += offsets.length - 1;
    from = end;
  }
  return written;
}

/** True when a record differs from the one before in its address alone. */
function isRun(previous: DnsRecord, record: DnsRecord): boolean {
  return (
    (record.type === "A" || record.type === "AAAA") &&
    record.type === previous.type &&
    record.name === previous.name &&
    record.ttlSeconds === previous.ttlSeconds
  );
}

/**
 * False when a name in it is longer than DNS can say (RFC 1035 2.3.4): a container may be called so. Its record is left
 * out, so that those of the others remain.
 */
function isWritable(record: DnsRecord): boolean {
  const names = [record.name, ...namesIn(record)];
  return names.every((name) => name.length <= 253 && name.split(".").every((label) => label.length <= 63));
}

function namesIn(record: DnsRecord): readonly string[] {
  if (record.type === "SOA") return [record.primary, record.contact];
  return "target" in record ? [record.target] : [];
}

function writeRecord(writer: MessageWriter, record: DnsRecord, classCode: number): void {
  if (record.type === "SRV") return writeService(writer, record, classCode);
  const fields = { ttl: record.ttlSeconds, type: TYPE[record.type], class: classCode, ...contentOf(record) };
  Packet.Resource.encode(new Packet.Resource({ name: record.name, ...fields }), writer);
}

/**
 * RFC 2782: the target is not compressed, which dns2 does. Nor is dns2 asked for the rest: a service of a thousand
 * copies is a thousand of these, and no two have the same length.
 */
function writeService(
  writer: MessageWriter,
  record: DnsRecord & { readonly type: "SRV" },
  classCode: number,
): void {
  const { ttlSeconds, priority, weight, port, target } = record;
  const contentBytes = 6 + target.length + 2;
  const bytes = Buffer.alloc(10 + contentBytes);
  const head = [TYPE.SRV, classCode, ttlSeconds >>> 16, ttlSeconds & 0xffff, contentBytes];
  for (const [at, value] of [...head, priority, weight, port].entries()) bytes.writeUInt16BE(value, at * 2);
  // Each dot, with one before the first label, gives way to the length of the label behind it; then comes the root.
  bytes.write(`.${target}`, 16, "latin1");
  let end = bytes.length - 1;
  for (let at = end - 1; at >= 16; at -= 1) {
    if (bytes[at] !== DOT) continue;
    bytes[at] = end - at - 1;
    end = at;
  }
  Packet.Name.encode(record.name, writer);
  writer.append(bytes);
}

const DOT = 0x2e;

/** Puts an address where the record that was just written has one. */
function writeAddress(writer: MessageWriter, record: DnsRecord): void {
  const endBits = writer.bitLength();
  if (record.type === "A") writer.patch(endBits - 32, ipv4ToNumber(record.address), 32);
  if (record.type !== "AAAA") return;
  for (const [index, group] of groupsOf(record.address).entries())
    writer.patch(endBits - 128 + index * 16, group, 16);
}

/** What the record says, as dns2 names it. */
function contentOf(record: DnsRecord): Partial<Resource> {
  switch (record.type) {
    // Written over by writeAddress: dns2 takes the dotted tail of an IPv6 address for hexadecimal digits.
    case "A":
      return { address: "0.0.0.0" };
    case "AAAA":
      return { address: "::" };
    case "NS":
      return { ns: record.target };
    case "PTR":
      return { domain: record.target };
    case "SRV":
      // Written by writeService.
      return {};
    case "TXT":
      return { data: record.texts.length === 0 ? [""] : record.texts.flatMap(characterStrings) };
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

/** A text in pieces of at most 255 bytes, which is what the length of a piece can say (RFC 1035 3.3.14). */
function characterStrings(text: string): readonly string[] {
  if (Buffer.byteLength(text) <= 255) return [text];
  const pieces = [""];
  for (const character of text) {
    const longer = `${pieces.at(-1) ?? ""}${character}`;
    if (Buffer.byteLength(longer) > 255) pieces.push(character);
    else pieces[pieces.length - 1] = longer;
  }
  return pieces;
}

interface Ending {
  readonly query: Query;
  readonly response: Response;
  /** Records in the additional section so far. */
  readonly additional: number;
}

function finish(writer: MessageWriter, { query, response, additional }: Ending): Buffer {
  writer.patch(COUNT_BITS.additional, additional + (query.edns === null ? 0 : 1), 16);
  if (query.edns !== null) {
    // dns2 splits a code above 15 only in its own message encoder (RFC 6891 6.1.3).
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
