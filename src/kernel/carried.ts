/**
 * Carried: the overlay networks that this host really carries, for rules, links and the proxy alike.
 *
 * A network is carried where it is sound, has its bridge on this host's slice, and may cross the underlay: an encrypted
 * one only where WireGuard works. Whatever is not carried is reached through the daemons of other hosts, as ever.
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

/** The carried networks by name, in the order of the view. */
export function carriedNetworks({
  view,
  bridges,
  overlay,
  broken,
}: Pick<KernelGiven, "view" | "bridges" | "overlay" | "broken">): ReadonlyMap<string, Carried> {
  if (overlay === null) return new Map();
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
