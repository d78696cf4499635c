/**
 * Tcp: carries client connections to replicas, byte for byte.
 *
 * The client's socket is accepted paused: not a byte of it is read before a replica has taken the connection, so a
 * replica that refuses or does not answer within the connect deadline costs nothing and the next one is tried. After
 * that the two connections are one: ends pass in each direction by themselves (protocols half-close), a reset passes
 * as a reset (a cut answer must not look whole), and neither is cut for being quiet (moby#31208): keepalives find out
 * who is gone. A replica that drains or leaves the table keeps its established connections: they end with the replica.
 *
 * Touches: sockets.
 */

import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";

import { textOf } from "../../base/failure.ts";

import { Attempts, type Lane, type Traffic } from "../choice/attempts.ts";
import { join, reset } from "../../runtime/pump.ts";

import { KEEPALIVE_MS } from "../../runtime/connect.ts";
import type { Connections } from "../listen/connections.ts";
import type { Upstream } from "../routes.ts";

/** What a TCP frontend needs. */
export interface TcpOptions {
  readonly traffic: Traffic;
  readonly connections: Connections;
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
    // The `close` that follows every error does what must be done.
    client.on("error", () => undefined);
    const { metrics, log } = options.traffic;
    if (!options.connections.admit(client)) {
      metrics.proxyRefused.inc({ reason: "connections" });
      return;
    }
    const lane = options.lane();
    if (lane === null) reset(client);
    else {
      carry(client, lane, options.traffic).catch((thrown: unknown) => {
        log.error(`connection to service ${lane.pool.service}: ${textOf(thrown)}`);
        reset(client);
      });
    }
  });
  return server;
}

/** How a connection went; a closed set, as it labels a metric. */
type ConnectionResult = "connected" | "no-replica" | "failed" | "client-gone";

async function carry(client: Socket, lane: Lane, traffic: Traffic): Promise<void> {
  const { service } = lane.pool;
  const count = (result: ConnectionResult): void => traffic.metrics.proxyConnections.inc({ service, result });
  const attempts = new Attempts(traffic, lane);
  const giveUpAtMs = traffic.nowMs() + traffic.times.answerMs;
  let hasTried = false;
  try {
    for (let upstream = attempts.next(); upstream !== null; upstream = attempts.next()) {
      hasTried = true;
      const stream = await tryUpstream(upstream, attempts, traffic);
      if (stream === null && traffic.nowMs() > giveUpAtMs) break;
      if (stream === null) continue;
      if (client.destroyed) {
        count("client-gone");
        reset(stream);
        return;
      }
      count("connected");
      join(client, stream);
      return;
    }
  } finally {
    attempts.finished();
  }
  count(hasTried ? "failed" : "no-replica");
  reset(client);
}

/** Connects to one upstream; null when that failed, which is then accounted for. */
async function tryUpstream(upstream: Upstream, attempts: Attempts, traffic: Traffic): Promise<Duplex | null> {
  try {
    const stream = await traffic.connect(upstream);
    attempts.succeeded();
    return stream;
  } catch (thrown) {
    // Any connection may go elsewhere while nothing was sent: `failed` says so, and counts it.
    attempts.failed("connect", { method: "", isBodyKept: true }, thrown);
    traffic.log.debug(`upstream of ${upstream.service}: ${textOf(thrown)}`);
    return null;
  }
}
