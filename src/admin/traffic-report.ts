/**
 * Traffic report: what the hosts that were asked have seen, added up.
 *
 * Sums are sums; percentiles come from the buckets of all hosts together. What a host tells of another one's services
 * and members is told by the names that this node's own view has for them, and what the view does not know is left
 * out: no host can make a report grow, or put its own words into it.
 *
 * Pure.
 */

import { compareText } from "../base/sorted.ts";
import type { NodeId, ReplicaId, ServiceKey } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Replica, View } from "../model/view.ts";

import type { DnsTraffic, LinkLine, Rates, ReplicaTraffic, TrafficReport } from "./contract-live.ts";
import { addBuckets, latencyOf } from "./latency.ts";
import { addRates, busiest, NO_RATES, type BucketBounds, type HostTraffic } from "./rates.ts";

/** What a report is made of. */
export interface ReportParts {
  readonly scope: TrafficReport["scope"];
  readonly view: View;
  /** What each host told, by its id, and those that did not. */
  readonly hosts: ReadonlyMap<NodeId, HostTraffic>;
  readonly silent: readonly NodeId[];
  readonly bounds: BucketBounds;
  /** When it was asked for. */
  readonly atMs: number;
}

/** Makes the report. */
export function trafficReport({ scope, view, hosts, silent, bounds, atMs }: ReportParts): TrafficReport {
  const nameById = namesOf(view);
  const names = (ids: Iterable<NodeId>): readonly string[] =>
    Array.from(ids, (id) => nameById.get(id) ?? id).sort(compareText);
  const told = [...hosts.values()];
  const buckets = told.reduce<readonly number[]>((sum, one) => addBuckets(sum, one.buckets), []);
  return {
    atMs: Math.round(atMs),
    windowMs: Math.round(told.reduce((longest, { windowMs }) => Math.max(longest, windowMs), 0)),
    scope,
    hosts: names(hosts.keys()),
    silent: names(silent),
    total: told.reduce((sum, { total }) => addRates(sum, total), NO_RATES),
    latencyMs: latencyOf(buckets, bounds.requests),
    dns: dnsOf(told, bounds.dns),
    services: servicesOf(told, view, bounds.requests),
    replicas: replicasOf(told, view),
    links: linksOf(hosts, nameById),
  };
}

/** What each member is called here. A name that two of them have does not tell who is meant: the id stands with it. */
function namesOf({ members }: View): ReadonlyMap<NodeId, string> {
  const idsByName = Map.groupBy(members, ({ name }) => name);
  return new Map(
    members.map(({ id, name }) => [id, (idsByName.get(name)?.length ?? 0) > 1 ? `${name} (${id})` : name]),
  );
}

function servicesOf(
  told: readonly HostTraffic[],
  view: View,
  bounds: readonly number[],
): TrafficReport["services"] {
  const known = new Set(view.services.map(({ key }) => key));
  const sums = new Map<ServiceKey, { rates: Rates; buckets: readonly number[] }>();
  for (const { key, rates, buckets } of told.flatMap(({ services }) => services)) {
    if (!known.has(key)) continue;
    const sum = sums.get(key) ?? { rates: NO_RATES, buckets: [] };
    sums.set(key, { rates: addRates(sum.rates, rates), buckets: addBuckets(sum.buckets, buckets) });
  }
  const ejected = ejectedIn(told, view);
  for (const key of ejected.keys()) if (!sums.has(key)) sums.set(key, { rates: NO_RATES, buckets: [] });
  const all = Array.from(sums, ([key, { rates, buckets }]) => {
    return { key, rates, latencyMs: latencyOf(buckets, bounds), ejected: ejected.get(key) ?? 0 };
  });
  const busy = busiest(all, LIMITS.servicesTold);
  const idle = all.filter((one) => one.ejected > 0 && !busy.includes(one));
  return [...busy, ...idle].slice(0, LIMITS.servicesTold);
}

/** How many replicas of each service somebody keeps out. */
function ejectedIn(told: readonly HostTraffic[], view: View): ReadonlyMap<ServiceKey, number> {
  const ids = new Set(told.flatMap(({ ejected }) => ejected));
  const counts = new Map<ServiceKey, number>();
  if (ids.size === 0) return counts;
  for (const { key, replicas } of view.services) {
    const count = replicas.filter(({ id }) => ids.has(id)).length;
    if (count > 0) counts.set(key, count);
  }
  return counts;
}

function replicasOf(told: readonly HostTraffic[], view: View): readonly ReplicaTraffic[] {
  const sums = new Map<ReplicaId, Rates>();
  for (const { id, rates } of told.flatMap(({ replicas }) => replicas))
    sums.set(id, addRates(sums.get(id) ?? NO_RATES, rates));
  const lines = view.services.flatMap(({ key, replicas }) =>
    replicas.flatMap((replica) => lineOf(replica, key, sums.get(replica.id))),
  );
  return busiest(lines, LIMITS.replicasTold);
}

function lineOf(
  { id, name, nodeName }: Replica,
  service: ServiceKey,
  rates: Rates | undefined,
): readonly ReplicaTraffic[] {
  return rates === undefined ? [] : [{ id, service, name, node: nodeName, rates }];
}

/** Codes and sources told: more than there are, however many a host makes up. */
const DNS_NAMES_MAX = 32;

function dnsOf(told: readonly HostTraffic[], bounds: readonly number[]): DnsTraffic {
  const sum = (of: (dns: HostTraffic["dns"]) => Readonly<Record<string, number>>): Record<string, number> => {
    const sums = new Map<string, number>();
    for (const { dns } of told) {
      for (const [name, rate] of Object.entries(of(dns))) sums.set(name, (sums.get(name) ?? 0) + rate);
    }
    const busy = [...sums].filter(([, rate]) => rate > 0).sort(([, one], [, other]) => other - one);
    return Object.fromEntries(busy.slice(0, DNS_NAMES_MAX));
  };
  const byCode = sum(({ byCode: own }) => own);
  const buckets = told.reduce<readonly number[]>((all, { dns }) => addBuckets(all, dns.buckets), []);
  return {
    queries: Object.values(byCode).reduce((total, rate) => total + rate, 0),
    byCode,
    bySource: sum(({ bySource: own }) => own),
    latencyMs: latencyOf(buckets, bounds),
  };
}

/** Links that are not as they should be come first, so that they are told of however many there are. */
function linksOf(
  hosts: ReadonlyMap<NodeId, HostTraffic>,
  nameById: ReadonlyMap<NodeId, string>,
): readonly LinkLine[] {
  const lines = [...hosts].flatMap(([id, { links }]) =>
    // One for each: a host may say what it likes, as often as it likes.
    [...new Map(links.map((link) => [link.to, link])).values()].flatMap(
      ({ to, state, rttMs }): readonly LinkLine[] => {
        const [from, toName] = [nameById.get(id), nameById.get(to)];
        return from === undefined || toName === undefined
          ? []
          : [{ from, to: toName, fromId: id, toId: to, state, rttMs }];
      },
    ),
  );
  const isWell = ({ state }: LinkLine): boolean => state === "open";
  return [...lines.filter((line) => !isWell(line)), ...lines.filter(isWell)].slice(0, LIMITS.linksReported);
}
