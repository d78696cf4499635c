/**
 * Zone: the names of the cluster, planned from one View.
 *
 * A name has many forms (`web`, `web.<network>`, `tasks.web.<stack>.<network>.<domain>`, in any case), so forms are
 * not materialised: the zone is a compact index from a service's own names (its name, aliases, `<stack>_<service>`,
 * `<service>.<stack>`) to one shared entry per service, and lookup.ts takes a name apart against it. A thousand
 * services with ten replicas each are some 3,000 keys, and no map per replica.
 *
 * Views come many times a second and differ in little, so a zone is planned from the one before: what the view left as
 * it was is not looked at, and what says the same keeps its identity. The index holds places instead of entries, so it
 * is made anew only when names come and go, not when addresses do.
 *
 * Pure. entry.ts plans one service; lookup.ts reads what is planned.
 */

import { parsePrefix, type Prefix } from "../../base/ip.ts";
import { parsePrefix6, type Prefix6 } from "../../base/ip6.ts";
import type { NodeId } from "../../model/ids.ts";
import type { Member } from "../../model/member.ts";
import type { Service, View } from "../../model/view.ts";

import type { RcodeName } from "../codes.ts";

import { addressSet, kept, planEntry, plainAddress } from "./entry.ts";
import type { AddressSet, Circumstances, Presence, ZoneService } from "./entry.ts";

/** All names of the cluster. */
export interface Zone {
  /** Lower case, without a dot at the end: `skein.internal`. */
  readonly domain: string;
  readonly ttlSeconds: number;
  /** False until this node knows what its peers know: a name that is not here may still come. */
  readonly complete: boolean;
  /** How long "there is no such name" may be remembered (RFC 2308 5). */
  readonly negativeTtlSeconds: number;
  /** SOA serial; rises with the view's version on this node (RFC 1982 arithmetic). */
  readonly serial: number;
  /** The name server that SOA and NS tell of: this node. */
  readonly primary: string;
  /** This node's name; the domain where it is not known yet. */
  readonly nodeName: string;
  readonly software: string;
  readonly absences: Absences;
  /** In the view's order. */
  readonly services: readonly ZoneService[];
  readonly names: NameIndex;
  readonly nodes: NodeIndex;
  /** Ranges whose reverse names are ours, whether anybody has them or not. */
  readonly reverseRanges: readonly Prefix[];
  readonly reverseRanges6: readonly Prefix6[];
  /** What it was planned from: the next plan goes by the identity of what is in it. */
  readonly planned: { readonly view: View; readonly options: ZoneOptions };
}

/**
 * What is said where there are no records. The same object from zone to zone while that is the same but for the serial,
 * so that an answer without records outlives what changes elsewhere.
 */
export interface Absence {
  /** What its SOA says of the name server. */
  readonly primary: string;
  readonly rcode: RcodeName;
  readonly ttlSeconds: number;
}

/** By what is absent. */
export interface Absences {
  /** Of a name that is there, records of the type that was asked for. */
  readonly records: Absence;
  /** The same for a name that may have them in a moment. */
  readonly recordsYet: Absence;
  readonly name: Absence;
}

/** Where names lead; the same object from zone to zone while no service comes, goes or takes another name. */
export interface NameIndex {
  /**
   * Places in `Zone.services` by name inside a network, lower case; services of different networks share a key, at
   * most one per network.
   */
  readonly placesByName: ReadonlyMap<string, readonly number[]>;
  /** Networks that have a service. */
  readonly networks: ReadonlySet<string>;
  /** The networks in which a stack has services: such a name has names below it. */
  readonly networksByStack: ReadonlyMap<string, ReadonlySet<string>>;
}

/** The members that are there. */
export interface NodeIndex {
  readonly presenceById: ReadonlyMap<NodeId, Presence>;
  /** By node name. A member that advertises a host name is not among them: it is found by that name already. */
  readonly addressesByName: ReadonlyMap<string, AddressSet>;
}

/** What the view does not say. */
export interface ZoneOptions {
  /** Lower case, without a dot at the end. */
  readonly domain: string;
  readonly ttlSeconds: number;
  /** Prefixes, IPv4 and IPv6, whose reverse names are ours besides those of networks: the pools of VIPs. */
  readonly reverseRanges: readonly string[];
  /** What `version.server` tells: `skein 1.2.3`. */
  readonly software: string;
}

/** The name right below the domain under which nodes are found. */
export const NODE_LABEL = "node";

/**
 * Plans the zone of a view.
 *
 * @param previous  the zone of an earlier view, planned with the same `options` object; null for a plan from nothing
 * @returns `previous` itself when nothing that DNS tells has changed
 */
export function planZone(view: View, options: ZoneOptions, previous: Zone | null = null): Zone {
  const before = previous?.planned.options === options ? previous : null;
  const { domain, ttlSeconds, software } = options;
  const nodes = planNodes(view.members, ttlSeconds, before);
  const services = planServices(view.services, { ...nodes, ttlSeconds }, before);
  const self = view.members.find((member) => member.id === view.self);
  // Before the first full exchange a name may be missing only because we have not heard of it: nobody may cache that.
  const negativeTtlSeconds = view.complete ? ttlSeconds : 0;
  const primary = self === undefined ? `ns.${domain}` : `${self.name}.${NODE_LABEL}.${domain}`;
  const zone: Zone = {
    domain,
    ttlSeconds,
    complete: view.complete,
    negativeTtlSeconds,
    serial: view.version % 0x1_0000_0000,
    primary,
    nodeName: self?.name ?? domain,
    software,
    absences: planAbsences({ primary, ttlSeconds: negativeTtlSeconds, complete: view.complete }, before),
    services,
    names: planNames(view.services, before),
    nodes,
    ...planRanges(view, options, before),
    planned: { view, options },
  };
  return before !== null && isSame(zone, before) ? before : zone;
}

/** Whether two zones planned with the same options tell the same. */
function isSame(one: Zone, other: Zone): boolean {
  return (
    one.complete === other.complete &&
    one.nodeName === other.nodeName &&
    one.services === other.services &&
    one.names === other.names &&
    one.nodes === other.nodes &&
    one.reverseRanges === other.reverseRanges &&
    one.reverseRanges6 === other.reverseRanges6
  );
}

/**
 * A name that is not known is not denied before this node knows what its peers know: a daemon that has just started
 * must not say "no" for a service that they are about to tell of, since clients take NXDOMAIN for final and try
 * another server after SERVFAIL.
 */
function planAbsences(
  { complete, ...told }: Omit<Absence, "rcode"> & { readonly complete: boolean },
  before: Zone | null,
): Absences {
  if (before?.primary === told.primary && before.complete === complete) return before.absences;
  return {
    records: { ...told, rcode: "NOERROR" },
    recordsYet: { ...told, rcode: "NOERROR", ttlSeconds: 0 },
    name: { ...told, rcode: complete ? "NXDOMAIN" : "SERVFAIL" },
  };
}

/** Both lists are sorted by key, so they are walked side by side. */
function planServices(
  services: readonly Service[],
  circumstances: NodeIndex & Circumstances,
  before: Zone | null,
): readonly ZoneService[] {
  if (before === null) return services.map((service) => planEntry(service, circumstances, null));
  const old = before.planned.view.services;
  const moved = movedNodes(before.nodes, circumstances);
  let at = 0;
  const entries = services.map((service) => {
    while ((old[at]?.key ?? service.key) < service.key) at += 1;
    const entry = old[at]?.key === service.key ? (before.services[at] ?? null) : null;
    const holds =
      entry !== null &&
      old[at] === service &&
      (moved.size === 0 || !service.replicas.some(({ node }) => moved.has(node)));
    return holds ? entry : planEntry(service, circumstances, entry);
  });
  const isSameList =
    entries.length === before.services.length && entries.every((entry, i) => entry === before.services[i]);
  return isSameList ? before.services : entries;
}

/** Nodes that came, went, or are there otherwise than before: their replicas are to be looked at again. */
function movedNodes(before: NodeIndex, now: NodeIndex): ReadonlySet<NodeId> {
  const moved = new Set<NodeId>();
  if (before.presenceById === now.presenceById) return moved;
  for (const [id, presence] of now.presenceById) {
    const old = before.presenceById.get(id);
    if (old?.away !== presence.away || old.zone !== presence.zone) moved.add(id);
  }
  for (const id of before.presenceById.keys()) if (!now.presenceById.has(id)) moved.add(id);
  return moved;
}

/**
 * Index of every service by every name it has in its network. Own names outrank aliases, aliases outrank names made
 * with the stack, then the lower service key wins: so nobody takes a service's name by calling an alias like it.
 */
function planNames(services: readonly Service[], before: Zone | null): NameIndex {
  if (before !== null && isSameNames(before.planned.view.services, services)) return before.names;
  const placesByName = new Map<string, number[]>();
  const add = (name: string, place: number): void => {
    const places = placesByName.get(name);
    const network = services[place]?.network;
    if (places === undefined) placesByName.set(name, [place]);
    else if (places.every((other) => services[other]?.network !== network)) places.push(place);
  };
  for (const [place, { name }] of services.entries()) add(name, place);
  for (const [place, { aliases }] of services.entries()) for (const alias of aliases) add(alias, place);
  for (const [place, service] of services.entries()) for (const name of stackNames(service)) add(name, place);
  return {
    placesByName,
    networks: new Set(services.map((service) => service.network)),
    networksByStack: indexStacks(services),
  };
}

function isSameNames(one: readonly Service[], other: readonly Service[]): boolean {
  if (one.length !== other.length) return false;
  return one.every((service, place) => {
    const mate = other[place];
    if (service === mate) return true;
    const { key, stack, aliases } = service;
    return mate?.key === key && mate.stack === stack && mate.aliases.join() === aliases.join();
  });
}

/** `<service>.<stack>` and Swarm's `<stack>_<service>`. A dotted key never meets another: labels hold no dot. */
function stackNames(service: Service): readonly string[] {
  if (service.stack === null) return [];
  return [`${service.name}.${service.stack}`, `${service.stack}_${service.name}`];
}

function indexStacks(services: readonly Service[]): ReadonlyMap<string, ReadonlySet<string>> {
  const index = new Map<string, Set<string>>();
  for (const { stack, network } of services) {
    if (stack === null) continue;
    const networks = index.get(stack);
    if (networks === undefined) index.set(stack, new Set([network]));
    else networks.add(network);
  }
  return index;
}

/** Members that are neither dead nor gone. */
function planNodes(members: readonly Member[], ttlSeconds: number, before: Zone | null): NodeIndex {
  if (before !== null && isSameMembers(before.planned.view.members, members)) return before.nodes;
  const here = members.filter(isHere);
  const hostsByName = new Map<string, string[]>();
  for (const { name, host } of here) {
    const address = plainAddress(host);
    if (address === null) continue;
    const hosts = hostsByName.get(name);
    if (hosts === undefined) hostsByName.set(name, [address]);
    else hosts.push(address);
  }
  const old = before?.nodes.addressesByName;
  return {
    presenceById: new Map(here.map(({ id, state, zone }) => [id, { away: state === "away", zone }])),
    addressesByName: new Map(
      [...hostsByName].map(([name, hosts]) => [name, kept(addressSet(hosts, ttlSeconds), old?.get(name))]),
    ),
  };
}

/** Whether DNS tells the same of both: members change most often in what it does not tell, the round trip. */
function isSameMembers(one: readonly Member[], other: readonly Member[]): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  return one.every((member, at) => {
    const mate = other[at];
    if (member === mate) return true;
    return (
      mate?.id === member.id &&
      mate.name === member.name &&
      mate.host === member.host &&
      mate.zone === member.zone &&
      isHere(mate) === isHere(member) &&
      (mate.state === "away") === (member.state === "away")
    );
  });
}

function isHere({ state }: Member): boolean {
  return state !== "dead" && state !== "left";
}

/** The ranges whose reverse names are ours. One that makes no sense is none: the configuration was checked. */
function planRanges(
  view: View,
  options: ZoneOptions,
  before: Zone | null,
): Pick<Zone, "reverseRanges" | "reverseRanges6"> {
  const networks = view.networks.flatMap(({ range, range6 }) =>
    range6 === undefined ? [range] : [range, range6],
  );
  const texts = [...options.reverseRanges, ...networks];
  const ranges = texts.flatMap((text) => {
    const parsed = parsePrefix(text);
    return parsed.ok ? [parsed.value] : [];
  });
  const ranges6 = texts.flatMap((text) => {
    const parsed = parsePrefix6(text);
    return parsed.ok ? [parsed.value] : [];
  });
  return {
    reverseRanges: keptRanges(before?.reverseRanges, ranges),
    reverseRanges6: keptRanges(before?.reverseRanges6, ranges6),
  };
}

function keptRanges<T extends { readonly text: string }>(
  before: readonly T[] | undefined,
  now: readonly T[],
): readonly T[] {
  const isSameRanges =
    before?.length === now.length && now.every(({ text }, at) => text === before[at]?.text);
  return isSameRanges ? before : now;
}
