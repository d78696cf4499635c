/**
 * Plan: from what is given to the whole ruleset.
 *
 * Views come many times a second and differ in little, so what was made of a service is kept with the very object it
 * was made of, and made anew only when that, its surroundings or what the proxy thinks of its upstreams has changed.
 * Where two services want one VIP and port, or one published port, the lower key has it, as in the proxy's plan.
 *
 * Pure: the memory of one host. The clock is handed in; it matters to services that start slowly.
 */

import { Failure } from "../../base/failure.ts";
import { parsePrefix } from "../../base/ip.ts";
import { parsePrefix6 } from "../../base/ip6.ts";
import type { ServiceKey } from "../../model/ids.ts";

import { carriedNetworks, type Carried } from "../carried.ts";
import type { KernelGiven } from "../given.ts";
import { checkChain, checkElement } from "./check.ts";
import { planFrame, publishedAt } from "./frame.ts";
import { planNetworks } from "./networks.ts";
import {
  SET_NAMES,
  type Chain,
  type Elements,
  type Endpoint,
  type Ruleset,
  type SetName,
} from "./ruleset.ts";
import { planService, type ServiceGiven, type ServicePlan } from "./service.ts";
import type { Surroundings } from "./upstreams.ts";

/** What a planner is made with. */
export interface PlannerOptions {
  /** Unix milliseconds. */
  readonly nowMs: () => number;
}

/** What a planner remembers of its last call. */
interface Memory {
  /** What plans of services depend on beside the service, and what the rest does, to be compared. */
  readonly basis: string;
  readonly frameBasis: string;
  readonly plans: ReadonlyMap<ServiceKey, ServicePlan>;
  readonly ruleset: Ruleset;
}

/** Makes a planner: each call plans the whole of what it is given; nothing new gives the same object as before. */
export function rulesPlanner({ nowMs }: PlannerOptions): (given: KernelGiven) => Ruleset {
  let memory: Memory | null = null;
  return (given) => {
    const carried = carriedNetworks(given);
    const serviceGiven = gather(given, carried, nowMs());
    const basis = basisOf(given, carried);
    const frameBasis = frameBasisOf(given);
    const known = memory?.basis === basis ? memory.plans : new Map<ServiceKey, ServicePlan>();
    const plans = new Map<ServiceKey, ServicePlan>();
    let isNew = memory?.basis !== basis || memory.frameBasis !== frameBasis;
    for (const service of given.view.services) {
      const kept = known.get(service.key);
      const stands = kept !== undefined && kept.service === service && isCurrent(kept, serviceGiven);
      plans.set(service.key, stands ? kept : planService(service, serviceGiven));
      isNew ||= !stands;
    }
    if (memory !== null && !isNew && plans.size === memory.plans.size) return memory.ruleset;
    const ruleset = assemble(given, carried, [...plans.values()]);
    memory = { basis, frameBasis, plans, ruleset };
    return ruleset;
  };
}

/** Plans once, remembering nothing. @param nowMs  Unix milliseconds */
export function planRules(given: KernelGiven, nowMs: number): Ruleset {
  return rulesPlanner({ nowMs: () => nowMs })(given);
}

/** True where the proxy thinks the same of all its upstreams, and no time has come to look again. */
function isCurrent({ ids, doubtful, againAtMs }: ServicePlan, { ejected, nowMs }: ServiceGiven): boolean {
  if (againAtMs !== null && nowMs >= againAtMs) return false;
  if (ejected.size === 0) return doubtful.size === 0;
  return ids.every((id) => ejected.has(id) === doubtful.has(id));
}

function gather(given: KernelGiven, carried: ReadonlyMap<string, Carried>, nowMs: number): ServiceGiven {
  const { view, ejected, listening } = given;
  const where = publishedAt(given.ingressAddress);
  return {
    around: surroundingsOf(given, carried),
    ejected,
    listening,
    publishes: { ip: where.ip !== null, ip6: where.ip6 !== null },
    self: view.self,
    nowMs,
  };
}

function surroundingsOf(
  { view, pool, pool6 }: KernelGiven,
  carried: ReadonlyMap<string, Carried>,
): Surroundings {
  const parsed = parsePrefix(pool);
  const parsed6 = pool6 === null ? null : parsePrefix6(pool6);
  if (!parsed.ok) throw parsed.failure;
  if (parsed6 !== null && !parsed6.ok) throw parsed6.failure;
  const memberById = new Map(view.members.map((member) => [member.id, member]));
  return {
    zone: memberById.get(view.self)?.zone ?? "",
    memberById,
    networkByName: new Map(view.networks.map((network) => [network.name, network])),
    carried,
    pool: parsed.value,
    pool6: parsed6?.value ?? null,
  };
}

/** All of the surroundings that a service's plan may depend on, as a text to be compared. */
function basisOf(given: KernelGiven, carried: ReadonlyMap<string, Carried>): string {
  const { view, pool, pool6, ingressAddress, listening } = given;
  const members = view.members.map(({ id, zone, overlay }) => {
    const tunnels = overlay === undefined ? "" : overlay.wireguard === undefined ? "vxlan" : "wireguard";
    return `${id} ${zone} ${tunnels}`;
  });
  const networks = view.networks.map(({ name, isSound, encrypted, slices }) => [
    name,
    isSound,
    encrypted,
    slices.map(({ node, prefix, prefix6 }) => `${node} ${prefix} ${prefix6 ?? ""}`),
  ]);
  const own = [pool, pool6, ingressAddress, [...listening].sort(), [...carried.keys()]];
  return JSON.stringify([view.self, own, members, networks]);
}

/** What the frame and the rules of networks depend on beyond that. */
function frameBasisOf({ view, bridges, guests, askers, forwards, overlay }: KernelGiven): string {
  const hosts = view.members.map(({ name, host, overlay }) => `${name} ${host} ${overlay?.address ?? ""}`);
  const networks = view.networks.map(({ range, vni, slices }) => [
    range,
    vni,
    slices.map(({ index }) => index),
  ]);
  const own = [overlay?.address, view.members.find(({ self }) => self)?.prefixes];
  return JSON.stringify([bridges, guests, askers, forwards, own, hosts, networks]);
}

function assemble(
  given: KernelGiven,
  carried: ReadonlyMap<string, Carried>,
  services: readonly ServicePlan[],
): Ruleset {
  const networks = planNetworks(given, carried);
  const problems = [...networks.problems];
  const chains = new Map<string, Chain>();
  const sets = new Map<SetName, Map<string, string>>(SET_NAMES.map((name) => [name, new Map()]));
  const endpoints = new Map<string, Endpoint>();
  for (const planned of [...planFrame({ given, bridged: networks.bridged }), ...networks.chains]) {
    const wrong = checkChain(planned);
    // The chains that all lean on are ours alone: no label or peer has a word in them that was not checked.
    if (wrong !== null) throw new Failure("invalid", wrong);
    chains.set(planned.name, planned);
  }
  for (const { set, key, value } of networks.elements.filter((element) => isSound(element, problems)))
    sets.get(set)?.set(key, value);
  for (const { chains: own, elements, endpoints: kept, problems: told } of services) {
    for (const planned of own) chains.set(planned.name, planned);
    for (const { set, key, value } of elements) {
      const known = sets.get(set);
      if (known !== undefined && !known.has(key)) known.set(key, value);
    }
    for (const [key, endpoint] of kept) endpoints.set(key, endpoint);
    problems.push(...told);
  }
  dropDangling(sets, chains, problems);
  problems.push(...unforwarded(given, sets));
  const again = services.map(({ againAtMs }) => againAtMs ?? Infinity);
  const againAtMs = again.reduce((soonest, atMs) => Math.min(soonest, atMs), Infinity);
  const left = new Set(services.flatMap((plan) => plan.left));
  return { chains, sets, left, endpoints, problems, againAtMs: againAtMs === Infinity ? null : againAtMs };
}

/** Families in which something would be led here, were they forwarded. */
function unforwarded({ forwards }: KernelGiven, sets: ReadonlyMap<SetName, Elements>): readonly string[] {
  const leads = (...names: readonly SetName[]): boolean =>
    names.some((name) => (sets.get(name)?.size ?? 0) > 0);
  const told = (family: string, setting: string): string =>
    `${family} is not forwarded here (${setting}, or Docker's firewall): the proxy carries what comes from elsewhere`;
  return [
    ...(forwards.v4 || !leads("vips", "ports") ? [] : [told("IPv4", "net.ipv4.ip_forward")]),
    ...(forwards.v6 || !leads("vips6", "ports6") ? [] : [told("IPv6", "net.ipv6.conf.all.forwarding")]),
  ];
}

function isSound(element: Parameters<typeof checkElement>[0], problems: string[]): boolean {
  const wrong = checkElement(element);
  if (wrong !== null) problems.push(wrong);
  return wrong === null;
}

/** A verdict that leads nowhere would cost all the others: nft takes a change whole or not at all. */
function dropDangling(
  sets: ReadonlyMap<SetName, Map<string, string>>,
  chains: ReadonlyMap<string, Chain>,
  problems: string[],
): void {
  for (const [name, elements] of sets) {
    for (const [key, value] of elements) {
      if (!value.startsWith("jump ") || chains.has(value.slice("jump ".length))) continue;
      elements.delete(key);
      problems.push(`element ${key} of ${name} is left out: it leads to a chain that is not there`);
    }
  }
}
