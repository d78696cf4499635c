/**
 * Tcp: carries client connections to replicas, byte for byte.
 *
 * The client's socket is accepted paused: not a byte of it is read before a replica has taken the connection, so a
 * replica that refuses or does not answer within the connect deadline costs nothing and the next one is tried. After
 * that the two connections are one: ends pass in each direction by themselves (protocols half-close), a reset passes
 * as a reset (a cut answer must not look whole), and neither is cut for being quiet (moby#31208): keepalives find out
 * who is gone. A replica that drains keeps its established connections until they end or its time to drain is over;
 * with one that has left the table, or whose host is gone, they are reset: its client is to know now.
 *
 * Touches: sockets.
 */

import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";

import { Failure, textOf } from "../../base/failure.ts";
import { KEEPALIVE_MS } from "../../runtime/connect.ts";
import { Intake } from "../../runtime/intake.ts";
import { join, reset } from "../../runtime/pump.ts";

import type { AccessEntry } from "../access/entry.ts";
import type { Meter } from "../choice/active.ts";
import { Attempts, type Lane, type Traffic } from "../choice/attempts.ts";
import type { Arrivals } from "../listen/arrival.ts";
import type { Connections } from "../listen/connections.ts";
import type { Upstream } from "../routes.ts";
import type { Caller } from "./proxy-header.ts";

/** What a TCP frontend needs. */
export interface TcpOptions {
  readonly traffic: Traffic;
  readonly connections: Connections;
  readonly arrivals: Arrivals;
  /** The lane as it is now; null when the frontend has left the table. */
  readonly lane: () => Lane | null;
}

/** A server for one frontend, not listening yet. Connections outlive it. */
export function createTcpServer(options: TcpOptions): Server {
  const server = createServer({
    pauseOnConnect: true,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
  });
  server.on("connection", (client) => {
    const { traffic } = options;
    // The `close` that follows every error does what must be done.
    client.on("error", () => undefined);
    if (!options.connections.admit(client)) {
      traffic.metrics.proxyRefused.inc({ reason: "connections" });
      return;
    }
    const lane = options.lane();
    if (lane === null) reset(client);
    else carryConnection(client, lane, { traffic, arrivals: options.arrivals, kind: "tcp" });
  });
  return server;
}

/** What carrying a connection needs beside it. */
export interface CarryOptions {
  readonly traffic: Traffic;
  /** Tells who called. */
  readonly arrivals: Arrivals;
  /** What it is called in the access log. */
  readonly kind: Extract<AccessEntry["kind"], "tcp" | "tls">;
}

/**
 * Carries one connection to a replica of a lane's pool; returns at once.
 *
 * @param client  admitted, paused, with an `error` listener; what was read of it already is unshifted
 */
export function carryConnection(client: Socket, lane: Lane, options: CarryOptions): void {
  const { log } = options.traffic;
  new Carriage(client, lane, options).start().catch((thrown: unknown) => {
    log.error(`connection to service ${lane.pool.service}: ${textOf(thrown)}`);
    reset(client);
  });
}

/** How a connection went; a closed set, as it labels a metric. */
type ConnectionResult = "connected" | "no-replica" | "failed" | "client-gone";

const RESULT_IN_WORDS: Readonly<Record<Exclude<ConnectionResult, "connected">, string>> = {
  "no-replica": "no replica",
  failed: "no replica took the connection",
  "client-gone": "client left",
};

/** One client connection on its way to a replica, and joined with it. */
class Carriage implements Meter {
  readonly #client: Socket;
  readonly #caller: Caller;
  readonly #lane: Lane;
  readonly #options: CarryOptions;
  readonly #attempts: Attempts;
  readonly #startedAtMs: number;
  #upstream: Duplex | null = null;
  /** The upstream that was chosen last has left, or its time to drain is over. */
  #isGone = false;

  constructor(client: Socket, lane: Lane, options: CarryOptions) {
    const { traffic } = options;
    this.#client = client;
    this.#caller = options.arrivals.callerOf(client);
    this.#lane = lane;
    this.#options = options;
    this.#startedAtMs = traffic.nowMs();
    const asker = { client: this.#caller.address, gone: () => this.#gone() };
    this.#attempts = new Attempts(traffic, lane, { ...asker, counts: "connections", meter: this });
  }

  /** For the tally of upstreams. */
  get receivedBytes(): number {
    return this.#client.bytesRead;
  }

  get sentBytes(): number {
    return this.#client.bytesWritten;
  }

  async start(): Promise<void> {
    const { traffic } = this.#options;
    const giveUpAtMs = this.#startedAtMs + traffic.times.answerMs;
    let result: keyof typeof RESULT_IN_WORDS = "no-replica";
    for (let next = this.#attempts.next(); next !== null; next = this.#attempts.next()) {
      const intake = new Intake(this.#client);
      const upstream = await this.#connect(next, intake);
      if (upstream !== null && !this.#client.destroyed) {
        this.#join(upstream, intake);
        return;
      }
      if (upstream !== null) reset(upstream);
      result = this.#client.destroyed ? "client-gone" : "failed";
      if (this.#client.destroyed || traffic.nowMs() > giveUpAtMs) break;
    }
    this.#count(result);
    this.#attempts.finished();
    reset(this.#client);
    this.#log(RESULT_IN_WORDS[result]);
  }

  /** Connects to one upstream; null when that failed, which is then accounted for. */
  async #connect(upstream: Upstream, intake: Intake): Promise<Duplex | null> {
    const { traffic } = this.#options;
    this.#isGone = false;
    try {
      const stream = await traffic.connect(upstream, this.#caller, { intake });
      if (this.#isGone) {
        reset(stream);
        throw new Failure("unreachable", `${upstream.replica} is gone`);
      }
      this.#attempts.succeeded();
      return stream;
    } catch (thrown) {
      // Any connection may go elsewhere while nothing was sent: `failed` says so, and counts it.
      this.#attempts.failed("connect", { method: "", isBodyKept: true }, thrown);
      traffic.log.debug(`upstream of ${upstream.service}: ${textOf(thrown)}`);
      return null;
    }
  }

  #join(upstream: Duplex, intake: Intake): void {
    this.#upstream = upstream;
    this.#count("connected");
    const over = (brokenBy: Duplex | null): void => {
      const { bytesRead, bytesWritten } = this.#client;
      // Not for one that was used: what a client sends must not get a replica ejected.
      if (brokenBy === upstream && bytesRead + bytesWritten === 0) this.#attempts.broke();
      this.#attempts.finished();
      if (this.#isGone) this.#log("upstream gone");
      else if (brokenBy === null) this.#log("ok");
      else this.#log(brokenBy === upstream ? "upstream reset" : "client reset");
    };
    join(this.#client, upstream, { over, intake });
  }

  /** Both ends: the upstream's host may never say a word again. */
  #gone(): void {
    this.#isGone = true;
    if (this.#upstream === null) return;
    reset(this.#client);
    reset(this.#upstream);
  }

  #count(result: ConnectionResult): void {
    const { metrics } = this.#options.traffic;
    metrics.proxyConnections.inc({ service: this.#lane.pool.service, result });
  }

  #log(result: string): void {
    const { traffic, kind } = this.#options;
    if (!traffic.access.isOn) return;
    const { upstream, retries } = this.#attempts;
    traffic.access.append({
      kind,
      startedAtMs: this.#startedAtMs,
      durationMs: traffic.nowMs() - this.#startedAtMs,
      client: this.#caller.address,
      service: this.#lane.pool.service,
      replica: upstream?.replica ?? null,
      node: upstream?.nodeName ?? null,
      bytesSent: this.#client.bytesRead,
      bytesReceived: this.#client.bytesWritten,
      retries,
      result,
      http: null,
    });
  }
}
