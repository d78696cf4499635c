/**
 * Vip: which address a service has, agreed without a leader.
 *
 * A service's candidates are hashes of its key into the pool, so hosts that never met choose alike, and a service that
 * returns gets the address it had. Every node with a replica claims the address in its own log with a Lamport order, so
 * a claim lives as long as one claimant does. Two rules settle conflicts after a partition, the same on every node: of
 * two addresses of one service the lower (order, address) wins; of two services on one address the lower (order, key).
 * A service that loses moves to its next candidate. A low band of the pool is kept for addresses chosen by hand.
 *
 * Pure. merge.ts applies it to the records; node.ts publishes this node's claims.
 */

import { hash48 } from "../base/bytes.ts";
import { contains, numberToIpv4, type Prefix } from "../base/ip.ts";
import type { ServiceKey } from "../model/ids.ts";
import type { Claim } from "../model/kept.ts";

/** The outcome: each service's address and what it conflicts with. */
export interface Assignment {
  readonly claimByKey: ReadonlyMap<ServiceKey, Claim>;
  /** Services without an address though they claimed one, and why. */
  readonly lostByKey: ReadonlyMap<ServiceKey, string>;
}

/** Tries before the pool counts as full for a service. */
const CANDIDATES_MAX = 4096;

/** How many addresses at the start of a pool are kept for VIPs chosen by hand. */
export function lowBand(pool: Prefix): number {
  return Math.min(Math.max(16, Math.floor(pool.size / 16)), 256, Math.floor(pool.size / 2));
}

/** The service's i-th candidate: never in the low band, never the pool's last address (IPv4 broadcast). */
export function candidate(pool: Prefix, key: ServiceKey, index: number): string {
  const low = lowBand(pool);
  const usable = Math.max(1, pool.size - low - 1);
  return numberToIpv4(pool.base + low + (hash48(`${key}#${index}`) % usable));
}

/** Settles all claims known; equal claims in any order give equal outcomes. */
export function assign(claims: Iterable<Claim>, pool: Prefix): Assignment {
  const lostByKey = new Map<ServiceKey, string>();
  const bestByKey = new Map<ServiceKey, Claim>();
  for (const claim of claims) {
    if (!contains(pool, claim.address)) {
      if (!bestByKey.has(claim.key)) lostByKey.set(claim.key, outside(claim, pool));
      continue;
    }
    const best = bestByKey.get(claim.key);
    if (best === undefined || precedes(claim, best, claim.address < best.address))
      bestByKey.set(claim.key, claim);
  }
  const holderByAddress = new Map<string, Claim>();
  for (const claim of bestByKey.values()) {
    const holder = holderByAddress.get(claim.address);
    if (holder === undefined || precedes(claim, holder, claim.key < holder.key))
      holderByAddress.set(claim.address, claim);
  }
  const claimByKey = new Map<ServiceKey, Claim>();
  for (const claim of bestByKey.values()) {
    const holder = holderByAddress.get(claim.address);
    if (holder === claim) claimByKey.set(claim.key, claim);
    else lostByKey.set(claim.key, `vip ${claim.address} belongs to ${holder?.key}, which claimed it first`);
  }
  for (const key of claimByKey.keys()) lostByKey.delete(key);
  return { claimByKey, lostByKey };
}

/**
 * The claims that a node should publish for the services it has replicas of.
 *
 * @param keys  those services
 * @param assignment  all claims settled
 * @param remembered  this node's claims of an earlier run: used where nobody holds another
 * @returns a claim for each key but those for which the pool has no address left
 */
export function claimsFor(
  keys: Iterable<ServiceKey>,
  pool: Prefix,
  assignment: Assignment,
  remembered: ReadonlyMap<ServiceKey, Claim>,
): Map<ServiceKey, Claim> {
  const taken = new Set<string>();
  let highest = 0;
  for (const { address, order } of assignment.claimByKey.values()) {
    taken.add(address);
    highest = Math.max(highest, order);
  }
  const claims = new Map<ServiceKey, Claim>();
  for (const key of [...keys].sort()) {
    const kept = assignment.lostByKey.has(key) ? undefined : remembered.get(key);
    const isFree = kept !== undefined && contains(pool, kept.address) && !taken.has(kept.address);
    const claim =
      assignment.claimByKey.get(key) ?? (isFree ? kept : freeClaim(key, pool, taken, highest + 1));
    if (claim === null) continue;
    claims.set(key, claim);
    taken.add(claim.address);
  }
  return claims;
}

function freeClaim(key: ServiceKey, pool: Prefix, taken: ReadonlySet<string>, order: number): Claim | null {
  const tries = Math.min(CANDIDATES_MAX, pool.size * 8);
  for (let index = 0; index < tries; index += 1) {
    const address = candidate(pool, key, index);
    if (!taken.has(address)) return { key, address, order };
  }
  return null;
}

function precedes(one: Claim, other: Claim, atEqualOrder: boolean): boolean {
  return one.order < other.order || (one.order === other.order && atEqualOrder);
}

function outside(claim: Claim, pool: Prefix): string {
  return `vip ${claim.address} lies outside this host's pool ${pool.text}; expected one vip.pool on every host`;
}
