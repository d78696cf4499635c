/**
 * Zone: the names of the cluster, planned from one View.
 *
 * A name has many forms (`web`, `web.<network>`, `tasks.web.<stack>.<network>.<domain>`, in any case), so forms are
 * not materialised: the zone is a compact index from a service's own names (its name, aliases, `<stack>_<service>`,
 * `<service>.<stack>`) to one shared entry per service, and answer.ts takes a question apart against it. A thousand
 * services with ten replicas each are some 3,000 keys, and no map per replica.
 *
 * Whether a replica takes traffic is the view's decision (`tier`); it is read here, never judged. A replica asked for
 * by its own name is not traffic but a deliberate choice of that copy: it is there while its node is.
 *
 * A VIP whose claim is tentative may be lost within the second, so nobody is to remember it: until it is settled the
 * name leads to replicas that work in its place, and where there are none to the VIP itself, both with TTL 0.
 *
 * Pure. Structured-cloneable, so that the server may run in a worker thread. answer.ts decides who sees what of it.
 */

import { isIpv4, isIpv6, isLoopback, unmapped } from "../base/ip.ts";
import { transportOf } from "../model/service.ts";
import type { Replica, Service, View } from "../model/view.ts";

/** Addresses by family, each once (RFC 2181 5: a record set holds no duplicates). */
export interface AddressSet {
  readonly v4: readonly string[];
  readonly v6: readonly string[];
}

/** One copy of a service, addressable by its name and its slot. */
export interface Instance {
  readonly name: string;
  readonly slot: number | null;
  readonly address: string;
}

/** What the names of one service lead to. */
export interface ZoneService {
  readonly network: string;
  /** For the service's own names; 0 while their answer is provisional. */
  readonly ttlSeconds: number;
  /** The VIP; replica addresses where there is none, and where they work in its place while it is tentative. */
  readonly addresses: AddressSet;
  /** Every eligible replica; the same object as `addresses` where that holds them too. */
  readonly tasks: AddressSet;
  /**
   * Copies whose node is a live member, in the view's order. A list: asking for one copy by name is rare, and a scan
   * of ten is cheaper than a map to build; containers of one name on several hosts share it, and are all answered.
   */
  readonly instances: readonly Instance[];
}

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
  /** By name inside a network, lower case; services of different networks share a key, at most one per network. */
  readonly servicesByName: ReadonlyMap<string, readonly ZoneService[]>;
  /** Networks that have a service. */
  readonly networks: ReadonlySet<string>;
  /** The networks in which a stack has services: such a name has names below it. */
  readonly networksByStack: ReadonlyMap<string, ReadonlySet<string>>;
  /** Members' addresses by node name. */
  readonly addressesByNode: ReadonlyMap<string, AddressSet>;
}

/** What the view does not say. */
export interface ZoneOptions {
  /** Lower case, without a dot at the end. */
  readonly domain: string;
  readonly ttlSeconds: number;
}

/** The name right below the domain under which nodes are found. */
export const NODE_LABEL = "node";

const NO_ADDRESSES: AddressSet = { v4: [], v6: [] };

/** Plans the zone of a view. */
export function planZone(view: View, options: ZoneOptions): Zone {
  const { domain, ttlSeconds } = options;
  const here = view.members.filter(({ state }) => state !== "dead" && state !== "left");
  const stateByNode = new Map(here.map(({ id, state }) => [id, state]));
  // A replica that only its own daemon relays to is not there while that is away.
  const isHere = ({ node, reach }: Replica): boolean =>
    stateByNode.has(node) && (reach === "direct" || stateByNode.get(node) !== "away");
  const entries = view.services.map((service) => entryOf(service, isHere, ttlSeconds));
  const self = view.members.find((member) => member.id === view.self);
  return {
    domain,
    ttlSeconds,
    // Before the first full exchange a name may be missing only because we have not heard of it: nobody may cache that.
    complete: view.complete,
    negativeTtlSeconds: view.complete ? ttlSeconds : 0,
    serial: view.version % 0x1_0000_0000,
    primary: self === undefined ? `ns.${domain}` : `${self.name}.${NODE_LABEL}.${domain}`,
    servicesByName: indexNames(view.services, entries),
    networks: new Set(view.services.map((service) => service.network)),
    networksByStack: indexStacks(view.services),
    addressesByNode: indexNodes(here),
  };
}

/**
 * Index of every service by every name it has in its network. Own names outrank aliases, aliases outrank names made
 * with the stack, then the lower service key wins: so nobody takes a service's name by calling an alias like it.
 */
function indexNames(
  services: readonly Service[],
  entries: readonly ZoneService[],
): ReadonlyMap<string, readonly ZoneService[]> {
  const index = new Map<string, ZoneService[]>();
  const add = (name: string, entry: ZoneService): void => {
    const holders = index.get(name);
    if (holders === undefined) index.set(name, [entry]);
    else if (holders.every((holder) => holder.network !== entry.network)) holders.push(entry);
  };
  const addAll = (namesOf: (service: Service) => readonly string[]): void => {
    for (const [at, entry] of entries.entries()) {
      const service = services[at];
      for (const name of service === undefined ? [] : namesOf(service)) add(name, entry);
    }
  };
  addAll((service) => [service.name]);
  addAll((service) => service.aliases);
  addAll(stackNames);
  return index;
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

/** Nodes whose mesh address is an IP; one that advertises a host name is found by that name already. */
function indexNodes(members: View["members"]): ReadonlyMap<string, AddressSet> {
  const hostsByNode = new Map<string, string[]>();
  for (const { name, host } of members) {
    if (plainAddress(host) === null) continue;
    const hosts = hostsByNode.get(name);
    if (hosts === undefined) hostsByNode.set(name, [host]);
    else hosts.push(host);
  }
  return new Map([...hostsByNode].map(([name, hosts]) => [name, addressSet(hosts)]));
}

function entryOf(service: Service, isHere: (replica: Replica) => boolean, ttlSeconds: number): ZoneService {
  const eligible = service.replicas.filter((replica) => replica.tier === "eligible");
  const tasks = addressSet(eligible.map((replica) => replica.address));
  return {
    network: service.network,
    ttlSeconds: isProvisional(service) ? 0 : ttlSeconds,
    addresses: addressesOf(service, eligible, tasks),
    tasks,
    instances: service.replicas.flatMap((replica) => {
      const address = plainAddress(replica.address);
      return address === null || !isHere(replica)
        ? []
        : [{ name: replica.name, slot: replica.slot, address }];
    }),
  };
}

/**
 * What the service's own name leads to.
 *
 * While the VIP is tentative: replicas, and so the right service whatever becomes of the claim; but only those that
 * every asker of this zone reaches on the VIP's own ports. Else the VIP: the proxy serves it already, and a name that
 * leads nowhere for half a second would be worse.
 */
function addressesOf(service: Service, eligible: readonly Replica[], tasks: AddressSet): AddressSet {
  const { endpointMode, vip, vipTentative } = service;
  if (endpointMode !== "vip" || vip === null) return tasks;
  const vipOnly = addressSet([vip]);
  if (!vipTentative) return vipOnly;
  const standIns = eligible.filter((replica) => standsIn(replica, service));
  // Not all of `tasks`: who got one that cannot be reached from where he is would be worse off than with the VIP.
  const addresses =
    standIns.length === eligible.length ? tasks : addressSet(standIns.map(({ address }) => address));
  // The VIP is IPv4; a client without IPv6 must not find less than that.
  return addresses.v4.length > 0 ? addresses : vipOnly;
}

/**
 * True for a replica that whoever asks here reaches, on the ports of the VIP. Not one on a bridge (`reach` is
 * `stream`), though it be of this host: the next bridge does not lead there.
 */
function standsIn({ reach, address, ports }: Replica, service: Service): boolean {
  if (reach !== "direct" || isLoopback(address)) return false;
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

function addressSet(addresses: readonly string[]): AddressSet {
  if (addresses.length === 0) return NO_ADDRESSES;
  const plain = new Set<string>();
  for (const address of addresses) {
    const usable = plainAddress(address);
    if (usable !== null) plain.add(usable);
  }
  const all = [...plain];
  return { v4: all.filter(isIpv4), v6: all.filter((address) => !isIpv4(address)) };
}

/** The address as a record can hold it; null for a host name and for an IPv6 zone, which means nothing elsewhere. */
function plainAddress(text: string): string | null {
  const address = unmapped(text);
  return isIpv4(address) || (isIpv6(address) && !address.includes("%")) ? address : null;
}
