/**
 * Ip6: IPv6 prefixes, and the private ones that a cluster makes for itself.
 *
 * A prefix is a number and a count of bits, as in ip.ts, but its numbers do not fit 53 bits and so are bigint: this is
 * for plans, not for what is done a packet. A cluster's prefixes come from a hash of its id (RFC 4193 3.2.2), so every
 * host makes the same ones and nobody has to agree on them: 40 bits for the cluster, 16 for the subnet, and a slice of
 * a subnet is a /80 by its number. Subnet 0 is the one of VIPs.
 *
 * Pure.
 */

import { createHash } from "node:crypto";

import { failed, success, type Result } from "./failure.ts";
import { canonicalIpv6, groupsOf, isIpv6 } from "./ip.ts";

/** An IPv6 prefix; `text` is canonical (RFC 5952). */
export interface Prefix6 {
  readonly text: string;
  /** Its first address. */
  readonly base: bigint;
  readonly bits: number;
}

const ADDRESS_BITS = 128;
const SUBNET_BITS = 64;
const SLICE_BITS = 80;

/** An IPv6 address as a 128-bit number; the text must be a valid one. A zone is left out. */
export function ipv6ToNumber(address: string): bigint {
  return groupsOf(address).reduce((sum, group) => sum * 0x1_0000n + BigInt(group), 0n);
}

/** A 128-bit number as text, canonical. */
export function numberToIpv6(value: bigint): string {
  const groups = [7n, 6n, 5n, 4n, 3n, 2n, 1n, 0n].map((at) => ((value >> (at * 16n)) & 0xffffn).toString(16));
  return canonicalIpv6(groups.join(":"));
}

/** Parses `fd12:3456:789a::/64`; the host bits must be zero, and there must be no zone. */
export function parsePrefix6(text: string): Result<Prefix6> {
  const match = /^([0-9a-fA-F:.]{2,45})\/(0|[1-9]\d{0,2})$/.exec(text);
  const address = match?.[1] ?? "";
  const bits = Number(match?.[2] ?? Number.NaN);
  if (!isIpv6(address) || !(bits <= ADDRESS_BITS)) {
    return failed("invalid", `prefix is "${text}"; expected an IPv6 prefix such as fd12:3456:789a::/64`);
  }
  const base = ipv6ToNumber(address);
  const first = firstOf(base, bits);
  if (first === base) return success({ text: `${canonicalIpv6(address)}/${bits}`, base, bits });
  return failed("invalid", `prefix is "${text}"; expected its first address, ${numberToIpv6(first)}/${bits}`);
}

/** True when the IPv6 address, without a zone, lies in the prefix; false for anything that is not IPv6. */
export function contains6({ base, bits }: Prefix6, address: string): boolean {
  return isIpv6(address) && !address.includes("%") && firstOf(ipv6ToNumber(address), bits) === base;
}

/** True when two prefixes share an address. */
export function overlaps6(one: Prefix6, other: Prefix6): boolean {
  const bits = Math.min(one.bits, other.bits);
  return firstOf(one.base, bits) === firstOf(other.base, bits);
}

/** The address `offset` after a prefix's first, canonical; at most as many as it has. */
export function addressAt6({ base }: Prefix6, offset: bigint): string {
  return numberToIpv6(base + offset);
}

/**
 * A private /64 of a cluster (RFC 4193 3.1): `fd`, 40 bits of its id's hash, the subnet.
 *
 * @param subnet  0 to 65535: 0 for VIPs, else the low 16 bits of a network's number on the wire
 */
export function ulaPrefix(clusterId: string, subnet: number): string {
  const globalId = createHash("sha256").update(`ula ${clusterId}`).digest("hex").slice(0, 10);
  const base = BigInt(`0xfd${globalId}`) * 0x1_0000n + BigInt(subnet & 0xffff);
  return `${numberToIpv6(base << BigInt(ADDRESS_BITS - SUBNET_BITS))}/${SUBNET_BITS}`;
}

/**
 * The /80 of a network's slice: its number is the fifth group.
 *
 * @param range6  a valid /64
 * @param index  0 to 65535
 */
export function slicePrefix6(range6: string, index: number): string {
  const [address = ""] = range6.split("/");
  const base = ipv6ToNumber(address) + (BigInt(index & 0xffff) << BigInt(ADDRESS_BITS - SLICE_BITS));
  return `${numberToIpv6(base)}/${SLICE_BITS}`;
}

/** The host's own address in a slice: the first after the slice's own. @param prefix6  a valid prefix */
export function gateway6(prefix6: string): string {
  const [address = ""] = prefix6.split("/");
  return numberToIpv6(ipv6ToNumber(address) + 1n);
}

function firstOf(address: bigint, bits: number): bigint {
  const hostBits = BigInt(ADDRESS_BITS - bits);
  return (address >> hostBits) << hostBits;
}
