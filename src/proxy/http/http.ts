/**
 * Http: the HTTP frontends: VIP and published ports that speak HTTP, and the ingress that tells services by host.
 *
 * Reads requests strictly and refuses what has two readings, finds the lane a request belongs to, and leaves the rest
 * to an exchange per request: so each request of a kept-alive client is balanced by itself. Slow and endless heads
 * and connections are bounded here, by node:http's own means.
 *
 * Touches: client sockets.
 */

import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from "node:http";
import type { Duplex } from "node:stream";

import { unmapped } from "../../base/ip.ts";
import { LIMITS } from "../../model/limits.ts";

import type { Lane, Traffic } from "../choice/attempts.ts";
import { KEEPALIVE_MS } from "../../runtime/connect.ts";
import type { Connections } from "../listen/connections.ts";
import { answerError, startExchange } from "./exchange.ts";
import type { HttpForwarder } from "./forwarder.ts";
import {
  CONNECT_REFUSAL,
  refusalOf,
  upstreamFields,
  upgradeFields,
  type ClientFacts,
  type RequestHead,
} from "./headers.ts";
import { refuseUpgrade, startUpgrade } from "./upgrade.ts";

/** The lane of a request, or why there is none. */
export type Found =
  | { readonly lane: Lane }
  | { readonly lane: null; readonly status: 404 | 503; readonly reason: string };

/** What an HTTP frontend needs. */
export interface HttpOptions {
  readonly traffic: Traffic;
  readonly connections: Connections;
  readonly forwarder: HttpForwarder;
  /** Finds the lane for a Host header and a request target. */
  readonly find: (host: string, target: string) => Found;
  /** True for an address whose X-Forwarded-* and Forwarded are believed. */
  readonly isTrusted: (address: string) => boolean;
  readonly isClosing: () => boolean;
}

/** Longer than the 60 s that load balancers and browsers keep a connection: the one in front closes first. */
const KEPT_ALIVE_MS = 75_000;
const HEAD_MS = 15_000;
/** The outermost bound on one request's arrival; a body that stalls is cut far sooner, by the exchange. */
const REQUEST_MS = 3_600_000;

const SERVER_OPTIONS: ServerOptions = {
  insecureHTTPParser: false,
  requireHostHeader: true,
  maxHeaderSize: LIMITS.httpHeadBytes,
  headersTimeout: HEAD_MS,
  requestTimeout: REQUEST_MS,
  keepAliveTimeout: KEPT_ALIVE_MS,
  connectionsCheckingInterval: 5000,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEPALIVE_MS,
  // h2c and others are offers (RFC 9110 7.8): such a request is answered as if it had not made them.
  shouldUpgradeCallback: isWebSocket,
};

/** A server for one frontend, not listening yet. */
export function createHttpServer(options: HttpOptions): Server {
  const server = createServer(SERVER_OPTIONS);
  const pipeline = new Pipeline();
  // Bounded by bytes: beyond a count node:http drops headers without a word.
  server.maxHeadersCount = 0;
  server.on("connection", (socket) => {
    if (!options.connections.admit(socket))
      options.traffic.metrics.proxyRefused.inc({ reason: "connections" });
  });
  const take = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    if (pipeline.admit(request, response)) serve(options, { request, response }, expectsContinue);
    else options.traffic.metrics.proxyRefused.inc({ reason: "pipeline" });
  };
  server.on("request", (request, response) => take(request, response, false));
  server.on("checkContinue", (request, response) => take(request, response, true));
  server.on("connect", (request: IncomingMessage, socket: Duplex) => {
    options.traffic.metrics.proxyRefused.inc({ reason: "head" });
    refuseUpgrade(request, socket, CONNECT_REFUSAL, options.traffic);
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    switchProtocols(options, request, socket, head);
  });
  return server;
}

/** The requests of each connection that wait for their answer: node:http reads on whatever their number. */
class Pipeline {
  readonly #countBySocket = new WeakMap<Duplex, number>();

  /** Counts a request until it is answered; ends the connection and returns false when there are too many. */
  admit({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const count = (this.#countBySocket.get(socket) ?? 0) + 1;
    if (count > LIMITS.httpPipelineMax) {
      socket.destroy();
      return false;
    }
    this.#countBySocket.set(socket, count);
    response.once("close", () => this.#countBySocket.set(socket, (this.#countBySocket.get(socket) ?? 1) - 1));
    return true;
  }
}

function serve(
  options: HttpOptions,
  client: { readonly request: IncomingMessage; readonly response: ServerResponse },
  expectsContinue: boolean,
): void {
  const { traffic, forwarder, isClosing } = options;
  const { request } = client;
  const head = headOf(request);
  const refusal = refusalOf(head);
  if (refusal !== null) {
    traffic.metrics.proxyRefused.inc({ reason: "head" });
    // What follows on this connection is as doubtful as the head was.
    answerError(client, { ...refusal, closes: true }, traffic);
    return;
  }
  const found = options.find(request.headers.host ?? "", head.target);
  if (found.lane === null) {
    traffic.metrics.proxyRefused.inc({ reason: found.status === 404 ? "no-route" : "no-replica" });
    answerError(client, { ...found, closes: expectsContinue || isClosing() }, traffic);
    return;
  }
  const fields = upstreamFields(head, factsOf(options, request));
  const outgoing = { method: head.method, target: head.target, fields };
  startExchange({ traffic, forwarder, lane: found.lane, head: outgoing, client, expectsContinue, isClosing });
}

function switchProtocols(
  options: HttpOptions,
  request: IncomingMessage,
  socket: Duplex,
  early: Buffer,
): void {
  const { traffic, forwarder } = options;
  // First of all: a reset with nobody listening would end the process.
  socket.on("error", () => undefined);
  const head = headOf(request);
  const refusal = isWebSocket(request)
    ? refusalOf(head)
    : { status: 501, reason: "only WebSocket upgrades are offered here" };
  if (refusal !== null) {
    traffic.metrics.proxyRefused.inc({ reason: "head" });
    refuseUpgrade(request, socket, refusal, traffic);
    return;
  }
  const found = options.find(request.headers.host ?? "", head.target);
  if (found.lane === null) {
    traffic.metrics.proxyRefused.inc({ reason: found.status === 404 ? "no-route" : "no-replica" });
    refuseUpgrade(request, socket, found, traffic);
    return;
  }
  const fields = upgradeFields(head, factsOf(options, request));
  const outgoing = { method: head.method, target: head.target, fields };
  startUpgrade({ traffic, forwarder, lane: found.lane, head: outgoing, request, socket, early });
}

/** True for a request that asks for WebSocket (RFC 6455 4.1). */
function isWebSocket(request: IncomingMessage): boolean {
  return request.method === "GET" && request.headers.upgrade?.toLowerCase() === "websocket";
}

function headOf(request: IncomingMessage): RequestHead {
  const { method = "", url = "", httpVersion, rawHeaders } = request;
  return { method, target: url, httpVersion, rawHeaders };
}

function factsOf(options: HttpOptions, request: IncomingMessage): ClientFacts {
  const address = unmapped(request.socket.remoteAddress ?? "");
  return { address, isTrusted: options.isTrusted(address), proto: "http" };
}
