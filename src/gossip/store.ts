/**
 * Store: every owner's log that this node holds, its own included.
 *
 * The rules are those of scuttlebutt with owner versions (van Renesse et al., "Efficient Reconciliation and Flow
 * Control for Anti-Entropy Protocols", 2008): a log is applied in version order without gaps, so one number per owner
 * says what is held. Acceptance of a write never depends on another write. A higher incarnation replaces a log.
 * Tombstones are collected after two hours; the log's floor then says up to which version deletions may be missing
 * from it, and a holder that stands below the floor takes the log whole, so that a deletion never comes back.
 *
 * Nothing is taken that its owner has not sealed: what came is tried (attempt.ts), parts wait until the last is there
 * (staging.ts), and then all of it counts at once. So a life's log replaces that of the last one when it is whole.
 *
 * An owner that is forgotten leaves a shell: its head, without entries. Without it, a peer that has not forgotten yet
 * would bring the log back, and the two would differ for ever. One that was expelled leaves nothing and is not taken.
 *
 * Pure.
 */

import { assert } from "../base/assert.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { OwnerLog } from "../model/log.ts";
import { CERTIFICATE_KEY, type Seals } from "../model/seal.ts";

import { attempt, type Fit } from "./attempt.ts";
import { hasRoomFor, isLifeAlone, isPastBounds, keepWithinBounds, liveBytesOf } from "./bounds.ts";
import { incarnationMax } from "./greeting.ts";
import { collectBuried, emptyLog, put, writeOwn, type HeldLog } from "./held.ts";
import { FORGOTTEN_AT, type Delta, type Digest, type Head } from "./message.ts";
import { Staging } from "./staging.ts";
import { Sums, termOf } from "./sums.ts";

/** What became of a delta. */
export type Applied =
  /** Of these parts, the delta the last of them. */
  | { readonly kind: "applied"; readonly parts: readonly Delta[] }
  | { readonly kind: "known" }
  /** It starts past what is held; a digest exchange will bring what is missing. */
  | { readonly kind: "gap" }
  /** It waits for more parts of its log. */
  | { readonly kind: "staged" }
  /** Past the bounds. */
  | { readonly kind: "refused"; readonly why: string }
  /** Not what the owner wrote. */
  | { readonly kind: "forged"; readonly why: string }
  /** Of a node that was removed. */
  | { readonly kind: "expelled" }
  /** A later state of this node's own log than this node knows, sealed by itself: its data dir is an old copy. */
  | { readonly kind: "outranked"; readonly incarnation: number };

/** What became of own writes. */
export interface Written {
  /** True when anything was written. */
  readonly changed: boolean;
  /** Keys whose writes were left out: the log would go past its bounds, or peers would refuse them. */
  readonly leftOut: readonly string[];
}

/** How long a deletion is remembered here. A peer that was away longer gets the owner's log whole. */
const TOMBSTONE_KEPT_MS = 2 * 3600 * 1000;

const KNOWN: Applied = { kind: "known" };
const GAP: Applied = { kind: "gap" };
const STAGED: Applied = { kind: "staged" };

/** Holds the logs of one node. */
export class Store {
  readonly staging = new Staging();
  readonly #self: NodeId;
  readonly #seals: Seals;
  readonly #logs = new Map<NodeId, HeldLog>();
  readonly #expelled = new Set<NodeId>();
  readonly #sums = new Sums();
  #sizeBytes = 0;

  constructor(self: NodeId, incarnation: number, seals: Seals) {
    this.#self = self;
    this.#seals = seals;
    this.#set(emptyLog(self, incarnation, seals.emptySum()));
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

  /** Who an owner has proved to be; undefined while nothing of its log is held. */
  credentialOf(owner: NodeId): Credential | undefined {
    return this.#logs.get(owner)?.credential ?? undefined;
  }

  /** The owner's seal over its log as it is held. This node's own is made when it is first asked for. */
  sealOf(owner: NodeId): Uint8Array {
    const log = this.#logs.get(owner);
    assert(log !== undefined, "only what is held is sent");
    if (log.seal === null && owner === this.#self) log.seal = this.#seals.seal(log, log.sum);
    assert(log.seal !== null, "what is held of others has their seal");
    return log.seal;
  }

  /** Starts this node's own log anew under a higher incarnation, with the same live writes. */
  raise(incarnation: number): void {
    const old = this.#own();
    assert(incarnation > old.incarnation, "incarnations only rise");
    const next = emptyLog(this.#self, incarnation, this.#seals.emptySum());
    for (const [key, { body }] of old.entryByKey) if (body !== null) writeOwn(next, key, body, 0);
    next.credential = old.credential;
    this.#set(next);
  }

  /**
   * Writes keys of this node's own log; a null body deletes. A write that changes nothing takes no version. The
   * certificate goes with it, before all else, when it is not there as it is now.
   *
   * Left out are writes that no peer would take: past the bounds of a record, or of the log without its tombstones.
   */
  write(changes: ReadonlyMap<string, string | null>, nowMs: number): Written {
    const log = this.#own();
    const before = { version: log.version, sizeBytes: log.sizeBytes };
    const leftOut: string[] = [];
    for (const [key, body] of changes) {
      if (key === CERTIFICATE_KEY || (log.entryByKey.get(key)?.body ?? null) === body) continue;
      if (!hasRoomFor(log, key, body)) {
        leftOut.push(key);
        continue;
      }
      this.#writeCertificate(log, nowMs);
      writeOwn(log, key, body, nowMs);
    }
    if (log.version > 0) this.#writeCertificate(log, nowMs);
    keepWithinBounds(log);
    if (log.version > before.version) this.#moved(log, before.sizeBytes);
    return { changed: log.version > before.version, leftOut };
  }

  /**
   * Applies a part of another owner's log. Never fails on what a peer can send: it says what became of it.
   *
   * @param source  the link it came over
   */
  apply(delta: Delta, source: number, nowMs: number): Applied {
    const { owner, incarnation, floor, from, to, seal } = delta;
    if (this.#expelled.has(owner)) return { kind: "expelled" };
    if (incarnation > incarnationMax(nowMs))
      return { kind: "refused", why: `has incarnation ${incarnation}; expected at most a day's lead` };
    const held = this.#logs.get(owner);
    const isOfHeld = held?.incarnation === incarnation;
    if (held !== undefined && incarnation < held.incarnation) return KNOWN;
    // A life that has not said anything yet: what others hold of the last one stands until it does.
    if (to === 0) return KNOWN;
    // What is forgotten, below the floor, or this node's own, is looked at as a whole only.
    const isWhole = !isOfHeld || held.isForgotten || held.version < floor || owner === this.#self;
    const base = isWhole ? null : held;
    const isPassed = isOfHeld && to <= held.version;
    if (seal !== null && isPassed) return this.#drop(KNOWN, owner, source);
    if (seal === null && isPassed && base !== null && from > 0) return KNOWN;
    const starts = from === 0 || (base !== null && from <= base.version);
    const staged = this.staging.before(delta, source);
    if (seal === null) return this.#stage(delta, { staged, starts, source, nowMs });
    if (!starts && staged === undefined) return this.staging.has(owner, source) ? STAGED : GAP;
    const parts = starts || staged === undefined ? [delta] : [...staged.parts, delta];
    return this.#drop(this.#try(parts, { held, base, nowMs }), owner, source);
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
    const head = { ...emptyLog(owner, incarnation, this.#seals.emptySum()), version, floor: version };
    this.#set({ ...head, deadAt: FORGOTTEN_AT, isForgotten: true });
  }

  /** Drops an owner without a trace, and takes nothing of it any more. Past the bound it may be brought back. */
  expel(owner: NodeId): void {
    assert(owner !== this.#self, "a node does not expel itself");
    if (this.#expelled.size < LIMITS.revokedMax) this.#expelled.add(owner);
    this.staging.dropOwner(owner);
    const held = this.#logs.get(owner);
    if (held !== undefined) this.#delete(held);
  }

  /** True for a node of which nothing is taken. */
  isExpelled(owner: NodeId): boolean {
    return this.#expelled.has(owner);
  }

  /** True for an owner of whom nothing but the head is remembered. */
  isForgotten(owner: NodeId): boolean {
    return this.#logs.get(owner)?.isForgotten === true;
  }

  /** Collects tombstones that have been held for two hours. */
  collect(nowMs: number): void {
    this.#collect((buriedAtMs) => nowMs - buriedAtMs < TOMBSTONE_KEPT_MS);
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
      if (this.#expelled.has(owner)) return true;
      const log = this.#logs.get(owner);
      if (log === undefined) return false;
      return log.incarnation > incarnation || (log.incarnation === incarnation && log.version >= version);
    });
  }

  #own(): HeldLog {
    const log = this.#logs.get(this.#self);
    assert(log !== undefined, "a node holds its own log");
    return log;
  }

  #writeCertificate(log: HeldLog, nowMs: number): void {
    const { certificate } = this.#seals;
    if (log.entryByKey.get(CERTIFICATE_KEY)?.body === certificate) return;
    writeOwn(log, CERTIFICATE_KEY, certificate, nowMs);
    const read = this.#seals.credentialOf(this.#self, certificate, nowMs);
    log.credential = read.ok ? read.value : null;
  }

  /** Lays a part without a seal aside. */
  #stage(
    delta: Delta,
    at: { staged: ReturnType<Staging["before"]>; starts: boolean; source: number; nowMs: number },
  ): Applied {
    const { staged, starts, source, nowMs } = at;
    if (staged !== undefined) return this.staging.add(staged, delta, nowMs) ? STAGED : TOO_LARGE;
    if (starts) return this.staging.begin(delta, source, nowMs) ? STAGED : TOO_LARGE;
    return this.staging.has(delta.owner, source) ? STAGED : GAP;
  }

  /** What waited of an owner on a link has come to an end. */
  #drop(applied: Applied, owner: NodeId, source: number): Applied {
    if (this.staging.has(owner, source)) this.staging.drop(source);
    return applied;
  }

  #try(parts: readonly Delta[], at: Trial): Applied {
    const { held, base, nowMs } = at;
    const [{ owner, incarnation, from }] = parts as [Delta, ...Delta[]];
    const seals = this.#seals;
    if (owner === this.#self) {
      const tried = attempt(parts, { seals, base: null, certificate: seals.certificate, nowMs });
      return tried.kind === "fits" ? { kind: "outranked", incarnation } : tried;
    }
    let forged: Applied = GAP;
    if (base !== null && from <= base.version) {
      const tried = attempt(parts, { seals, base, nowMs });
      if (tried.kind === "fits") return this.#take(parts, tried, { ...at, log: held });
      forged = tried;
    }
    if (from > 0) return forged;
    // All of it: of another life, or of one that was lived twice under one number.
    const tried = attempt(parts, { seals, base: null, nowMs });
    return tried.kind === "fits" ? this.#take(parts, tried, { ...at, log: undefined }) : tried;
  }

  /** Takes what fits, when there is room. @param at.log  what it is added to; undefined for a log of its own */
  #take(parts: readonly Delta[], fit: Fit, at: Trial & { log: HeldLog | undefined }): Applied {
    const { held, log, nowMs } = at;
    const { owner, incarnation, floor, to } = parts.at(-1) as Delta;
    if (isPastBounds(fit.liveBytes, fit.liveCount)) return TOO_LARGE;
    if (held === undefined && !this.#hasRoom()) return { kind: "refused", why: "is of one owner too many" };
    if (!this.#hasBytesFor(fit, held)) return { kind: "refused", why: "finds the memory for logs full" };
    const next = log ?? emptyLog(owner, incarnation, fit.sum);
    const sizeBefore = next.sizeBytes;
    for (const [key, entry] of fit.writes) put(next, key, entry, nowMs);
    const { sum, seal, credential } = fit;
    Object.assign(next, { version: to, sum, seal, credential });
    if (log !== undefined) this.#moved(next, sizeBefore);
    else {
      next.floor = floor;
      if (held?.incarnation === incarnation && !held.isForgotten) next.deadAt = held.deadAt;
      this.#set(next);
    }
    // Whoever hands on more deletions than there is room for only makes this node forget them sooner.
    const before = next.sizeBytes;
    keepWithinBounds(next);
    this.#sizeBytes += next.sizeBytes - before;
    this.#collect(() => this.#sizeBytes <= LIMITS.storeBytes);
    return { kind: "applied", parts };
  }

  /** Whether all logs stay within their bound; what makes no log larger is always taken. */
  #hasBytesFor({ liveBytes, writes }: Fit, held: HeldLog | undefined): boolean {
    const growthBytes = liveBytes - liveBytesOf(held);
    const isWithin = (): boolean => this.#sizeBytes + growthBytes <= LIMITS.storeBytes;
    if (growthBytes <= 0 || isWithin()) return true;
    this.#collect(isWithin);
    return isWithin() || isLifeAlone(writes);
  }

  /** Takes tombstones out of all logs, of each the oldest first, until `isEnough` of the next one. */
  #collect(isEnough: (buriedAtMs: number) => boolean): void {
    for (const log of this.#logs.values()) {
      if (log.buriedAtMsByKey === null) continue;
      let countedBytes = log.sizeBytes;
      const count = (): void => {
        this.#sizeBytes += log.sizeBytes - countedBytes;
        countedBytes = log.sizeBytes;
      };
      collectBuried(log, (buriedAtMs) => {
        count();
        return isEnough(buriedAtMs);
      });
      count();
    }
  }

  /** Makes room for one more owner by dropping the shell of one that was forgotten. */
  #hasRoom(): boolean {
    if (this.#logs.size < LIMITS.ownersMax) return true;
    for (const log of this.#logs.values()) {
      if (!log.isForgotten) continue;
      this.#delete(log);
      return true;
    }
    return false;
  }

  #delete(log: HeldLog): void {
    this.#logs.delete(log.owner);
    this.#sums.replace(log.owner, log.term, 0);
    this.#sizeBytes -= log.sizeBytes;
  }

  #set(log: HeldLog): void {
    const before = this.#logs.get(log.owner);
    log.term = before?.term ?? 0;
    this.#logs.set(log.owner, log);
    this.#moved(log, before?.sizeBytes ?? 0);
  }

  /** Brings the sums up to date with a log that changed. */
  #moved(log: HeldLog, sizeBefore: number): void {
    // A shell counts for nothing: who forgot later, or never knew, is not to be told so each second.
    const term = log.isForgotten ? 0 : termOf(log);
    this.#sums.replace(log.owner, log.term, term);
    log.term = term;
    this.#sizeBytes += log.sizeBytes - sizeBefore;
  }
}

interface Trial {
  readonly held: HeldLog | undefined;
  /** What the parts may go on; null where they are taken as a whole only. */
  readonly base: HeldLog | null;
  readonly nowMs: number;
}

const TOO_LARGE: Applied = {
  kind: "refused",
  why: `has over ${LIMITS.entriesPerOwner} entries or ${LIMITS.ownerBytes} bytes`,
};
