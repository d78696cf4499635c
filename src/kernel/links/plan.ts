/**
 * Plan: the links that this host should have for the overlay networks it carries.
 *
 * Each network is one VXLAN device. Each other host is, on each network, one forwarding entry (where its VTEP is), one
 * neighbour and one route to its slice: what a host costs does not grow with its containers, and nothing is ever
 * flooded or learnt. The first address of a slice stands for its host; in IPv6 the link-local address that follows
 * from the VTEP's own.
 *
 * What the range of a network holds beyond the slices that are reached is refused, not sent to the default route: so a
 * host that is not known yet, or a tunnel that is gone, never lets anything of an encrypted network out in clear.
 *
 * Pure. returns.ts plans the ways back; links.ts makes it so.
 */

import { isDeepStrictEqual } from "node:util";

import { canonicalIpv6, contains, numberToIpv4, parsePrefix, type Prefix } from "../../base/ip.ts";
import { parsePrefix6 } from "../../base/ip6.ts";
import type { NodeId } from "../../model/ids.ts";
import type { Member } from "../../model/member.ts";
import { carriesFor, type Bridge, type Network, type Slice } from "../../model/network.ts";
import type { View } from "../../model/view.ts";
import { carriedNetworks, type Carried } from "../carried.ts";
import { farEndFlaw, nearEnd, type NearEnd } from "../far-end.ts";
import type { KernelGiven, OwnOverlay } from "../given.ts";
import { VXLAN_OVERHEAD, VXLAN_PORT, WIREGUARD_DEVICE, WIREGUARD_OVERHEAD } from "../names.ts";
import { vtepMac, vxlanDevice } from "../names.ts";

import { planReturns, type WayBack } from "./returns.ts";
import { METRIC6, REFUSING_METRIC, type LinkThing, type Route, type VxlanDevice } from "./state.ts";

/** What should be, and what of it cannot. */
export interface LinkPlan {
  readonly things: readonly LinkThing[];
  /** The devices by the network that they are of, in the order of the view. */
  readonly deviceByNetwork: ReadonlyMap<string, string>;
  /** Those of them that carry IPv6. */
  readonly devices6: readonly string[];
  /** In words: what was left out, and why. */
  readonly problems: readonly string[];
}

/** The smallest link that takes IPv6 (RFC 8200 5). */
const MTU6_MIN = 1280;
/** The smallest packet that an IPv4 host must take (RFC 791 3.1). */
const MTU_MIN = 576;

const BRIDGE_NAME = /^sk-[a-z0-9][a-z0-9-]{0,11}$/;

/** One network while it is planned. */
interface Underway {
  readonly carried: Carried;
  readonly overlay: OwnOverlay;
  readonly device: VxlanDevice;
  readonly is6: boolean;
}

/** What a plan depends on. */
type Basis = Pick<KernelGiven, "bridges" | "overlay"> &
  Pick<View, "self" | "networks"> & {
    readonly members: readonly Pick<Member, "id" | "name" | "overlay">[];
    /** Of this host: by them an address is known that is a whole LAN's. */
    readonly prefixes: readonly string[];
  };

/**
 * Plans again and again: the same object for as long as nothing that links depend on has changed. Views come many times
 * a second, and most of them are about replicas.
 */
export function linksPlanner(): (given: KernelGiven) => LinkPlan {
  let last: { readonly basis: Basis; readonly plan: LinkPlan } | null = null;
  return (given) => {
    const { bridges, overlay, view } = given;
    const members = view.members.map((member) => {
      const { id, name } = member;
      return member.overlay === undefined ? { id, name } : { id, name, overlay: member.overlay };
    });
    const prefixes = view.members.find(({ id }) => id === view.self)?.prefixes ?? [];
    const basis = { bridges, overlay, self: view.self, networks: view.networks, members, prefixes };
    if (last === null || !isDeepStrictEqual(last.basis, basis)) last = { basis, plan: planLinks(given) };
    return last.plan;
  };
}

/** The links for one host. The same things in the same order for equal pictures. */
export function planLinks(given: KernelGiven): LinkPlan {
  const { view, bridges } = given;
  const things: LinkThing[] = [];
  const ways: WayBack[] = [];
  const problems: string[] = [];
  const deviceByNetwork = new Map<string, string>();
  const devices6: string[] = [];
  // Links stay where nothing is forwarded for a while: who uses them is decided by the rules and the proxy.
  const carried = carriedNetworks({ ...given, forwards: { v4: true, v6: true } });
  const memberById = new Map<NodeId, Member>(view.members.map((member) => [member.id, member]));
  const near = nearEnd(view, given.overlay?.address ?? null);
  const bridgeByNetwork = new Map(bridges.map((bridge) => [bridge.network, bridge]));
  for (const network of view.networks) {
    const bridge = bridgeByNetwork.get(network.name);
    const unfit = bridge === undefined ? null : unfitness(network, bridge);
    if (unfit !== null) problems.push(`network ${network.name} is not carried: ${unfit}`);
    if (bridge === undefined || unfit !== null) continue;
    things.push(...refusals(network));
    const found = carried.get(network.name);
    if (found === undefined || given.overlay === null) continue;
    const underway = begin(found, given.overlay, vtepMac(view.self));
    deviceByNetwork.set(network.name, underway.device.name);
    if (underway.is6) devices6.push(underway.device.name);
    things.push(underway.device);
    const address = firstOf(found.bridge.prefix);
    things.push({ kind: "address", device: underway.device.name, address });
    for (const slice of network.slices) {
      const member = memberById.get(slice.node);
      if (slice.node === view.self || member === undefined || !carriesFor(member, network)) continue;
      const wrong = unreachability(slice, member, near);
      if (wrong !== null) problems.push(`${member.name} is left out of network ${network.name}: ${wrong}`);
      else addHost(underway, { slice, member }, { things, ways });
    }
  }
  things.push(...planReturns(ways));
  return { things, deviceByNetwork, devices6, problems };
}

function begin(carried: Carried, overlay: OwnOverlay, mac: string): Underway {
  const { network, bridge } = carried;
  const mtu = mtuOf(overlay.mtu, network);
  const device: VxlanDevice = {
    kind: "device",
    name: vxlanDevice(network.vni),
    vni: network.vni,
    mac,
    // Within WireGuard the outer addresses are those of slices, and the device is said: another would send in clear.
    local: network.encrypted ? firstOf(bridge.prefix) : overlay.address,
    lower: network.encrypted ? WIREGUARD_DEVICE : null,
    port: VXLAN_PORT,
    mtu,
    learning: false,
    hasDefault: false,
    isUp: true,
  };
  const is6 = bridge.prefix6 !== undefined && mtu >= MTU6_MIN;
  return { carried, overlay, device, is6 };
}

/** One other host on one network. */
function addHost(
  { carried: { network, bridge }, overlay, device, is6 }: Underway,
  { slice, member }: { readonly slice: Slice; readonly member: Member },
  { things, ways }: { readonly things: LinkThing[]; readonly ways: WayBack[] },
): void {
  const mac = vtepMac(slice.node);
  const via = firstOf(slice.prefix);
  const name = device.name;
  const theirMtu = mtuOf(member.overlay?.mtu ?? overlay.mtu, network);
  const mtu = theirMtu < device.mtu ? theirMtu : null;
  const plain = { kind: "route", table: null, leads: true } as const;
  // Within WireGuard the far end of the tunnel is their slice's first address; else it is what they say of themselves.
  const to = network.encrypted ? via : (member.overlay?.address ?? "");
  if (network.encrypted) {
    const route: Route = {
      ...plain,
      to: `${via}/32`,
      metric: 0,
      via: null,
      device: WIREGUARD_DEVICE,
      source: null,
      mtu: null,
    };
    things.push(route);
  }
  things.push({ kind: "entry", device: name, mac, to });
  things.push({ kind: "neighbour", device: name, address: via, mac });
  // This host's own programs speak from its bridge's address: it is the one that the others have a way back to.
  things.push({ ...plain, to: slice.prefix, metric: 0, via, device: name, source: bridge.gateway, mtu });
  const way = { vni: network.vni, index: slice.index, bridge: bridge.device, device: name };
  ways.push({ ...way, family: 4, via });
  const { prefix6 } = slice;
  if (!is6 || prefix6 === undefined || !parsePrefix6(prefix6).ok || theirMtu < MTU6_MIN) return;
  const via6 = linkLocalOf(mac);
  // No source: a bridge's address counts only once a container is there, and then it is the nearest (RFC 6724 5).
  things.push({ kind: "neighbour", device: name, address: via6, mac });
  things.push({ ...plain, to: prefix6, metric: METRIC6, via: via6, device: name, source: null, mtu });
  ways.push({ ...way, family: 6, via: via6 });
}

/** Routes that refuse what nothing else leads to. */
function refusals({ range, range6 }: Network): readonly Route[] {
  const refusing = { kind: "route", table: null, metric: REFUSING_METRIC, leads: false } as const;
  const nowhere = { via: null, device: null, source: null, mtu: null } as const;
  return [range, ...(range6 === undefined ? [] : [range6])].map((to) => ({ ...refusing, to, ...nowhere }));
}

/** Why a network must not be rendered, in words; null when it may. What came from elsewhere is checked here. */
function unfitness({ range, range6, vni }: Network, bridge: Bridge): string | null {
  const { device, gateway, prefix, prefix6 } = bridge;
  const slice = prefixOf(prefix);
  const whole = prefixOf(range);
  if (!BRIDGE_NAME.test(device)) return `its bridge is called "${device}"; expected sk-...`;
  if (slice === null || whole === null) return `its range is "${range}" and its slice "${prefix}"`;
  if (!contains(whole, numberToIpv4(slice.base))) return `${prefix} does not lie in ${range}`;
  if (!contains(slice, gateway)) return `its gateway is "${gateway}"; expected an address in ${prefix}`;
  if (!Number.isInteger(vni) || vni < 1 || vni >= 2 ** 24)
    return `its number is ${vni}; expected 1..16777215`;
  const wrong6 = [prefix6, range6].find((text) => text !== undefined && !parsePrefix6(text).ok);
  return wrong6 === undefined ? null : `"${wrong6}" is no IPv6 prefix`;
}

/** Why nothing is sent to a member, in words; null when it may be. It says of itself where it is: it may lie. */
function unreachability(slice: Slice, { overlay }: Member, near: NearEnd): string | null {
  if (prefixOf(slice.prefix) === null) return `its slice is "${slice.prefix}"`;
  return farEndFlaw(overlay?.address ?? "", near);
}

function mtuOf(underlay: number, { encrypted }: Network): number {
  const overhead = VXLAN_OVERHEAD + (encrypted ? WIREGUARD_OVERHEAD : 0);
  return Math.max(MTU_MIN, underlay - overhead);
}

/** The link-local address that a device with this address gives itself (RFC 4291 appendix A). */
export function linkLocalOf(mac: string): string {
  const [first = 0, ...rest] = mac.split(":").map((byte) => Number.parseInt(byte, 16));
  const bytes = [first ^ 2, rest[0] ?? 0, rest[1] ?? 0, 0xff, 0xfe, rest[2] ?? 0, rest[3] ?? 0, rest[4] ?? 0];
  const hex = Buffer.from(bytes).toString("hex");
  return canonicalIpv6(`fe80:0:0:0:${hex.replace(/.{4}(?!$)/g, "$&:")}`);
}

/** The first address of a prefix that is known to be one. */
function firstOf(prefix: string): string {
  return prefix.split("/")[0] ?? prefix;
}

function prefixOf(text: string): Prefix | null {
  const parsed = parsePrefix(text);
  return parsed.ok ? parsed.value : null;
}
