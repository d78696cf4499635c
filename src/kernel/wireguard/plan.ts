/**
 * Plan: what WireGuard on this host should be: one device, and a peer for each host of an encrypted network.
 *
 * What crosses it is VXLAN between the first addresses of slices, so a peer may send from these and nothing else, and
 * whose packet it is stays in the inner one: a client's address is kept, and networks stay apart by their numbers. A
 * host that cannot encrypt is left out, and told: nothing is ever sent to it in clear.
 *
 * A member says its key itself and proves it only when it speaks. So one that says another's key gets nothing it could
 * read, and must not take that key's place either: of two the lower id has it.
 *
 * Pure.
 */

import { compareText } from "../../base/sorted.ts";
import type { NodeId } from "../../model/ids.ts";
import type { Member } from "../../model/member.ts";
import { carriesFor, type Network } from "../../model/network.ts";
import { farEndFlaw, nearEnd, type NearEnd } from "../far-end.ts";
import type { KernelGiven } from "../given.ts";
import { WIREGUARD_OVERHEAD, WIREGUARD_PORT } from "../names.ts";

/** All of it. */
export interface WireguardPlan {
  /** Null where there is no encrypted network for this host, or it cannot encrypt. */
  readonly device: WireguardDevice | null;
  /** What others lack, in words. */
  readonly problems: readonly string[];
}

/** The device `sk-wg`. */
export interface WireguardDevice {
  /** UDP port. */
  readonly port: number;
  readonly mtu: number;
  /** Its own addresses, `10.160.3.0/32`, sorted. */
  readonly addresses: readonly string[];
  /** Sorted by key. */
  readonly peers: readonly WireguardPeer[];
}

/** Another host. */
export interface WireguardPeer {
  /** Its public key, base64. */
  readonly key: string;
  /** `192.0.2.2:51820` */
  readonly endpoint: string;
  /** Addresses that it may send from and that are sent to it, `10.160.4.0/32`, sorted; at least one. */
  readonly allowed: readonly string[];
}

/** 32 bytes in base64: the last digit before the padding has only four bits of them. */
const KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;
const NO_KEY = `${"A".repeat(43)}=`;

/** Hosts that a problem names; beyond, they are counted. */
const NAMED_MAX = 8;

/** True for text that may be a public key. */
export function isWireguardKey(text: string): boolean {
  return KEY.test(text) && text !== NO_KEY;
}

/** The plan of a moment. */
export function planWireguard({ view, overlay }: Pick<KernelGiven, "view" | "overlay">): WireguardPlan {
  const wanted = view.networks.flatMap((network) => {
    const own = network.slices.find(({ node }) => node === view.self);
    return network.encrypted && network.isSound && own !== undefined && !own.tentative
      ? [{ network, address: hostAddress(own.prefix) }]
      : [];
  });
  if (wanted.length === 0 || overlay === null || !overlay.encrypts) return { device: null, problems: [] };
  const networks = wanted.map(({ network }) => network);
  const { peers, problems } = planPeers(view, { networks, near: nearEnd(view, overlay.address) });
  const device = {
    port: WIREGUARD_PORT,
    mtu: overlay.mtu - WIREGUARD_OVERHEAD,
    addresses: wanted.map(({ address }) => address).sort(compareText),
    peers,
  };
  return { device, problems: [...problems, ...networks.flatMap((one) => lacking(one, view))] };
}

function planPeers(
  { members, self }: KernelGiven["view"],
  { networks, near }: { readonly networks: readonly Network[]; readonly near: NearEnd },
): { readonly peers: readonly WireguardPeer[]; readonly problems: readonly string[] } {
  const allowedByNode = allowedAddresses(networks);
  const holderByKey = new Map<string, Member>();
  const own = members.find(({ id }) => id === self);
  if (own?.overlay?.wireguard !== undefined) holderByKey.set(own.overlay.wireguard.key, own);
  const peers: WireguardPeer[] = [];
  const problems: string[] = [];
  for (const member of [...members].sort((one, other) => compareText(one.id, other.id))) {
    const allowed = allowedByNode.get(member.id);
    if (member.id === self || allowed === undefined || member.overlay?.wireguard === undefined) continue;
    const { address, wireguard } = member.overlay;
    const { key, port } = wireguard;
    const holder = holderByKey.get(key);
    if (holder !== undefined) {
      problems.push(`${member.name} says that it has the WireGuard key of ${holder.name}; it is left out`);
      continue;
    }
    // The record's parser refuses such; but what is said here becomes arguments of a program.
    if (!isWireguardKey(key) || farEndFlaw(address, near) !== null || !isPort(port)) {
      problems.push(`${member.name} says no usable WireGuard key, address and port; it is left out`);
      continue;
    }
    holderByKey.set(key, member);
    peers.push({ key, endpoint: `${address}:${port}`, allowed });
  }
  return { peers: peers.sort((one, other) => compareText(one.key, other.key)), problems };
}

function allowedAddresses(networks: readonly Network[]): ReadonlyMap<NodeId, readonly string[]> {
  const allowedByNode = new Map<NodeId, string[]>();
  for (const { slices } of networks) {
    for (const { node, prefix } of slices) {
      const allowed = allowedByNode.get(node) ?? [];
      allowed.push(hostAddress(prefix));
      allowedByNode.set(node, allowed);
    }
  }
  for (const allowed of allowedByNode.values()) allowed.sort(compareText);
  return allowedByNode;
}

/** Who has a slice of the network and cannot encrypt. */
function lacking(network: Network, { members, self }: KernelGiven["view"]): readonly string[] {
  const holders = new Set(network.slices.map(({ node }) => node));
  const names = members
    .filter((member) => holders.has(member.id) && member.id !== self && !carriesFor(member, network))
    .map(({ name }) => name);
  if (names.length === 0) return [];
  const named = names.slice(0, NAMED_MAX).join(", ");
  const who = names.length > NAMED_MAX ? `${named} and ${names.length - NAMED_MAX} more` : named;
  return [`network ${network.name} is encrypted, and no packet of it is sent to who cannot encrypt: ${who}`];
}

/** The first address of a slice, which no container has, as a prefix: `10.160.3.0/24` to `10.160.3.0/32`. */
function hostAddress(prefix: string): string {
  return `${prefix.slice(0, prefix.indexOf("/"))}/32`;
}

function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 65_535;
}
