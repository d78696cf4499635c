/**
 * Rates: what passed in the last second, as the difference of two looks at counts that only rise.
 *
 * Parts of the daemon count as they go and remember nothing of when; whoever wants rates looks twice. So nothing is
 * computed while nobody looks, and a look costs the same however much passed between. A count that is lower than
 * before has begun anew (its service was forgotten and came back), and then all of it is new.
 *
 * What only now and then has traffic is left out of what is told, or a host of a thousand services would tell of a
 * thousand zeros each second; and of very many with traffic only the busiest are told. The totals are of all.
 *
 * Pure.
 */

import type { NodeId, ReplicaId, ServiceKey } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { LinkLine, Rates } from "./contract-live.ts";
import { addBuckets } from "./latency.ts";

/** What was counted of a service or replica so far; `open` is how much is open now. As in Rates, but sums. */
export type Counts = Rates;

/** What was counted of one service: the buckets are of its requests' times. */
export interface ServiceCounts extends Counts {
  readonly buckets: readonly number[];
}

/** What was counted of questions for names, by code and by source. */
export interface DnsCounts {
  readonly byCode: ReadonlyMap<string, number>;
  readonly bySource: ReadonlyMap<string, number>;
  readonly buckets: readonly number[];
}

/** One look at all counts of a host. */
export interface TrafficSample {
  readonly atMs: number;
  readonly services: ReadonlyMap<ServiceKey, ServiceCounts>;
  readonly replicas: ReadonlyMap<ReplicaId, Counts>;
  readonly dns: DnsCounts;
}

/** Upper ends of the buckets that are counted in, rising, in seconds. */
export interface BucketBounds {
  readonly requests: readonly number[];
  readonly dns: readonly number[];
}

/** How a link to another member is, as one host sees it. */
export interface LinkSight extends Pick<LinkLine, "state" | "rttMs"> {
  readonly to: NodeId;
}

/** What passed at one host in a window; the buckets hold what fell into them in the window. */
export interface HostTraffic {
  readonly atMs: number;
  readonly windowMs: number;
  readonly total: Rates;
  readonly buckets: readonly number[];
  readonly services: readonly {
    readonly key: ServiceKey;
    readonly rates: Rates;
    readonly buckets: readonly number[];
  }[];
  readonly replicas: readonly { readonly id: ReplicaId; readonly rates: Rates }[];
  /** Replicas that this host's proxy keeps out now. */
  readonly ejected: readonly ReplicaId[];
  readonly dns: {
    readonly byCode: Readonly<Record<string, number>>;
    readonly bySource: Readonly<Record<string, number>>;
    readonly buckets: readonly number[];
  };
  readonly links: readonly LinkSight[];
}

/** What is so now, whatever passed. */
export type Levels = Pick<HostTraffic, "ejected" | "links">;

/** Nothing at all. */
export const NO_RATES: Rates = {
  requests: 0,
  connections: 0,
  kernelConnections: 0,
  errors: 0,
  retries: 0,
  receivedBytes: 0,
  sentBytes: 0,
  open: 0,
};

/** The names of all numbers in Rates. */
export const RATE_NAMES = Object.keys(NO_RATES) as readonly (keyof Rates)[];

/** What passed between two looks. */
export function trafficBetween(before: TrafficSample, after: TrafficSample, levels: Levels): HostTraffic {
  const windowMs = Math.max(1, after.atMs - before.atMs);
  const perSecond = (now: number, then: number): number => (grown(now, then) * 1000) / windowMs;
  const rates = (now: Counts, then: Counts = NO_RATES): Rates => {
    const of = (name: keyof Rates): number => perSecond(now[name], then[name]);
    return ratesOf((name) => (name === "open" ? now.open : of(name)));
  };
  const services = Array.from(after.services, ([key, now]) => {
    const then = before.services.get(key);
    return { key, rates: rates(now, then), buckets: fallen(now.buckets, then?.buckets) };
  });
  const replicas = Array.from(after.replicas, ([id, now]) => {
    return { id, rates: rates(now, before.replicas.get(id)) };
  });
  const tallied = (
    now: ReadonlyMap<string, number>,
    then: ReadonlyMap<string, number>,
  ): Readonly<Record<string, number>> =>
    Object.fromEntries(Array.from(now, ([name, count]) => [name, perSecond(count, then.get(name) ?? 0)]));
  return {
    atMs: after.atMs,
    windowMs,
    total: services.reduce((sum, one) => addRates(sum, one.rates), NO_RATES),
    buckets: services.reduce<readonly number[]>((sum, { buckets }) => addBuckets(sum, buckets), []),
    services: busiest(services, LIMITS.servicesTold),
    replicas: busiest(replicas, LIMITS.replicasTold),
    ejected: levels.ejected.slice(0, LIMITS.replicasTold),
    dns: {
      byCode: tallied(after.dns.byCode, before.dns.byCode),
      bySource: tallied(after.dns.bySource, before.dns.bySource),
      buckets: fallen(after.dns.buckets, before.dns.buckets),
    },
    links: levels.links.slice(0, LIMITS.linksTold),
  };
}

/** Rates added up, number by number. */
export function addRates(one: Rates, other: Rates): Rates {
  return ratesOf((name) => one[name] + other[name]);
}

/** Those with any traffic, the busiest first, `max` at most. */
export function busiest<T extends { readonly rates: Rates }>(all: readonly T[], max: number): readonly T[] {
  const withTraffic = all.filter(({ rates }) => RATE_NAMES.some((name) => rates[name] > 0));
  return withTraffic.sort((one, other) => businessOf(other.rates) - businessOf(one.rates)).slice(0, max);
}

/** By what they are put in order: requests and connections, then what is open, then bytes. */
function businessOf({ requests, connections, open, receivedBytes, sentBytes }: Rates): number {
  return (requests + connections) * 1e6 + open * 1e3 + Math.min(1e3, (receivedBytes + sentBytes) / 1e6);
}

function ratesOf(of: (name: keyof Rates) => number): Rates {
  return {
    requests: of("requests"),
    connections: of("connections"),
    kernelConnections: of("kernelConnections"),
    errors: of("errors"),
    retries: of("retries"),
    receivedBytes: of("receivedBytes"),
    sentBytes: of("sentBytes"),
    open: of("open"),
  };
}

function grown(now: number, then: number): number {
  return now >= then ? now - then : now;
}

function fallen(now: readonly number[], then: readonly number[] = []): readonly number[] {
  return now.map((count, at) => grown(count, then[at] ?? 0));
}
