/**
 * Engine networks: what Docker says of its networks, checked field by field.
 *
 * Four things are wanted of them: where DNS is to be answered for containers, which addresses may be a container's,
 * from which nothing leads out, and which are ours: made for an overlay network of the cluster. The last is told by a
 * label and not by the name, for people give names to networks of their own.
 *
 * Pure. client.ts fetches the reply; network-plan.ts decides what is to be made and removed.
 */

import { isIpv4, isIpv6, numberToIpv4, parsePrefix } from "../../base/ip.ts";
import { isLabel } from "../../model/ids.ts";

import { fieldsOf, idFrom, isAddress, labelsFrom, listFrom, textFrom, type Fields } from "./fields.ts";

/** The label of Docker networks that we made; its value is the overlay network's name. */
export const NETWORK_LABEL = "skein.network";

/** Options of Docker's bridge driver. */
export const BRIDGE_NAME = "com.docker.network.bridge.name";
export const BRIDGE_MTU = "com.docker.network.driver.mtu";

/** A range of a Docker network, and the address that the host has in it; null where that is not told. */
export interface EngineSubnet {
  readonly prefix: string;
  readonly gateway: string | null;
}

/** One network of an engine. */
export interface EngineNetwork {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
  /** The overlay network of ours that it was made for; null where it is somebody else's. */
  readonly madeFor: string | null;
  readonly subnets: readonly EngineSubnet[];
  /** The interface it was made with, and the MTU of what is on it; empty and null where Docker chose. */
  readonly device: string;
  readonly mtu: number | null;
}

/** The networks of an engine. */
export interface EngineNetworks {
  /** The addresses the host itself has on bridge networks: sorted, each once. */
  readonly gateways: readonly string[];
  /** By its name, whether a network is internal (`--internal`): nothing leads out of it. */
  readonly internalByName: ReadonlyMap<string, boolean>;
  /** The subnets of bridge networks, as prefixes, where a container's address is told with it. */
  readonly bridgeRanges: readonly string[];
  /** Those of internal bridge networks; who is on another kind does not reach its host. */
  readonly internalRanges: readonly string[];
  /** Names of those that we made for overlay networks. */
  readonly overlays: ReadonlySet<string>;
  /** Each of them, sorted by name; those without an id are left out. */
  readonly networks: readonly EngineNetwork[];
}

/** Reads the reply of `GET /networks`. */
export function networksFrom(value: unknown): EngineNetworks {
  const networks = listFrom(value).map(fieldsOf);
  const gateways = networks
    .filter((network) => network["Driver"] === "bridge")
    .flatMap((network) => listFrom(fieldsOf(network["IPAM"])["Config"]))
    .map((config) => gatewayFrom(fieldsOf(config)))
    .filter((gateway) => gateway !== null);
  const internalByName = new Map<string, boolean>();
  for (const { Name, Internal } of networks) {
    const name = textFrom(Name);
    // Old engines let two networks have one name; which of them a container means is not told.
    internalByName.set(name, Internal === true && internalByName.get(name) !== false);
  }
  const bridges = networks.filter(({ Driver }) => Driver === "bridge");
  const read = networks.flatMap((network) => networkFrom(network) ?? []);
  return {
    gateways: [...new Set(gateways)].toSorted(),
    internalByName,
    bridgeRanges: rangesOf(bridges.filter(({ Name }) => Name !== OVERLAY_EXIT)),
    internalRanges: rangesOf(bridges.filter(({ Internal }) => Internal === true)),
    overlays: new Set(read.filter(isOurs).map(({ name }) => name)),
    networks: read.toSorted((one, other) => (textOrder(one) < textOrder(other) ? -1 : 1)),
  };
}

/** True for one that we made, under the name that containers know it by. */
export function isOurs({ name, driver, madeFor }: EngineNetwork): boolean {
  return driver === "bridge" && madeFor === name;
}

function textOrder({ name, id }: EngineNetwork): string {
  return `${name} ${id}`;
}

function networkFrom(network: Fields): EngineNetwork | null {
  const id = idFrom(network["Id"]);
  if (id === null) return null;
  const options = labelsFrom(network["Options"]);
  const madeFor = labelsFrom(network["Labels"]).get(NETWORK_LABEL) ?? "";
  const mtu = options.get(BRIDGE_MTU) ?? "";
  return {
    id,
    name: textFrom(network["Name"]),
    driver: textFrom(network["Driver"]),
    madeFor: isLabel(madeFor) ? madeFor : null,
    subnets: listFrom(fieldsOf(network["IPAM"])["Config"]).flatMap((config) => subnetFrom(fieldsOf(config))),
    device: options.get(BRIDGE_NAME) ?? "",
    mtu: /^\d{3,5}$/.test(mtu) ? Number(mtu) : null,
  };
}

function subnetFrom(config: Fields): readonly EngineSubnet[] {
  const prefix = textFrom(config["Subnet"]);
  return isRange(prefix) ? [{ prefix, gateway: gatewayFrom(config) }] : [];
}

/**
 * The network by which containers on overlays reach their host. What addresses they have there is told neither in lists
 * nor in inspections of containers, so nobody's address there is known.
 */
const OVERLAY_EXIT = "docker_gwbridge";

function rangesOf(networks: readonly Fields[]): readonly string[] {
  return networks
    .flatMap(({ IPAM }) => listFrom(fieldsOf(IPAM)["Config"]))
    .map((config) => textFrom(fieldsOf(config)["Subnet"]))
    .filter(isRange);
}

/** Docker states the gateway, or leaves it out when it is the subnet's first address. */
function gatewayFrom(config: Fields): string | null {
  const gateway = textFrom(config["Gateway"]);
  if (isAddress(gateway)) return gateway;
  const subnet = parsePrefix(textFrom(config["Subnet"]));
  return subnet.ok && subnet.value.size > 2 ? numberToIpv4(subnet.value.base + 1) : null;
}

function isRange(text: string): boolean {
  const [address = "", bits = "", ...rest] = text.split("/");
  const bitsMax = isIpv4(address) ? 32 : isIpv6(address) && !address.includes("%") ? 128 : -1;
  return rest.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax;
}
