/**
 * Kernel networks: which overlay networks this host makes, and why it makes none of the others.
 *
 * A network is made where this host has a slice of it for certain and a way for others' packets, encrypted where that
 * is wanted. Not where the host's own routes lead to addresses of its range: they would be hidden by the routes to the
 * slices, and with them the network that the host is administered from. One that has its bridge already goes on, since
 * its own is among what the range holds, and containers live on it.
 *
 * Pure.
 */

import { parsePrefix } from "../base/ip.ts";
import { bridgeDevice, VXLAN_OVERHEAD, WIREGUARD_OVERHEAD } from "../kernel/names.ts";
import { sharedPrefixes } from "../model/member.ts";
import type { Bridge, Network } from "../model/network.ts";
import type { View } from "../model/view.ts";
import type { NetworkWishes, WantedNetwork } from "../source/docker/network-plan.ts";

/** What of this host decides about networks. */
export interface NetworkGround {
  /** What fits in a packet between hosts, bytes; null where others' packets cannot come here. */
  readonly underlayMtu: number | null;
  /** Why they cannot. */
  readonly lack: string;
  /** Whether WireGuard works, and why (not). */
  readonly encryption: { readonly works: boolean; readonly reason: string };
  /** The bridges that are there; null while Docker has not told. */
  readonly bridges: readonly Bridge[] | null;
}

/** What Docker is to have. */
export function wishesOf(view: View, ground: NetworkGround): NetworkWishes {
  const networks = view.networks.flatMap((network) => wantedOf(view, network, ground) ?? []);
  return { networks, known: view.complete ? new Set(view.networks.map(({ name }) => name)) : null };
}

/** Why a network of the view is not made on this host; null when it is. */
export function refusalOf(view: View, network: Network, ground: NetworkGround): string | null {
  const { underlayMtu, lack, encryption, bridges } = ground;
  if (underlayMtu === null) return `not made on this host: ${lack}`;
  if (network.encrypted && !encryption.works) {
    return `it is encrypted and not carried here, never in clear: ${encryption.reason}`;
  }
  if (bridges?.some((bridge) => bridge.network === network.name) === true) return null;
  const self = view.members.find((member) => member.self);
  const range = parsePrefix(network.range);
  const shared = self === undefined || !range.ok ? [] : sharedPrefixes(self, range.value);
  if (shared.length === 0) return null;
  const why = `its range ${network.range} overlaps ${shared.join(", ")}, to which this host has a route`;
  return `not made on this host: ${why}`;
}

/** Whether a bridge is of a network that is gone, or one of whose slices is known to be this host's. */
export function isPlaced({ self, networks }: View, { network: name }: Bridge): boolean {
  const network = networks.find((candidate) => candidate.name === name);
  return network === undefined || network.slices.some(({ node }) => node === self);
}

function wantedOf(view: View, network: Network, ground: NetworkGround): WantedNetwork | null {
  const slice = network.slices.find(({ node }) => node === view.self);
  if (slice === undefined || slice.tentative || !network.isSound) return null;
  if (ground.underlayMtu === null || refusalOf(view, network, ground) !== null) return null;
  const { prefix, prefix6 = null } = slice;
  const mtu = ground.underlayMtu - VXLAN_OVERHEAD - (network.encrypted ? WIREGUARD_OVERHEAD : 0);
  return { network: network.name, device: bridgeDevice(network.name), prefix, prefix6, mtu };
}
