/**
 * Entry: what the names of one service lead to.
 *
 * Whether a replica takes traffic is the view's decision (`tier`); it is read here, never judged. A replica asked for
 * by its own name is not traffic but a deliberate choice of that copy: it is there while its node is.
 *
 * A VIP whose claim is tentative may be lost within the second, so nobody is to remember it: until it is settled the
 * name leads to replicas that work in its place, and where there are none to the VIP itself, both with TTL 0. An IPv6
 * VIP is no claim and cannot be lost: the name has it from the first moment.
 *
 * Each part keeps its identity from one plan to the next while it says the same: finished answers are known to hold by
 * that, and a service of thousands of replicas costs little when one of them changes.
 *
 * Pure. zone.ts plans the entries of a view, lookup.ts finds them by name, answer.ts makes records of them.
 */

import { canonicalIpv6, isIpv4, isIpv6, isLocalToHost, isLoopback, unmapped } from "../../base/ip.ts";
import type { NodeId } from "../../model/ids.ts";
import { transportOf, type ServicePort } from "../../model/service.ts";
import type { Replica, Service } from "../../model/view.ts";

/** Addresses by family, each once (RFC 2181 5: a record set holds no duplicates), IPv6 in its canonical form. */
export interface AddressSet {
  /** 0 while they are provisional. */
  readonly ttlSeconds: number;
  readonly v4: readonly string[];
  readonly v6: readonly string[];
}

/** One copy of a service, addressable by its name, its slot and its id. */
export interface Instance {
  readonly id: string;
  readonly name: string;
  readonly slot: number | null;
  readonly address: string;
  /** Its IPv6 address beside it; null where it has none. */
  readonly address6: string | null;
  readonly nodeName: string;
  /** Of its node; empty where none is told. */
  readonly zone: string;
  readonly weight: number;
  readonly ports: readonly ServicePort[];
  /** Whether it takes traffic. */
  readonly eligible: boolean;
  /** Whether its address leads back to it: one on another host's bridge, or of loopback, is somebody else here. */
  readonly reversible: boolean;
}

/** Where a copy listens for a port. */
export interface Listening {
  readonly copy: Instance;
  readonly port: number;
}

/**
 * What is found out of all copies of a service together, once somebody asks for it and once for each list: for
 * thousands of copies that costs more than an answer.
 */
export class Copies {
  readonly #instances: readonly Instance[];
  readonly #listeningByPort = new Map<string, readonly Listening[]>();
  #shared: ReadonlySet<string> | null = null;

  constructor(instances: readonly Instance[]) {
    this.#instances = instances;
  }

  /** Names that several of them have. */
  get shared(): ReadonlySet<string> {
    if (this.#shared !== null) return this.#shared;
    const seen = new Set<string>();
    const shared = new Set<string>();
    for (const { name } of this.#instances) (seen.has(name) ? shared : seen).add(name);
    this.#shared = shared;
    return shared;
  }

  /** Those that take traffic and listen for a port, as it is declared. */
  listening(port: string, transport: "tcp" | "udp"): readonly Listening[] {
    const key = `${port}/${transport}`;
    const known = this.#listeningByPort.get(key);
    if (known !== undefined) return known;
    const all = this.#instances.flatMap((copy): readonly Listening[] => {
      if (!copy.eligible) return [];
      return copy.ports
        .filter(({ name, protocol }) => name === port && transportOf(protocol) === transport)
        .map(({ target }) => ({ copy, port: target }));
    });
    this.#listeningByPort.set(key, all);
    return all;
  }
}

/** What the names of one service lead to. */
export interface ZoneService {
  readonly network: string;
  readonly name: string;
  /** The VIP; replica addresses where there is none, and where they work in its place while it is tentative. */
  readonly addresses: AddressSet;
  /** Every eligible replica. */
  readonly tasks: AddressSet;
  readonly vip: string | null;
  readonly vip6: string | null;
  /** VIPs that it had a while ago: told to nobody, but whoever kept one may ask whose it is. */
  readonly formerVips: readonly string[];
  /** As the service declares them; each replica has its own targets. */
  readonly ports: readonly ServicePort[];
  /** What its TXT record says. */
  readonly texts: readonly string[];
  /**
   * Copies whose node is a live member, in the view's order. A list: asking for one copy by name is rare, and a scan
   * of ten is cheaper than a map to build; containers of one name on several hosts share it, and are all answered.
   */
  readonly instances: readonly Instance[];
  /** Of these. */
  readonly copies: Copies;
}

/** What matters of a member that is there. */
export interface Presence {
  /** True while its daemon is: what only that relays to is not there. */
  readonly away: boolean;
  readonly zone: string;
}

/** What an entry depends on besides the service. */
export interface Circumstances {
  readonly presenceById: ReadonlyMap<NodeId, Presence>;
  readonly ttlSeconds: number;
}

/**
 * Plans the entry of a service.
 *
 * @param previous  the entry as it was; null for a new service
 * @returns `previous` itself when nothing changed, else an entry with as many of its parts as still hold
 */
export function planEntry(
  service: Service,
  circumstances: Circumstances,
  previous: ZoneService | null,
): ZoneService {
  const { ttlSeconds, presenceById } = circumstances;
  const instances = planInstances(service.replicas, presenceById, previous?.instances ?? []);
  // Invariant: an eligible replica is there, for the view rules so; those without a usable address are left out.
  const tasks =
    previous !== null && instances === previous.instances && previous.tasks.ttlSeconds === ttlSeconds
      ? previous.tasks
      : kept(
          addressSet(instances.filter(({ eligible }) => eligible).flatMap(addressesOfCopy), ttlSeconds),
          previous?.tasks,
        );
  const entry: ZoneService = {
    network: service.network,
    name: service.name,
    addresses: kept(addressesOf(service, tasks, ttlSeconds), previous?.addresses),
    tasks,
    vip: service.vip,
    vip6: service.vip6 ?? null,
    formerVips: keptList(service.aliasVips, previous?.formerVips),
    ports: keptPorts(service.ports, previous?.ports),
    texts: keptList(textsOf(service), previous?.texts),
    instances,
    copies: previous !== null && instances === previous.instances ? previous.copies : new Copies(instances),
  };
  return previous !== null && isSame(entry, previous) ? previous : entry;
}

/** The addresses of a copy, IPv4 first where it has both. */
export function addressesOfCopy({ address, address6 }: Instance): readonly string[] {
  return address6 === null ? [address] : [address, address6];
}

/** The addresses that a record can hold, each once. */
export function addressSet(addresses: readonly string[], ttlSeconds: number): AddressSet {
  const v4: string[] = [];
  const v6: string[] = [];
  for (const address of new Set(addresses)) (address.includes(":") ? v6 : v4).push(address);
  return { ttlSeconds, v4, v6 };
}

/** The address as a record can hold it; null for a host name and for an IPv6 zone, which means nothing elsewhere. */
export function plainAddress(text: string): string | null {
  const address = unmapped(text);
  if (isIpv4(address)) return address;
  return isIpv6(address) && !address.includes("%") ? canonicalIpv6(address) : null;
}

/** The same of an IPv6 address that stands beside another; null also for one that means each host itself. */
function plainAddress6(text: string): string | null {
  return isIpv6(text) && !isLocalToHost(text) ? plainAddress(text) : null;
}

/** The set as it was when it says the same. */
export function kept(set: AddressSet, previous: AddressSet | undefined): AddressSet {
  const same =
    previous !== undefined &&
    previous.ttlSeconds === set.ttlSeconds &&
    isSameList(previous.v4, set.v4) &&
    isSameList(previous.v6, set.v6);
  return same ? previous : set;
}

function keptList(list: readonly string[], previous: readonly string[] | undefined): readonly string[] {
  return previous !== undefined && isSameList(previous, list) ? previous : list;
}

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, at) => text === other[at]);
}

function keptPorts(
  ports: readonly ServicePort[],
  previous: readonly ServicePort[] | undefined,
): readonly ServicePort[] {
  return previous !== undefined && isSamePorts(previous, ports) ? previous : ports;
}

function isSamePorts(one: readonly ServicePort[], other: readonly ServicePort[]): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  return one.every(({ name, port, target, protocol }, at) => {
    const mate = other[at];
    return mate?.name === name && mate.port === port && mate.target === target && mate.protocol === protocol;
  });
}

function isSame(one: ZoneService, other: ZoneService): boolean {
  return (
    one.addresses === other.addresses &&
    one.tasks === other.tasks &&
    one.vip === other.vip &&
    one.vip6 === other.vip6 &&
    one.formerVips === other.formerVips &&
    one.ports === other.ports &&
    one.texts === other.texts &&
    one.instances === other.instances
  );
}

function textsOf({ network, stack }: Service): readonly string[] {
  return stack === null ? [`network=${network}`] : [`network=${network}`, `stack=${stack}`];
}

/** The copies that are there. Both lists are in the view's order, by id, so they are walked side by side. */
function planInstances(
  replicas: readonly Replica[],
  presenceById: Circumstances["presenceById"],
  before: readonly Instance[],
): readonly Instance[] {
  const instances: Instance[] = [];
  let at = 0;
  let isChanged = false;
  for (const replica of replicas) {
    const presence = presenceById.get(replica.node);
    // A replica that only its own daemon relays to is not there while that is away.
    if (presence === undefined || (presence.away && replica.reach === "stream")) continue;
    while ((before[at]?.id ?? replica.id) < replica.id) at += 1;
    const last = before[at]?.id === replica.id ? before[at] : undefined;
    const instance = instanceOf(replica, presence.zone, last);
    if (instance === null) continue;
    instances.push(instance);
    isChanged ||= instance !== before[instances.length - 1];
  }
  return isChanged || instances.length !== before.length ? instances : before;
}

function instanceOf(replica: Replica, zone: string, last: Instance | undefined): Instance | null {
  const { id, name, slot, nodeName, weight, reach, local } = replica;
  // Not parsed again: a plain address is most of what this costs.
  const address = last?.address === replica.address ? last.address : plainAddress(replica.address);
  if (address === null) return null;
  const given6 = replica.address6 ?? null;
  const address6 = given6 === null || last?.address6 === given6 ? given6 : plainAddress6(given6);
  const eligible = replica.tier === "eligible";
  const reversible = (reach !== "stream" || local) && !isLoopback(address);
  const holds =
    last !== undefined &&
    last.address === address &&
    last.address6 === address6 &&
    last.name === name &&
    last.slot === slot &&
    last.nodeName === nodeName &&
    last.zone === zone &&
    last.weight === weight &&
    last.eligible === eligible &&
    last.reversible === reversible &&
    isSamePorts(last.ports, replica.ports);
  if (holds) return last;
  const { ports } = replica;
  return { id, name, slot, address, address6, nodeName, zone, weight, ports, eligible, reversible };
}

/**
 * What the service's own name leads to.
 *
 * While the VIP is tentative: replicas, and so the right service whatever becomes of the claim; but only those that
 * every asker of this zone reaches on the VIP's own ports. Else the VIP: the proxy serves it already, and a name that
 * leads nowhere for half a second would be worse.
 */
function addressesOf(service: Service, tasks: AddressSet, ttlSeconds: number): AddressSet {
  const { endpointMode, vip, vip6, vipTentative } = service;
  const told = isProvisional(service) ? 0 : ttlSeconds;
  const v6 = vip6 === undefined ? [] : [vip6];
  if (endpointMode !== "vip" || vip === null)
    return { ...tasks, ttlSeconds: told, ...(vip6 !== undefined && { v6 }) };
  const vipOnly: AddressSet = { ttlSeconds: told, v4: [vip], v6 };
  if (!vipTentative) return vipOnly;
  // Not `tasks`: who got one that cannot be reached from where he is would be worse off than with the VIP.
  const standIns = service.replicas.flatMap((replica) => {
    const address = standsIn(replica, service) ? plainAddress(replica.address) : null;
    return address === null ? [] : [address];
  });
  const addresses = addressSet(standIns, told);
  // A client without IPv6 must not find less than the VIP.
  if (addresses.v4.length === 0) return vipOnly;
  return vip6 === undefined ? addresses : { ...addresses, v6 };
}

/**
 * True for an eligible replica that whoever asks here reaches, on the ports of the VIP. Not one on a bridge (`reach` is
 * `stream`), though it be of this host: the next bridge does not lead there.
 */
function standsIn({ tier, reach, address, ports }: Replica, service: Service): boolean {
  if (tier !== "eligible" || reach !== "direct" || isLoopback(address)) return false;
  return service.ports.every(({ port, protocol }) => {
    return ports.some(
      (own) =>
        own.port === port && own.target === port && transportOf(own.protocol) === transportOf(protocol),
    );
  });
}

/**
 * True while a service that is to have a VIP has none yet (or none any more: the pool is used up), or one that it may
 * lose. Whatever stands in is told with TTL 0, so that nobody keeps it when the VIP comes. Without ports there is
 * nothing to wait for.
 */
function isProvisional({ endpointMode, vip, vipTentative, ports }: Service): boolean {
  return endpointMode === "vip" && ports.length > 0 && (vip === null || vipTentative);
}
