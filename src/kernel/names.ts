/**
 * Names: what our things in the kernel are called and numbered, so that they are found again, and by whom they are.
 *
 * All follows from the cluster's own names and numbers: nothing has to be remembered or agreed on. Device names are at
 * most 15 characters (IFNAMSIZ), begin with `sk-` and are ours alone. A mark's upper eight bits say that it is ours,
 * the rest says by which host a connection came in.
 *
 * Pure.
 */

import { createHash } from "node:crypto";

import type { NodeId } from "../model/ids.ts";
import { shortNumber } from "../model/network.ts";

/** The nftables table of ours, family `inet`. */
export const TABLE = "skein";

/** The one beside it, same family, that stays when the rules are given up. */
export const GUARD_TABLE = "skein-guard";

/** Before the names of all our devices. */
export const DEVICE_PREFIX = "sk-";

/** The one WireGuard device of a host. */
export const WIREGUARD_DEVICE = "sk-wg";

/**
 * Who set a route or a rule, as the kernel keeps it (`proto` of ip-route(8), `protocol` of ip-rule(8)): a number that
 * is nobody's in iproute2's list.
 */
export const ROUTE_PROTOCOL = 83;

/** UDP ports of the overlay (RFC 7348 8; WireGuard's usual one). */
export const VXLAN_PORT = 4789;
export const WIREGUARD_PORT = 51_820;

/** Bytes that a tunnel adds to a packet over IPv4: VXLAN (RFC 7348 5), WireGuard (its outer header may be IPv6). */
export const VXLAN_OVERHEAD = 50;
export const WIREGUARD_OVERHEAD = 80;

/** The bits of a packet's or connection's mark that say whose it is, and what they are when it is ours. */
export const MARK_MASK = 0xff00_0000;
export const MARK_OURS = 0x5300_0000;

/**
 * Preferences of our routing rules (ip-rule(8)): the first three stand before the main table's and the user's, the rest
 * behind all of them (32767 is the last that Linux makes itself).
 */
export const RULE_PREFERENCE = 5300;
export const RULE_PREFERENCE_BEHIND = 40_000;

const DEVICE_LENGTH_MAX = 15;

/** The bridge of a network: `sk-app`, or `sk-` and a hash where that is too long or begins like another of ours. */
export function bridgeDevice(network: string): string {
  const plain = `${DEVICE_PREFIX}${network}`;
  const isTaken = plain === WIREGUARD_DEVICE || /^vx\d+$/.test(network);
  if (plain.length <= DEVICE_LENGTH_MAX && !isTaken) return plain;
  return `${DEVICE_PREFIX}${createHash("sha256").update(network).digest("hex").slice(0, 12)}`;
}

/** The VXLAN device of a network. @param vni  4096 to 2^24 - 1 */
export function vxlanDevice(vni: number): string {
  return `${DEVICE_PREFIX}vx${vni}`;
}

/** The address of a node's VXLAN devices on the wire: locally administered (IEEE 802), from the node's id. */
export function vtepMac(node: NodeId): string {
  const bytes = createHash("sha256").update(`vtep ${node}`).digest().subarray(0, 5);
  return ["02", ...Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

/** The mark of connections that came in through the host that has slice `index` of the network. */
export function ingressMark(index: number): number {
  return MARK_OURS + index + 1;
}

/** The routing table by which replies on a network go back to the host that has slice `index` of it. */
export function returnTable(vni: number, index: number): number {
  // 16 and 13 bits (LIMITS.slicesPerNetwork), above all numbers that people give tables.
  return 0x2000_0000 + shortNumber(vni) * 0x2000 + index;
}
