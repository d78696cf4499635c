/**
 * Consumers: each new view becomes a zone and a route table, and DNS and the proxy serve them.
 *
 * A projection an engine, all of the same view: what DNS answers and where the proxy leads never disagree. Each
 * table's pools count at once; its listeners follow, since opening them takes time, and so does DNS where it would tell
 * of an address that nothing listens on yet.
 *
 * Touches: DNS and proxy sockets, through their shells.
 */

import { Failure } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";
import type { Config } from "../config/schema.ts";
import { allowOf } from "../dns/allow.ts";
import { openDnsServer, type DnsServer } from "../dns/server.ts";
import { planZone, type Zone, type ZoneOptions } from "../dns/names/zone.ts";
import { openDatagrams } from "../mesh/datagrams.ts";
import { askGiven } from "../mesh/receipts.ts";
import type { OpenStream } from "../mesh/stream.ts";
import { LIMITS } from "../model/limits.ts";
import type { MemberState } from "../model/member.ts";
import type { Tier, View } from "../model/view.ts";
import type { Node } from "../node.ts";
import type { AccessLog } from "../proxy/access/entry.ts";
import { openAccessLog, type AccessSettings, type AccessWriter } from "../proxy/access/writer.ts";
import type { Times } from "../proxy/choice/attempts.ts";
import type { Dial, GivenOf } from "../proxy/connect.ts";
import { openProxy, type Proxy } from "../proxy/proxy.ts";
import { planRoutes, type RouteOptions } from "../proxy/plan.ts";
import { listenerKey, type Upstream } from "../proxy/routes.ts";
import type { Tracing } from "../proxy/trace/tracing.ts";
import type { DialDatagrams } from "../proxy/udp/ways.ts";
import { openCertificates, type Certificates } from "../proxy/tls/certificates.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { openFilesMax } from "../runtime/self.ts";

import { Askers } from "./askers.ts";
import type { Base } from "./base.ts";
import type { Kernel } from "./kernel-ground.ts";
import type { Pools } from "./pools.ts";
import { sharedWith } from "./options.ts";
import { routeTo } from "./relay.ts";
import type { Served } from "./served.ts";
import { traceTo } from "./traces.ts";
import { findUpstreams, followUpstreams } from "./upstreams.ts";

/** DNS and the proxy of one daemon. */
export interface Consumers {
  readonly dns: DnsServer;
  readonly askers: Askers;
  readonly proxy: Proxy;
  readonly show: (view: View) => void;
  /** Takes what of a new configuration counts while they run: the access log, whose file is opened anew. */
  readonly reload: (config: Config) => void;
  /** To be called after what a source told was taken. */
  readonly sourcesTold: () => void;
  /**
   * Settles when both serve: at once at a start, with whatever is known; where another daemon is taken over from, with
   * the first picture that is complete, for until then that one knows better. Rejects when DNS cannot listen.
   */
  readonly serving: Promise<void>;
  readonly served: () => Served;
  /** Plans the routes of the same view anew: other networks are carried than before. */
  readonly replan: () => void;
}

/** Opens DNS and the proxy on the node's first, still empty view. */
export async function openConsumers(
  base: Base,
  given: {
    readonly node: Node;
    readonly vipPool: string;
    readonly meshPort: number;
    readonly openStream: OpenStream;
    readonly kernel: Kernel;
    readonly pools: Pick<Pools, "pool6">;
  },
): Promise<Consumers> {
  const { metrics } = base;
  const { kernel } = given;
  const zoneOptions = zoneOptionsOf(base, given.vipPool);
  const routeOptions = routeOptionsOf(base, given.meshPort);
  // What runs here is no less part of the picture for DNS: it says no to nobody before the sources have told.
  const zoneOf = (view: View, zone: Zone | null): Zone =>
    planZone(given.node.found.isAwaiting ? { ...view, complete: false } : view, zoneOptions, zone);
  const project = (view: View, zone: Zone | null): Served => {
    const table = planRoutes(view, { ...routeOptions, carried: kernel.carriedIn(view) });
    return { view, zone: zoneOf(view, zone), table };
  };
  let served = project(given.node.view, null);
  metrics.readyReplicas.readFrom(() => readyIn(served.view));
  const askers = new Askers(given.node.found);
  let opened: Proxy | null = null;
  const opensInMs = (address: string): number => opened?.opensInMs(address) ?? 0;
  const dns = await openDns(base, { askers, zone: served.zone, opensInMs });
  const dials = dialsIn(() => served.view, given.openStream);
  const access = openAccess(base);
  const tracing = await traceTo(base, given.node.view.self);
  const onListening = (): void => dns.listenersTold();
  const proxy = await openTraffic(base, { ...given, access, tracing, onListening }, dials);
  opened = proxy;
  const begun = Promise.withResolvers<void>();
  let isServing = base.options.predecessor === null;
  if (isServing) begun.resolve();
  const show = (view: View): void => {
    askers.overlaysAre(view.networks);
    served = project(view, served.zone);
    dns.setZone(served.zone);
    gauge(view, metrics);
    if (!isServing && !view.complete) return;
    // At once and not one after the other: the pools of each table count from this moment, while listeners still open.
    const listening = proxy.set(served.table);
    kernel.note();
    if (view.complete) void listening.then(() => kernel.listens());
    if (isServing) return;
    isServing = true;
    const answers = (): Promise<unknown> =>
      Promise.all(base.options.config.dns.listen.map((address) => dns.listenOn(address)));
    // DNS last: until then the other one answers, and nobody waits for a listener of ours.
    listening.then(answers).then(() => begun.resolve(), begun.reject);
  };
  const sourcesTold = (): void => {
    served = { ...served, zone: zoneOf(served.view, served.zone) };
    dns.setZone(served.zone);
    dns.askersTold();
    kernel.note();
  };
  const replan = (): void => show(served.view);
  const reload = ({ log }: Config): void => access.set(accessOf(log));
  const { promise: serving } = begun;
  return { dns, askers, proxy, show, reload, replan, sourcesTold, serving, served: () => served };
}

function zoneOptionsOf({ options }: Base, vipPool: string): ZoneOptions {
  const { domain, ttl } = options.config.dns;
  return {
    domain,
    ttlSeconds: Math.round(ttl / 1000),
    reverseRanges: [vipPool],
    software: `skein ${options.version}`,
  };
}

function routeOptionsOf({ options }: Base, meshPort: number): Omit<RouteOptions, "carried"> {
  const { ingress, vip, dns, admin } = options.config;
  const own = [...dns.listen, ...(admin.listen === "off" ? [] : [admin.listen])].map(({ port }) => port);
  return {
    ingressAddress: ingress.address,
    httpPort: ingress.http === "off" ? null : ingress.http,
    httpsPort: ingress.https === "off" ? null : ingress.https,
    terminatesTls: ingress.certificates !== "",
    listensOnVips: vip.listen,
    reservedPorts: [...new Set([meshPort, ...own])],
    listenersMax: Math.min(LIMITS.listenersMax, openFilesShare(LISTENERS_SHARE)),
  };
}

/** The part of the process's file descriptors that listeners may take; connections need the rest. */
const LISTENERS_SHARE = 4;

/** The part of them that UDP flows may take. */
const UDP_FLOWS_SHARE = 8;

/** One in so many of them is a client connection of the proxy; its upstream takes another. */
const CLIENTS_SHARE = 4;

/** The part of them that clients of the DNS server may take over TCP. */
const DNS_CONNECTIONS_SHARE = 8;

/** The part of them that questions to upstream name servers may take. */
const DNS_EXCHANGES_SHARE = 8;

/** Where the system does not tell. */
const OPEN_FILES_USUAL = 1024;

/** One of `parts` equal parts of the files that this process may have open. */
function openFilesShare(parts: number): number {
  return Math.floor((openFilesMax() ?? OPEN_FILES_USUAL) / parts);
}

async function openDns(
  base: Base,
  given: {
    readonly askers: Askers;
    readonly zone: Zone;
    readonly opensInMs: (address: string) => number;
  },
): Promise<DnsServer> {
  const { options, lifecycle, metrics, report, random } = base;
  const { askers, ...answering } = given;
  const { dns } = options.config;
  const server = await openDnsServer({
    // Beside another daemon only once there is something to answer.
    listen: options.predecessor === null ? dns.listen : [],
    shared: sharedWith(options),
    ...answering,
    askerOf: (address) => askers.askerOf(address),
    onStranger: () => report.onStranger(),
    isAllowed: allowOf(dns.allow),
    upstreams: await findUpstreams(base),
    connectionsMax: openFilesShare(DNS_CONNECTIONS_SHARE),
    exchangesMax: openFilesShare(DNS_EXCHANGES_SHARE),
    log: options.log,
    metrics,
    random,
  });
  lifecycle.opened({ name: "dns", close: () => server.close(), handover: "serves" });
  followUpstreams(base, server);
  report.listen("dns", () => server.addresses.map((address) => renderHostPort(address)));
  return server;
}

/** Opened before the proxy, so that what it still logs while it closes is written. */
function openAccess({ options, lifecycle, metrics, random, report }: Base): AccessWriter {
  const access = openAccessLog(accessOf(options.config.log), { log: options.log, metrics, random });
  lifecycle.opened({ name: "access log", close: () => access.close(), handover: "serves" });
  report.accessProblem = () => access.problem;
  return access;
}

function accessOf(log: Config["log"]): AccessSettings {
  return { mode: log.access, format: log.accessFormat, oneIn: log.accessSample, file: log.accessFile };
}

async function openTraffic(
  base: Base,
  given: {
    readonly node: Node;
    readonly vipPool: string;
    readonly access: AccessLog;
    readonly tracing: Tracing;
    readonly kernel: Kernel;
    readonly pools: Pick<Pools, "pool6">;
    readonly onListening: () => void;
  },
  dials: Dials,
): Promise<Proxy> {
  const { options, lifecycle, metrics, random, report } = base;
  const certificates = await openFolder(base);
  const proxy = await openProxy({
    nodeId: given.node.view.self,
    ...dials,
    connectionsMax: Math.min(LIMITS.clientConnectionsMax, openFilesShare(CLIENTS_SHARE)),
    udpFlowsMax: Math.min(LIMITS.udpFlowsMax, openFilesShare(UDP_FLOWS_SHARE)),
    log: options.log,
    metrics,
    random,
    nowMs,
    trustedProxies: options.config.ingress.trustedProxies,
    proxyProtocol: options.config.ingress.proxyProtocol,
    vipPool: given.vipPool,
    access: given.access,
    tracing: given.tracing,
    ...(certificates && { certificates }),
    shared: sharedWith(options),
    times: timesOf(options.config),
    onChanged: () => given.kernel.note(),
    onListening: given.onListening,
    hold: (addresses, holding) => given.pools.pool6.hold(addresses, holding),
  });
  // The grace is spent before, while peers still see this node; what is left ends at once.
  lifecycle.opened({ name: "proxy", close: () => proxy.close(0), handover: "serves" });
  report.listen("ingress", () => proxy.stats().listeners.map((listener) => listenerKey(listener)));
  return proxy;
}

/** The certificates of the configured folder; null where there is none, or HTTPS is off. */
async function openFolder({ options, lifecycle, report }: Base): Promise<Certificates | null> {
  const { https, certificates: folder } = options.config.ingress;
  if (https === "off" || folder === "") return null;
  const certificates = await openCertificates({ folder, log: options.log, nowMs });
  lifecycle.opened({ name: "certificates", close: () => certificates.close(), handover: "serves" });
  report.certificateProblems = () => certificates.problems;
  return certificates;
}

/** The waits of the `proxy` section. A relayed connection has two hosts to cross, hence twice as long. */
function timesOf({ proxy }: Config): Partial<Times> {
  return {
    connectMs: proxy.connect,
    streamMs: 2 * proxy.connect,
    firstByteMs: proxy.firstByte,
    answerMs: proxy.answer,
    idleMs: proxy.idle,
    udpIdleMs: proxy.udpIdle,
  };
}

/** How what other hosts have is reached: connections, and datagrams. */
interface Dials {
  readonly dial: Dial;
  readonly dialDatagrams: DialDatagrams;
  readonly givenOf: GivenOf;
}

/** How long a client is kept waiting for what became of its request. */
const RECEIPT_MS = 500;

function dialsIn(viewNow: () => View, openStream: OpenStream): Dials {
  const openWay = openDatagrams(openStream);
  return {
    dial: async (upstream, deadlineMs, receipt) => {
      const [peer, ask] = askFor(viewNow(), upstream, deadlineMs);
      return openStream(peer, receipt === undefined ? ask : { ...ask, receipt });
    },
    givenOf: async (upstream, receipt) => {
      try {
        const [peer, ask] = askFor(viewNow(), upstream, RECEIPT_MS);
        return await askGiven(openStream, peer, { ...ask, receipt });
      } catch {
        // Its host has left the picture: nobody can say.
        return null;
      }
    },
    dialDatagrams: async (upstream, { deadlineMs, receiver }) =>
      openWay(...askFor(viewNow(), upstream, deadlineMs), receiver),
  };
}

/** Whom to ask for an upstream of another host, and what. @throws Failure when its host is no member */
function askFor(view: View, upstream: Upstream, deadlineMs: number): Parameters<OpenStream> {
  const member = view.members.find(({ id }) => id === upstream.node);
  if (member === undefined) {
    const text = `node ${upstream.nodeName} is not a member; expected one to relay to ${upstream.id}`;
    throw new Failure("unreachable", text);
  }
  const { peer, owner } = routeTo(member, view.members);
  const { replica, port } = upstream;
  return [peer, { replica, port, deadlineMs, ...(owner && { owner }) }];
}

const TIERS: readonly Tier[] = ["eligible", "draining", "panic", "never"];
const STATES: readonly MemberState[] = ["alive", "suspect", "dead", "away", "left"];

/** How many replicas of each service take new traffic. */
function* readyIn({ services }: View): Iterable<readonly [string, number]> {
  for (const { key, replicas } of services)
    yield [key, replicas.filter(({ tier }) => tier === "eligible").length];
}

function gauge(view: View, metrics: Metrics): void {
  metrics.viewVersion.set(view.version);
  metrics.services.set(view.services.length);
  // Of a view that is not complete nothing is known to have left.
  if (view.complete) metrics.perService.keepOnly(new Set(view.services.map(({ key }) => key)), nowMs());
  const countByTier = new Map<Tier, number>(TIERS.map((tier) => [tier, 0]));
  for (const { replicas } of view.services) {
    for (const { tier } of replicas) countByTier.set(tier, (countByTier.get(tier) ?? 0) + 1);
  }
  for (const [state, count] of countByTier) metrics.replicas.set({ state }, count);
  for (const state of STATES) {
    metrics.members.set({ state }, view.members.filter((member) => member.state === state).length);
  }
}
