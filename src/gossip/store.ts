/**
 * Store: every owner's log that this node holds, its own included.
 *
 * The rules are those of scuttlebutt with owner versions (van Renesse et al., "Efficient Reconciliation and Flow
 * Control for Anti-Entropy Protocols", 2008): a log is applied in version order without gaps, so one number per owner
 * says what is held. Acceptance of a write never depends on another write. A higher incarnation replaces a log.
 * Tombstones are collected after two hours; the log's floor then says up to which version deletions may be missing
 * from it, and a holder that stands below the floor takes the log whole, so that a deletion never comes back.
 *
 * Pure.
 */

import { assert } from "../base/assert.ts";
import { sha256 } from "../base/bytes.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Entry, OwnerLog } from "../model/log.ts";

import { incarnationMax } from "./greeting.ts";
import type { Delta, Digest } from "./message.ts";

/** What became of a delta. `gap`: it starts past what is held; a digest exchange will bring what is missing. */
export type Applied = "applied" | "known" | "gap" | "refused";

interface MutableLog {
  readonly owner: NodeId;
  readonly incarnation: number;
  version: number;
  floor: number;
  /** Of all keys and bodies. */
  sizeBytes: number;
  /** Invariant: in ascending order of version, since each write re-inserts its key. */
  readonly entryByKey: Map<string, Entry>;
  /** Keys of tombstones and when this node first held them, oldest first. */
  readonly buriedAtMsByKey: Map<string, number>;
}

/** What an entry costs beside its key and body. */
const ENTRY_BYTES = 64;

/** How long a deletion is remembered here. A peer that was away longer gets the owner's log whole. */
const TOMBSTONE_KEPT_MS = 2 * 3600 * 1000;

/** Holds the logs of one node. */
export class Store {
  readonly #self: NodeId;
  readonly #logs = new Map<NodeId, MutableLog>();
  /** Incarnations of forgotten owners: their old logs must not come back from a peer that has not forgotten yet. */
  readonly #forgotten = new Map<NodeId, number>();
  #hash: string | null = null;

  constructor(self: NodeId, incarnation: number) {
    this.#self = self;
    this.#logs.set(self, emptyLog(self, incarnation));
  }

  /** The log of one owner; undefined when nothing is held. */
  logOf(owner: NodeId): OwnerLog | undefined {
    return this.#logs.get(owner);
  }

  /** All logs by owner. Live: read it at once, or copy. */
  get logs(): ReadonlyMap<NodeId, OwnerLog> {
    return this.#logs;
  }

  /** Starts this node's own log anew under a higher incarnation, with the same live writes. */
  raise(incarnation: number): void {
    const old = this.#own();
    assert(incarnation > old.incarnation, "incarnations only rise");
    const next = emptyLog(this.#self, incarnation);
    for (const [key, entry] of old.entryByKey) {
      if (entry.body === null) continue;
      next.version += 1;
      next.entryByKey.set(key, { version: next.version, body: entry.body });
    }
    this.#logs.set(this.#self, next);
    this.#hash = null;
  }

  /**
   * Writes keys of this node's own log; a null body deletes. A write that changes nothing takes no version. A body
   * past LIMITS.recordBytes is left out: peers would refuse the frame that carries it, and with it the link.
   *
   * @returns true when anything was written
   */
  write(changes: ReadonlyMap<string, string | null>, nowMs: number): boolean {
    const log = this.#own();
    const before = log.version;
    for (const [key, body] of changes) {
      if ((log.entryByKey.get(key)?.body ?? null) === body) continue;
      if (body !== null && body.length > LIMITS.recordBytes) continue;
      log.version += 1;
      put(log, key, { version: log.version, body }, nowMs);
    }
    if (log.version === before) return false;
    this.#hash = null;
    return true;
  }

  /** Applies a part of another owner's log. Never fails on what a peer can send: it says what became of it. */
  apply(delta: Delta, nowMs: number): Applied {
    // Invariant: nobody but this node writes its own log.
    const isForgotten = delta.incarnation <= (this.#forgotten.get(delta.owner) ?? -1);
    if (delta.owner === this.#self || isForgotten || delta.incarnation > incarnationMax(nowMs))
      return "refused";
    if (this.#sizeBytes > LIMITS.storeBytes) return "refused";
    const held = this.#logs.get(delta.owner);
    if (held !== undefined && delta.incarnation < held.incarnation) return "known";
    if (held === undefined || delta.incarnation > held.incarnation) return this.#replace(delta, nowMs);
    // A holder below the floor starts anew; one with that floor is on its way through the parts of such a start, and
    // takes nothing from a peer with a lower one, who may hold what was deleted since.
    if (held.version < delta.floor && held.floor < delta.floor) return this.#replace(delta, nowMs);
    if (held.version < held.floor && delta.floor < held.floor) return "known";
    if (delta.to <= held.version) return "known";
    if (delta.from > held.version) return "gap";
    for (const write of delta.writes) {
      if (write.version > held.version) put(held, write.key, write, nowMs);
    }
    held.version = delta.to;
    this.#hash = null;
    return "applied";
  }

  /** Drops an owner's log for good; only a higher incarnation, or the owner's own hello, brings it back. */
  forget(owner: NodeId): void {
    const held = this.#logs.get(owner);
    if (held === undefined || owner === this.#self) return;
    this.#logs.delete(owner);
    this.#forgotten.set(owner, held.incarnation);
    if (this.#forgotten.size > LIMITS.ownersMax)
      this.#forgotten.delete(this.#forgotten.keys().next().value ?? "");
    this.#hash = null;
  }

  /** Takes a forgotten owner's log again, of any incarnation: it has come itself. */
  welcome(owner: NodeId): void {
    this.#forgotten.delete(owner);
  }

  /** Collects tombstones that have been held for two hours. */
  collect(nowMs: number): void {
    for (const log of this.#logs.values()) {
      for (const [key, buriedAtMs] of log.buriedAtMsByKey) {
        if (nowMs - buriedAtMs < TOMBSTONE_KEPT_MS) break;
        log.floor = Math.max(log.floor, log.entryByKey.get(key)?.version ?? 0);
        log.buriedAtMsByKey.delete(key);
        if (log.entryByKey.delete(key)) log.sizeBytes -= sizeOf(key, null);
      }
    }
  }

  /** What is held, for a peer to compare. */
  digest(): Digest {
    return Array.from(this.#logs.values(), ({ owner, incarnation, version }) => ({
      owner,
      incarnation,
      version,
    }));
  }

  /** True when everything of others that a holder of `digest` had is held here. */
  covers(digest: Digest): boolean {
    return digest.every(({ owner, incarnation, version }) => {
      const log = this.#logs.get(owner);
      if (owner === this.#self || log === undefined) return owner === this.#self;
      return log.incarnation > incarnation || (log.incarnation === incarnation && log.version >= version);
    });
  }

  /** A short hash of the digest: equal hashes, equal holdings. */
  digestHash(): string {
    this.#hash ??= hashOf(this.digest());
    return this.#hash;
  }

  get #sizeBytes(): number {
    let sum = 0;
    for (const { sizeBytes } of this.#logs.values()) sum += sizeBytes;
    return sum;
  }

  #own(): MutableLog {
    const log = this.#logs.get(this.#self);
    assert(log !== undefined, "a node holds its own log");
    return log;
  }

  #replace(delta: Delta, nowMs: number): Applied {
    if (delta.from > 0) return "gap";
    if (!this.#logs.has(delta.owner) && this.#logs.size >= LIMITS.ownersMax) return "refused";
    const log = emptyLog(delta.owner, delta.incarnation);
    for (const write of delta.writes) put(log, write.key, write, nowMs);
    log.version = delta.to;
    log.floor = delta.floor;
    this.#logs.set(delta.owner, log);
    this.#forgotten.delete(delta.owner);
    this.#hash = null;
    return "applied";
  }
}

function emptyLog(owner: NodeId, incarnation: number): MutableLog {
  const maps = { entryByKey: new Map(), buriedAtMsByKey: new Map() };
  return { owner, incarnation, version: 0, floor: 0, sizeBytes: 0, ...maps };
}

function sizeOf(key: string, body: string | null): number {
  return key.length + (body?.length ?? 0) + ENTRY_BYTES;
}

function put(log: MutableLog, key: string, entry: Entry, nowMs: number): void {
  const old = log.entryByKey.get(key);
  if (old !== undefined) log.sizeBytes -= sizeOf(key, old.body);
  log.entryByKey.delete(key);
  log.buriedAtMsByKey.delete(key);
  const sizeBytes = log.sizeBytes + sizeOf(key, entry.body);
  // Past a bound an owner's entries are not held; its version goes on, so the link keeps working.
  if (log.entryByKey.size >= LIMITS.entriesPerOwner || sizeBytes > LIMITS.ownerBytes) return;
  log.sizeBytes = sizeBytes;
  log.entryByKey.set(key, { version: entry.version, body: entry.body });
  if (entry.body === null) log.buriedAtMsByKey.set(key, nowMs);
}

function hashOf(digest: Digest): string {
  const lines = digest.map(({ owner, incarnation, version }) => `${owner} ${incarnation} ${version}`).sort();
  return Buffer.from(sha256(lines.join("\n")).subarray(0, 12)).toString("hex");
}
