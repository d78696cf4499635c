/**
 * Networks: the networks of the view, told in the shapes of the contract.
 *
 * Overlay networks and those that services only name are one list. What is told of a host's part of one is what this
 * node knows: which slice it holds, whether it says that it carries overlays, and which addresses replicas have of it.
 *
 * Pure.
 */

import { failed, success, type Result } from "../base/failure.ts";
import { contains, parsePrefix } from "../base/ip.ts";
import { nearest } from "../base/nearest.ts";
import type { NodeId } from "../model/ids.ts";
import type { Member } from "../model/member.ts";
import { carriesFor, type Network, type Slice } from "../model/network.ts";
import type { Replica, View } from "../model/view.ts";

import type { NetworkDetail, NetworkHost, NetworkLine } from "./contract-network.ts";

/** Addresses of a slice that nobody can have: its own, the host's, and the broadcast address. */
const SPENT = 3;

/** `network ls`, sorted by name. */
export function networksOf(view: View): readonly NetworkLine[] {
  const names = new Set([
    ...view.networks.map(({ name }) => name),
    ...view.services.map(({ network }) => network),
  ]);
  return [...names].sort().map((name) => lineOf(view, name));
}

/** `network inspect`. @returns `not-found` with the nearest name */
export function networkOf(view: View, name: string): Result<NetworkDetail> {
  const wanted = name.toLowerCase();
  const services = view.services.filter(({ network }) => network === wanted);
  const network = view.networks.find((one) => one.name === wanted);
  if (network === undefined && services.length === 0) return missingNetwork(view, name);
  return success({
    ...lineOf(view, wanted),
    hosts: network === undefined ? [] : hostsOf(view, network),
    serviceKeys: services.map(({ key }) => key),
  });
}

/** The failure for a name that no network has. */
export function missingNetwork(view: View, name: string): Result<never> {
  const near = nearest(
    name,
    networksOf(view).map((line) => line.name),
  );
  const expected = near === null ? "expected one of skein network ls" : `did you mean "${near}"?`;
  return failed("not-found", `no network "${name}"; ${expected}`);
}

/** Networks that services name while their replicas are elsewhere than on an overlay network of that name. */
export function namedNetworks(view: View): ReadonlySet<string> {
  const made = new Set(view.networks.map(({ name }) => name));
  const named = view.services.filter(({ network, replicas }) => {
    return !made.has(network) && replicas.some(({ reach }) => reach !== "overlay");
  });
  return new Set(named.map(({ network }) => network));
}

/**
 * Who is on an overlay network: replicas of all hosts, containers of this one.
 *
 * @param clients  containers of this host, and the networks they are on
 */
export function usersOf(
  view: View,
  name: string,
  clients: readonly { readonly name: string; readonly networks: readonly string[] }[],
): readonly string[] {
  const replicas = replicasOf(view, name).map((replica) => `${replica.name} on ${replica.nodeName}`);
  const self = view.members.find((member) => member.self)?.name ?? "this host";
  const here = clients.filter(({ networks }) => networks.includes(name));
  return [...new Set([...replicas, ...here.map((client) => `${client.name} on ${self}`)])].sort();
}

/** Replicas that are on the overlay network of that name. */
function replicasOf({ services }: View, network: string): readonly Replica[] {
  const ofNetwork = services.filter((service) => service.network === network);
  return ofNetwork.flatMap(({ replicas }) => replicas.filter(({ reach }) => reach === "overlay"));
}

function lineOf(view: View, name: string): NetworkLine {
  const services = view.services.filter(({ network }) => network === name);
  const replicas = services.flatMap((service) => service.replicas);
  const ready = replicas.filter(({ tier }) => tier === "eligible").length;
  const sums = { name, services: services.length, replicas: replicas.length, ready };
  const network = view.networks.find((one) => one.name === name);
  if (network === undefined) {
    const nothing = { range: null, range6: null, encrypted: false, slices: null, vni: null };
    return { ...sums, kind: "named", ...nothing, sound: true, problems: [] };
  }
  const { range, range6 = null, encrypted, vni, isSound, problems } = network;
  const slices = slicesOf(network);
  const told = { range, range6, encrypted, slices, vni, sound: isSound };
  return { ...sums, kind: "overlay", ...told, problems: [...problems, ...fullSlices(view, network)] };
}

function slicesOf({ range, sliceBits, slices }: Network): NonNullable<NetworkLine["slices"]> {
  const bits = Number(range.split("/")[1]);
  return { used: slices.length, total: 2 ** (sliceBits - bits), bits: sliceBits };
}

function hostsOf(view: View, network: Network): readonly NetworkHost[] {
  const memberById = new Map(view.members.map((member) => [member.id, member]));
  const usedByNode = usedAddresses(view, network);
  return network.slices.map((slice) => {
    const { prefix, prefix6 = null, tentative, nodeName } = slice;
    const member = memberById.get(slice.node);
    const reason = idleReason(network, member);
    return {
      node: nodeName,
      state: member?.state ?? "dead",
      prefix,
      prefix6,
      tentative,
      addresses: { used: usedByNode.get(slice.node) ?? 0, total: sliceSize(network) },
      carries: reason === null,
      reason,
    };
  });
}

/** How many addresses a slice can give out. */
function sliceSize({ sliceBits }: Network): number {
  return Math.max(0, 2 ** (32 - sliceBits) - SPENT);
}

/** How many addresses of its slice the replicas of each node have. */
function usedAddresses(view: View, network: Network): ReadonlyMap<NodeId, number> {
  const prefixByNode = new Map(network.slices.map(({ node, prefix }) => [node, parsePrefix(prefix)]));
  const addressesByNode = new Map<NodeId, Set<string>>();
  for (const { node, address } of replicasOf(view, network.name)) {
    const prefix = prefixByNode.get(node);
    if (prefix?.ok !== true || !contains(prefix.value, address)) continue;
    const addresses = addressesByNode.get(node) ?? new Set();
    addressesByNode.set(node, addresses.add(address));
  }
  return new Map(Array.from(addressesByNode, ([node, { size }]) => [node, size]));
}

/** Slices that have no address left: Docker refuses the next container there. */
function fullSlices(view: View, network: Network): readonly string[] {
  const usedByNode = usedAddresses(view, network);
  const total = sliceSize(network);
  const full = network.slices.filter(({ node }) => (usedByNode.get(node) ?? 0) >= total);
  return full.map(({ nodeName, prefix }: Slice) => {
    const remedy = "make the network anew with a larger range, or start containers on other hosts";
    return `${nodeName} has no address left in its slice ${prefix} of ${network.range}; ${remedy}`;
  });
}

/** Why packets of a network do not reach a host; null when they do. */
function idleReason(network: Network, member: Member | undefined): string | null {
  if (!network.isSound) return "the network is not made real";
  if (member === undefined || member.state === "dead" || member.state === "left")
    return `the host is ${member?.state ?? "dead"}`;
  if (member.overlay === undefined) return "its daemon is not in kernel mode";
  return carriesFor(member, network) ? null : "it has no WireGuard";
}
