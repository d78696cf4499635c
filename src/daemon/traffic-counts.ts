/**
 * Traffic counts: one look at everything that this daemon has counted of its traffic.
 *
 * The metrics are the one place where a service's traffic is counted; what only rises there is compared by who wants
 * rates (admin/rates.ts). Upstreams are counted by the proxy itself and have no metric: replicas come and go all day,
 * and each would leave a series behind. A replica's ports are one replica's. What the kernel led on is not taken from
 * its metric either, which holds what an earlier life of the daemon left: it would look like a second's traffic.
 *
 * Touches: metrics.
 */

import { NO_RATES, type Counts, type ServiceCounts, type TrafficSample } from "../admin/rates.ts";
import type { ReplicaId, ServiceKey } from "../model/ids.ts";
import type { Proxy } from "../proxy/proxy.ts";
import type { Metrics } from "../runtime/metrics.ts";

import { replicaOf } from "./report.ts";

/** How a count of one service, by a label's value, adds to its numbers, or takes away what another has added. */
type Adding = readonly [ReadonlyMap<ServiceKey, Cells>, Adds, sign?: 1 | -1];
type Cells = ReadonlyMap<string, { readonly count: number }>;
type Adds = (value: string) => readonly (keyof Counts)[];

/** What there is to look at. */
export interface CountsSeen {
  readonly metrics: Metrics;
  /** Of each upstream; to be taken before, as it brings the metrics of bytes up to date. */
  readonly carried: ReturnType<Proxy["carried"]>;
  /** What the kernel led on by itself, of each service, since this daemon began to read it. */
  readonly led: ReadonlyMap<ServiceKey, number>;
  readonly atMs: number;
}

/** Looks at all counts. */
export function lookAtTraffic({ metrics, carried, led, atMs }: CountsSeen): TrafficSample {
  const services = new Map<ServiceKey, Record<keyof Counts, number>>();
  const of = (service: ServiceKey): Record<keyof Counts, number> => {
    let counts = services.get(service);
    if (counts === undefined) services.set(service, (counts = { ...NO_RATES }));
    return counts;
  };
  for (const adding of addings(metrics))
    for (const [service, cells] of adding[0]) add(adding, cells, of(service));
  for (const [service, count] of led) {
    of(service).connections += count;
    of(service).kernelConnections += count;
  }
  const replicas = new Map<ReplicaId, Record<keyof Counts, number>>();
  for (const { upstream, open, ...tally } of carried) {
    of(upstream.service).open += open;
    const id = replicaOf(upstream.id);
    const counts = replicas.get(id) ?? { ...NO_RATES };
    replicas.set(id, counts);
    counts.open += open;
    for (const [name, count] of Object.entries(tally)) counts[name as keyof typeof tally] += count;
  }
  const withBuckets = ([key, counts]: readonly [ServiceKey, Counts]): readonly [
    ServiceKey,
    ServiceCounts,
  ] => {
    return [key, { ...counts, buckets: metrics.proxyDuration.counts(key) ?? [] }];
  };
  return { atMs, services: new Map(Array.from(services, withBuckets)), replicas, dns: dnsCounts(metrics) };
}

/** Adds what a metric has counted of a service to its numbers. */
function add([, adds, sign = 1]: Adding, cells: Cells, counts: Record<keyof Counts, number>): void {
  for (const [value, { count }] of cells) for (const name of adds(value)) counts[name] += sign * count;
}

/** What each metric of services adds to which numbers. */
function addings(metrics: Metrics): readonly Adding[] {
  const always =
    (...names: readonly (keyof Counts)[]): Adds =>
    () =>
      names;
  return [
    [
      metrics.proxyRequests.byService,
      (code) => (code.startsWith("5") ? ["requests", "errors"] : ["requests"]),
    ],
    [
      metrics.proxyConnections.byService,
      (result) =>
        result === "no-replica" || result === "failed" ? ["connections", "errors"] : ["connections"],
    ],
    [metrics.proxyUdpFlows.byService, always("connections")],
    [metrics.proxyDatagrams.byService, (result) => (result === "no-replica" ? ["errors"] : [])],
    [metrics.proxyCut.byService, always("errors")],
    // Their status has counted them.
    [metrics.proxyCutErrors.byService, always("errors"), -1],
    [metrics.proxyRetries.byService, always("retries")],
    [metrics.proxyReceivedBytes.byService, always("receivedBytes")],
    [metrics.proxySentBytes.byService, always("sentBytes")],
  ];
}

function dnsCounts({ dnsQueries, dnsDuration }: Metrics): TrafficSample["dns"] {
  const byCode = new Map<string, number>();
  const bySource = new Map<string, number>();
  for (const { labels, count } of dnsQueries.counts()) {
    byCode.set(labels.rcode, (byCode.get(labels.rcode) ?? 0) + count);
    bySource.set(labels.source, (bySource.get(labels.source) ?? 0) + count);
  }
  return { byCode, bySource, buckets: dnsDuration.counts() };
}
