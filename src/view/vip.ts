/**
 * Vip: which address a service has, agreed without a leader.
 *
 * A service's candidates are hashes of its key into the pool, so hosts that never met choose alike, and a service that
 * returns gets the address it had. Every node with a replica claims the address in its own log with a Lamport order, so
 * a claim lives as long as one claimant does. Two rules settle conflicts after a partition, the same on every node: of
 * two addresses of one service the lower (order, address) wins; of two services on one address the lower (order, key).
 * A service that loses moves to its next candidate. A low band of the pool is kept for addresses chosen by hand.
 *
 * A service's address may be relied on once one of those who claim it says so (settling.ts): from then on nobody who
 * can be heard has another claim to it.
 *
 * Pure. merge.ts applies it to the records; claims.ts makes this node's claims of it.
 */

import { hash48 } from "../base/bytes.ts";
import { contains, ipv4ToNumber, numberToIpv4, type Prefix } from "../base/ip.ts";
import { compareText } from "../base/sorted.ts";
import type { ServiceKey } from "../model/ids.ts";
import type { Claim } from "../model/kept.ts";
import { ORDER_MAX } from "../model/record.ts";

import { chooseFree } from "./free.ts";

/** A claim as some node publishes it. */
export interface PublishedClaim extends Claim {
  /** Its claimant knows that every alive member has heard of it. */
  readonly settled: boolean;
}

/** The outcome: each service's address and what it conflicts with. */
export interface Assignment {
  readonly claimByKey: ReadonlyMap<ServiceKey, Claim>;
  /** Services whose address may be relied on. */
  readonly settledKeys: ReadonlySet<ServiceKey>;
  /**
   * Every address of the pool that is claimed, and for whom: the service that has it, or, where none does, one that
   * claims it besides the one it has. A new claim leaves them all alone.
   */
  readonly claimantByAddress: ReadonlyMap<string, ServiceKey>;
  /** The highest order of all claims; 0 for none. */
  readonly orderMax: number;
  /** How many addresses of the pool nobody claims, those kept for choice by hand left out. */
  readonly freeCount: number;
  /** Services without an address though they claimed one, and why. */
  readonly lostByKey: ReadonlyMap<ServiceKey, string>;
  /** Services whose address such a one claims, too, and has to move away from. */
  readonly contestedByKey: ReadonlyMap<ServiceKey, string>;
  /** Services claimed outside this host's pool, and where: some host has another `vip.pool`, so names differ there. */
  readonly outsideByKey: ReadonlyMap<ServiceKey, string>;
}

/** How many addresses at the start of a pool are kept for VIPs chosen by hand. */
export function lowBand(pool: Prefix): number {
  return Math.min(Math.max(16, Math.floor(pool.size / 16)), 256, Math.floor(pool.size / 2));
}

/** How many addresses services are given: without the low band and the pool's last address (IPv4 broadcast). */
export function usableCount(pool: Prefix): number {
  return Math.max(1, pool.size - lowBand(pool) - 1);
}

/** The service's i-th candidate: never in the low band, never the pool's last address. */
export function candidate(pool: Prefix, key: ServiceKey, index: number): string {
  return addressAt(pool, candidateAt(pool, key, index));
}

/**
 * Settles all claims known; equal claims in any order give equal outcomes.
 *
 * Every claim in turn, by right: it is granted when its service has no address yet and nobody has that one. So a claim
 * that lost does not bar a later one of its service; it may be a dead node's, who will not take it back.
 */
export function assign(claims: Iterable<PublishedClaim>, pool: Prefix): Assignment {
  const claimByKey = new Map<ServiceKey, PublishedClaim>();
  const lossByKey = new Map<ServiceKey, Loss>();
  const outsideByKey = new Map<ServiceKey, string>();
  const holderByAddress = new Map<string, ServiceKey>();
  const idle: Claim[] = [];
  let orderMax = 0;
  for (const claim of byRight(claims)) {
    const { key, address, order } = claim;
    orderMax = Math.max(orderMax, order);
    const isInside = contains(pool, address);
    if (!isInside && !outsideByKey.has(key)) outsideByKey.set(key, outside(claim, pool));
    const holder = holderByAddress.get(address);
    if (claimByKey.has(key)) {
      if (isInside) idle.push(claim);
    } else if (holder === undefined && isInside) {
      claimByKey.set(key, claim);
      holderByAddress.set(address, key);
      lossByKey.delete(key);
    } else if (!lossByKey.has(key)) {
      lossByKey.set(key, { address, holder, text: whyLost(claim, holder, pool) });
    }
  }
  const claimantByAddress = holderByAddress;
  for (const { key, address } of idle)
    if (!claimantByAddress.has(address)) claimantByAddress.set(address, key);
  return {
    claimByKey: new Map(
      Array.from(claimByKey, ([key, { address, order }]) => [key, { key, address, order }]),
    ),
    settledKeys: new Set(
      Array.from(claimByKey.values()).flatMap(({ key, settled }) => (settled ? [key] : [])),
    ),
    claimantByAddress,
    orderMax,
    freeCount: usableCount(pool) - countUsable(pool, claimantByAddress.keys()),
    lostByKey: new Map(Array.from(lossByKey, ([key, { text }]) => [key, text])),
    contestedByKey: contested(lossByKey),
    outsideByKey,
  };
}

/**
 * What is wrong with the address of a service that is to have one, in words; a conflict is told on both sides. What
 * concerns one address begins with `vip `, what concerns the whole pool with `vip.pool `.
 */
export function vipProblems(key: ServiceKey, assignment: Assignment, pool: Prefix): string[] {
  const { claimByKey, lostByKey, contestedByKey, outsideByKey, freeCount } = assignment;
  const isUsedUp = !claimByKey.has(key) && freeCount <= 0;
  const texts = [lostByKey.get(key), outsideByKey.get(key), contestedByKey.get(key)];
  return [...new Set([...texts, isUsedUp ? usedUp(pool) : undefined])].filter((text) => text !== undefined);
}

/** Told of an address that somebody else let go lately: when that was, null for one that is free. */
export type ReleasedAtMs = (address: string, key: ServiceKey) => number | null;

/**
 * The claims that a node should publish for the services it has replicas of.
 *
 * @param keys  those services
 * @param assignment  all claims settled
 * @param own  what else this node knows: its claims of an earlier run, used where nobody holds another, and which
 * addresses were let go lately
 * @returns a claim for each key but those for which the pool has no address left
 */
export function claimsFor(
  keys: Iterable<ServiceKey>,
  pool: Prefix,
  assignment: Assignment,
  own: { readonly remembered: ReadonlyMap<ServiceKey, Claim>; readonly releasedAtMs: ReleasedAtMs },
): Map<ServiceKey, Claim> {
  const { claimByKey, lostByKey, claimantByAddress, orderMax } = assignment;
  // Not one order for each: services claimed together are told apart by their keys.
  const order = Math.min(orderMax + 1, ORDER_MAX);
  const chosen = new Set<string>();
  let freeCount = assignment.freeCount;
  const isTaken = (address: string): boolean => claimantByAddress.has(address) || chosen.has(address);
  const claims = new Map<ServiceKey, Claim>();
  for (const key of [...keys].sort()) {
    const granted = claimByKey.get(key);
    if (granted !== undefined) {
      claims.set(key, granted);
      continue;
    }
    const kept = lostByKey.has(key) ? undefined : own.remembered.get(key);
    const isFree =
      kept !== undefined &&
      contains(pool, kept.address) &&
      !isTaken(kept.address) &&
      own.releasedAtMs(kept.address, key) === null;
    const fresh = isFree || freeCount <= 0 ? null : freeAddress(key, pool, { isTaken, ...own });
    const claim = isFree ? kept : fresh === null ? null : { key, address: fresh, order };
    if (claim === null) continue;
    claims.set(key, claim);
    chosen.add(claim.address);
    freeCount -= countUsable(pool, [claim.address]);
  }
  return claims;
}

function freeAddress(
  key: ServiceKey,
  pool: Prefix,
  known: { readonly isTaken: (address: string) => boolean; readonly releasedAtMs: ReleasedAtMs },
): string | null {
  const number = chooseFree({
    size: usableCount(pool),
    candidate: (index) => candidateAt(pool, key, index),
    isTaken: (number) => known.isTaken(addressAt(pool, number)),
    releasedAtMs: (number) => known.releasedAtMs(addressAt(pool, number), key),
  });
  return number === null ? null : addressAt(pool, number);
}

/** The i-th candidate as a number below `usableCount`. */
function candidateAt(pool: Prefix, key: ServiceKey, index: number): number {
  return hash48(`${key}#${index}`) % usableCount(pool);
}

function addressAt(pool: Prefix, number: number): string {
  return numberToIpv4(pool.base + lowBand(pool) + number);
}

/** How many of these addresses are ones that services are given. */
function countUsable(pool: Prefix, addresses: Iterable<string>): number {
  const first = pool.base + lowBand(pool);
  const end = first + usableCount(pool);
  let count = 0;
  for (const address of addresses) {
    const number = ipv4ToNumber(address);
    if (number >= first && number < end) count += 1;
  }
  return count;
}

/** Each claim once, in the order in which they are served: the lower order first, then the lower key, then address. */
function byRight(claims: Iterable<PublishedClaim>): PublishedClaim[] {
  const firstByText = new Map<string, PublishedClaim>();
  for (const claim of claims) {
    const text = `${claim.key} ${claim.address}`;
    const first = firstByText.get(text);
    const isFirst = first === undefined || claim.order < first.order;
    const settled = claim.settled || first?.settled === true;
    const kept = isFirst ? claim : first;
    if (kept !== first || kept.settled !== settled)
      firstByText.set(text, kept.settled === settled ? kept : { ...kept, settled });
  }
  return [...firstByText.values()].sort((one, other) => {
    return (
      one.order - other.order || compareText(one.key, other.key) || compareText(one.address, other.address)
    );
  });
}

/** What a service claimed and did not get, and why. */
interface Loss {
  readonly address: string;
  readonly holder: ServiceKey | undefined;
  readonly text: string;
}

function contested(lossByKey: ReadonlyMap<ServiceKey, Loss>): Map<ServiceKey, string> {
  const losersByHolder = new Map<ServiceKey, ServiceKey[]>();
  for (const [key, { holder }] of lossByKey) {
    if (holder === undefined) continue;
    const losers = losersByHolder.get(holder);
    if (losers === undefined) losersByHolder.set(holder, [key]);
    else losers.push(key);
  }
  return new Map(
    Array.from(losersByHolder, ([holder, losers]) => {
      const [first = "", ...rest] = losers.toSorted();
      const others = rest.length === 0 ? first : `${first} and ${rest.length} more`;
      const address = lossByKey.get(first)?.address ?? "";
      return [holder, `vip ${address} is claimed for ${others}, too, which has to move`];
    }),
  );
}

function whyLost(claim: Claim, holder: ServiceKey | undefined, pool: Prefix): string {
  return holder === undefined
    ? outside(claim, pool)
    : `vip ${claim.address} belongs to ${holder}, which claimed it first`;
}

function outside(claim: Claim, pool: Prefix): string {
  const where = `vip ${claim.address} lies outside this host's pool ${pool.text}`;
  return `${where}; expected one vip.pool on every host`;
}

function usedUp(pool: Prefix): string {
  const count = usableCount(pool);
  const remedy =
    "set a larger vip.pool, the same on every host, or set skein.endpoint-mode=dnsrr on services";
  return `vip.pool ${pool.text} is used up: services hold all ${count} of its addresses; ${remedy}`;
}
