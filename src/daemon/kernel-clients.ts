/**
 * Kernel clients: what the kernel's rules are told of this host's containers as clients.
 *
 * Guests: a container may use the services of a network though it does not ask from the network's bridge, as a label
 * says so or as it is on several networks and its way out is another. Askers: whose questions for names are led here,
 * to whomever they are addressed: all that comes from an overlay network's bridge, and elsewhere only from containers
 * with labels of ours, for others have not asked for it. Each is led to its own bridge's gateway, which it reaches
 * whatever else it may.
 *
 * Pure.
 */

import { contains, isIpv4, parsePrefix, renderHostPort, type HostPort } from "../base/ip.ts";
import { contains6, parsePrefix6 } from "../base/ip6.ts";
import type { Asker, Guest } from "../kernel/given.ts";
import type { LocalClient, NamePath } from "../model/endpoint.ts";
import { DEFAULT_NETWORK } from "../model/ids.ts";
import type { Bridge } from "../model/network.ts";
import type { EngineNetwork } from "../source/docker/engine-networks.ts";

/** Tells where DNS is answered for those behind a gateway; null where it is not. */
export type PlaceOfGateway = (gateway: string) => HostPort | null;

/**
 * Addresses and the networks whose services they may use, but for those on the network's own bridge.
 *
 * @returns also of networks that are no overlays: which are, the view tells
 */
export function guestsOf(clients: readonly LocalClient[], bridges: readonly Bridge[]): readonly Guest[] {
  const bridgeByNetwork = new Map(bridges.map((bridge) => [bridge.network, bridge]));
  return clients.flatMap(({ address, networks }) =>
    networks
      .filter((network) => network !== DEFAULT_NETWORK && !isOn(bridgeByNetwork.get(network), address))
      .map((network) => ({ address, network })),
  );
}

/** Whose questions for names are led here, and to which address. */
export function askersOf(
  clients: readonly LocalClient[],
  bridges: readonly Bridge[],
  known: { readonly networks: readonly EngineNetwork[]; readonly placeOf: PlaceOfGateway },
): readonly Asker[] {
  const behind = bridges.flatMap((bridge): readonly Asker[] => {
    const to = known.placeOf(bridge.gateway);
    const to6 = bridge.gateway6 === undefined ? null : known.placeOf(bridge.gateway6);
    if (to === null) return [];
    const { device } = bridge;
    return [{ kind: "bridge", device, to: renderHostPort(to), ...(to6 && { to6: renderHostPort(to6) }) }];
  });
  const alone = clients.flatMap(({ address, labelled }): readonly Asker[] => {
    // Docker tells nobody of a server by an IPv6 address, and the rules for one address know IPv4 alone.
    if (labelled !== true || !isIpv4(address)) return [];
    if (bridges.some((bridge) => isOn(bridge, address))) return [];
    const gateway = gatewayOf(address, known.networks);
    const to = gateway === null ? null : known.placeOf(gateway);
    return to === null ? [] : [{ kind: "address", address, to: renderHostPort(to) }];
  });
  return [...behind, ...alone];
}

/** Marks the containers whose questions are led here. */
export function markLed(
  paths: readonly NamePath[],
  bridges: readonly Bridge[],
  askers: readonly Asker[],
): readonly NamePath[] {
  const led = new Set(askers.flatMap((asker) => (asker.kind === "address" ? [asker.address] : [])));
  const devices = new Set(askers.flatMap((asker) => (asker.kind === "bridge" ? [asker.device] : [])));
  const answered = bridges.filter(({ device }) => devices.has(device));
  const isLed = ({ addresses }: NamePath): boolean =>
    addresses.some(({ address }) => led.has(address) || answered.some((bridge) => isOn(bridge, address)));
  return paths.map((path) => (isLed(path) ? { ...path, led: true } : path));
}

function isOn(bridge: Bridge | undefined, address: string): boolean {
  if (bridge === undefined) return false;
  return isIn(bridge.prefix, address) || (bridge.prefix6 !== undefined && isIn(bridge.prefix6, address));
}

/** The host's own address on the bridge network that an address is of. */
function gatewayOf(address: string, networks: readonly EngineNetwork[]): string | null {
  for (const { driver, subnets } of networks) {
    if (driver !== "bridge") continue;
    const subnet = subnets.find(({ prefix }) => isIn(prefix, address));
    if (subnet !== undefined) return subnet.gateway;
  }
  return null;
}

function isIn(text: string, address: string): boolean {
  const prefix = parsePrefix(text);
  if (prefix.ok) return contains(prefix.value, address);
  const prefix6 = parsePrefix6(text);
  return prefix6.ok && contains6(prefix6.value, address);
}
