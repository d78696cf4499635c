/**
 * Carried: the overlay networks that this host really carries, for rules, links and the proxy alike.
 *
 * A network is carried where it is sound, has its bridge on this host's slice, and may cross the underlay: an encrypted
 * one only where WireGuard works, and none where this host does not forward. Whatever is not carried is reached through
 * the daemons of other hosts, as ever. What containers do on their own bridge, and with the world, hangs on none of
 * this: a bridge is bridged as long as it is there.
 *
 * Pure.
 */

import type { Bridge, Network } from "../model/network.ts";

import type { KernelGiven } from "./given.ts";

/** A network and this host's place in it. */
export interface Carried {
  readonly network: Network;
  readonly bridge: Bridge;
}

/** A bridge that is there, and its network as far as the view knows it still. */
export interface Bridged {
  readonly bridge: Bridge;
  readonly network: Network | null;
}

/** The carried networks by name, in the order of the view. */
export function carriedNetworks({
  view,
  bridges,
  overlay,
  broken,
  forwards,
}: Pick<KernelGiven, "view" | "bridges" | "overlay" | "broken" | "forwards">): ReadonlyMap<string, Carried> {
  // Who neither forwards from its bridges nor to them has nothing for others to reach: IPv4 carries all the rest.
  if (overlay === null || !forwards.v4) return new Map();
  const bridgeByNetwork = new Map(bridges.map((bridge) => [bridge.network, bridge]));
  const carried = new Map<string, Carried>();
  for (const network of view.networks) {
    const bridge = bridgeByNetwork.get(network.name);
    if (bridge === undefined || !network.isSound || broken?.has(network.name) === true) continue;
    if (network.encrypted && !overlay.encrypts) continue;
    // A bridge on another slice than ours answers for addresses that are somebody else's by now.
    const slice = network.slices.find(({ node }) => node === view.self);
    if (slice?.prefix !== bridge.prefix) continue;
    carried.set(network.name, { network, bridge });
  }
  return carried;
}

/** The bridges of overlay networks that are there, carried or not, in their order. */
export function bridgedNetworks({
  view,
  bridges,
}: Pick<KernelGiven, "view" | "bridges">): readonly Bridged[] {
  const networkByName = new Map(view.networks.map((network) => [network.name, network]));
  return bridges.map((bridge) => ({ bridge, network: networkByName.get(bridge.network) ?? null }));
}
