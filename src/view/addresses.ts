/**
 * Addresses: the VIPs of all services, settled anew only when other claims count than before.
 *
 * Most changes of a cluster are no changes of claims, and every claimant after the first copies what is claimed, so
 * the settlement stands for long and is one object as long as it does: others compare it by ===. What each service
 * gets of it is told by service, so that only those are put together anew for which it came out otherwise.
 *
 * Pure: the memory of one node. vip.ts settles, alias.ts remembers addresses that were given up.
 */

import type { Prefix } from "../base/ip.ts";
import type { ServiceKey } from "../model/ids.ts";

import { Aliases } from "./alias.ts";
import { assign, vipProblems, type Assignment, type PublishedClaim } from "./vip.ts";

/** What is settled about one service's address, should it be one that has any. */
export interface Address {
  /** Null while it holds none. */
  readonly vip: string | null;
  readonly vipTentative: boolean;
  readonly aliasVips: readonly string[];
}

const NONE: readonly string[] = [];

/** Remembers the claims that count, and what they come to. */
export class Addresses {
  readonly #claimsByKey = new Map<ServiceKey, readonly PublishedClaim[]>();
  readonly #aliases = new Aliases();
  #aliasesByKey: ReadonlyMap<ServiceKey, readonly string[]> = new Map();
  #pool: Prefix;
  #assignment: Assignment;
  #isDue = false;

  constructor(pool: Prefix) {
    this.#pool = pool;
    this.#assignment = assign([], pool);
  }

  /** As it was settled last; the same object while the claims that count are the same. */
  get assignment(): Assignment {
    return this.#assignment;
  }

  /** When an alias ends, and `settle` has to be called for that alone; null when there is none. */
  get dueAtMs(): number | null {
    return this.#aliases.dueAtMs;
  }

  /** Takes the claims of one service; none when it is gone. */
  setClaims(key: ServiceKey, claims: readonly PublishedClaim[]): void {
    if (claims.length > 0) this.#claimsByKey.set(key, claims);
    else this.#claimsByKey.delete(key);
    this.#isDue = true;
  }

  /**
   * Settles what changed.
   *
   * @returns services for which something came out otherwise than before, among them some that are gone; null when
   * that may be any
   */
  settle(pool: Prefix, nowMs: number): ReadonlySet<ServiceKey> | null {
    const touched = new Set<ServiceKey>();
    const before = { pool: this.#pool, assignment: this.#assignment };
    if (this.#isDue || pool.text !== before.pool.text) {
      this.#isDue = false;
      this.#pool = pool;
      this.#assignment = assign(Array.from(this.#claimsByKey.values()).flat(), pool);
      addDifferences(before.assignment, this.#assignment, touched);
    }
    this.#settleAliases(nowMs, touched);
    // A service without a claim is told that the pool is used up.
    const isUsedUp = this.#assignment.freeCount <= 0;
    const concernsAll = pool.text !== before.pool.text || isUsedUp !== before.assignment.freeCount <= 0;
    return concernsAll ? null : touched;
  }

  /** What a service has. */
  of(key: ServiceKey): Address {
    return {
      vip: this.#assignment.claimByKey.get(key)?.address ?? null,
      vipTentative: !this.#assignment.settledKeys.has(key),
      aliasVips: this.#aliasesByKey.get(key) ?? NONE,
    };
  }

  /** The order of the claim by which a service holds its address; Infinity for none. */
  order(key: ServiceKey): number {
    return this.#assignment.claimByKey.get(key)?.order ?? Number.POSITIVE_INFINITY;
  }

  /** What is wrong with a service's address, in words. */
  problems(key: ServiceKey): readonly string[] {
    return vipProblems(key, this.#assignment, this.#pool);
  }

  #settleAliases(nowMs: number, touched: Set<ServiceKey>): void {
    const before = this.#aliasesByKey;
    const after = this.#aliases.update(this.#assignment, nowMs);
    this.#aliasesByKey = after;
    for (const [key, vips] of before) if (!isSameList(vips, after.get(key))) touched.add(key);
    for (const [key, vips] of after) if (!isSameList(vips, before.get(key))) touched.add(key);
  }
}

/** Adds the services for which two settlements differ. */
function addDifferences(before: Assignment, after: Assignment, touched: Set<ServiceKey>): void {
  for (const [key, { address, order }] of after.claimByKey) {
    const last = before.claimByKey.get(key);
    const isSame = last !== undefined && last.address === address && last.order === order;
    if (!isSame || before.settledKeys.has(key) !== after.settledKeys.has(key)) touched.add(key);
  }
  for (const key of before.claimByKey.keys()) if (!after.claimByKey.has(key)) touched.add(key);
  for (const texts of ["lostByKey", "contestedByKey", "outsideByKey"] as const) {
    addOtherTexts(before[texts], after[texts], touched);
    addOtherTexts(after[texts], before[texts], touched);
  }
}

function addOtherTexts(
  one: ReadonlyMap<ServiceKey, string>,
  other: ReadonlyMap<ServiceKey, string>,
  touched: Set<ServiceKey>,
): void {
  for (const [key, text] of one) if (other.get(key) !== text) touched.add(key);
}

function isSameList(one: readonly string[], other: readonly string[] | undefined): boolean {
  return one.length === other?.length && one.every((part, index) => part === other[index]);
}
