/**
 * Remembered: what upstreams have said, for as long as they said it holds.
 *
 * A reply is kept as its bytes and given out with its TTLs counted down: nothing of it is lost or rewritten that we
 * don't understand. It holds as long as its shortest-lived record. "There is no such thing" holds as its SOA says
 * (RFC 2308 5) and not at all without one; a server's failure for a moment only (RFC 2308 7.1, RFC 9520 3.2), so that
 * a crowd of clients does not turn it into a storm. What was truncated, and what has odd bytes, is not kept.
 *
 * An answer that is due stays for a day, to be told if no upstream has a newer one (RFC 8767): old addresses mostly
 * work, and none never do.
 *
 * Pure. Bounded in number and bytes; what was not asked for longest goes first.
 */

import { LIMITS } from "../model/limits.ts";

import { RCODE, TYPE } from "./codes.ts";
import { HEADER_BYTES } from "./query.ts";

/** The longest that anything holds: upstreams make mistakes, and nobody can tell us that they were corrected. */
const SECONDS_MAX = 3600;

/** The longest for "there is no such name": somebody is waiting for it to appear. */
const NEGATIVE_SECONDS_MAX = 300;

const FAILURE_SECONDS = 2;

/** How long a due answer may be told when there is no other, and with which TTL (RFC 8767 4 and 5). */
const STALE_SECONDS_MAX = 86_400;
const STALE_TTL_SECONDS = 30;

/** What an entry costs besides its key, bytes and offsets: objects and map slot, generously. */
const ENTRY_BYTES = 400;

/** A reply as it may be told now, under the id of who asked first. */
export interface Kept {
  /** A copy, the receiver's to change. */
  readonly bytes: Buffer;
  readonly rcodeCode: number;
}

interface Entry {
  readonly bytes: Buffer;
  readonly rcodeCode: number;
  /** Where its TTLs are, but that of the OPT, which is none. */
  readonly ttlOffsets: readonly number[];
  readonly keptAtMs: number;
  readonly holdsSeconds: number;
  /** Answers, not errors and absences. */
  readonly isWorthStale: boolean;
  /** Until when it is told although it is due, without asking anybody. */
  staleUntilMs: number;
}

/** Replies of upstreams by what was asked. All times are of one monotonic clock, in milliseconds. */
export class Remembered {
  readonly #entryByKey = new Map<string, Entry>();
  #sizeBytes = 0;

  /** What holds now, or is told although it is due (see serveStale); null for nothing. */
  get(key: string, nowMs: number): Kept | null {
    const entry = this.#entryByKey.get(key);
    if (entry === undefined) return null;
    const ageSeconds = ageOf(entry, nowMs);
    if (ageSeconds >= entry.holdsSeconds) {
      if (!entry.isWorthStale) this.#drop(key);
      return nowMs < entry.staleUntilMs ? this.stale(key, nowMs) : null;
    }
    // Invariant: in the order of their last use, so that the first are the ones to go.
    this.#entryByKey.delete(key);
    this.#entryByKey.set(key, entry);
    return { bytes: withTtls(entry, (seconds) => seconds - ageSeconds), rcodeCode: entry.rcodeCode };
  }

  /** An answer that is due, where it may still be told; null for none. */
  stale(key: string, nowMs: number): Kept | null {
    const entry = this.#entryByKey.get(key);
    if (entry === undefined || !entry.isWorthStale) return null;
    if (ageOf(entry, nowMs) >= entry.holdsSeconds + STALE_SECONDS_MAX) {
      this.#drop(key);
      return null;
    }
    return { bytes: withTtls(entry, () => STALE_TTL_SECONDS), rcodeCode: entry.rcodeCode };
  }

  /** Nobody has a newer answer: until then a due one is told at once (RFC 8767 5, the failure recheck timer). */
  serveStale(key: string, untilMs: number): void {
    const entry = this.#entryByKey.get(key);
    if (entry !== undefined) entry.staleUntilMs = untilMs;
  }

  /** Keeps a reply, if it is one to keep; an older one under the key goes, except for a failure. */
  put(key: string, reply: Buffer, nowMs: number): void {
    const term = termOf(reply);
    if (term === null) return;
    // A server in trouble takes nothing away from what it said in better days.
    if (term.rcodeCode === RCODE.SERVFAIL && this.stale(key, nowMs) !== null) return;
    this.#drop(key);
    // Not Buffer.from: that takes a slice of a pool, which stays whole as long as one slice of it is kept.
    const bytes = Buffer.allocUnsafeSlow(reply.length);
    reply.copy(bytes);
    for (const at of term.ttlOffsets) {
      bytes.writeUInt32BE(Math.min(secondsAt(bytes, at), term.ttlSecondsMax), at);
    }
    const entry: Entry = { ...term, bytes, keptAtMs: nowMs, staleUntilMs: 0 };
    this.#makeRoom(costOf(key, entry));
    this.#entryByKey.set(key, entry);
    this.#sizeBytes += costOf(key, entry);
  }

  clear(): void {
    this.#entryByKey.clear();
    this.#sizeBytes = 0;
  }

  get entries(): number {
    return this.#entryByKey.size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  #makeRoom(costBytes: number): void {
    for (const oldest of this.#entryByKey.keys()) {
      const fits = this.#sizeBytes + costBytes <= LIMITS.dnsRememberedBytes;
      if (fits && this.#entryByKey.size < LIMITS.dnsRememberedEntries) return;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    const entry = this.#entryByKey.get(key);
    if (entry === undefined) return;
    this.#entryByKey.delete(key);
    this.#sizeBytes -= costOf(key, entry);
  }
}

function ageOf({ keptAtMs }: Entry, nowMs: number): number {
  return Math.floor((nowMs - keptAtMs) / 1000);
}

function costOf(key: string, { bytes, ttlOffsets }: Entry): number {
  return key.length + bytes.length + 8 * ttlOffsets.length + ENTRY_BYTES;
}

function withTtls({ bytes, ttlOffsets }: Entry, secondsOf: (kept: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  for (const at of ttlOffsets) copy.writeUInt32BE(secondsOf(bytes.readUInt32BE(at)), at);
  return copy;
}

/** How long a reply holds. */
interface Term {
  readonly rcodeCode: number;
  readonly ttlOffsets: readonly number[];
  readonly holdsSeconds: number;
  /** No TTL in it is told as more. */
  readonly ttlSecondsMax: number;
  readonly isWorthStale: boolean;
}

/** @returns null for a reply that is not to be kept */
function termOf(reply: Buffer): Term | null {
  const records = readRecords(reply);
  if (records === null || (reply.readUInt16BE(2) & 0x0200) !== 0) return null;
  const rcodeCode = reply.readUInt16BE(2) & 15;
  const opt = records.all.find(({ typeCode }) => typeCode === TYPE.OPT);
  // The upper bits of a code above 15 are the first byte of what is a TTL elsewhere (RFC 6891 6.1.3).
  if (opt !== undefined && reply[opt.ttlAt] !== 0) return null;
  const timed = records.all.filter(({ typeCode }) => typeCode !== TYPE.OPT);
  const ttlOffsets = timed.map(({ ttlAt }) => ttlAt);
  const leastSeconds = Math.min(SECONDS_MAX, ...ttlOffsets.map((at) => secondsAt(reply, at)));
  const common = { rcodeCode, ttlOffsets };
  if (rcodeCode === RCODE.SERVFAIL) {
    return { ...common, holdsSeconds: FAILURE_SECONDS, ttlSecondsMax: SECONDS_MAX, isWorthStale: false };
  }
  if (rcodeCode !== RCODE.NOERROR && rcodeCode !== RCODE.NXDOMAIN) return null;
  const isAnswer = rcodeCode === RCODE.NOERROR && records.hasAnswer;
  const soa = timed.find(({ typeCode, section }) => typeCode === TYPE.SOA && section === 1);
  if (isAnswer) {
    if (leastSeconds === 0) return null;
    return { ...common, holdsSeconds: leastSeconds, ttlSecondsMax: SECONDS_MAX, isWorthStale: true };
  }
  if (soa === undefined) return null;
  const minimumSeconds = secondsAt(reply, soa.endAt - 4);
  const holdsSeconds = Math.min(leastSeconds, minimumSeconds, NEGATIVE_SECONDS_MAX);
  if (holdsSeconds === 0) return null;
  return { ...common, holdsSeconds, ttlSecondsMax: holdsSeconds, isWorthStale: false };
}

/** A TTL; one with its highest bit set counts as zero (RFC 2181 8). */
function secondsAt(bytes: Buffer, at: number): number {
  const seconds = bytes.readUInt32BE(at);
  return seconds > 0x7fff_ffff ? 0 : seconds;
}

/** Where one record of a reply is; sections count from 0, the answer. */
interface RecordPlace {
  readonly section: number;
  readonly typeCode: number;
  readonly ttlAt: number;
  readonly endAt: number;
}

interface RecordPlaces {
  readonly all: readonly RecordPlace[];
  /** Something of the type that was asked for is there, not just a name's other name. */
  readonly hasAnswer: boolean;
}

/** @returns null when the bytes are not one question and its records, and nothing else */
function readRecords(reply: Buffer): RecordPlaces | null {
  if (reply.length < HEADER_BYTES || reply.readUInt16BE(4) !== 1) return null;
  const questionEnd = endOfName(reply, HEADER_BYTES);
  if (questionEnd === null || questionEnd + 4 > reply.length) return null;
  const askedCode = reply.readUInt16BE(questionEnd);
  const all: RecordPlace[] = [];
  let at = questionEnd + 4;
  for (const section of [0, 1, 2]) {
    for (let left = reply.readUInt16BE(6 + 2 * section); left > 0; left -= 1) {
      const record = readRecord(reply, at, section);
      if (record === null) return null;
      all.push(record);
      at = record.endAt;
    }
  }
  if (at !== reply.length) return null;
  const isAsked = ({ typeCode }: RecordPlace): boolean => askedCode === TYPE.ANY || typeCode === askedCode;
  return { all, hasAnswer: all.some((record) => record.section === 0 && isAsked(record)) };
}

function readRecord(reply: Buffer, at: number, section: number): RecordPlace | null {
  const typeAt = endOfName(reply, at);
  if (typeAt === null || typeAt + 10 > reply.length) return null;
  const endAt = typeAt + 10 + reply.readUInt16BE(typeAt + 8);
  const typeCode = reply.readUInt16BE(typeAt);
  // An SOA ends with five numbers behind two names; one too short for them has no minimum to read.
  if (endAt > reply.length || (typeCode === TYPE.SOA && endAt - typeAt - 10 < 22)) return null;
  return { section, typeCode, ttlAt: typeAt + 4, endAt };
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
