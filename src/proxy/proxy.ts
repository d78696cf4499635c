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

import { randomBytes } from "node:crypto";
import { BlockList } from "node:net";

import { backoffMs, type BackoffRange } from "../base/backoff.ts";
import { base32 } from "../base/bytes.ts";
import { Failure, textOf } from "../base/failure.ts";
import { isIpv4, isIpv6 } from "../base/ip.ts";
import { latest, type Latest } from "../base/latest.ts";
import type { Random } from "../base/random.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { SharedSockets } from "../runtime/sharing.ts";

import { NO_ACCESS_LOG, type AccessLog } from "./access/entry.ts";
import { Active, type Carried } from "./choice/active.ts";
import type { Times, Traffic } from "./choice/attempts.ts";
import { openConnector, type Dial, type GivenOf } from "./connect.ts";
import { Arrivals, type HeaderMode } from "./listen/arrival.ts";
import { Connections } from "./listen/connections.ts";
import { Deadlines } from "./deadlines.ts";
import type { HttpForwarder } from "./http/forwarder.ts";
import { openWebSockets } from "./http/websockets.ts";
import { openWireForwarder } from "./http/wire/forwarder.ts";
import { UpstreamPools } from "./http/wire/pool.ts";
import { Listeners, type HoldAddresses, type ListenFailure, type OpenListener } from "./listen/listeners.ts";
import { Opening } from "./listen/opening.ts";
import { Ejections, type EjectionReason } from "./choice/outlier.ts";
import { Readmission } from "./choice/readmission.ts";
import { Frontends } from "./frontends.ts";
import type { RouteTable } from "./routes.ts";
import { NO_TRACING, type Tracing } from "./trace/tracing.ts";
import { Udp } from "./udp/udp.ts";
import type { DialDatagrams } from "./udp/ways.ts";
import type { Certificates } from "./tls/certificates.ts";

/** What a proxy needs from the daemon. */
export interface ProxyOptions {
  readonly nodeId: NodeId;
  /** Opens a stream to an upstream of another host; rejects with `refused`, `timeout`, `unreachable` or `busy`. */
  readonly dial: Dial;
  /** Opens a way for datagrams to an upstream of another host, in the same manner; none leads there unless told. */
  readonly dialDatagrams?: DialDatagrams;
  /** Tells what became of a request over a relayed connection that has ended; without it nothing is known. */
  readonly givenOf?: GivenOf;
  /** Client connections at once, each two file descriptors; as many as LIMITS allow unless told. */
  readonly connectionsMax?: number;
  /** UDP flows at once, each a file descriptor; as many as LIMITS allow unless told. */
  readonly udpFlowsMax?: number;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: Random;
  readonly nowMs: () => number;
  /** Addresses and prefixes of proxies whose X-Forwarded-* and Forwarded are believed; an unreadable one is skipped. */
  readonly trustedProxies: readonly string[];
  /** The prefix that VIPs come from, for the remedy when one cannot be listened on. */
  readonly vipPool: string;
  /** Makes IPv6 addresses be there that are to be listened on; nothing is done for them unless told. */
  readonly hold?: HoldAddresses;
  /** Called when what `stats` tells of listeners or of ejections has changed; often, and not with each change. */
  readonly onChanged?: () => void;
  /** Called when the listeners of a table were opened, or could not be: `opensInMs` is 0 for its addresses. */
  readonly onListening?: () => void;
  /** Whether connections of trusted proxies begin with a PROXY protocol header; off unless told. */
  readonly proxyProtocol?: HeaderMode;
  readonly access?: AccessLog;
  /** Takes part in traces; in none unless told. */
  readonly tracing?: Tracing;
  /** What HTTPS is served with; without any it only passes TLS on to services that want it so. */
  readonly certificates?: Certificates;
  /** Sockets of the daemon that this one takes over from: where they listen this one may listen as well. */
  readonly shared?: SharedSockets;
  /** Waits that differ from TIMES; for tests and special networks. */
  readonly times?: Partial<Times>;
}

/** What a proxy is doing now. */
export interface ProxyStats {
  readonly listeners: readonly OpenListener[];
  readonly failures: readonly ListenFailure[];
  /** Open client connections, WebSockets included. */
  readonly connections: number;
  /** UDP flows that are remembered. */
  readonly flows: number;
  /** Connections to HTTP upstreams. */
  readonly upstreamConnections: { readonly idle: number; readonly busy: number };
  /** Upstreams that this proxy leaves alone for now, until when at least (Unix milliseconds), and why. */
  readonly ejected: readonly {
    readonly id: string;
    readonly untilMs: number;
    readonly reason: EjectionReason;
  }[];
}

/** A running proxy. */
export interface Proxy {
  /**
   * Serves this table from now on.
   *
   * @returns what could not be listened on, once every listener has been tried; it is tried again from time to time
   */
  set(table: RouteTable): Promise<readonly ListenFailure[]>;
  /**
   * For how long at most who would tell of a service's address is to wait for its listeners, milliseconds; 0 where they
   * are open, could not be, or are not this proxy's.
   */
  opensInMs(address: string): number;
  /** Settles when there is nothing to wait for at any of these addresses. Never rejects; takes as long as opening. */
  listening(addresses: readonly string[]): Promise<void>;
  stats(): ProxyStats;
  /** What each upstream was given so far; forgotten with the upstream. Metrics of bytes are up to date after it. */
  carried(): readonly Carried[];
  /** Stops listening; what is open goes on, and clients that keep connections are told to end them. */
  stopListening(): Promise<void>;
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
  // A head is sent at once; slower ones than any network are those that mean to hold a connection (Slowloris).
  headMs: 15_000,
  idleMs: 300_000,
  // What most address translators give a flow (RFC 4787 4.3 asks for two minutes; a lookup over UDP needs none).
  udpIdleMs: 30_000,
};

/** How often deadlines are compared with the time: fine against the shortest of them. */
const TICK_MS = 50;
/** Listeners that failed are tried again: soon, as a port may just be changing hands, then ever more rarely. */
const LISTEN_AGAIN: BackoffRange = { firstMs: 1000, longestMs: 30_000 };
/** How long a kept connection without a request stays at most once the proxy closes: one in use is used by then. */
const IDLE_GRACE_MS = 5000;
/** Without NET_ADMIN every VIP fails for one reason; all of them are in `stats`. */
const FAILURES_LOGGED = 8;

/** Opens a proxy that serves nothing yet. */
export async function openProxy(options: ProxyOptions): Promise<Proxy> {
  const { dial, nowMs, log, metrics, random } = options;
  const times = { ...TIMES, ...options.times };
  const deadlines = new Deadlines();
  const connect = openConnector({ dial, deadlines, nowMs, ...times });
  const own = {
    active: new Active((service) => ({
      received: metrics.proxyReceivedBytes.cell({ service }),
      sent: metrics.proxySentBytes.cell({ service }),
    })),
    ejections: new Ejections(options.onChanged),
    deadlines,
    connect,
    times,
  };
  const { access = NO_ACCESS_LOG, tracing = NO_TRACING } = options;
  const traffic = { ...own, access, tracing, metrics, log, random, nowMs };
  const { streamMs } = times;
  const { givenOf = notKnown } = options;
  const pools = new UpstreamPools({ connect, deadlines, nowMs, streamMs, givenOf, newReceipt });
  // WebSockets are joined by http-proxy, over connections that are used once.
  const forwarder = openWireForwarder(pools, await openWebSockets(connect));
  return new ServingProxy(options, { traffic, pools, forwarder });
}

/** The parts that a proxy is put together from. */
interface Parts {
  readonly traffic: Traffic;
  readonly pools: UpstreamPools;
  readonly forwarder: HttpForwarder;
}

class ServingProxy implements Proxy {
  readonly #options: ProxyOptions;
  readonly #traffic: Traffic;
  readonly #pools: UpstreamPools;
  readonly #readmission: Readmission;
  readonly #connections: Connections;
  readonly #arrivals: Arrivals;
  readonly #listeners: Listeners;
  readonly #opening = new Opening();
  readonly #binding: Latest<RouteTable>;
  readonly #timer: NodeJS.Timeout;
  readonly #frontends: Frontends;
  readonly #udp: Udp;
  #table: RouteTable | null = null;
  #isClosing = false;
  #isBinding = false;
  /** Times in a row that failed listeners were tried again, and when the next is. */
  #listenAttempts = 0;
  #listenAgainAtMs = Infinity;

  constructor(options: ProxyOptions, { traffic, pools, forwarder }: Parts) {
    const { nowMs, log, metrics, proxyProtocol: mode = "off" } = options;
    const isTrusted = trustIn(options.trustedProxies);
    this.#options = options;
    this.#arrivals = new Arrivals({ mode, isTrusted, deadlines: traffic.deadlines, nowMs, log, metrics });
    this.#connections = new Connections(options.connectionsMax ?? LIMITS.clientConnectionsMax);
    this.#traffic = traffic;
    this.#pools = pools;
    this.#readmission = new Readmission(traffic);
    this.#listeners = new Listeners(options);
    this.#udp = new Udp({
      traffic,
      dial: options.dialDatagrams ?? noWay,
      isClosing: () => this.#isClosing,
      shared: options.shared ?? new Set(),
      flowsMax: options.udpFlowsMax ?? LIMITS.udpFlowsMax,
    });
    this.#frontends = new Frontends({
      traffic,
      udp: this.#udp,
      connections: this.#connections,
      forwarder,
      random: options.random,
      isTrusted,
      isClosing: () => this.#isClosing,
      certificates: options.certificates ?? null,
      // Enough of the id to tell nodes apart, and not whole: applications may show what they get.
      pseudonym: `skein-${options.nodeId.slice(0, 8)}`,
      arrivals: this.#arrivals,
    });
    this.#binding = latest(
      (table) => this.#bind(table),
      (thrown) => log.error(`proxy listeners: ${textOf(thrown)}`),
    );
    this.#timer = setInterval(() => {
      // Not at once: after a pause of this process timers come before what arrived in it, and nobody is late whose
      // bytes are here. Immediates come after it.
      setImmediate(() => {
        traffic.deadlines.tick(nowMs());
        traffic.active.tick(nowMs());
        this.#readmission.tick(nowMs());
      });
      this.#listenAgain();
    }, TICK_MS);
  }

  async set(table: RouteTable): Promise<readonly ListenFailure[]> {
    if (this.#isClosing) return [];
    this.#swap(table);
    this.#table = table;
    this.#opening.want(table, this.#options.nowMs());
    this.#binding.set(table);
    await this.#binding.soFar();
    return this.#listeners.failures;
  }

  opensInMs(address: string): number {
    return this.#opening.leftMs(address, this.#options.nowMs());
  }

  async listening(addresses: readonly string[]): Promise<void> {
    if (addresses.some((address) => this.opensInMs(address) > 0)) await this.#binding.soFar();
  }

  stats(): ProxyStats {
    return {
      listeners: this.#listeners.open,
      failures: this.#listeners.failures,
      connections: this.#connections.size,
      flows: this.#udp.flowCount,
      upstreamConnections: this.#pools.sizes,
      ejected: this.#traffic.ejections.current,
    };
  }

  carried(): readonly Carried[] {
    return this.#traffic.active.carried();
  }

  async stopListening(): Promise<void> {
    this.#isClosing = true;
    await this.#binding.idle();
    this.#listeners.close();
  }

  async close(graceMs: number): Promise<void> {
    await this.stopListening();
    // The next answer on a kept connection is its last. One without a request by then may be ended: one before may be
    // on its way, and would be lost.
    const idle = setTimeout(() => this.#listeners.closeIdle(), Math.min(graceMs / 4, IDLE_GRACE_MS));
    const grace = setTimeout(() => {
      this.#arrivals.waiting.resetAll();
      this.#connections.resetAll();
      this.#udp.close();
    }, graceMs);
    await this.#arrivals.waiting.empty();
    await Promise.all([this.#connections.empty(), this.#udp.quiet()]);
    for (const timer of [idle, grace]) clearTimeout(timer);
    this.#listeners.closeIdle();
    this.#pools.close();
    this.#udp.close();
    this.#readmission.close();
    clearInterval(this.#timer);
  }

  /** Makes the table's pools the ones that requests use from now on. */
  #swap(table: RouteTable): void {
    this.#frontends.set(table);
    const { pools } = this.#frontends;
    this.#pools.setEligible(pools.flatMap((pool) => pool.tiers[0] ?? []));
    this.#readmission.set(pools);
    // Of a table that is not complete nothing is known to be gone.
    if (table.complete) this.#traffic.active.keepOnly(pools, this.#traffic.nowMs());
  }

  async #bind(table: RouteTable): Promise<void> {
    // A table that waited while the proxy began to close must not open what was closed.
    if (this.#isClosing) return;
    this.#isBinding = true;
    try {
      await this.#listen(table);
    } finally {
      this.#isBinding = false;
      this.#opening.tried(table, this.#options.nowMs());
      this.#options.onListening?.();
    }
  }

  async #listen(table: RouteTable): Promise<void> {
    const before = new Set(this.#listeners.failures.map((failure) => failure.text));
    const wanted = this.#frontends.wantedBy(table);
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
}

const notKnown: GivenOf = () => Promise.resolve(null);

/** Nobody can guess one. */
function newReceipt(): string {
  return base32(randomBytes(RECEIPT_BYTES));
}

const RECEIPT_BYTES = 20;

const noWay: DialDatagrams = ({ id }) => {
  return Promise.reject(new Failure("unreachable", `no way for datagrams leads to ${id}; expected a mesh`));
};

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
