/**
 * Far end: whether an address that a member says of itself may be the other end of a tunnel.
 *
 * A member says where it is, and it may lie or be set up wrongly. What is sent there must reach one host and not all of
 * a LAN, nor this host itself, nor go round in a network of ours. That it is truly the member's nobody can tell.
 *
 * Pure.
 */

import { ipv4ToNumber, isIpv4, isLocalToHost, parsePrefix, type Prefix } from "../base/ip.ts";
import type { View } from "../model/view.ts";

/** What this host knows of itself and of the networks. */
export interface NearEnd {
  /** IPv4 address of this host on the underlay; null where it has none. */
  readonly own: string | null;
  /** Of all networks of ours. */
  readonly ranges: readonly Prefix[];
  /** What this host's routes lead to: of these the first and the last address are no host's (RFC 919 7). */
  readonly prefixes: readonly Prefix[];
}

const MULTICAST_FIRST = ipv4ToNumber("224.0.0.0");
/** Longer prefixes have no address for all (RFC 3021). */
const BITS_MAX = 30;

/** What addresses of members are judged by. */
export function nearEnd(
  { members, networks, self }: Pick<View, "members" | "networks" | "self">,
  own: string | null,
): NearEnd {
  const prefixes = members.find(({ id }) => id === self)?.prefixes ?? [];
  return {
    own,
    ranges: networks.flatMap(({ range }) => prefixOf(range)),
    prefixes: prefixes.flatMap(prefixOf),
  };
}

/** Why nothing is sent to an address, or taken from it, in words; null where it may be. */
export function farEndFlaw(address: string, { own, ranges, prefixes }: NearEnd): string | null {
  if (!isIpv4(address)) return `its overlay address is "${address.slice(0, 64)}"; expected an IPv4 address`;
  if (address === own) return `its overlay address, ${address}, is this host's`;
  // Once, for it is looked for in many prefixes, for each of many members.
  const value = ipv4ToNumber(address);
  const isNoHost =
    isLocalToHost(address) || value >= MULTICAST_FIRST || prefixes.some((prefix) => isForAll(value, prefix));
  if (isNoHost) return `its overlay address is ${address}, which means no other host`;
  const inside = ranges.find(({ base, size }) => value >= base && value < base + size);
  // A tunnel through another of ours would carry itself.
  return inside === undefined ? null : `its overlay address, ${address}, lies in the network ${inside.text}`;
}

function isForAll(value: number, { base, size, bits }: Prefix): boolean {
  return bits <= BITS_MAX && (value === base || value === base + size - 1);
}

function prefixOf(text: string): readonly Prefix[] {
  const parsed = parsePrefix(text);
  return parsed.ok ? [parsed.value] : [];
}
