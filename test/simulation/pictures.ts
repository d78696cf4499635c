/**
 * Pictures: what must hold of every view that any node ever has.
 *
 * Two services never share an address. Nothing of a node that this node itself holds dead or gone is offered to
 * anybody, neither in the view nor in the zone and the routes planned from it. A complete view loses a replica only
 * when its owner took it away, or said goodbye, or was removed, or was forgotten after a day. What did not change since
 * the last view is the same object, so looking at a view costs what changed in it.
 */

import { overlaps, parsePrefix } from "../../src/base/ip.ts";
import { planZone, type Zone } from "../../src/dns/names/zone.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { Member } from "../../src/model/member.ts";
import type { Replica, Service, View } from "../../src/model/view.ts";
import type { Effects, Input } from "../../src/step.ts";
import { planRoutes } from "../../src/proxy/plan.ts";

import { ZONE_OPTIONS } from "./agreement.ts";
import type { Simulation } from "./engine.ts";
import type { Host } from "./host.ts";
import { Violation, type Observer } from "./observer.ts";
import type { LogCheck } from "./logs.ts";

const DAY_MS = 24 * 3600 * 1000;
/** A day by a clock that runs a ten-thousandth too slow. */
const DAY_LESS_DRIFT_MS = DAY_MS * 0.999;
/** After this long without a word from its sources a daemon publishes what it knows. */
const SOURCES_GRACE_MS = 4000;
/** How often each of ten hosts plans its zone and its routes. */
const PROJECT_EVERY_MS = 1000;

/** Addresses that no name of a service may lead to, and those that not even the replica's own name may lead to. */
interface Addresses {
  readonly unanswered: Set<string>;
  /** A replica whose daemon is away still runs, and asking for it by its own name is a choice. */
  readonly unnamed: Set<string>;
}

/** How a node sees its members, and which address belongs to which service, as of its last view. */
interface Last {
  view: View;
  readonly goneIds: Set<NodeId>;
  readonly keyByVip: Map<string, string>;
  projectedAtMs: number;
}

/** Checks views as they come. */
export class PictureCheck implements Observer {
  readonly #sim: Simulation;
  readonly #logs: LogCheck;
  readonly #lastByHost = new Map<Host, Last>();

  constructor(sim: Simulation, logs: LogCheck) {
    this.#sim = sim;
    this.#logs = logs;
  }

  started(host: Host): void {
    this.#lastByHost.delete(host);
  }

  stepped(host: Host, _input: Input, effects: Effects): void {
    const { view } = effects;
    const last = this.#lastByHost.get(host);
    if (last?.view === view) return;
    const next = last ?? { view, goneIds: new Set(), keyByVip: new Map(), projectedAtMs: 0 };
    this.#lastByHost.set(host, next);
    const newlyGone = this.#members(next, view);
    this.#services(host, next, last === undefined ? [] : last.view.services, view);
    if (last === undefined || view.networks !== last.view.networks) this.#networks(host, view);
    if (newlyGone.size > 0) this.#allOfGone(host, view, newlyGone);
    next.view = view;
    const isDue = newlyGone.size > 0 || this.#sim.nowMs - next.projectedAtMs >= this.#projectEveryMs;
    if (isDue) this.project(host, view);
    if (isDue) next.projectedAtMs = this.#sim.nowMs;
  }

  /** Plans the zone and the routes of a view: no answer and no upstream may be of a node that is gone. */
  project(host: Host, view: View): void {
    const memberById = new Map(view.members.map((member) => [member.id, member]));
    const gone: Addresses = { unanswered: new Set(), unnamed: new Set() };
    const here = new Set<string>();
    for (const service of view.services) {
      for (const replica of service.replicas) {
        const member = memberById.get(replica.node);
        if (!isGone(replica, member)) here.add(replica.address);
        else gone.unanswered.add(replica.address);
        if (isGone(replica, member) && member?.state !== "away") gone.unnamed.add(replica.address);
      }
    }
    for (const address of here)
      for (const addresses of [gone.unanswered, gone.unnamed]) addresses.delete(address);
    if (gone.unanswered.size > 0) this.#zone(host, planZone(view, ZONE_OPTIONS), gone);
    this.#routes(host, view, memberById);
  }

  /** With many hosts each plans its zone less often: all of them together take the same time. */
  get #projectEveryMs(): number {
    return PROJECT_EVERY_MS * Math.max(1, this.#sim.hosts.length / 10);
  }

  #members(last: Last, view: View): Set<NodeId> {
    const newlyGone = new Set<NodeId>();
    for (const { id, state } of view.members) {
      const isNowGone = state === "dead" || state === "left" || state === "away";
      if (isNowGone && !last.goneIds.has(id)) newlyGone.add(id);
      if (isNowGone) last.goneIds.add(id);
      else last.goneIds.delete(id);
    }
    return newlyGone;
  }

  /** Walks two lists in the order of their keys. */
  // oxlint-disable-next-line max-params -- two views and whose they are
  #services(host: Host, last: Last, before: readonly Service[], view: View): void {
    const after = view.services;
    const freed: Service[] = [];
    const fresh: Service[] = [];
    let at = 0;
    for (const service of after) {
      for (let old = before[at]; old !== undefined && old.key < service.key; old = before[at]) {
        freed.push(old);
        this.#lost(host, { old, service: null, before: last.view, view });
        at += 1;
      }
      const old = before[at]?.key === service.key ? before[at] : undefined;
      if (old !== undefined) at += 1;
      if (old === service) continue;
      if (old !== undefined) freed.push(old);
      fresh.push(service);
      if (old !== undefined) this.#lost(host, { old, service, before: last.view, view });
      this.#tiers(host, service, view);
    }
    for (const old of before.slice(at)) {
      freed.push(old);
      this.#lost(host, { old, service: null, before: last.view, view });
    }
    this.#vips(host, last, freed, fresh);
  }

  /** No address is in two slices, of one network or of two that are made real. */
  #networks(host: Host, { networks }: View): void {
    const holderBySlice = new Map<string, string>();
    const real = networks.filter(({ isSound }) => isSound);
    for (const [at, { name, range }] of real.entries()) {
      const twin = real.slice(at + 1).find((other) => isOverlapping(range, other.range));
      if (twin !== undefined) throw this.#broken(host, `networks ${name} and ${twin.name} share addresses`);
    }
    for (const { name, slices } of networks) {
      for (const { prefix, nodeName } of slices) {
        const slice = `${name} ${prefix}`;
        const holder = holderBySlice.get(slice);
        if (holder !== undefined) throw this.#broken(host, `${holder} and ${nodeName} both have ${slice}`);
        holderBySlice.set(slice, nodeName);
      }
    }
  }

  // oxlint-disable-next-line max-params -- what went and what came
  #vips(host: Host, last: Last, freed: readonly Service[], fresh: readonly Service[]): void {
    for (const { key, vip } of freed) {
      if (vip !== null && last.keyByVip.get(vip) === key) last.keyByVip.delete(vip);
    }
    for (const { key, vip } of fresh) {
      if (vip === null) continue;
      const holder = last.keyByVip.get(vip);
      if (holder !== undefined && holder !== key)
        throw this.#broken(host, `${holder} and ${key} both have the address ${vip}`);
      last.keyByVip.set(vip, key);
    }
  }

  #tiers(host: Host, service: Service, view: View): void {
    for (const replica of service.replicas) {
      if (replica.tier === "never") continue;
      const member = view.members.find(({ id }) => id === replica.node);
      if (isGone(replica, member)) this.#offered(host, service, replica, member);
    }
  }

  #allOfGone(host: Host, view: View, newlyGone: ReadonlySet<NodeId>): void {
    for (const service of view.services) {
      for (const replica of service.replicas) {
        if (replica.tier === "never" || !newlyGone.has(replica.node)) continue;
        const member = view.members.find(({ id }) => id === replica.node);
        if (isGone(replica, member)) this.#offered(host, service, replica, member);
      }
    }
  }

  // oxlint-disable-next-line max-params -- what is wrong, in words
  #offered(host: Host, service: Service, replica: Replica, member: Member | undefined): never {
    const what = `${service.key} ${replica.id} is ${replica.tier}`;
    throw this.#broken(host, `${what}, though its node ${replica.nodeName} is ${member?.state ?? "unknown"}`);
  }

  /** Every replica that is not there any more must have gone for a reason. */
  #lost(
    host: Host,
    { old, service, before, view }: { old: Service; service: Service | null; before: View; view: View },
  ): void {
    if (!before.complete || !view.complete) {
      if (before.complete) throw this.#broken(host, "its view was complete and is not any more");
      return;
    }
    const left = service?.replicas ?? [];
    if (left.length === old.replicas.length && left.every((one, at) => one.id === old.replicas[at]?.id))
      return;
    const ids = new Set(left.map(({ id, node }) => `${node} ${id}`));
    for (const replica of old.replicas) {
      if (ids.has(`${replica.node} ${replica.id}`)) continue;
      const why = this.#whyNot(host, replica, old, { before, view });
      if (why !== null)
        throw this.#broken(host, `lost ${old.key} ${replica.id} of ${replica.nodeName}: ${why}`);
    }
  }

  /** What is wrong with the loss of a replica; null when its owner took it away, left, or was forgotten. */
  // oxlint-disable-next-line max-params -- a replica, where it was, and when
  #whyNot(host: Host, replica: Replica, service: Service, at: { before: View; view: View }): string | null {
    const member = at.view.members.find(({ id }) => id === replica.node);
    if (member?.state === "left" || isRemoved(host, replica)) return null;
    const key = `replica/${replica.id}`;
    const log = host.logs.get(replica.node);
    const entry = log?.entryByKey.get(key);
    if (log === undefined || (entry === undefined && log.entryByKey.size === 0)) {
      const was = at.before.members.find(({ id }) => id === replica.node);
      if (was?.state === "left") return null;
      const goneMs = host.clock(this.#sim.nowMs) - (was?.sinceMs ?? 0);
      const isForgotten = was?.state === "dead" && goneMs >= DAY_LESS_DRIFT_MS;
      return isForgotten ? null : `its owner, ${was?.state}, was forgotten after ${goneMs.toFixed(0)} ms`;
    }
    if (entry !== undefined && entry.body !== null) {
      const isElsewhere = !entry.body.includes(`"service":"${service.name}"`);
      return isElsewhere || member === undefined ? null : "its record is there";
    }
    return this.#ownersFault(replica, log, key);
  }

  /** The owner deleted it, or never published it in its new life: fine unless it runs there all the time. */
  #ownersFault(replica: Replica, log: { incarnation: number; version: number }, key: string): string | null {
    const owner = this.#sim.hosts.find(({ id }) => id === replica.node);
    if (owner === undefined || owner.isLeaving || !owner.isRunning) return null;
    const sinceMs = owner.runsSinceMsById.get(replica.id);
    const isLateTold = owner.toldAtMs - owner.startedAtMs > SOURCES_GRACE_MS;
    // Not when it came back within the life: the deletion may be of before.
    if (sinceMs === undefined || sinceMs >= owner.startedAtMs || isLateTold) return null;
    const isOfThisLife = owner.logs.get(owner.id)?.incarnation === log.incarnation;
    if (!isOfThisLife) return null;
    const how = this.#logs.isDeletedBy(owner.id, log, key) ? "deleted it" : "did not publish it";
    const history = this.#logs.historyOf(owner.id, log.incarnation, key);
    return `it runs all the time, and its owner ${how} (${history})`;
  }

  #zone(host: Host, zone: Zone, gone: Addresses): void {
    for (const { name, addresses, tasks, instances } of zone.services) {
      const named = instances.find(({ address }) => gone.unnamed.has(address))?.address;
      const stale = [...addresses.v4, ...tasks.v4].find((address) => gone.unanswered.has(address)) ?? named;
      if (stale !== undefined)
        throw this.#broken(host, `DNS answers ${name} with ${stale} of a node that is gone`);
    }
  }

  #routes(host: Host, view: View, memberById: ReadonlyMap<NodeId, Member>): void {
    const table = planRoutes(view, {
      ingressAddress: "0.0.0.0",
      httpPort: null,
      httpsPort: null,
      terminatesTls: false,
      listensOnVips: true,
      reservedPorts: [],
      listenersMax: 4096,
    });
    for (const { pool } of table.frontends) {
      for (const upstream of pool.tiers.flat()) {
        const member = memberById.get(upstream.node);
        if (isGone({ reach: upstream.via }, member))
          throw this.#broken(
            host,
            `routes ${pool.service} to ${upstream.id} of a node that is ${member?.state}`,
          );
      }
    }
  }

  #broken(host: Host, what: string): Violation {
    return new Violation(this.#sim.at(host, what));
  }
}

function isOverlapping(one: string, other: string): boolean {
  const [first, second] = [parsePrefix(one), parsePrefix(other)];
  return first.ok && second.ok && overlaps(first.value, second.value);
}

/** Whether nothing may be sent to a replica because of what became of its node. */
function isGone({ reach }: Pick<Replica, "reach">, member: Member | undefined): boolean {
  if (member === undefined || member.state === "dead" || member.state === "left") return true;
  return member.state === "away" && reach === "stream";
}

/** Whether the managers have removed the owner of a replica, as this host knows. */
function isRemoved({ charter }: Host, { node }: Replica): boolean {
  return charter.revoked.some(({ id }) => id === node);
}
