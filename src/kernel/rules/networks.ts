/**
 * Networks: the elements and chains of overlay networks, and of who asks for names.
 *
 * For each bridge that is there: that its packets stay on it, and what this host's own address there is. For each
 * network that this host carries: between which devices its packets go besides, and who its hosts are. For each network
 * at all: who may use its VIPs. One that cannot be written is left out, and told; the others stand.
 *
 * Pure.
 */

import { Failure } from "../../base/failure.ts";
import { isIpv6 } from "../../base/ip.ts";
import type { Member } from "../../model/member.ts";
import type { Bridge, Network } from "../../model/network.ts";

import { bridgedNetworks, type Bridged, type Carried } from "../carried.ts";
import { farEndFlaw, nearEnd } from "../far-end.ts";
import type { Asker, KernelGiven } from "../given.ts";
import { ingressMark, vtepMac, vxlanDevice } from "../names.ts";
import { chain, type Chain, type Element } from "./ruleset.ts";
import { seeChain } from "./service.ts";
import {
  addressWord,
  deviceWord,
  macWord,
  markWord,
  prefixWord,
  socketWord,
  vniWord,
  type Family,
} from "./words.ts";

/** What networks add to the ruleset. */
export interface NetworksPlan {
  readonly chains: readonly Chain[];
  readonly elements: readonly Element[];
  /** Those bridges that can be written. */
  readonly bridged: readonly Bridged[];
  readonly problems: readonly string[];
}

/** Plans all networks of the view. */
export function planNetworks(given: KernelGiven, carried: ReadonlyMap<string, Carried>): NetworksPlan {
  const chains: Chain[] = [];
  const elements: Element[] = [];
  const problems: string[] = [];
  const guests = guestsByNetwork(given);
  const attempt = (what: string, write: () => void): boolean => {
    try {
      write();
      return true;
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      problems.push(`${what} has no rules: ${thrown.message}`);
      return false;
    }
  };
  const bridgeByNetwork = new Map<string, Bridge>();
  const bridged = bridgedNetworks(given).filter((found) =>
    attempt(`network ${found.bridge.network}`, () => {
      elements.push(...bridgeElements(checked(found).bridge));
      bridgeByNetwork.set(found.bridge.network, found.bridge);
    }),
  );
  const reached: Carried[] = [];
  for (const network of given.view.networks) {
    const bridge = bridgeByNetwork.get(network.name);
    // Also of a network whose bridge cannot be written: without a chain its VIPs would be everybody's.
    attempt(`network ${network.name}`, () => {
      chains.push(chain(seeChain(network.name), seeing(bridge, guests.get(network.name) ?? [])));
      const mine = bridge === undefined ? undefined : carried.get(network.name);
      if (mine === undefined) return;
      elements.push(...tunnelElements(mine, given.view.self));
      reached.push(mine);
    });
  }
  const near = nearEnd(given.view, given.overlay?.address ?? null);
  for (const member of given.view.members) {
    const { overlay, self } = member;
    if (overlay === undefined || self) continue;
    attempt(`host ${member.name}`, () => {
      const flaw = farEndFlaw(overlay.address, near);
      if (flaw !== null) throw new Failure("invalid", flaw);
      const address = addressWord("ip", overlay.address);
      elements.push({ set: "hosts", key: address, value: "" }, ...homesOf(member, address, reached));
    });
  }
  for (const asker of given.askers) {
    const who = asker.kind === "bridge" ? `bridge ${asker.device}` : `container at ${asker.address}`;
    attempt(who, () => elements.push(...askerElements(asker)));
  }
  return { chains, elements, bridged, problems };
}

/** Guests that can be written, by network: the others have no address of this family. */
function guestsByNetwork({ guests }: KernelGiven): ReadonlyMap<string, readonly string[]> {
  const byNetwork = new Map<string, Set<string>>();
  for (const { address, network } of guests) {
    const known = byNetwork.get(network) ?? new Set();
    byNetwork.set(network, known.add(address));
  }
  return new Map([...byNetwork].map(([network, addresses]) => [network, [...addresses].sort()]));
}

/**
 * The network's VIPs are for its bridge and its guests; the host itself is not asked here. A guest is who has its
 * address and comes from where that one is.
 */
function seeing(bridge: Bridge | undefined, guests: readonly string[]): readonly string[] {
  const of = (family: Family, isMeant: (address: string) => boolean): readonly string[] => {
    const words = guests.filter(isMeant).map((address) => addressWord(family, address));
    return words.length === 0
      ? []
      : [`${family} saddr { ${words.join(", ")} } fib saddr . iif oif exists accept`];
  };
  return [
    ...(bridge === undefined ? [] : [`iifname ${deviceWord(bridge.device)} accept`]),
    ...of("ip", (address) => !address.includes(":")),
    ...of("ip6", (address) => address.includes(":")),
    "counter drop",
  ];
}

/** The rest of what the frame writes of a bridge and its network. */
function checked(found: Bridged): Bridged {
  const { network, bridge } = found;
  if (network !== null) {
    vniWord(network.vni);
    prefixWord("ip", network.range);
  }
  prefixWord("ip", bridge.prefix);
  if (bridge.prefix6 !== undefined) prefixWord("ip6", bridge.prefix6);
  return found;
}

/** What is on one bridge stays together, whatever becomes of its network elsewhere. */
function bridgeElements(bridge: Bridge): readonly Element[] {
  const inner = deviceWord(bridge.device);
  return [{ set: "within", key: `${inner} . ${inner}`, value: "" }, ...gatewaysOf(bridge, inner)];
}

/** Between the bridge and other hosts. */
function tunnelElements({ network, bridge }: Carried, self: string): readonly Element[] {
  const inner = deviceWord(bridge.device);
  const outer = deviceWord(vxlanDevice(network.vni));
  return [
    { set: "within", key: `${inner} . ${outer}`, value: "" },
    { set: "within", key: `${outer} . ${inner}`, value: "" },
    ...gatewaysOf(bridge, outer),
    ...entriesOf(network, outer, self),
  ];
}

function gatewaysOf({ gateway, gateway6 }: Bridge, device: string): readonly Element[] {
  const six = gateway6 === undefined ? [] : [addressWord("ip6", gateway6)];
  return [
    { set: "gateways", key: device, value: addressWord("ip", gateway) },
    ...six.map((value): Element => ({ set: "gateways6", key: device, value })),
  ];
}

function entriesOf({ slices }: Network, device: string, self: string): readonly Element[] {
  return slices
    .filter(({ node }) => node !== self)
    .map(({ node, index }) => ({
      set: "entries",
      key: `${device} . ${macWord(vtepMac(node))}`,
      value: markWord(ingressMark(index)),
    }));
}

/**
 * A host's addresses together with each of its slices. Of IPv6 only the one by which the others reach it is known; from
 * another of its own, a process of that host may be led to its own containers in vain.
 */
function homesOf({ id, host }: Member, address: string, carried: readonly Carried[]): readonly Element[] {
  const slices = carried.flatMap(({ network }) => network.slices.filter(({ node }) => node === id));
  const address6 = isIpv6(host) && !host.includes("%") ? addressWord("ip6", host) : null;
  return slices.flatMap(({ prefix, prefix6 }): readonly Element[] => [
    { set: "homes", key: `${address} . ${prefixWord("ip", prefix)}`, value: "" },
    ...(address6 === null || prefix6 === undefined
      ? []
      : [{ set: "homes6", key: `${address6} . ${prefixWord("ip6", prefix6)}`, value: "" } as const]),
  ]);
}

function askerElements(asker: Asker): readonly Element[] {
  if (asker.kind === "address") {
    const value = socketWord("ip", asker.to);
    return [{ set: "askers", key: addressWord("ip", asker.address), value }];
  }
  const key = deviceWord(asker.device);
  const six = asker.to6 === undefined ? [] : [socketWord("ip6", asker.to6)];
  return [
    { set: "asking", key, value: socketWord("ip", asker.to) },
    ...six.map((value): Element => ({ set: "asking6", key, value })),
  ];
}
