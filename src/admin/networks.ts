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
    hosts: network === undefined ? [] : network.slices.map((slice) => hostOf(view, network, slice)),
    serviceKeys: services.map(({ key }) => key),
  });
}

/** The failure for a name that no network has. */
export function missingNetwork(view: View, name: string): Result<never> {
  const near = nearest(
    name,
    networksOf(view).map((line) => line.name),
  );
  const expected = near === null ? "expected a known network" : `did you mean "${near}"?`;
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
  return { ...sums, kind: "overlay", range, range6, encrypted, slices, vni, sound: isSound, problems };
}

function slicesOf({ range, sliceBits, slices }: Network): NonNullable<NetworkLine["slices"]> {
  const bits = Number(range.split("/")[1]);
  return { used: slices.length, total: 2 ** (sliceBits - bits), bits: sliceBits };
}

function hostOf(view: View, network: Network, slice: Slice): NetworkHost {
  const member = view.members.find(({ id }) => id === slice.node);
  const { prefix, prefix6 = null, tentative, nodeName } = slice;
  const parsed = parsePrefix(prefix);
  const isIn = ({ address }: Replica): boolean => parsed.ok && contains(parsed.value, address);
  const used = new Set(
    replicasOf(view, network.name)
      .filter(isIn)
      .map(({ address }) => address),
  );
  const total = Math.max(0, 2 ** (32 - network.sliceBits) - SPENT);
  const reason = idleReason(network, member);
  return {
    node: nodeName,
    state: member?.state ?? "dead",
    prefix,
    prefix6,
    tentative,
    addresses: { used: used.size, total },
    carries: reason === null,
    reason,
  };
}

/** Why packets of a network do not reach a host; null when they do. */
function idleReason(network: Network, member: Member | undefined): string | null {
  if (!network.isSound) return "the network is not made real";
  if (member === undefined || member.state === "dead" || member.state === "left")
    return `the host is ${member?.state ?? "dead"}`;
  if (member.overlay === undefined) return "its daemon is not in kernel mode";
  return carriesFor(member, network) ? null : "it has no WireGuard";
}
