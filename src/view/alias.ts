/**
 * Alias: addresses that a service had a while ago, still served here.
 *
 * When a partition heals, a service that was claimed on both sides keeps one of its two addresses. Clients beside the
 * other one have it in their caches and pools, so for ten minutes it stays routable on every host that had advertised
 * it, though DNS tells it to nobody. An address that another service holds is never an alias: who comes there means
 * that one.
 *
 * Pure: the memory of one node, told each new assignment.
 */

import type { ServiceKey } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Assignment } from "./vip.ts";

/** How long an address that was advertised stays routable: as long as nobody else may have it (quarantine.ts). */
export const ALIAS_MS = 600_000;

interface Alias {
  readonly key: ServiceKey;
  readonly untilMs: number;
}

/** The aliases that one node serves. */
export class Aliases {
  /** The one that ends first comes first: all of them live equally long. */
  readonly #aliasByAddress = new Map<string, Alias>();
  #addressByKey: ReadonlyMap<ServiceKey, string> = new Map();
  #last: Assignment | null = null;

  /** When the next alias ends; null when there is none. */
  get dueAtMs(): number | null {
    for (const { untilMs } of this.#aliasByAddress.values()) return untilMs;
    return null;
  }

  /**
   * Takes the newest assignment.
   *
   * @returns the aliases of each service that has some, the newest last
   */
  update(assignment: Assignment, nowMs: number): ReadonlyMap<ServiceKey, readonly string[]> {
    if (assignment !== this.#last) this.#compare(assignment, nowMs);
    this.#last = assignment;
    for (const [address, { untilMs }] of this.#aliasByAddress) {
      if (untilMs > nowMs) break;
      this.#aliasByAddress.delete(address);
    }
    return this.#bounded();
  }

  #compare(assignment: Assignment, nowMs: number): void {
    const addressByKey = new Map(Array.from(assignment.claimByKey, ([key, { address }]) => [key, address]));
    for (const [key, was] of this.#addressByKey) {
      const now = addressByKey.get(key);
      if (now === undefined || now === was) continue;
      this.#aliasByAddress.delete(was);
      this.#aliasByAddress.set(was, { key, untilMs: nowMs + ALIAS_MS });
    }
    // Not whoever claims it: a claim that lost may stand for a while yet, and leads nowhere.
    for (const address of addressByKey.values()) this.#aliasByAddress.delete(address);
    this.#addressByKey = addressByKey;
  }

  /** Drops the oldest past the bounds: who moves a service again and again must not fill a host's listeners. */
  #bounded(): ReadonlyMap<ServiceKey, readonly string[]> {
    const addressesByKey = new Map<ServiceKey, string[]>();
    let excess = this.#aliasByAddress.size - LIMITS.aliasVips;
    for (const [address, { key }] of this.#aliasByAddress) {
      excess -= 1;
      if (excess >= 0) {
        this.#aliasByAddress.delete(address);
        continue;
      }
      const addresses = addressesByKey.get(key) ?? [];
      addressesByKey.set(key, addresses);
      addresses.push(address);
      if (addresses.length <= LIMITS.aliasVipsPerService) continue;
      this.#aliasByAddress.delete(addresses.shift() ?? "");
    }
    return addressesByKey;
  }
}
