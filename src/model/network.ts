/**
 * Network: an overlay network: its range, the slices of it that nodes hold, and how it is told from others on the wire.
 *
 * A network's range is cut into slices of one size; what a node runs on the network gets its addresses from the node's
 * slice, so a route a node is enough to reach all of it. Who has which slice is agreed by claims (view/subnet.ts). IPv6
 * needs no agreement of its own: 64 bits are plenty, so a slice's IPv6 prefix follows from its number.
 *
 * Pure.
 */

import { contains, parsePrefix, type Prefix } from "../base/ip.ts";

import type { Reach } from "./endpoint.ts";
import type { NodeId } from "./ids.ts";
import type { Member } from "./member.ts";

/** A network as it was made: its range, and how long the prefixes of its slices are (24: 254 addresses each). */
export interface NetworkRange {
  readonly name: string;
  readonly range: Prefix;
  /** From the range's own bits to 30, and at most `LIMITS.slicesPerNetwork` slices. */
  readonly sliceBits: number;
  /** The number of the network on the wire (RFC 7348 5): 4096 to 2^24 - 1, the low 16 bits unlike any other's. */
  readonly vni: number;
  /** True where its packets are to cross the underlay in WireGuard or not at all. */
  readonly encrypted: boolean;
  /** The IPv6 /64 beside the range, `fd12:3456:789a:4d::/64`; nothing where it has none. */
  readonly range6?: string;
}

/** The bits of a VNI that tell networks apart where there is no room for all: IPv6 ranges, routing tables. Never 0. */
export function shortNumber(vni: number): number {
  return vni & 0xffff;
}

/** A slice and who has it. */
export interface Slice {
  readonly node: NodeId;
  readonly nodeName: string;
  /** Which slice of the range, from 0. */
  readonly index: number;
  /** Its addresses, `10.160.3.0/24`. */
  readonly prefix: string;
  /** Its IPv6 addresses, a /80 of the network's /64; nothing where that has none. */
  readonly prefix6?: string;
  /** True while the claim is so new that the slice may still be lost. */
  readonly tentative: boolean;
}

/** A network in the view. */
export interface Network {
  readonly name: string;
  /** `10.160.0.0/16`. */
  readonly range: string;
  readonly sliceBits: number;
  readonly vni: number;
  readonly encrypted: boolean;
  readonly range6?: string;
  /** In the order of their addresses. */
  readonly slices: readonly Slice[];
  /** What is wrong with it, in words: two nodes that want one slice, a range that is used up. */
  readonly problems: readonly string[];
  /**
   * False for one that must not be made real, as its range or its number is another network's or means something else
   * on some host: told in `problems`.
   */
  readonly isSound: boolean;
}

/** A Docker bridge of an overlay network on this host, as it is there. */
export interface Bridge {
  readonly network: string;
  /** The interface: `sk-app`. */
  readonly device: string;
  /** The host's slice, `10.160.3.0/24`, and the host's own address in it. */
  readonly prefix: string;
  readonly gateway: string;
  /** The same in IPv6; nothing where the bridge has none. */
  readonly prefix6?: string;
  readonly gateway6?: string;
}

/** The networks and members of a view, each by what it is called in records. */
export interface Overlays {
  readonly networkByName: ReadonlyMap<string, Network>;
  readonly memberById: ReadonlyMap<NodeId, Pick<Member, "overlay">>;
}

/**
 * The network by which a replica is reached by its address from every host that carries it: where its owner says so
 * and carries the network itself, and its address lies in its owner's own slice. A member may say what it likes of
 * itself, but not send others anywhere else.
 *
 * @returns null for a replica of no overlay network, and for one that is reached through its daemon
 */
export function overlayOf(
  { networkByName, memberById }: Overlays,
  { reach, node, address }: { readonly reach: Reach; readonly node: NodeId; readonly address: string },
  network: string,
): Network | null {
  if (reach !== "overlay") return null;
  const found = networkByName.get(network);
  const member = memberById.get(node);
  if (found === undefined || member === undefined || !found.isSound || !carriesFor(member, found))
    return null;
  const prefix = prefixesOf(found).get(node);
  return prefix !== undefined && contains(prefix, address) ? found : null;
}

/** Which prefix a node has in a network: asked for each of thousands of replicas, and of some networks. */
const prefixesByNetwork = new WeakMap<Network, ReadonlyMap<NodeId, Prefix>>();

function prefixesOf(network: Network): ReadonlyMap<NodeId, Prefix> {
  const known = prefixesByNetwork.get(network);
  if (known !== undefined) return known;
  const prefixes = new Map<NodeId, Prefix>();
  for (const { node, prefix } of network.slices) {
    const parsed = parsePrefix(prefix);
    if (parsed.ok) prefixes.set(node, parsed.value);
  }
  prefixesByNetwork.set(network, prefixes);
  return prefixes;
}

/**
 * Whether a member can be sent packets of a network directly: its daemon carries overlays at all, and encrypts those
 * that are to be encrypted. To any other its replicas are reached by streams through its daemon.
 */
export function carriesFor(
  { overlay }: Pick<Member, "overlay">,
  { encrypted }: Pick<Network, "encrypted">,
): boolean {
  return overlay !== undefined && (!encrypted || overlay.wireguard !== undefined);
}
