/**
 * Proxy: serves a route table, whichever is the newest.
 *
 * Setting a table swaps pools at once, in memory, before anything is awaited: the next request already uses them. Only
 * then are listeners opened and closed to match. Tables may come faster than sockets open; the ones between are
 * skipped. What this proxy has learnt (turns, ejections, retries saved) lives on across tables, keyed by what it is
 * about, and goes when that goes.
 *
 * Touches: sockets, one timer for all deadlines and one for listeners that failed.
 */

import { BlockList } from "node:net";

import { textOf } from "../base/failure.ts";
import { isIpv6 } from "../base/ip.ts";
import { latest, type Latest } from "../base/latest.ts";
import type { Random } from "../base/random.ts";
import { LIMITS } from "../model/limits.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";

import { UpstreamAgents } from "./agents.ts";
import { openLane, type Lane, type Times, type Traffic } from "./attempts.ts";
import { openConnector, type Dial } from "./connect.ts";
import { Connections } from "./connections.ts";
import { Deadlines } from "./deadlines.ts";
import { openHttpProxy, type HttpForwarder } from "./forwarder.ts";
import { createHttpServer, type Found } from "./http.ts";
import { Listeners, type ListenFailure, type OpenListener, type WantedListener } from "./listeners.ts";
import { indexRoutes, matchRoute, type RouteIndex } from "./match.ts";
import { Ejections } from "./outlier.ts";
import { listenerKey, upstreamsOf, type Frontend, type Ingress, type Pool, type RouteTable } from "./routes.ts";
import { createTcpServer } from "./tcp.ts";

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
   * @returns what could not be listened on, once every listener has been tried; it is tried again each second
   */
  set(table: RouteTable): Promise<readonly ListenFailure[]>;
  stats(): ProxyStats;
  /** Stops listening, lets what is under way end for at most `graceMs`, and resets the rest. */
  close(graceMs: number): Promise<void>;
}

/** The waits of a proxy, unless told otherwise; reasons in attempts.ts and dependencies' own documents. */
export const TIMES: Times = {
  connectMs: 500,
  streamMs: 1000,
  firstByteMs: 1000,
  answerMs: 60_000,
  idleMs: 300_000,
};

/** How often deadlines are compared with the time: fine against the shortest of them. */
const TICK_MS = 25;
const LISTEN_AGAIN_MS = 1000;

/** Opens a proxy that serves nothing yet. */
export function openProxy(options: ProxyOptions): Promise<Proxy> {
  return Promise.resolve(new ServingProxy(options));
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
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #laneByKey = new Map<string, Lane>();
  #routes: RouteIndex = indexRoutes([]);
  #isClosing = false;

  constructor(options: ProxyOptions) {
    const { dial, nowMs, log, metrics, random, vipPool } = options;
    const times = { ...TIMES, ...options.times };
    const deadlines = new Deadlines();
    const connect = openConnector({ dial, deadlines, nowMs, ...times });
    this.#options = options;
    this.#traffic = { ejections: new Ejections(), deadlines, connect, metrics, log, random, nowMs, times };
    this.#agents = new UpstreamAgents(connect, nowMs);
    this.#forwarder = openHttpProxy(this.#agents);
    this.#listeners = new Listeners(vipPool);
    this.#isTrusted = trustIn(options.trustedProxies);
    this.#binding = latest(
      (table) => this.#bind(table),
      (thrown) => log.error(`proxy listeners: ${textOf(thrown)}`),
    );
    this.#timers = [setInterval(() => deadlines.tick(nowMs()), TICK_MS)];
  }

  async set(table: RouteTable): Promise<readonly ListenFailure[]> {
    if (this.#isClosing) return [];
    this.#swap(table);
    this.#binding.set(table);
    await this.#binding.idle();
    return this.#listeners.failures;
  }
}
