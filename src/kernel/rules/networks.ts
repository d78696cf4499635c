/**
 * Networks: the elements and chains of overlay networks, and of who asks for names.
 *
 * For each network that this host carries: between which devices its packets go, who its hosts are, and what this
 * host's own address on it is. For each network at all: who may use its VIPs. A network that cannot be written is left
 * out, and told; the others stand.
 *
 * Pure.
 */

import { Failure } from "../../base/failure.ts";
import type { NodeId } from "../../model/ids.ts";
import type { Network } from "../../model/network.ts";

import type { Carried } from "../carried.ts";
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
  /** Those of the carried ones that can be written. */
  readonly carried: readonly Carried[];
  readonly problems: readonly string[];
}

/** Plans all networks of the view. */
export function planNetworks(given: KernelGiven, carried: ReadonlyMap<string, Carried>): NetworksPlan {
  const chains: Chain[] = [];
  const elements: Element[] = [];
  const written: Carried[] = [];
  const problems: string[] = [];
  const guests = guestsByNetwork(given);
  const attempt = (what: string, write: () => void): void => {
    try {
      write();
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      problems.push(`${what} has no rules: ${thrown.message}`);
    }
  };
  for (const network of given.view.networks) {
    attempt(`network ${network.name}`, () => {
      const mine = carried.get(network.name);
      const own = mine === undefined ? [] : carriedElements(mine, given.view.self);
      const known = mine === undefined ? [] : [checked(mine)];
      chains.push(chain(seeChain(network.name), seeing(mine, guests.get(network.name) ?? [])));
      elements.push(...own);
      written.push(...known);
    });
  }
  for (const member of given.view.members) {
    const { overlay, self } = member;
    if (overlay === undefined || self) continue;
    attempt(`host ${member.name}`, () => {
      const address = addressWord("ip", overlay.address);
      elements.push({ set: "hosts", key: address, value: "" }, ...homesOf(member.id, address, written));
    });
  }
  for (const asker of given.askers) {
    const who = asker.kind === "bridge" ? `bridge ${asker.device}` : `container at ${asker.address}`;
    attempt(who, () => elements.push(...askerElements(asker)));
  }
  return { chains, elements, carried: written, problems };
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

/** The network's VIPs are for its bridge and its guests; the host itself is not asked here. */
function seeing(mine: Carried | undefined, guests: readonly string[]): readonly string[] {
  const of = (family: Family, isMeant: (address: string) => boolean): readonly string[] => {
    const words = guests.filter(isMeant).map((address) => addressWord(family, address));
    return words.length === 0 ? [] : [`${family} saddr { ${words.join(", ")} } accept`];
  };
  return [
    ...(mine === undefined ? [] : [`iifname ${deviceWord(mine.bridge.device)} accept`]),
    ...of("ip", (address) => !address.includes(":")),
    ...of("ip6", (address) => address.includes(":")),
    "counter drop",
  ];
}

/** The rest of what the frame writes of a network. */
function checked(mine: Carried): Carried {
  const { network, bridge } = mine;
  vniWord(network.vni);
  for (const prefix of [network.range, bridge.prefix]) prefixWord("ip", prefix);
  if (bridge.prefix6 !== undefined) prefixWord("ip6", bridge.prefix6);
  return mine;
}

function carriedElements({ network, bridge }: Carried, self: string): readonly Element[] {
  const inner = deviceWord(bridge.device);
  const outer = deviceWord(vxlanDevice(network.vni));
  const pairs = [
    [inner, inner],
    [inner, outer],
    [outer, inner],
  ] as const;
  const { gateway, gateway6 } = bridge;
  return [
    ...pairs.map(([from, to]): Element => ({ set: "within", key: `${from} . ${to}`, value: "" })),
    ...[inner, outer].flatMap((device): readonly Element[] => [
      { set: "gateways", key: device, value: addressWord("ip", gateway) },
      ...(gateway6 === undefined
        ? []
        : [{ set: "gateways6", key: device, value: addressWord("ip6", gateway6) } as const]),
    ]),
    ...entriesOf(network, outer, self),
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

/** A host's address together with each of its slices. */
function homesOf(node: NodeId, address: string, carried: readonly Carried[]): readonly Element[] {
  const slices = carried.flatMap(({ network }) => network.slices.filter((slice) => slice.node === node));
  return slices.map(({ prefix }) => ({
    set: "homes",
    key: `${address} . ${prefixWord("ip", prefix)}`,
    value: "",
  }));
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
