/**
 * Remembered: what upstreams have said, for as long as they said it holds.
 *
 * A reply is kept as its bytes and given out with its TTLs counted down: nothing of it is lost or rewritten that we
 * don't understand. It holds as long as its shortest-lived record. "There is no such thing" holds as its SOA says
 * (RFC 2308 5) and not at all without one; a server's failure for a moment only (RFC 2308 7.1, RFC 9520 3.2), so that
 * a crowd of clients does not turn it into a storm, and without whatever records came with it. What was truncated, and
 * what has odd bytes, is not kept. No TTL is told below zero or above an hour, whatever was sent and when it is asked.
 *
 * An answer that is due stays for a day, to be told if no upstream has a newer one (RFC 8767): old addresses mostly
 * work, and none never do.
 *
 * Pure. Bounded in number and bytes; what was not asked for longest goes first.
 */

import { LIMITS } from "../../model/limits.ts";

import { RCODE, TYPE } from "../codes.ts";
import { readQuestion } from "../packet.ts";
import { HEADER_BYTES } from "../query.ts";

import { bareReply, readRecords, type RecordPlace } from "./reply.ts";

/** The longest that anything holds: upstreams make mistakes, and nobody can tell us that they were corrected. */
const SECONDS_MAX = 3600;

/** The longest for "there is no such name": somebody is waiting for it to appear. */
const NEGATIVE_SECONDS_MAX = 300;

const FAILURE_SECONDS = 2;

/** How long nobody is asked again what all were silent about: no less (RFC 9520 3.2), and a datagram may be lost. */
const SILENCE_MS = 1000;

/** How long a due answer may be told when there is no other, and with which TTL (RFC 8767 4 and 5). */
const STALE_SECONDS_MAX = 86_400;
const STALE_TTL_SECONDS = 30;

/** What an entry costs besides its key, bytes and offsets: objects and map slot, generously. */
const ENTRY_BYTES = 400;

/** A reply as it may be told now, under the id of who asked first. */
export interface Recalled {
  /** A copy, the receiver's to change. */
  readonly bytes: Buffer;
  readonly rcodeCode: number;
}

interface Held {
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
  readonly #entryByKey = new Map<string, Held>();
  /** Until when a question counts as one that nobody answers. */
  readonly #silentUntilMsByKey = new Map<string, number>();
  #sizeBytes = 0;

  /** What holds now, or is told although it is due (see serveStale); null for nothing. */
  get(key: string, nowMs: number): Recalled | null {
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
  stale(key: string, nowMs: number): Recalled | null {
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
    this.#silentUntilMsByKey.delete(key);
    const term = termOf(reply);
    if (term === null) return;
    const { told, ttlSecondsMax, ...rest } = term;
    // A server in trouble takes nothing away from what it said in better days.
    if (term.rcodeCode === RCODE.SERVFAIL && this.stale(key, nowMs) !== null) return;
    this.#drop(key);
    // Not Buffer.from: that takes a slice of a pool, which stays whole as long as one slice of it is kept.
    const bytes = Buffer.allocUnsafeSlow(told.length);
    told.copy(bytes);
    for (const at of rest.ttlOffsets) {
      bytes.writeUInt32BE(Math.min(secondsAt(bytes, at), ttlSecondsMax), at);
    }
    const entry: Held = { ...rest, bytes, keptAtMs: nowMs, staleUntilMs: 0 };
    this.#makeRoom(costOf(key, entry));
    this.#entryByKey.set(key, entry);
    this.#sizeBytes += costOf(key, entry);
  }

  /** All were asked, and nobody said anything: for a moment that is the answer (RFC 9520 3.2). */
  noteSilence(key: string, nowMs: number): void {
    // In the order in which they end, since all last equally long.
    this.#silentUntilMsByKey.delete(key);
    for (const [oldest, untilMs] of this.#silentUntilMsByKey) {
      if (nowMs < untilMs && this.#silentUntilMsByKey.size < LIMITS.dnsSilencesMax) break;
      this.#silentUntilMsByKey.delete(oldest);
    }
    this.#silentUntilMsByKey.set(key, nowMs + SILENCE_MS);
  }

  /** Whether all were silent about it a moment ago. */
  isSilent(key: string, nowMs: number): boolean {
    return nowMs < (this.#silentUntilMsByKey.get(key) ?? -Infinity);
  }

  clear(): void {
    this.#silentUntilMsByKey.clear();
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

function ageOf({ keptAtMs }: Held, nowMs: number): number {
  return Math.floor((nowMs - keptAtMs) / 1000);
}

function costOf(key: string, { bytes, ttlOffsets }: Held): number {
  return key.length + bytes.length + 8 * ttlOffsets.length + ENTRY_BYTES;
}

function withTtls({ bytes, ttlOffsets }: Held, secondsOf: (kept: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  for (const at of ttlOffsets) {
    const seconds = secondsOf(bytes.readUInt32BE(at));
    copy.writeUInt32BE(Math.max(0, Math.min(seconds, SECONDS_MAX)), at);
  }
  return copy;
}

/** How long a reply holds, and what of it. */
interface Term {
  /** The reply, or what is left of it. */
  readonly told: Buffer;
  readonly rcodeCode: number;
  readonly ttlOffsets: readonly number[];
  readonly holdsSeconds: number;
  /** No TTL in it is told as more. */
  readonly ttlSecondsMax: number;
  readonly isWorthStale: boolean;
}

/** What a reply is made of. */
interface Kept {
  readonly all: readonly RecordPlace[];
  readonly questionBytes: Buffer;
  /** Something of the type that was asked for is there, not just a name's other name. */
  readonly hasAnswer: boolean;
}

/** @returns null for a reply that is not to be kept */
function termOf(reply: Buffer): Term | null {
  const records = readKept(reply);
  if (records === null || (reply.readUInt16BE(2) & 0x0200) !== 0) return null;
  const rcodeCode = reply.readUInt16BE(2) & 15;
  const opt = records.all.find(({ typeCode }) => typeCode === TYPE.OPT) ?? null;
  // The upper bits of a code above 15 are the first byte of what is a TTL elsewhere (RFC 6891 6.1.3).
  if (opt !== null && reply[opt.ttlAt] !== 0) return null;
  if (rcodeCode === RCODE.SERVFAIL) {
    // What else is in a failure says nothing about the name.
    const told = bareReply(reply, records.questionBytes, opt);
    const common = { told, rcodeCode, ttlOffsets: [], isWorthStale: false };
    return { ...common, holdsSeconds: FAILURE_SECONDS, ttlSecondsMax: SECONDS_MAX };
  }
  if (rcodeCode !== RCODE.NOERROR && rcodeCode !== RCODE.NXDOMAIN) return null;
  const timed = records.all.filter(({ typeCode }) => typeCode !== TYPE.OPT);
  const ttlOffsets = timed.map(({ ttlAt }) => ttlAt);
  const leastSeconds = Math.min(SECONDS_MAX, ...ttlOffsets.map((at) => secondsAt(reply, at)));
  const common = { told: reply, rcodeCode, ttlOffsets };
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

/** @returns null when the bytes are not one question and its records, and nothing else */
function readKept(reply: Buffer): Kept | null {
  if (reply.length < HEADER_BYTES || reply.readUInt16BE(4) !== 1) return null;
  const asked = readQuestion(reply);
  if (asked === null) return null;
  const { questionBytes, question } = asked;
  const places = readRecords(reply, HEADER_BYTES + questionBytes.length);
  if (places?.endAt !== reply.length) return null;
  const { all } = places;
  const isAsked = (typeCode: number): boolean =>
    question.typeCode === TYPE.ANY || typeCode === question.typeCode;
  const hasAnswer = all.some(({ section, typeCode }) => section === 0 && isAsked(typeCode));
  return { all, questionBytes, hasAnswer };
}
