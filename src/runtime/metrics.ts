/**
 * Metrics: every number we export, declared in one place.
 *
 * Names and labels are a contract (Prometheus naming; base units; no label that a client, a path or a peer can make
 * grow without bound). Parts of the daemon get this object and count; nobody else knows the library.
 *
 * Touches: prom-client's registry, the event loop's delay histogram.
 */

import { monitorEventLoopDelay } from "node:perf_hooks";

import { Counter, Gauge, Histogram, Registry } from "prom-client";

import { openExposition } from "./exposition.ts";
import { addSelf } from "./self.ts";
import { openTalliedCounter, openTalliedHistogram, registerRead, ServiceTallies } from "./tally.ts";

const FAST_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

type MakeCounter = <L extends string>(name: string, help: string, labelNames?: readonly L[]) => Counter<L>;
type MakeGauge = <L extends string>(name: string, help: string, labelNames?: readonly L[]) => Gauge<L>;
type MakeHistogram = <L extends string>(
  name: string,
  help: string,
  labelNames?: readonly L[],
) => Histogram<L>;

/** All metrics of a daemon; a test makes its own. */
export type Metrics = ReturnType<typeof openMetrics>;

/** Makes a fresh registry with every metric in it. */
export function openMetrics() {
  const registry = new Registry();
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter<L>({ name: `skein_${name}`, help, labelNames, registers: [registry] });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge<L>({ name: `skein_${name}`, help, labelNames, registers: [registry] });
  const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Histogram<L>({
      name: `skein_${name}`,
      help,
      labelNames,
      buckets: FAST_SECONDS,
      registers: [registry],
    });

  const perService = new ServiceTallies(registry);
  addSelf(registry);
  return {
    registry,
    perService,
    /** All of it as Prometheus reads it. */
    text: openExposition(registry),
    buildInfo: gauge("build_info", "1, labelled with the version that runs.", ["version", "node"]),
    members: gauge("members", "Members of the cluster as this node sees them.", ["state"]),
    gossipMessages: counter("gossip_messages_total", "Gossip frames.", ["kind", "direction"]),
    gossipBytes: counter("gossip_bytes_total", "Bytes of gossip frames.", ["kind", "direction"]),
    gossipRefused: counter("gossip_refused_total", "Frames and records refused.", ["reason"]),
    meshRefused: counter("mesh_refused_total", "Connections refused or ended on the mesh port.", ["reason"]),
    joinAttempts: counter("join_attempts_total", "Requests to join this cluster.", ["result"]),
    adminRefused: counter("admin_refused_total", "Requests refused by the admin API over TCP.", ["reason"]),
    certificateEnds: gauge(
      "certificate_end_timestamp_seconds",
      "When this node's certificate ends, Unix time; renewed long before.",
    ),
    gossipHealth: gauge(
      "gossip_health_score",
      "How slow this daemon is in its own eyes: 0, well, to 7; it judges others that much more slowly.",
    ),
    gossipPropagation: histogram(
      "gossip_propagation_seconds",
      "From a change here to its last acknowledgement.",
    ),
    viewVersion: gauge("view_version", "Version of the current view; rises with each change."),
    services: gauge("services", "Services in the current view."),
    replicas: gauge("replicas", "Replicas in the current view, by how they may be used.", ["state"]),
    readyReplicas: readyReplicas(registry),
    ...dnsMetrics(registry),
    ...proxyMetrics(perService),
    proxyFlows: gauge("proxy_udp_flows", "UDP flows that are remembered now."),
    proxyRefused: counter("proxy_refused_total", "Connections and requests refused at the edge.", ["reason"]),
    accessDropped: counter("access_log_dropped_total", "Lines of the access log that had no room."),
    spansExported: counter("trace_spans_exported_total", "Spans that the collector took."),
    spansDropped: counter("trace_spans_dropped_total", "Spans that were not sent, or not taken.", ["reason"]),
    relayedDropped: counter(
      "relayed_datagrams_dropped_total",
      "Answers of replicas here that found no room on the way to another host.",
    ),
    streams: counter("relayed_streams_total", "Relayed streams served for other hosts.", ["result"]),
    ...kernelMetrics(counter, gauge, histogram),
    ...sourceMetrics(gauge),
    eventLoopDelay: gauge("event_loop_delay_seconds", "Event loop delay since the last scrape.", [
      "quantile",
    ]),
  };
}

/** Of the kernel's part of the data plane. */
function kernelMetrics(counter: MakeCounter, gauge: MakeGauge, histogram: MakeHistogram) {
  return {
    kernelMode: gauge(
      "kernel_mode",
      "1 while the kernel carries what it can, 0 while the proxy carries all.",
    ),
    kernelApplySeconds: histogram("kernel_apply_duration_seconds", "To apply a change set to the kernel."),
    kernelApplyFailures: counter("kernel_apply_failures_total", "Change sets the kernel did not take whole."),
    kernelRepairs: counter("kernel_repairs_total", "Things of ours in the kernel that others had changed.", [
      "part",
    ]),
  };
}

/** Of what tells of replicas here. */
function sourceMetrics(gauge: MakeGauge) {
  return {
    sourceProblems: gauge("source_problems", "Things wrong with labels or config of services.", ["source"]),
    sourceStale: gauge("source_stale", "1 while a source cannot be read and its last set is used.", [
      "source",
    ]),
  };
}

/** How many replicas of each service take new traffic; looked up when somebody asks. */
function readyReplicas(registry: Registry) {
  let read = (): Iterable<readonly [service: string, count: number]> => [];
  const about = {
    name: "skein_service_ready_replicas",
    help: "Replicas that take new traffic, on all hosts, as this node sees them.",
    labelNames: ["service"],
    type: "gauge",
  } as const;
  registerRead(registry, about, function* () {
    for (const [service, value] of read()) yield { labels: { service }, value };
  });
  return { readFrom: (next: typeof read): void => void (read = next) };
}

/** Of the proxy, by service: counted with each request, and forgotten some time after their service has left. */
function proxyMetrics(tallies: ServiceTallies) {
  const counter = <L extends string>(name: string, help: string, label: L) =>
    tallies.counter({ name: `skein_${name}`, help }, label);
  return {
    proxyConnections: counter("proxy_connections_total", "Client connections over TCP frontends.", "result"),
    proxyRequests: counter("proxy_requests_total", "HTTP requests proxied.", "code"),
    proxyDuration: tallies.histogram(
      {
        name: "skein_proxy_request_duration_seconds",
        help: "From a request's head to the end of its answer.",
      },
      FAST_SECONDS,
    ),
    proxyReceivedBytes: tallies.counter({
      name: "skein_proxy_received_bytes_total",
      help: "Bytes that clients sent: bodies of requests, all of TCP connections and datagrams.",
    }),
    proxySentBytes: tallies.counter({
      name: "skein_proxy_sent_bytes_total",
      help: "Bytes that clients were sent: bodies of answers, all of TCP connections and datagrams.",
    }),
    proxyUdpFlows: tallies.counter({ name: "skein_proxy_udp_flows_total", help: "UDP flows begun." }),
    kernelConnections: tallies.counter({
      name: "skein_kernel_connections_total",
      help: "Connections and flows that the kernel led to a replica by itself.",
    }),
    proxyRetries: counter("proxy_retries_total", "Attempts moved on to another replica.", "reason"),
    proxyDatagrams: counter("proxy_datagrams_total", "Datagrams of UDP frontends, both ways.", "result"),
    proxyCut: counter("proxy_cut_total", "HTTP answers cut after their head was sent.", "reason"),
    proxyCutErrors: tallies.counter({
      name: "skein_proxy_cut_errors_total",
      help: "Of the HTTP answers cut, those whose status told of an error (5xx) already.",
    }),
    ejections: tallies.counter({
      name: "skein_upstream_ejections_total",
      help: "Replicas ejected by this proxy.",
    }),
  };
}

/** Of the name server; what it counts with each query is tallied. */
function dnsMetrics(registry: Registry) {
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter<L>({ name: `skein_dns_${name}`, help, labelNames, registers: [registry] });
  return {
    dnsQueries: openTalliedCounter(registry, {
      name: "skein_dns_queries_total",
      help: "DNS queries answered.",
      labelNames: ["qtype", "rcode", "source"],
    }),
    dnsDuration: openTalliedHistogram(registry, {
      name: "skein_dns_query_duration_seconds",
      help: "From a query's arrival to its answer.",
      bounds: FAST_SECONDS,
    }),
    dnsDropped: counter("dropped_total", "DNS packets dropped without an answer.", ["reason"]),
    dnsLimited: counter(
      "limited_total",
      "DNS answers truncated because their network gets much more than it asks for.",
    ),
    dnsExchanges: counter("upstream_exchanges_total", "Queries put to DNS upstreams, by how they ended.", [
      "result",
    ]),
    dnsIgnored: counter("upstream_ignored_total", "Messages from DNS upstreams that were no reply."),
    dnsUpstreams: new Gauge<"state">({
      name: "skein_dns_upstreams",
      help: "DNS upstreams, by what is thought of them.",
      labelNames: ["state"],
      registers: [registry],
    }),
  };
}

/** How late the event loop comes to what is due. */
export interface EventLoopWatch {
  /** 99th percentile over the last two to five seconds, milliseconds; 0 in the first two. */
  readonly delayMs: () => number;
  close(): void;
}

const WINDOW_MS = 5000;
const RESOLUTION_MS = 20;
/** Two seconds of samples: of fewer a percentile is but the worst one, and a single pause no trouble. */
const SAMPLES_MIN = 100;

/** Watches the event loop's delay, and feeds `event_loop_delay_seconds`. */
export function watchEventLoop(metrics: Metrics): EventLoopWatch {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  metrics.eventLoopDelay.reset();
  // Not `delay.mean`: it includes the timer's own resolution; the excess over it is what hurts.
  const excessMs = (percentile: number): number =>
    Math.max(0, delay.percentile(percentile) / 1e6 - RESOLUTION_MS);
  let lastMs = 0;
  const collect = (): void => {
    for (const quantile of [50, 99, 100]) {
      metrics.eventLoopDelay.set({ quantile: String(quantile / 100) }, excessMs(quantile) / 1000);
    }
    lastMs = excessMs(99);
    delay.reset();
  };
  const timer = setInterval(collect, WINDOW_MS);
  timer.unref();
  return {
    // While a new window is too short, what the last one told stands.
    delayMs: () => (delay.count < SAMPLES_MIN ? lastMs : excessMs(99)),
    close() {
      clearInterval(timer);
      delay.disable();
    },
  };
}
