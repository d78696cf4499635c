/**
 * Network plan: which Docker networks an engine is to have for overlay networks, from those that it has.
 *
 * A network of ours is made once and then left alone for as long as a container is on it, one that does not run
 * included: Docker remembers networks by id, and a container whose network was made anew never starts again. So what
 * differs from what is wanted is made anew only while nobody uses it, and told otherwise. A network of that name that
 * somebody else made is never touched.
 *
 * Docker's own masquerade is off, for it would hide containers of other hosts from each other; its filter of direct
 * access (Docker 28) is off too, as a replica is reached by its address. Who may reach it is our own rules' to say.
 *
 * Pure. networks.ts does what is planned.
 */

import { contains6, gateway6, overlaps6, parsePrefix6 } from "../../base/ip6.ts";
import { numberToIpv4, overlaps, parsePrefix } from "../../base/ip.ts";
import type { Problem } from "../../model/endpoint.ts";
import type { Bridge } from "../../model/network.ts";
import { problem } from "../problem.ts";

import { BRIDGE_MTU, BRIDGE_NAME, isOurs, NETWORK_LABEL, type EngineNetwork } from "./engine-networks.ts";

/** A Docker network that this host is to have. */
export interface WantedNetwork {
  /** The overlay network's name, and the Docker network's. */
  readonly network: string;
  /** What its bridge is to be called: at most 15 characters. */
  readonly device: string;
  /** This host's slice, `10.160.3.0/24`, and in IPv6, where the network has it and this host too. */
  readonly prefix: string;
  readonly prefix6: string | null;
  /** What fits in a packet on it: that of the underlay without what tunnels add. */
  readonly mtu: number;
}

/** What the cluster wants of an engine. */
export interface NetworkWishes {
  readonly networks: readonly WantedNetwork[];
  /**
   * The names of all overlay networks there are: one that is in here and not wanted stays as it is, for its slice may
   * only be unsettled for a moment. Null while not all of them are known: then nothing is removed.
   */
  readonly known: ReadonlySet<string> | null;
}

/** Nothing is known yet: what is there stays. */
export const NO_WISHES: NetworkWishes = { networks: [], known: null };

/** What was learnt of an engine that its list of networks does not tell. */
export interface LearntOfEngine {
  /** By id of a network, the containers that use it; empty for none, missing while nobody has asked. */
  readonly usersById: ReadonlyMap<string, readonly string[]>;
  /** By name, why the engine did not make a network with IPv6. */
  readonly refusedIpv6: ReadonlyMap<string, string>;
}

/** What is to be done, and what is there. */
export interface NetworkPlan {
  /** To be removed unless a container uses them, which is to be asked first. */
  readonly remove: readonly EngineNetwork[];
  readonly create: readonly WantedNetwork[];
  /** Those of ours that are as they should be, sorted by network. */
  readonly bridges: readonly Bridge[];
  readonly problems: readonly Problem[];
}

/** What one wanted or forgotten network comes to. */
type Step =
  | { readonly kind: "remove"; readonly network: EngineNetwork }
  | { readonly kind: "create"; readonly wanted: WantedNetwork }
  | { readonly kind: "bridge"; readonly bridge: Bridge }
  | { readonly kind: "problem"; readonly problem: Problem };

/**
 * Plans the Docker networks of an engine.
 *
 * @param engine  all networks it has
 */
export function planDockerNetworks(
  wishes: NetworkWishes,
  engine: readonly EngineNetwork[],
  learnt: LearntOfEngine,
): NetworkPlan {
  const wantedNames = new Set(wishes.networks.map(({ network }) => network));
  const ours = engine.filter(isOurs);
  const forgotten = ours.filter(({ name }) => !wantedNames.has(name));
  const steps = [
    ...wishes.networks.flatMap((wanted) => stepsFor(wanted, engine, learnt)),
    ...forgotten.flatMap((network) => stepsForForgotten(network, wishes, learnt)),
  ];
  const bridges = steps.flatMap((step) => (step.kind === "bridge" ? [step.bridge] : []));
  return {
    remove: steps.flatMap((step) => (step.kind === "remove" ? [step.network] : [])),
    create: steps.flatMap((step) => (step.kind === "create" ? [step.wanted] : [])),
    bridges: bridges.toSorted((one, other) => (one.network < other.network ? -1 : 1)),
    problems: steps.flatMap((step) => (step.kind === "problem" ? [step.problem] : [])),
  };
}

/** The body of `POST /networks/create` for a network, with or without IPv6. */
export function describeNetwork(wanted: WantedNetwork, withIpv6: boolean): Readonly<Record<string, unknown>> {
  const { network, device, prefix, prefix6, mtu } = wanted;
  const ipv6 = withIpv6 && prefix6 !== null ? [{ Subnet: prefix6, Gateway: gateway6(prefix6) }] : [];
  return {
    Name: network,
    // Older engines let two networks have one name unless they are asked not to.
    CheckDuplicate: true,
    Driver: "bridge",
    EnableIPv6: ipv6.length > 0,
    IPAM: { Driver: "default", Config: [{ Subnet: prefix, Gateway: gatewayOf(prefix) }, ...ipv6] },
    Options: {
      [BRIDGE_NAME]: device,
      [BRIDGE_MTU]: String(mtu),
      "com.docker.network.bridge.enable_ip_masquerade": "false",
      "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
      ...(ipv6.length > 0 && { "com.docker.network.bridge.gateway_mode_ipv6": "nat-unprotected" }),
    },
    Labels: { [NETWORK_LABEL]: network },
  };
}

function stepsFor(
  wanted: WantedNetwork,
  engine: readonly EngineNetwork[],
  learnt: LearntOfEngine,
): readonly Step[] {
  const named = engine.filter(({ name }) => name === wanted.network);
  const foreign = named.find((network) => !isOurs(network));
  if (foreign !== undefined) {
    const what = `docker has a network "${foreign.name}" (driver ${foreign.driver}) that skein did not make`;
    return [told(wanted.network, `${what}; expected none: remove it, or give it another name`)];
  }
  const rank = (network: EngineNetwork): number => (isPlacedRight(network, wanted) ? 0 : 1);
  const [first, ...others] = named.toSorted((one, other) => rank(one) - rank(other));
  const repeats = others.flatMap((network) => unlessUsed(network, learnt, "there are two of its name"));
  if (first !== undefined) return [...repeats, ...stepsForOurs(wanted, first, learnt)];
  const inTheWay = engine.flatMap((network) => overlapOf(wanted, network));
  return inTheWay.length > 0
    ? inTheWay.map((text) => told(wanted.network, text))
    : [{ kind: "create", wanted }];
}

/** A network of ours is there already. */
function stepsForOurs(
  wanted: WantedNetwork,
  network: EngineNetwork,
  learnt: LearntOfEngine,
): readonly Step[] {
  if (!isPlacedRight(network, wanted)) {
    const is = `${rangeOf(network) ?? "no range"} on "${network.device}"`;
    return unlessUsed(network, learnt, `it has ${is}; expected ${wanted.prefix} on "${wanted.device}"`);
  }
  const bridge: Step = { kind: "bridge", bridge: bridgeOf(network, wanted.prefix) };
  const refused = learnt.refusedIpv6.get(wanted.network);
  const lacksIpv6 = wanted.prefix6 !== null && !hasRange6(network, wanted.prefix6);
  const reasons = [
    ...(network.mtu === wanted.mtu ? [] : [`its MTU is ${network.mtu ?? "not set"}; expected ${wanted.mtu}`]),
    ...(lacksIpv6 && refused === undefined ? [`it lacks IPv6; expected ${wanted.prefix6}`] : []),
  ];
  const without = lacksIpv6 && refused !== undefined ? [told(wanted.network, refused)] : [];
  if (reasons.length === 0) return [bridge, ...without];
  const again = unlessUsed(network, learnt, reasons.join("; "));
  return again.some(({ kind }) => kind === "remove") ? again : [bridge, ...without, ...again];
}

/** A network of ours that nobody wants now. */
function stepsForForgotten(
  network: EngineNetwork,
  { known }: NetworkWishes,
  learnt: LearntOfEngine,
): readonly Step[] {
  if (known !== null && !known.has(network.name)) {
    return unlessUsed(network, learnt, "the cluster has no such network any more");
  }
  const prefix = rangeOf(network);
  return prefix === null || network.device === ""
    ? []
    : [{ kind: "bridge", bridge: bridgeOf(network, prefix) }];
}

/** Takes a network away that is not as it should be, or says who keeps it. */
function unlessUsed(network: EngineNetwork, learnt: LearntOfEngine, why: string): readonly Step[] {
  const users = learnt.usersById.get(network.id) ?? [];
  if (users.length === 0) return [{ kind: "remove", network }];
  const some = users.slice(0, USERS_TOLD).join(", ");
  const who = users.length > USERS_TOLD ? `${some} and ${users.length - USERS_TOLD} more` : some;
  return [told(network.name, `${why}; it stays until the containers on it are removed: ${who}`)];
}

const USERS_TOLD = 4;

function told(network: string, text: string): Step {
  return { kind: "problem", problem: problem(`docker network ${network}`, text) };
}

/** Whose range it shares addresses with, in words; Docker refuses that and does not say with which. */
function overlapOf(wanted: WantedNetwork, { name, subnets }: EngineNetwork): readonly string[] {
  const other = subnets.find(({ prefix }) => isOverlap(wanted.prefix, wanted.prefix6, prefix));
  if (other === undefined) return [];
  const shared = `${wanted.prefix} of this host shares addresses with ${other.prefix} of docker's "${name}"`;
  return [
    `${shared}; expected none that does: remove that one, or make the overlay network with another range`,
  ];
}

function isOverlap(prefix: string, prefix6: string | null, other: string): boolean {
  const [own, its] = [parsePrefix(prefix), parsePrefix(other)];
  if (own.ok && its.ok) return overlaps(own.value, its.value);
  const [own6, its6] = [parsePrefix6(prefix6 ?? ""), parsePrefix6(other)];
  return own6.ok && its6.ok && overlaps6(own6.value, its6.value);
}

/** True for one on this host's slice and on the bridge that links and rules look for. */
function isPlacedRight(network: EngineNetwork, wanted: WantedNetwork): boolean {
  return rangeOf(network) === wanted.prefix && network.device === wanted.device;
}

function rangeOf({ subnets }: EngineNetwork): string | null {
  return subnets.find(({ prefix }) => parsePrefix(prefix).ok)?.prefix ?? null;
}

function hasRange6({ subnets }: EngineNetwork, prefix6: string): boolean {
  const wanted = parsePrefix6(prefix6);
  return subnets.some(({ prefix }) => {
    const its = parsePrefix6(prefix);
    return its.ok && wanted.ok && its.value.text === wanted.value.text;
  });
}

function bridgeOf({ name, device, subnets }: EngineNetwork, prefix: string): Bridge {
  const own = subnets.find((subnet) => subnet.prefix === prefix);
  const bridge = { network: name, device, prefix, gateway: own?.gateway ?? gatewayOf(prefix) };
  for (const subnet of subnets) {
    const parsed = parsePrefix6(subnet.prefix);
    if (!parsed.ok) continue;
    const { text } = parsed.value;
    const stated = subnet.gateway ?? "";
    const isInside = stated !== "" && contains6(parsed.value, stated);
    return { ...bridge, prefix6: text, gateway6: isInside ? stated : gateway6(text) };
  }
  return bridge;
}

/** The first address of a slice; Docker would take the same. @param prefix  a valid one, of at least four addresses */
function gatewayOf(prefix: string): string {
  const parsed = parsePrefix(prefix);
  return parsed.ok ? numberToIpv4(parsed.value.base + 1) : "";
}
