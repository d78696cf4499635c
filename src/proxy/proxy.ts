/**
 * Proxy: serves a route table, whichever is the newest.
 *
 * Setting a table swaps pools at once, in memory, before anything is awaited: the next request already uses them. Only
 * then are listeners opened and closed to match. Tables may come faster than sockets open; the ones between are
 * skipped. What this proxy has learnt (turns, ejections, retries saved) lives on across tables, keyed by what it is
 * about, and goes when that goes.
 *
 * Touches: sockets, one timer for all that waits.
 */

import { BlockList, type Server } from "node:net";

import { backoffMs, type BackoffRange } from "../base/backoff.ts";
import { textOf } from "../base/failure.ts";
import { isIpv4, isIpv6 } from "../base/ip.ts";
import { latest, type Latest } from "../base/latest.ts";
import type { Random } from "../base/random.ts";
import { LIMITS } from "../model/limits.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";

import { UpstreamAgents } from "./http/agents.ts";
import { openLane, type Lane, type Times, type Traffic } from "./choice/attempts.ts";
import { openConnector, type Dial } from "./connect.ts";
import { Connections } from "./listen/connections.ts";
import { Deadlines } from "./deadlines.ts";
import { openHttpProxy, type HttpForwarder } from "./http/forwarder.ts";
import { createHttpServer, type Found } from "./http/http.ts";
import { Listeners, type ListenFailure, type OpenListener, type WantedListener } from "./listen/listeners.ts";
import { indexRoutes, matchRoute, type RouteIndex } from "./http/match.ts";
import { Ejections } from "./choice/outlier.ts";
import { listenerKey, type Frontend, type Ingress, type Pool, type RouteTable } from "./routes.ts";
import { createTcpServer } from "./tcp/tcp.ts";

/** What a proxy needs from the daemon. */
export interface ProxyOptions {
  /** Opens a stream to an upstream of another host; rejects with `refused`, `timeout`, `unreachable` or `busy`. */
  readonly dial: Dial;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: Random;
  readonly nowMs: () => number;
  /** Addresses and prefixes of proxies whose X-Forwarded-* and Forwarded are believed; an unreadable one is skipped. */
  readonly trustedProxies: readonly string[];
  /** The prefix that VIPs come from, for the remedy when one cannot be listened on. */
  readonly vipPool: string;
  /** Waits that differ from TIMES; for tests and special networks. */
  readonly times?: Partial<Times>;
}

/** What a proxy is doing now. */
export interface ProxyStats {
  readonly listeners: readonly OpenListener[];
  readonly failures: readonly ListenFailure[];
  /** Open client connections, WebSockets included. */
  readonly connections: number;
  /** Connections to HTTP upstreams. */
  readonly upstreamConnections: { readonly idle: number; readonly busy: number };
  /** Upstreams that this proxy leaves alone for now, and until when (Unix milliseconds). */
  readonly ejected: readonly { readonly id: string; readonly untilMs: number }[];
}

/** A running proxy. */
export interface Proxy {
  /**
   * Serves this table from now on.
   *
   * @returns what could not be listened on, once every listener has been tried; it is tried again from time to time
   */
  set(table: RouteTable): Promise<readonly ListenFailure[]>;
  stats(): ProxyStats;
  /** Stops listening, lets what is under way end for at most `graceMs`, and resets the rest. */
  close(graceMs: number): Promise<void>;
}

/** The waits of a proxy, unless told otherwise. */
export const TIMES: Times = {
  // Above the round trip of any two hosts that make a cluster, below the second after which a lost SYN is repeated.
  connectMs: 500,
  streamMs: 1000,
  firstByteMs: 1000,
  // What nginx and HAProxy are commonly given: a request that takes longer is expected to say something meanwhile.
  answerMs: 60_000,
  idleMs: 300_000,
};

/** How often deadlines are compared with the time: fine against the shortest of them. */
const TICK_MS = 50;
/** Listeners that failed are tried again: soon, as a port may just be changing hands, then ever more rarely. */
const LISTEN_AGAIN: BackoffRange = { firstMs: 1000, longestMs: 30_000 };
/** Without NET_ADMIN every VIP fails for one reason; all of them are in `stats`. */
const FAILURES_LOGGED = 8;

/** Opens a proxy that serves nothing yet. */
export async function openProxy(options: ProxyOptions): Promise<Proxy> {
  const { dial, nowMs, log, metrics, random } = options;
  const times = { ...TIMES, ...options.times };
  const deadlines = new Deadlines();
  const connect = openConnector({ dial, deadlines, nowMs, ...times });
  const traffic = { ejections: new Ejections(), deadlines, connect, metrics, log, random, nowMs, times };
  const agents = new UpstreamAgents(connect, nowMs);
  return new ServingProxy(options, { traffic, agents, forwarder: await openHttpProxy(agents) });
}

/** The parts that a proxy is put together from. */
interface Parts {
  readonly traffic: Traffic;
  readonly agents: UpstreamAgents;
  readonly forwarder: HttpForwarder;
}

class ServingProxy implements Proxy {
  readonly #options: ProxyOptions;
  readonly #traffic: Traffic;
  readonly #agents: UpstreamAgents;
  readonly #forwarder: HttpForwarder;
  readonly #connections = new Connections(LIMITS.clientConnectionsMax);
  readonly #listeners: Listeners;
  readonly #binding: Latest<RouteTable>;
  readonly #isTrusted: (address: string) => boolean;
  readonly #timer: NodeJS.Timeout;
  readonly #laneByKey = new Map<string, Lane>();
  #routes: RouteIndex = indexRoutes([]);
  #table: RouteTable | null = null;
  #isClosing = false;
  #isBinding = false;
  /** Times in a row that failed listeners were tried again, and when the next is. */
  #listenAttempts = 0;
  #listenAgainAtMs = Infinity;

  constructor(options: ProxyOptions, { traffic, agents, forwarder }: Parts) {
    const { nowMs, log, vipPool } = options;
    this.#options = options;
    this.#traffic = traffic;
    this.#agents = agents;
    this.#forwarder = forwarder;
    this.#listeners = new Listeners(vipPool, log);
    this.#isTrusted = trustIn(options.trustedProxies);
    this.#binding = latest(
      (table) => this.#bind(table),
      (thrown) => log.error(`proxy listeners: ${textOf(thrown)}`),
    );
    this.#timer = setInterval(() => {
      // Not at once: after a pause of this process timers come before what arrived in it, and nobody is late whose
      // bytes are here. Immediates come after it.
      setImmediate(() => traffic.deadlines.tick(nowMs()));
      this.#listenAgain();
    }, TICK_MS);
  }

  async set(table: RouteTable): Promise<readonly ListenFailure[]> {
    if (this.#isClosing) return [];
    this.#swap(table);
    this.#table = table;
    this.#binding.set(table);
    await this.#binding.idle();
    return this.#listeners.failures;
  }

  stats(): ProxyStats {
    return {
      listeners: this.#listeners.open,
      failures: this.#listeners.failures,
      connections: this.#connections.size,
      upstreamConnections: this.#agents.sizes,
      ejected: this.#traffic.ejections.current(this.#traffic.nowMs()),
    };
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    await this.#binding.idle();
    this.#listeners.close();
    const grace = setTimeout(() => this.#connections.resetAll(), graceMs);
    await this.#connections.empty();
    clearTimeout(grace);
    this.#agents.close();
    clearInterval(this.#timer);
  }

  /** Makes the table's pools the ones that requests use from now on. */
  #swap(table: RouteTable): void {
    const routes = table.ingress?.routes ?? [];
    const poolByKey = new Map<string, Pool>([
      ...table.frontends.map((frontend) => [listenerKey(frontend), frontend.pool] as const),
      ...routes.map((route) => [ingressKey(route.pool), route.pool] as const),
    ]);
    for (const [key, pool] of poolByKey) {
      const lane = this.#laneByKey.get(key);
      if (lane === undefined) this.#laneByKey.set(key, openLane(pool, this.#options.random));
      else lane.pool = pool;
    }
    for (const key of this.#laneByKey.keys()) {
      if (table.complete && !poolByKey.has(key)) this.#laneByKey.delete(key);
    }
    this.#routes = indexRoutes(routes);
    const pools = [...this.#laneByKey.values()].map((lane) => lane.pool);
    this.#agents.setEligible(pools.flatMap((pool) => pool.tiers[0] ?? []));
    this.#traffic.ejections.keepOnly(new Set(pools.flatMap((pool) => pool.tiers.flat()).map(({ id }) => id)));
  }

  async #bind(table: RouteTable): Promise<void> {
    // A table that waited while the proxy began to close must not open what was closed.
    if (this.#isClosing) return;
    this.#isBinding = true;
    try {
      await this.#listen(table);
    } finally {
      this.#isBinding = false;
    }
  }

  async #listen(table: RouteTable): Promise<void> {
    const before = new Set(this.#listeners.failures.map((failure) => failure.text));
    const wanted = table.frontends.map((frontend) => this.#frontend(frontend));
    if (table.ingress !== null) wanted.push(this.#ingress(table.ingress));
    const { log, nowMs, random } = this.#options;
    const isDue = nowMs() >= this.#listenAgainAtMs;
    await this.#listeners.reconcile(wanted, { mayClose: table.complete, triesFailed: isDue });
    const texts = this.#listeners.failures.map((failure) => failure.text).filter((text) => !before.has(text));
    for (const text of texts.slice(0, FAILURES_LOGGED)) log.warn(`cannot listen: ${text}`);
    if (texts.length > FAILURES_LOGGED) log.warn(`cannot listen: ${texts.length - FAILURES_LOGGED} more`);
    if (this.#listeners.failures.length === 0) this.#listenAttempts = 0;
    // Not with every table: views may come many times a second, and each try asks who holds the port.
    if (!isDue && this.#listenAgainAtMs !== Infinity) return;
    this.#listenAgainAtMs = nowMs() + backoffMs(LISTEN_AGAIN, this.#listenAttempts, random);
    this.#listenAttempts += 1;
  }

  #listenAgain(): void {
    if (this.#isClosing || this.#isBinding || this.#table === null) return;
    if (this.#listeners.failures.length === 0 || this.#options.nowMs() < this.#listenAgainAtMs) return;
    this.#binding.set(this.#table);
  }

  #frontend(frontend: Frontend): WantedListener {
    const { kind, address, port, pool } = frontend;
    const key = listenerKey(frontend);
    const lane = (): Lane | null => this.#laneByKey.get(key) ?? null;
    const create =
      kind === "tcp"
        ? () => createTcpServer({ traffic: this.#traffic, connections: this.#connections, lane })
        : () => this.#httpServer(() => foundOr(lane(), 503, `service ${pool.service} has left`));
    return { kind, address, port, service: pool.service, create };
  }

  #ingress({ address, port }: Ingress): WantedListener {
    const find = (host: string, target: string): Found => {
      const route = matchRoute(this.#routes, host, target);
      const lane = route === null ? undefined : this.#laneByKey.get(ingressKey(route.pool));
      return foundOr(lane ?? null, 404, "no service is routed for this host and path");
    };
    return { kind: "http", address, port, service: null, create: () => this.#httpServer(find) };
  }

  #httpServer(find: (host: string, target: string) => Found): Server {
    return createHttpServer({
      traffic: this.#traffic,
      connections: this.#connections,
      forwarder: this.#forwarder,
      find,
      isTrusted: this.#isTrusted,
      isClosing: () => this.#isClosing,
    });
  }
}

/** All routes to one pool share its turns. Not mistaken for a listener's key: that has no space. */
function ingressKey(pool: Pool): string {
  return `ingress ${pool.service}:${pool.port}`;
}

function foundOr(lane: Lane | null, status: 404 | 503, reason: string): Found {
  return lane === null ? { lane, status, reason } : { lane };
}

/** Makes the test for trusted proxies out of addresses and prefixes, IPv4 and IPv6. */
function trustIn(proxies: readonly string[]): (address: string) => boolean {
  const trusted = new BlockList();
  for (const text of proxies) {
    const [address = "", bitsText] = text.split("/");
    const family = isIpv6(address) ? "ipv6" : "ipv4";
    const bitsMax = family === "ipv6" ? 128 : 32;
    const bits = bitsText === undefined ? bitsMax : Number(bitsText);
    const isReadable = (isIpv4(address) || isIpv6(address)) && Number.isInteger(bits) && bits <= bitsMax;
    if (isReadable && bits >= 0) trusted.addSubnet(address, bits, family);
  }
  return (address) => trusted.check(address, isIpv6(address) ? "ipv6" : "ipv4");
}
