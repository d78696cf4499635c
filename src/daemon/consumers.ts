/**
 * Consumers: each new view becomes a zone and a route table, and DNS and the proxy serve them.
 *
 * A projection an engine, all of the same view: what DNS answers and where the proxy leads never disagree. Each
 * table's pools count at once; its listeners follow, since opening them takes time.
 *
 * Touches: DNS and proxy sockets, through their shells.
 */

import { readFileSync } from "node:fs";

import { Failure } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";
import { allowOf } from "../dns/allow.ts";
import { openDnsServer, type DnsServer } from "../dns/server.ts";
import { planZone, type Zone, type ZoneOptions } from "../dns/names/zone.ts";
import type { OpenStream } from "../mesh/stream.ts";
import { LIMITS } from "../model/limits.ts";
import type { MemberState } from "../model/member.ts";
import type { Tier, View } from "../model/view.ts";
import type { Node } from "../node.ts";
import type { Dial } from "../proxy/connect.ts";
import { openProxy, type Proxy } from "../proxy/proxy.ts";
import { planRoutes, type RouteOptions, type Upstream } from "../proxy/routes.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";

import { Askers } from "./askers.ts";
import type { Base } from "./base.ts";
import { routeTo } from "./relay.ts";
import type { Served } from "./served.ts";
import { findUpstreams, followUpstreams } from "./upstreams.ts";

/** DNS and the proxy of one daemon. */
export interface Consumers {
  readonly dns: DnsServer;
  readonly askers: Askers;
  readonly proxy: Proxy;
  readonly show: (view: View) => void;
  /** To be called after what a source told was taken. */
  readonly sourcesTold: () => void;
  readonly served: () => Served;
}

/** Opens DNS and the proxy on the node's first, still empty view. */
export async function openConsumers(
  base: Base,
  given: {
    readonly node: Node;
    readonly vipPool: string;
    readonly meshPort: number;
    readonly openStream: OpenStream;
  },
): Promise<Consumers> {
  const { metrics } = base;
  const zoneOptions = zoneOptionsOf(base, given.vipPool);
  const routeOptions = routeOptionsOf(base, given.meshPort);
  // What runs here is no less part of the picture for DNS: it says no to nobody before the sources have told.
  const zoneOf = (view: View, zone: Zone | null): Zone =>
    planZone(given.node.found.isAwaiting ? { ...view, complete: false } : view, zoneOptions, zone);
  const project = (view: View, zone: Zone | null): Served => {
    return { view, zone: zoneOf(view, zone), table: planRoutes(view, routeOptions) };
  };
  let served = project(given.node.view, null);
  const askers = new Askers(given.node.found);
  const dns = await openDns(base, askers, served.zone);
  const dial: Dial = (upstream, deadlineMs) =>
    dialRelayed(served.view, { upstream, deadlineMs, openStream: given.openStream });
  const proxy = await openTraffic(base, given.vipPool, dial);
  const show = (view: View): void => {
    served = project(view, served.zone);
    dns.setZone(served.zone);
    // At once and not one after the other: the pools of each table count from this moment, while listeners still open.
    void proxy.set(served.table);
    gauge(view, metrics);
  };
  const sourcesTold = (): void => {
    served = { ...served, zone: zoneOf(served.view, served.zone) };
    dns.setZone(served.zone);
    dns.askersTold();
  };
  return { dns, askers, proxy, show, sourcesTold, served: () => served };
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

function routeOptionsOf({ options }: Base, meshPort: number): RouteOptions {
  const { ingress, vip, dns, admin } = options.config;
  const own = [...dns.listen, ...(admin.listen === "off" ? [] : [admin.listen])].map(({ port }) => port);
  return {
    ingressAddress: ingress.address,
    httpPort: ingress.http === "off" ? 0 : ingress.http,
    listensOnVips: vip.listen,
    reservedPorts: [...new Set([meshPort, ...own])],
    listenersMax: Math.min(LIMITS.listenersMax, Math.floor(openFilesMax() / LISTENERS_SHARE)),
  };
}

/** The part of the process's file descriptors that listeners may take; connections need the rest. */
const LISTENERS_SHARE = 4;

/** The part of them that clients of the DNS server may take over TCP. */
const DNS_CONNECTIONS_SHARE = 8;

/** The part of them that questions to upstream name servers may take. */
const DNS_EXCHANGES_SHARE = 8;

/** The soft limit of open files (getrlimit(2)); a usual one where the system does not tell. */
function openFilesMax(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? 1024 : Number(soft);
  } catch {
    // No /proc on this system.
    return 1024;
  }
}

async function openDns(base: Base, askers: Askers, zone: Zone): Promise<DnsServer> {
  const { options, lifecycle, metrics, report, random } = base;
  const { dns } = options.config;
  const server = await openDnsServer({
    listen: dns.listen,
    zone,
    askerOf: (address) => askers.askerOf(address),
    onStranger: () => report.onStranger(),
    isAllowed: allowOf(dns.allow),
    upstreams: await findUpstreams(base),
    connectionsMax: Math.floor(openFilesMax() / DNS_CONNECTIONS_SHARE),
    exchangesMax: Math.floor(openFilesMax() / DNS_EXCHANGES_SHARE),
    log: options.log,
    metrics,
    random,
  });
  lifecycle.opened({ name: "dns", close: () => server.close() });
  followUpstreams(base, server);
  report.listen("dns", () => server.addresses.map((address) => renderHostPort(address)));
  return server;
}

async function openTraffic(base: Base, vipPool: string, dial: Dial): Promise<Proxy> {
  const { options, lifecycle, metrics, random, report } = base;
  const proxy = await openProxy({
    dial,
    log: options.log,
    metrics,
    random,
    nowMs,
    trustedProxies: options.config.ingress.trustedProxies,
    vipPool,
  });
  // The grace is spent before, while peers still see this node; what is left ends at once.
  lifecycle.opened({ name: "proxy", close: () => proxy.close(0) });
  report.listen("ingress", () => proxy.stats().listeners.map(({ address, port }) => `${address}:${port}`));
  return proxy;
}

function dialRelayed(
  view: View,
  ask: { readonly upstream: Upstream; readonly deadlineMs: number; readonly openStream: OpenStream },
): ReturnType<OpenStream> {
  const { upstream, deadlineMs, openStream } = ask;
  const member = view.members.find(({ id }) => id === upstream.node);
  if (member === undefined) {
    const text = `node ${upstream.nodeName} is not a member; expected one to relay to ${upstream.id}`;
    return Promise.reject(new Failure("unreachable", text));
  }
  const { peer, owner } = routeTo(member, view.members);
  const { replica, port } = upstream;
  return openStream(peer, { replica, port, deadlineMs, ...(owner && { owner }) });
}

const TIERS: readonly Tier[] = ["eligible", "draining", "panic", "never"];
const STATES: readonly MemberState[] = ["alive", "suspect", "dead", "away", "left"];

function gauge(view: View, metrics: Metrics): void {
  metrics.viewVersion.set(view.version);
  metrics.services.set(view.services.length);
  const countByTier = new Map<Tier, number>(TIERS.map((tier) => [tier, 0]));
  for (const { replicas } of view.services) {
    for (const { tier } of replicas) countByTier.set(tier, (countByTier.get(tier) ?? 0) + 1);
  }
  for (const [state, count] of countByTier) metrics.replicas.set({ state }, count);
  for (const state of STATES) {
    metrics.members.set({ state }, view.members.filter((member) => member.state === state).length);
  }
}
