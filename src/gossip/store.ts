/**
 * Store: every owner's log that this node holds, its own included.
 *
 * The rules are those of scuttlebutt with owner versions (van Renesse et al., "Efficient Reconciliation and Flow
 * Control for Anti-Entropy Protocols", 2008): a log is applied in version order without gaps, so one number per owner
 * says what is held. Acceptance of a write never depends on another write. A higher incarnation replaces a log.
 * Tombstones are collected after two hours; the log's floor then says up to which version deletions may be missing
 * from it, and a holder that stands below the floor takes the log whole, so that a deletion never comes back.
 *
 * An owner that is forgotten leaves a shell: its head, without entries. Without it, a peer that has not forgotten yet
 * would bring the log back, and the two would differ for ever.
 *
 * Pure.
 */

import { assert } from "../base/assert.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Entry, OwnerLog } from "../model/log.ts";

import { incarnationMax } from "./greeting.ts";
import { LIFE_KEY } from "./life.ts";
import { FORGOTTEN_AT, type Delta, type Digest, type Head } from "./message.ts";
import { Sums, termOf } from "./sums.ts";

/** What became of a delta. `gap`: it starts past what is held; a digest exchange will bring what is missing. */
export type Applied = "applied" | "known" | "gap" | "refused";

interface MutableLog {
  readonly owner: NodeId;
  readonly incarnation: number;
  version: number;
  floor: number;
  /** As in Head. */
  deadAt: number | null;
  isForgotten: boolean;
  /** Forgotten, but there is news: taken again from its begin. */
  isAwaited: boolean;
  /** What its head adds to the sums. */
  term: number;
  /** Of all keys and bodies. */
  sizeBytes: number;
  /** Invariant: in ascending order of version, since each write re-inserts its key. */
  readonly entryByKey: Map<string, Entry>;
  /** Keys of tombstones and when this node first held them, oldest first; null for none, as for most owners. */
  buriedAtMsByKey: Map<string, number> | null;
}

/** What an entry costs beside its key and body. */
const ENTRY_BYTES = 64;

/** How long a deletion is remembered here. A peer that was away longer gets the owner's log whole. */
const TOMBSTONE_KEPT_MS = 2 * 3600 * 1000;

/** Holds the logs of one node. */
export class Store {
  readonly #self: NodeId;
  readonly #logs = new Map<NodeId, MutableLog>();
  readonly #sums = new Sums();
  #sizeBytes = 0;

  constructor(self: NodeId, incarnation: number) {
    this.#self = self;
    this.#set(emptyLog(self, incarnation));
  }

  /** The log of one owner; undefined when nothing is held. */
  logOf(owner: NodeId): OwnerLog | undefined {
    return this.#logs.get(owner);
  }

  /** All logs by owner. Live: read it at once, or copy. */
  get logs(): ReadonlyMap<NodeId, OwnerLog> {
    return this.#logs;
  }

  /** Sums over all heads, for a peer to compare. */
  get sums(): Pick<Sums, "whole" | "parts"> {
    return this.#sums;
  }

  /** Starts this node's own log anew under a higher incarnation, with the same live writes. */
  raise(incarnation: number): void {
    const old = this.#own();
    assert(incarnation > old.incarnation, "incarnations only rise");
    const next = emptyLog(this.#self, incarnation);
    for (const [key, entry] of old.entryByKey) {
      if (entry.body === null) continue;
      next.version += 1;
      put(next, key, { version: next.version, body: entry.body }, 0);
    }
    this.#set(next);
  }

  /**
   * Writes keys of this node's own log; a null body deletes. A write that changes nothing takes no version. A body
   * past LIMITS.recordBytes is left out: peers would refuse the frame that carries it, and with it the link.
   *
   * @returns true when anything was written
   */
  write(changes: ReadonlyMap<string, string | null>, nowMs: number): boolean {
    const log = this.#own();
    const before = { version: log.version, sizeBytes: log.sizeBytes };
    for (const [key, body] of changes) {
      if ((log.entryByKey.get(key)?.body ?? null) === body) continue;
      if (body !== null && body.length > LIMITS.recordBytes) continue;
      log.version += 1;
      put(log, key, { version: log.version, body }, nowMs);
    }
    if (log.version === before.version) return false;
    this.#moved(log, before.sizeBytes);
    return true;
  }

  /** Applies a part of another owner's log. Never fails on what a peer can send: it says what became of it. */
  apply(delta: Delta, nowMs: number): Applied {
    // Invariant: nobody but this node writes its own log.
    if (delta.owner === this.#self || delta.incarnation > incarnationMax(nowMs)) return "refused";
    if (this.#sizeBytes > LIMITS.storeBytes) return "refused";
    const held = this.#logs.get(delta.owner);
    if (held !== undefined && delta.incarnation < held.incarnation) return "known";
    // A life that has not said anything yet: what others hold of the last one stands until it does.
    if (delta.to === 0) return "known";
    if (held === undefined || delta.incarnation > held.incarnation) return this.#replace(delta, nowMs);
    if (held.isForgotten) return this.#remember(held, delta, nowMs);
    // A holder below the floor starts anew; one with that floor is on its way through the parts of such a start, and
    // takes nothing from a peer with a lower one, who may hold what was deleted since.
    if (held.version < delta.floor && held.floor < delta.floor) return this.#replace(delta, nowMs);
    if (held.version < held.floor && delta.floor < held.floor) return "known";
    if (delta.to <= held.version) return "known";
    if (delta.from > held.version) return "gap";
    const sizeBefore = held.sizeBytes;
    for (const write of delta.writes) {
      if (write.version > held.version) put(held, write.key, write, nowMs);
    }
    held.version = delta.to;
    this.#moved(held, sizeBefore);
    return "applied";
  }

  /**
   * Notes that an owner counts as dead, or not any more.
   *
   * @param deadAt  the refutation of this incarnation at which it was given up; null when it is present
   */
  setDead(owner: NodeId, incarnation: number, deadAt: number | null): void {
    const held = this.#logs.get(owner);
    if (held === undefined || held.incarnation !== incarnation || held.deadAt === deadAt) return;
    if (held.isForgotten) return;
    held.deadAt = deadAt;
    this.#moved(held, held.sizeBytes);
  }

  /** Drops an owner's entries for good; only news of its own brings them back. */
  forget(owner: NodeId): void {
    const held = this.#logs.get(owner);
    if (held === undefined || owner === this.#self) return;
    const { incarnation, version } = held;
    const head = { ...emptyLog(owner, incarnation), version, floor: version };
    this.#set({ ...head, deadAt: FORGOTTEN_AT, isForgotten: true });
  }

  /** True for an owner of whom nothing but the head is remembered. */
  isForgotten(owner: NodeId): boolean {
    return this.#logs.get(owner)?.isForgotten === true;
  }

  /** Collects tombstones that have been held for two hours. */
  collect(nowMs: number): void {
    for (const log of this.#logs.values()) {
      if (log.buriedAtMsByKey === null) continue;
      const sizeBefore = log.sizeBytes;
      for (const [key, buriedAtMs] of log.buriedAtMsByKey) {
        if (nowMs - buriedAtMs < TOMBSTONE_KEPT_MS) break;
        log.floor = Math.max(log.floor, log.entryByKey.get(key)?.version ?? 0);
        log.buriedAtMsByKey.delete(key);
        if (log.entryByKey.delete(key)) log.sizeBytes -= sizeOf(key, null);
      }
      this.#sizeBytes += log.sizeBytes - sizeBefore;
    }
  }

  /** What is held, for a peer to compare. Live: encode it at once, or copy. */
  digest(): Digest {
    return [...this.#logs.values()];
  }

  /** How far the logs of these owners are held; an owner of whom nothing is held, or a forgotten one, stands at 0. */
  headsOf(owners: Iterable<NodeId>): Head[] {
    return Array.from(owners, (owner) => {
      const held = this.#logs.get(owner);
      if (held === undefined) return { owner, incarnation: 0, version: 0, deadAt: null };
      const { incarnation, version, deadAt, isForgotten } = held;
      return { owner, incarnation, version: isForgotten ? 0 : version, deadAt };
    });
  }

  /** True when everything of others that a holder of `digest` had is held here. */
  covers(digest: Digest): boolean {
    return digest.every(({ owner, incarnation, version, deadAt }) => {
      // Of who has not said anything yet, or is forgotten, there is nothing to hold.
      if (owner === this.#self || version === 0 || deadAt === FORGOTTEN_AT) return true;
      const log = this.#logs.get(owner);
      if (log === undefined) return false;
      return log.incarnation > incarnation || (log.incarnation === incarnation && log.version >= version);
    });
  }

  #own(): MutableLog {
    const log = this.#logs.get(this.#self);
    assert(log !== undefined, "a node holds its own log");
    return log;
  }

  #replace(delta: Delta, nowMs: number): Applied {
    if (delta.from > 0) return "gap";
    if (!this.#logs.has(delta.owner) && !this.#hasRoom()) return "refused";
    const log = emptyLog(delta.owner, delta.incarnation);
    for (const write of delta.writes) put(log, write.key, write, nowMs);
    log.version = delta.to;
    log.floor = delta.floor;
    const before = this.#logs.get(delta.owner);
    if (before?.incarnation === delta.incarnation && !before.isForgotten) log.deadAt = before.deadAt;
    this.#set(log);
    return "applied";
  }

  /** A forgotten owner's log: taken again, whole, once there is news in it; what was forgotten stays so. */
  #remember(held: MutableLog, delta: Delta, nowMs: number): Applied {
    if (delta.to > held.version) held.isAwaited = true;
    return held.isAwaited ? this.#replace(delta, nowMs) : "known";
  }

  /** Makes room for one more owner by dropping the shell of one that was forgotten. */
  #hasRoom(): boolean {
    if (this.#logs.size < LIMITS.ownersMax) return true;
    for (const log of this.#logs.values()) {
      if (!log.isForgotten) continue;
      this.#logs.delete(log.owner);
      this.#sums.replace(log.owner, log.term, 0);
      return true;
    }
    return false;
  }

  #set(log: MutableLog): void {
    const before = this.#logs.get(log.owner);
    log.term = before?.term ?? 0;
    this.#logs.set(log.owner, log);
    this.#moved(log, before?.sizeBytes ?? 0);
  }

  /** Brings the sums up to date with a log that changed. */
  #moved(log: MutableLog, sizeBefore: number): void {
    // A shell counts for nothing: who forgot later, or never knew, is not to be told so each second.
    const term = log.isForgotten ? 0 : termOf(log);
    this.#sums.replace(log.owner, log.term, term);
    log.term = term;
    this.#sizeBytes += log.sizeBytes - sizeBefore;
  }
}

function emptyLog(owner: NodeId, incarnation: number): MutableLog {
  const head = {
    owner,
    incarnation,
    version: 0,
    floor: 0,
    deadAt: null,
    isForgotten: false,
    isAwaited: false,
  };
  return { ...head, term: 0, sizeBytes: 0, entryByKey: new Map(), buriedAtMsByKey: null };
}

function sizeOf(key: string, body: string | null): number {
  return key.length + (body?.length ?? 0) + ENTRY_BYTES;
}

function put(log: MutableLog, key: string, { version, body }: Entry, nowMs: number): void {
  const old = log.entryByKey.get(key);
  if (old !== undefined) log.sizeBytes -= sizeOf(key, old.body);
  log.entryByKey.delete(key);
  log.buriedAtMsByKey?.delete(key);
  const sizeBytes = log.sizeBytes + sizeOf(key, body);
  // Past a bound an owner's entries are not held; its version goes on, so the link keeps working.
  const isFull = log.entryByKey.size >= LIMITS.entriesPerOwner || sizeBytes > LIMITS.ownerBytes;
  // But for its word on its own life: without it, it could not say that it is alive.
  if (isFull && key !== LIFE_KEY) return;
  log.sizeBytes = sizeBytes;
  log.entryByKey.set(key, { version, body });
  if (body !== null) return;
  log.buriedAtMsByKey ??= new Map();
  log.buriedAtMsByKey.set(key, nowMs);
}
