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
import { ORDER_MAX } from "../model/record.ts";

/** The outcome: each service's address and what it conflicts with. */
export interface Assignment {
  readonly claimByKey: ReadonlyMap<ServiceKey, Claim>;
  /** Services without an address though they claimed one, and why. */
  readonly lostByKey: ReadonlyMap<ServiceKey, string>;
  /** Services claimed outside this host's pool, and where: some host has another `vip.pool`, so names differ there. */
  readonly outsideByKey: ReadonlyMap<ServiceKey, string>;
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

/**
 * Settles all claims known; equal claims in any order give equal outcomes.
 *
 * Every claim in turn, by right: it is granted when its service has no address yet and nobody has that one. So a claim
 * that lost does not bar a later one of its service; it may be a dead node's, who will not take it back.
 */
export function assign(claims: Iterable<Claim>, pool: Prefix): Assignment {
  const claimByKey = new Map<ServiceKey, Claim>();
  const lostByKey = new Map<ServiceKey, string>();
  const outsideByKey = new Map<ServiceKey, string>();
  const holderByAddress = new Map<string, ServiceKey>();
  for (const claim of byRight(claims)) {
    const { key, address } = claim;
    const isInside = contains(pool, address);
    if (!isInside && !outsideByKey.has(key)) outsideByKey.set(key, outside(claim, pool));
    if (claimByKey.has(key)) continue;
    const holder = holderByAddress.get(address);
    if (holder === undefined && isInside) {
      claimByKey.set(key, claim);
      holderByAddress.set(address, key);
      lostByKey.delete(key);
    } else if (!lostByKey.has(key)) {
      const taken = `vip ${address} belongs to ${holder}, which claimed it first`;
      lostByKey.set(key, holder === undefined ? outside(claim, pool) : taken);
    }
  }
  return { claimByKey, lostByKey, outsideByKey };
}

/** Each claim once, in the order in which they are served: the lower order first, then the lower key, then address. */
function byRight(claims: Iterable<Claim>): Claim[] {
  const firstByText = new Map<string, Claim>();
  for (const claim of claims) {
    const text = `${claim.key} ${claim.address}`;
    const first = firstByText.get(text);
    if (first === undefined || claim.order < first.order) firstByText.set(text, claim);
  }
  return [...firstByText.values()].sort((one, other) => {
    return (
      one.order - other.order || compareText(one.key, other.key) || compareText(one.address, other.address)
    );
  });
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
      assignment.claimByKey.get(key) ??
      (isFree ? kept : freeClaim(key, pool, taken, Math.min(highest + 1, ORDER_MAX)));
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

function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

function outside(claim: Claim, pool: Prefix): string {
  const where = `vip ${claim.address} lies outside this host's pool ${pool.text}`;
  return `${where}; expected one vip.pool on every host`;
}
