/**
 * Claims: the VIPs and slices this node holds: an address for each service it has replicas of, and a slice of each
 * network's range.
 *
 * What is claimed is remembered past the last replica, up to a bound, so that a service which returns, or a daemon that
 * restarts, gets back what it had. This is the one loop of the picture: claims follow from the view, and the view from
 * claims.
 *
 * Which claims are tentative: all that are new here, what is remembered from an earlier run included, since somebody
 * may have taken it meanwhile and be about to say so. Not tentative are copies of a claim that another node settled,
 * and what is claimed while nobody else is there to hear of it. Once settled a claim stays so while it is the same.
 *
 * Pure.
 */

import type { Prefix } from "../base/ip.ts";
import type { NodeId, ServiceKey } from "../model/ids.ts";
import type { Claim, KeptSlice, KeptState } from "../model/kept.ts";
import { LIMITS } from "../model/limits.ts";
import { recordKey, renderRecord, type SubnetRecord, type VipRecord } from "../model/record.ts";

import { Quarantine } from "./quarantine.ts";
import { Settling } from "./settling.ts";
import { claimSlice, sliceName, type SliceAssignment } from "./subnet.ts";
import { claimsFor, type Assignment } from "./vip.ts";

/** What claims need to survive a restart. */
export type KeptClaims = Pick<KeptState, "claims" | "slices" | "releases">;

/** What the view says about claims, this node's own included. */
export interface Claimed {
  readonly assignment: Assignment;
  /** By network, for each there is: this node claims a slice of all of them. */
  readonly slices: ReadonlyMap<string, SliceAssignment>;
}

/** What a claim claims, and whether it may be relied on. */
interface Held {
  /** An address, or the number of a slice. */
  readonly what: string;
  readonly settled: boolean;
}

type Writes = Map<string, string | null>;

/** One node's claims. */
export class Claims {
  readonly #self: NodeId;
  readonly #pool: Prefix;
  readonly #claimByKey: Map<ServiceKey, Claim>;
  readonly #sliceByNetwork: Map<string, KeptSlice>;
  readonly #quarantine: Quarantine;
  readonly #settling = new Settling();
  /** What this node's log holds, by the key of the record. */
  #heldByKey = new Map<string, Held>();
  #last: { readonly keys: ReadonlySet<ServiceKey>; readonly claimed: Claimed } | null = null;
  #kept: KeptClaims | null = null;
  #releasesRevision = 0;

  /** @param options  `kept`: of an earlier run, each list with the least recent first */
  constructor(options: {
    readonly self: NodeId;
    readonly pool: Prefix;
    readonly kept: KeptClaims;
    readonly nowMs: number;
  }) {
    const { self, pool, kept, nowMs } = options;
    this.#self = self;
    this.#pool = pool;
    this.#claimByKey = new Map(kept.claims.map((claim) => [claim.key, claim]));
    this.#sliceByNetwork = new Map(kept.slices.map((slice) => [slice.network, slice]));
    this.#quarantine = new Quarantine(kept.releases, nowMs);
  }

  /** Everything worth keeping on disk, the least recent first; the same object while nothing changed. */
  get kept(): KeptClaims {
    if (this.#kept !== null && this.#releasesRevision === this.#quarantine.revision) return this.#kept;
    this.#releasesRevision = this.#quarantine.revision;
    this.#kept = {
      claims: [...this.#claimByKey.values()],
      slices: [...this.#sliceByNetwork.values()],
      releases: this.#quarantine.releases,
    };
    return this.#kept;
  }

  /**
   * Claims an address for each of these services and a slice of each network, and lets go of all others. To be called
   * after each merge, also when no service runs here: it sees then what others let go.
   *
   * @param wanted  `isAlone`: no other member is alive, so nobody can object
   * @returns the writes to this node's log: a record's key and body, null for a claim let go; empty when nothing that
   * claims depend on has changed since the last time
   */
  update(
    wanted: { readonly keys: ReadonlySet<ServiceKey>; readonly isAlone: boolean },
    claimed: Claimed,
    nowMs: number,
  ): Writes {
    if (this.#isAsBefore(wanted.keys, claimed)) return new Map();
    this.#last = { keys: wanted.keys, claimed };
    this.#quarantine.observe(holders(claimed), nowMs);
    const writes: Writes = new Map();
    const heldByKey = new Map<string, Held>();
    const hold = (key: string, what: string, isSettled: boolean): boolean => {
      const settled = this.#isSettled({ key, what, isSettled: isSettled || wanted.isAlone }, nowMs);
      heldByKey.set(key, { what, settled });
      return settled;
    };
    for (const record of this.#vips(wanted.keys, claimed, nowMs)) {
      const settled = hold(recordKey(record), record.address, record.settled);
      writes.set(recordKey(record), renderRecord({ ...record, settled }));
    }
    for (const record of this.#slices(claimed, nowMs)) {
      const settled = hold(recordKey(record), String(record.index), record.settled);
      writes.set(recordKey(record), renderRecord({ ...record, settled }));
    }
    for (const key of this.#heldByKey.keys()) {
      if (heldByKey.has(key)) continue;
      writes.set(key, null);
      this.#settling.end(key);
    }
    this.#heldByKey = heldByKey;
    return writes;
  }

  /** True while claims of this node wait for others to have applied them. */
  get isTentative(): boolean {
    return this.#settling.isWaiting;
  }

  /**
   * The writes of `update` are in this node's log.
   *
   * @param version  the version of the log since then
   */
  written(version: number): void {
    if (this.#settling.isWaiting) this.#settling.written(version);
  }

  /**
   * Looks whether tentative claims are settled by now; to be called some ten times a second.
   *
   * @param lagging  the names of alive members that have not applied a version of this node's log
   * @returns true when there are some: then `update` has to be called, and its writes be written
   */
  settle(lagging: (version: number) => readonly string[], nowMs: number): boolean {
    if (!this.#settling.isWaiting) return false;
    const settled = this.#settling.settle(lagging, nowMs);
    for (const key of settled) {
      const held = this.#heldByKey.get(key);
      if (held !== undefined) this.#heldByKey.set(key, { ...held, settled: true });
    }
    if (settled.length > 0) this.#last = null;
    return settled.length > 0;
  }

  /** This node's records of VIPs; `settled` says whether another node has settled the same. */
  *#vips(keys: ReadonlySet<ServiceKey>, { assignment }: Claimed, nowMs: number): Iterable<VipRecord> {
    const claims = claimsFor(keys, this.#pool, assignment, {
      remembered: this.#claimByKey,
      releasedAtMs: (address, key) => this.#quarantine.releasedAtMs(address, key, nowMs),
    });
    for (const [key, claim] of claims) {
      if (isNews(this.#claimByKey.get(key), claim)) this.#kept = null;
      remember(this.#claimByKey, key, claim);
      const [network = "", service = ""] = key.split("/");
      const settled = assignment.settledKeys.has(key);
      yield { kind: "vip", network, service, address: claim.address, order: claim.order, settled };
    }
    forgetOldest(this.#claimByKey, LIMITS.claimsRemembered);
  }

  *#slices({ slices }: Claimed, nowMs: number): Iterable<SubnetRecord> {
    for (const [network, assignment] of slices) {
      const slice = claimSlice(this.#self, assignment, {
        remembered: this.#sliceByNetwork.get(network),
        releasedAtMs: (index) => this.#quarantine.releasedAtMs(sliceName(network, index), this.#self, nowMs),
      });
      if (slice === null) continue;
      if (isNews(this.#sliceByNetwork.get(network), slice)) this.#kept = null;
      remember(this.#sliceByNetwork, network, slice);
      // Nobody else can have settled it: a slice has one claimant.
      yield { kind: "subnet", ...slice, settled: false };
    }
    forgetOldest(this.#sliceByNetwork, LIMITS.slicesRemembered);
  }

  #isSettled(claim: { key: string; what: string; isSettled: boolean }, nowMs: number): boolean {
    const { key, what } = claim;
    const held = this.#heldByKey.get(key);
    const isSame = held?.what === what;
    const isSettled = claim.isSettled || (isSame && held.settled);
    if (isSettled) this.#settling.end(key);
    else if (!isSame) this.#settling.begin(key, nowMs);
    return isSettled;
  }

  /** Invariant: equal wishes and equal pictures make equal writes, but for time, which only settles claims. */
  #isAsBefore(keys: ReadonlySet<ServiceKey>, { assignment, slices }: Claimed): boolean {
    if (this.#last === null) return false;
    const { keys: lastKeys, claimed } = this.#last;
    if (assignment !== claimed.assignment) return false;
    if (slices !== claimed.slices && slices.size + claimed.slices.size > 0) return false;
    return keys.size === lastKeys.size && [...keys].every((key) => lastKeys.has(key));
  }
}

/** Who holds what, by the names that quarantine knows. */
function holders({ assignment, slices }: Claimed): ReadonlyMap<string, string> {
  if (slices.size === 0) return assignment.claimantByAddress;
  const holderByName = new Map<string, string>(assignment.claimantByAddress);
  for (const [network, { nodeByIndex }] of slices)
    for (const [index, node] of nodeByIndex) holderByName.set(sliceName(network, index), node);
  return holderByName;
}

/** Whether what is remembered has to be written down anew; that one is used again, though, is not worth it. */
function isNews<T extends Claim | KeptSlice>(known: T | undefined, now: T): boolean {
  return known === undefined || JSON.stringify(known) !== JSON.stringify(now);
}

function remember<T>(byKey: Map<string, T>, key: string, value: T): void {
  // Taken out first: a key that is set again would keep its place among the old ones.
  byKey.delete(key);
  byKey.set(key, value);
}

function forgetOldest(byKey: Map<string, unknown>, countMax: number): void {
  let excess = byKey.size - countMax;
  for (const key of byKey.keys()) {
    if (excess <= 0) return;
    byKey.delete(key);
    excess -= 1;
  }
}
