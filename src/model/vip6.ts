/**
 * Vip6: the IPv6 address of a service.
 *
 * Sixty-three bits are so many that a hash of the service's name needs no agreement: of 10^11 clusters with ten
 * thousand services each, one has two that meet. So there are no claims and nothing to settle: every host with the same
 * pool has the same address, at once and for good.
 *
 * Pure.
 */

import { createHash } from "node:crypto";

import { addressAt6, contains6, ipv6ToNumber, type Prefix6 } from "../base/ip6.ts";

import { serviceKey } from "./ids.ts";

/** How long the prefix of a pool is: the rest is the hash. */
export const POOL6_BITS = 64;

/** Which services have an IPv6 address on this node, and out of what. */
export interface Vip6Rule {
  /** A /64. */
  readonly pool: Prefix6;
  /** True for all services; false for those of networks that have an IPv6 range. */
  readonly isEvery: boolean;
}

/** The IPv6 address of a service, canonical. */
export function vip6Of(pool: Prefix6, network: string, service: string): string {
  const hash = createHash("sha256")
    .update(`vip6 ${serviceKey(network, service)}`)
    .digest()
    .readBigUInt64BE();
  // The upper half: the lower is left to be given by hand (`::1`, `::53`).
  return addressAt6(pool, hash | (1n << 63n));
}

/** Whether an address may be a service's: in the pool, and not in the half that is left to people. */
export function isVip6(pool: Prefix6, address: string): boolean {
  return contains6(pool, address) && ((ipv6ToNumber(address) >> 63n) & 1n) === 1n;
}

/** Whether two rules give the same services the same addresses. */
export function isSameVip6(one: Vip6Rule | null, other: Vip6Rule | null): boolean {
  return one?.pool.text === other?.pool.text && one?.isEvery === other?.isEvery;
}
