/**
 * Agreement: do all running nodes have the same picture?
 *
 * Two nodes agree when their views hold the same members in the same states, the same services with the same
 * addresses and the same replicas in the same tiers, and the same networks with the same slices; then their zones and
 * route tables are equal too, which is looked at as well. What is one node's own affair (round trips, since when, by
 * whose word) does not count. A view is summed up in a number that is kept until the view changes, so that a thousand
 * nodes can be asked each few milliseconds.
 */

import { planZone, type ZoneOptions } from "../../src/dns/names/zone.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import type { Service, View } from "../../src/model/view.ts";
import { planRoutes } from "../../src/proxy/plan.ts";

import type { Simulation } from "./engine.ts";
import type { Host } from "./host.ts";

/** How hosts plan their zones. */
export const ZONE_OPTIONS: ZoneOptions = {
  domain: "skein.internal",
  ttlSeconds: 5,
  reverseRanges: [],
  software: "simulated",
};

/** Sums up views, and remembers what it has summed up. */
export class Agreement {
  readonly #sim: Simulation;
  readonly #sumByView = new WeakMap<View, number>();
  readonly #sumByService = new WeakMap<Service, number>();

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  /** True when every running node sees all running ones alive, and all have the same picture. */
  get holds(): boolean {
    return this.fault() === null;
  }

  /** Why the running nodes do not agree, in words; null when they do. */
  fault(among: readonly Host[] = this.#sim.running): string | null {
    const ids = new Set(among.map(({ id }) => id));
    const [first] = among;
    for (const host of among) {
      const view = this.#sim.view(host);
      if (!view.complete) return `${host.name}'s view is not complete`;
      const fault = this.#membersFault(host, view, ids);
      if (fault !== null) return fault;
    }
    for (const host of among) {
      if (first === undefined || this.#sum(this.#sim.view(host)) === this.#sum(this.#sim.view(first)))
        continue;
      return difference(first, this.#sim.view(first), host, this.#sim.view(host));
    }
    return null;
  }

  /** Why the plans made of the views, or the logs below them, differ though the views do not; null when they do not. */
  deepFault(among: readonly Host[] = this.#sim.running): string | null {
    const [first] = among;
    if (first === undefined) return null;
    const isFew = among.length <= 50;
    const plan = planned(this.#sim.view(first));
    for (const host of among) {
      if (isFew && planned(this.#sim.view(host)) !== plan)
        return `${first.name} and ${host.name} plan differently`;
      const fault = this.#logsFault(host, among);
      if (fault !== null) return fault;
    }
    return null;
  }

  #membersFault(host: Host, view: View, ids: ReadonlySet<string>): string | null {
    let alive = 0;
    for (const { id, name, state, settlesAtMs } of view.members as readonly Settling[]) {
      if (ids.has(id) !== (state === "alive")) return `${host.name} sees ${name} ${state}`;
      if (settlesAtMs !== null && settlesAtMs !== undefined) return `${host.name} lets ${name} settle`;
      if (state === "alive") alive += 1;
    }
    return alive === ids.size ? null : `${host.name} knows ${alive} of ${ids.size} members`;
  }

  /** What each holder has of each running owner must be what the owner has. */
  #logsFault(host: Host, among: readonly Host[]): string | null {
    for (const owner of among) {
      const own = owner.logs.get(owner.id);
      const held = host.logs.get(owner.id);
      const fault = own === undefined || held === undefined ? "is missing" : logFault(own, held);
      if (fault !== null) return `${owner.name}'s log at ${host.name} ${fault}`;
    }
    return null;
  }

  #sum(view: View): number {
    const known = this.#sumByView.get(view);
    if (known !== undefined) return known;
    let sum = 0;
    for (const { id, state, incarnation } of view.members) {
      // A node that is gone may be remembered by some and not by others.
      if (state === "alive") sum = mix(sum, `${id}${incarnation}`);
    }
    for (const service of view.services) sum = add(sum, this.#sumOf(service));
    for (const text of networkTexts(view)) sum = add(sum, mix(0, text));
    this.#sumByView.set(view, sum);
    return sum;
  }

  #sumOf(service: Service): number {
    const known = this.#sumByService.get(service);
    if (known !== undefined) return known;
    const sum = mix(0, textOf(service));
    this.#sumByService.set(service, sum);
    return sum;
  }
}

interface Settling {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly settlesAtMs?: number | null;
}

/** What counts of a service, as text. */
function textOf({ key, vip, publish, problems, replicas }: Service): string {
  const each = replicas.map(({ id, node, tier, state, weight, address, drainApplied }) => {
    return `${id}@${node} ${tier} ${state} ${weight} ${address} ${drainApplied}`;
  });
  return `${key} ${vip} ${JSON.stringify([publish, problems])}\n${each.join("\n")}`;
}

/** What counts of overlay networks; a node that is gone may be remembered by some and not by others. */
function networkTexts({ networks, members }: View): readonly string[] {
  if (networks.length === 0) return [];
  const aliveIds = new Set(members.filter(({ state }) => state === "alive").map(({ id }) => id));
  return networks.map(({ name, range, vni, isSound, slices }) => {
    const held = slices.filter(({ node }) => aliveIds.has(node));
    const each = held.map(({ node, prefix, tentative }) => `${node} ${prefix} ${tentative}`);
    return `network ${name} ${range} ${vni} ${isSound} ${each.join()}`;
  });
}

/** FNV-1a over text, in 32 bits. */
function mix(sum: number, text: string): number {
  let mixed = sum ^ 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) mixed = Math.imul(mixed ^ text.charCodeAt(at), 0x01000193);
  return mixed | 0;
}

function add(sum: number, other: number): number {
  return Math.imul(sum ^ other, 0x01000193) | 0;
}

/** The first thing that two views tell differently. */
// oxlint-disable-next-line max-params -- two views and whose they are
function difference(one: Host, view: View, other: Host, otherView: View): string {
  const textByKey = new Map(otherView.services.map((service) => [service.key, textOf(service)]));
  for (const service of view.services) {
    const theirs = textByKey.get(service.key) ?? "nothing";
    if (theirs !== textOf(service))
      return `${one.name} has ${flat(textOf(service))}, ${other.name} has ${flat(theirs)}`;
    textByKey.delete(service.key);
  }
  const [extra] = textByKey.values();
  if (extra !== undefined) return `${other.name} has ${flat(extra)}, ${one.name} has not`;
  const [networks, otherNetworks] = [networkTexts(view).join("; "), networkTexts(otherView).join("; ")];
  if (networks !== otherNetworks)
    return `${one.name} has ${networks.slice(0, 600)}, ${other.name} has ${otherNetworks.slice(0, 600)}`;
  const incarnations = ({ members }: View): string =>
    members.map(({ id, incarnation }) => `${id} ${incarnation}`).join();
  return `${one.name} and ${other.name} see other members: ${incarnations(view)}, ${incarnations(otherView)}`;
}

function flat(text: string): string {
  return text.replaceAll("\n", "; ").slice(0, 400);
}

function logFault(own: OwnerLog, held: OwnerLog): string | null {
  if (own.incarnation !== held.incarnation || own.version !== held.version)
    return `stands at ${held.incarnation}.${held.version}, not at ${own.incarnation}.${own.version}`;
  for (const [key, { version, body }] of own.entryByKey) {
    const entry = held.entryByKey.get(key);
    // Deletions may be collected at other times.
    if (body !== null && (entry?.version !== version || entry.body !== body))
      return `lacks ${key} ${version}`;
  }
  for (const [key, { body }] of held.entryByKey) {
    if (body !== null && (own.entryByKey.get(key)?.body ?? null) === null)
      return `has ${key}, which is deleted`;
  }
  return null;
}

/** What a route table says of an upstream from where the viewing node stands, and by its clock. */
const OWN_EYES: ReadonlySet<string> = new Set(["via", "relayLife", "distance", "sinceMs", "drainUntilMs"]);

/** Zone and routes as one text; what tells of the viewing node itself is left out. */
function planned(view: View): string {
  const { services, names } = planZone(view, ZONE_OPTIONS);
  const { frontends, problems } = planRoutes(view, {
    ingressAddress: "0.0.0.0",
    httpPort: null,
    httpsPort: null,
    terminatesTls: false,
    listensOnVips: true,
    reservedPorts: [],
    listenersMax: 4096,
  });
  // A copy of this host is near and dialled directly, all others by way of theirs; and each host has its own clock.
  const shared = JSON.stringify(frontends, (key, value: unknown) => (OWN_EYES.has(key) ? undefined : value));
  // What leads back to a replica depends on whose bridge it is on.
  const told = services.map(({ instances, ...rest }) => {
    return { ...rest, instances: instances.map(({ reversible: _reversible, ...copy }) => copy) };
  });
  const index = [[...names.placesByName], [...names.networks]];
  return JSON.stringify([told, index, problems]) + shared;
}
