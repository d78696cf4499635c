/**
 * Lookup: what a name means, to who asks.
 *
 * People type short names, in any of their forms. Names of networks that the asker is not on must not show, and own
 * names must not leave for an upstream. And a foreign name must never be captured: service and network names are chosen
 * by users, and `app` and `dev` are also top-level domains. Hence:
 *
 * - Below the domain everything is ours: found, or missing, never foreign.
 * - Elsewhere a name of several labels is ours only if the asker sees exactly it; `x.app` is not, for a service `app`.
 * - A single label is ours, too, when any network of the cluster has it: missing to those who may not see it.
 * - Until this node knows what its peers know, a short name may be ours without its knowing: missing, not foreign.
 * - What is ours and could mean several things means none of them, and does not leave either.
 *
 * Pure. answer.ts makes records of what is found; names of addresses (`in-addr.arpa`) are read by reverse.ts.
 */

import { DEFAULT_NETWORK, isLabel } from "../../model/ids.ts";
import { LIMITS } from "../../model/limits.ts";
import { transportOf } from "../../model/service.ts";

import type { AddressSet, Instance, ZoneService } from "./entry.ts";
import { NODE_LABEL, type Zone } from "./zone.ts";

/**
 * Who asks: a process on a host sees all networks, a container those it is on, its own first. One that is isolated has
 * no way out of the host, and no question of it is to find one.
 */
export type Asker =
  | { readonly kind: "host"; readonly isolated?: true }
  | { readonly kind: "container"; readonly networks: readonly string[]; readonly isolated: boolean };

/**
 * An address of which it is not known yet who has it: a container that was started a moment ago. It is shown nothing:
 * any answer may be of a network that it is not on, and it may keep it for good. `isolated`: it may be on internal
 * networks only; else its foreign names are forwarded meanwhile.
 */
export interface Stranger {
  readonly kind: "unknown";
  readonly isolated: boolean;
}

/** True for one whose foreign names are refused, whoever may ask. */
export function isIsolated({ isolated }: Asker | Stranger): boolean {
  return isolated === true;
}

/** A name whose records are found with a service. */
export type ServiceMeaning =
  | { readonly kind: "service" | "tasks"; readonly service: ZoneService }
  /** One copy, or several of one name; never none. */
  | { readonly kind: "copies"; readonly service: ZoneService; readonly copies: readonly Instance[] }
  /** A port that the service declares: `_http._tcp.web` (RFC 2782). */
  | {
      readonly kind: "port";
      readonly service: ZoneService;
      readonly port: string;
      readonly transport: "tcp" | "udp";
    };

/** What a name means. */
export type Meaning =
  | ServiceMeaning
  | { readonly kind: "node"; readonly addresses: AddressSet }
  | { readonly kind: "apex" }
  /** Nothing but names below it (RFC 8020 2: it exists). */
  | { readonly kind: "between" }
  /**
   * Several networks that the asker sees have it, or the service that it is a copy of; none of them is its own. The
   * networks are those that have it itself.
   */
  | Ambiguous
  | { readonly kind: "missing" }
  | { readonly kind: "foreign" };

/** Finds what a name means; `name` in lower case, without a dot at the end. */
export function lookUp(zone: Zone, name: string, asker: Asker): Meaning {
  if (name === zone.domain) return { kind: "apex" };
  const below = name.endsWith(`.${zone.domain}`);
  const relative = below ? name.slice(0, -zone.domain.length - 1) : name;
  const found = (below ? findNode(zone, relative) : null) ?? findService(zone, relative, asker);
  if (found !== null) return found;
  if (below) return { kind: hasNamesBelow(zone, relative, asker) ? "between" : "missing" };
  return { kind: isShortNameOfOurs(zone, relative, asker) ? "missing" : "foreign" };
}

/** Whether a name outside the domain that leads nowhere is ours all the same. */
function isShortNameOfOurs(zone: Zone, name: string, asker: Asker): boolean {
  const dot = name.lastIndexOf(".");
  if (dot === -1) return (name !== "" && !zone.complete) || zone.names.placesByName.has(name);
  if (zone.complete) return false;
  const network = name.slice(dot + 1);
  const own = asker.kind === "host" ? [] : asker.networks;
  return network === DEFAULT_NETWORK || zone.names.networks.has(network) || own.includes(network);
}

/** True when the asker is on the network. */
export function sees(asker: Asker, network: string): boolean {
  return asker.kind === "host" || asker.networks.includes(network);
}

/** The full name of a service. */
export function serviceName(zone: Zone, { name, network }: ZoneService): string {
  return `${name}.${network}.${zone.domain}`;
}

/**
 * Makes the full names of a service's copies, each one that leads to that copy alone: with the copy's own name where
 * no other has it and it means nothing else, else with its id. Two hosts that run the same compose file have copies of
 * one name; SRV records tell their ports apart by these names.
 */
export function copyNames(zone: Zone, service: ZoneService): (copy: Instance) => string {
  const { shared } = service.copies;
  const parent = serviceName(zone, service);
  return ({ id, name }) => {
    const meansElse = name === "tasks" || zone.names.placesByName.has(`${name}.${service.name}`);
    return `${(meansElse || shared.has(name)) && isLabel(id) ? id : name}.${parent}`;
  };
}

/** Whether names of copies may be too long for a record. */
export function hasLongNames(zone: Zone, service: ZoneService): boolean {
  return LIMITS.labelBytes + 1 + serviceName(zone, service).length > LIMITS.nameBytes;
}

/** Whether a name fits into a record: long labels below a long domain may not. */
export function isTellable(name: string): boolean {
  return name.length <= LIMITS.nameBytes;
}

/** Whether names of copies may come to mean something else when other services come: a stack is called like it. */
export function isStackToo(zone: Zone, { name }: ZoneService): boolean {
  return zone.names.networksByStack.has(name);
}

/** `<node>.node`; it outranks a service of that name in a network called `node`. */
function findNode(zone: Zone, relative: string): Meaning | null {
  const [node = "", below, ...rest] = relative.split(".");
  if (below !== NODE_LABEL || rest.length > 0) return null;
  const addresses = zone.nodes.addressesByName.get(node);
  return addresses === undefined ? null : { kind: "node", addresses };
}

/** A service's name in any form, `<name>.<network>` before `<name>` in whatever network the asker means by it. */
function findService(zone: Zone, relative: string, asker: Asker): Meaning | null {
  const dot = relative.lastIndexOf(".");
  const network = relative.slice(dot + 1);
  const qualified =
    dot > 0 && sees(asker, network) ? findNamed(zone, relative.slice(0, dot), inNetwork(network)) : null;
  return qualified ?? findNamed(zone, relative, inSight(asker));
}

interface Ambiguous {
  readonly kind: "ambiguous";
  readonly networks: readonly string[];
}

/** Which of the services that share a name is meant; undefined when none is. */
type Choose = (holders: readonly ZoneService[]) => ZoneService | Ambiguous | undefined;

function inNetwork(network: string): Choose {
  return (holders) => holders.find((holder) => holder.network === network);
}

/** The asker's own network first; then the only other one it sees that has the name. */
function inSight(asker: Asker): Choose {
  const own = asker.kind === "host" ? DEFAULT_NETWORK : asker.networks[0];
  return (holders) => {
    const seen = holders.filter((holder) => sees(asker, holder.network));
    const first = seen.find((holder) => holder.network === own) ?? seen[0];
    if (seen.length < 2 || first?.network === own) return first;
    return { kind: "ambiguous", networks: seen.map(({ network }) => network).sort() };
  };
}

/**
 * `tasks.<name>`, `<name>`, `_<port>._<tcp|udp>.<name>`, `<replica>.<name>`, `<slot>.<name>`, in this order where
 * several could be meant.
 */
function findNamed(zone: Zone, name: string, choose: Choose): Meaning | null {
  const dot = name.indexOf(".");
  const head = dot === -1 ? "" : name.slice(0, dot);
  const parent = dot === -1 ? undefined : holderOf(zone, name.slice(dot + 1), choose);
  if (head === "tasks" && parent !== undefined) {
    return "kind" in parent ? parent : { kind: "tasks", service: parent };
  }
  const whole = holderOf(zone, name, choose);
  if (whole !== undefined) return "kind" in whole ? whole : { kind: "service", service: whole };
  if (head.startsWith("_")) {
    const found = findPort(zone, name, choose);
    if (found !== null) return found;
  }
  if (parent === undefined) return null;
  if ("kind" in parent) return ambiguousCopies(zone, name, parent);
  const copies = copiesCalled(parent, head);
  return copies.length === 0 ? null : { kind: "copies", service: parent, copies };
}

/** A copy's name below a name that is ambiguous, where one of the services has it; others are not ours: `x.app`. */
function ambiguousCopies(zone: Zone, name: string, { networks }: Ambiguous): Ambiguous | null {
  const dot = name.indexOf(".");
  const label = name.slice(0, dot);
  const having = holdersOf(zone, name.slice(dot + 1)).filter(
    (holder) => copiesCalled(holder, label).length > 0,
  );
  const seen = networks.filter((network) => having.some((holder) => holder.network === network));
  return seen.length === 0 ? null : { kind: "ambiguous", networks: seen };
}

function holderOf(zone: Zone, name: string, choose: Choose): ReturnType<Choose> {
  return choose(holdersOf(zone, name));
}

/** The services of all networks that share a name. */
function holdersOf(zone: Zone, name: string): readonly ZoneService[] {
  const places = zone.names.placesByName.get(name) ?? [];
  return places.flatMap((place) => zone.services[place] ?? []);
}

/** `_<port>._<transport>.<name>`, and `_<transport>.<name>`, which has nothing but such names below it. */
function findPort(zone: Zone, name: string, choose: Choose): Meaning | null {
  const match = /^(?:_([^.]+)\.)?_(tcp|udp)\.(.+)$/.exec(name);
  const holder = match?.[3] === undefined ? undefined : holderOf(zone, match[3], choose);
  if (holder === undefined) return null;
  if ("kind" in holder) return holder;
  const transport = match?.[2] === "udp" ? "udp" : "tcp";
  const ports = holder.ports.filter(({ protocol }) => transportOf(protocol) === transport);
  const port = match?.[1];
  if (port === undefined) return ports.length === 0 ? null : { kind: "between" };
  const isDeclared = ports.some((declared) => declared.name === port);
  return isDeclared ? { kind: "port", service: holder, port, transport } : null;
}

/** Copies called `label`. Names outrank slots, for a container may be called `2`; ids come last. */
function copiesCalled({ instances }: ZoneService, label: string): readonly Instance[] {
  const named = instances.filter(({ name }) => name === label);
  if (named.length > 0) return named;
  const bySlot = instances.filter(({ slot }) => slot !== null && String(slot) === label);
  return bySlot.length > 0 ? bySlot : instances.filter(({ id }) => id === label);
}

/**
 * True for a name without records of its own and with names below it: `<network>`, `<stack>`, `<stack>.<network>`,
 * `node`. With NXDOMAIN a resolver may give up all that is below.
 */
function hasNamesBelow(zone: Zone, relative: string, asker: Asker): boolean {
  const { networks, networksByStack } = zone.names;
  if (relative === NODE_LABEL || (networks.has(relative) && sees(asker, relative))) return true;
  const [stack = "", network, ...rest] = relative.split(".");
  const stacked = networksByStack.get(stack);
  if (stacked === undefined || rest.length > 0) return false;
  if (network !== undefined) return stacked.has(network) && sees(asker, network);
  return [...stacked].some((one) => sees(asker, one));
}
