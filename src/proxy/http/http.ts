/**
 * Http: the HTTP frontends: VIP and published ports that speak HTTP, and the ingress that tells services by host.
 *
 * Reads requests strictly and refuses what has two readings, finds the lane a request belongs to, and leaves the rest
 * to an exchange per request: so each request of a kept-alive client is balanced by itself. Slow and endless heads
 * and connections are bounded here, by node:http's own means. What is refused here is answered and logged here too.
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
import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { LIMITS } from "../../model/limits.ts";
import { KEEPALIVE_MS } from "../../runtime/connect.ts";

import type { Lane, Times, Traffic } from "../choice/attempts.ts";
import type { Arrivals, Ends } from "../listen/arrival.ts";
import type { Connections } from "../listen/connections.ts";
import type { Caller } from "../tcp/proxy-header.ts";

import {
  clientOf,
  headOf,
  isHttp2,
  type HttpClient,
  type ServerAnswer,
  type ServerRequest,
} from "./client.ts";
import { startExchange } from "./exchange.ts";
import type { HttpForwarder } from "./forwarder.ts";
import {
  announcesBody,
  hopsOf,
  toldClient,
  upgradeFields,
  upstreamFields,
  valuesOf,
  type ClientFacts,
} from "./headers.ts";
import { answerError } from "./own-answer.ts";
import { Pipeline, refuseBytes } from "./pipeline.ts";
import { entryOf, isTold, tell, UNTRIED, type RequestFacts } from "./record.ts";
import { EXPECT_REFUSAL, readHead, type RequestHead } from "./refusal.ts";
import { requestIdOf } from "./request-id.ts";
import { refuseUpgrade, startUpgrade } from "./upgrade.ts";

/** The lane of a request, or why there is none. */
export type Found =
  | { readonly lane: Lane }
  | { readonly lane: null; readonly status: 404 | 503; readonly reason: string };

/** What serving requests needs. */
export interface HttpOptions {
  readonly traffic: Traffic;
  readonly forwarder: HttpForwarder;
  /** Tells who called. */
  readonly arrivals: Arrivals;
  /** Finds the lane for a Host header and a request target. */
  readonly find: (host: string, target: string) => Found;
  /** True for an address whose X-Forwarded-* and Forwarded are believed. */
  readonly isTrusted: (address: string) => boolean;
  readonly isClosing: () => boolean;
  readonly proto: "http" | "https";
  /** This node's name in Via (RFC 9110 7.6.3). */
  readonly pseudonym: string;
  /** True when the connection of a request is not for its host (RFC 9110 15.5.20). */
  readonly isMisdirected?: (request: ServerRequest, host: string) => boolean;
}

/** Longer than the 60 s that load balancers and browsers keep a connection: the one in front closes first. */
export const KEPT_ALIVE_MS = 75_000;
/** How often slow heads are looked for, at most. */
const CHECK_MS = 5000;
/** The outermost bound on one request's arrival; a body that stalls is cut far sooner, by the exchange. */
const REQUEST_MS = 3_600_000;

/** How HTTP/1 is read, whatever carries it. */
const HTTP1_OPTIONS: ServerOptions = {
  insecureHTTPParser: false,
  requireHostHeader: true,
  maxHeaderSize: LIMITS.httpHeadBytes,
  requestTimeout: REQUEST_MS,
  keepAliveTimeout: KEPT_ALIVE_MS,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEPALIVE_MS,
  // h2c and others are offers (RFC 9110 7.8): such a request is answered as if it had not made them.
  shouldUpgradeCallback: isWebSocket,
};

/** A server that reads HTTP/1 strictly and serves nothing yet. */
export function createHttp1Server({ headMs }: Pick<Times, "headMs">): Server {
  const connectionsCheckingInterval = Math.min(CHECK_MS, headMs);
  const server = createServer({ ...HTTP1_OPTIONS, headersTimeout: headMs, connectionsCheckingInterval });
  // Bounded by bytes: beyond a count node:http drops headers without a word.
  server.maxHeadersCount = 0;
  return server;
}

/** A server for one frontend, not listening yet. */
export function createHttpServer(options: HttpOptions & { readonly connections: Connections }): Server {
  const server = createHttp1Server(options.traffic.times);
  server.on("connection", (socket) => {
    if (!options.connections.admit(socket))
      options.traffic.metrics.proxyRefused.inc({ reason: "connections" });
  });
  serveHttp(server, options);
  return server;
}

/** Serves the requests of a server: of node:http, or of node:http2 with what comes over HTTP/1. */
export function serveHttp(server: EventEmitter, options: HttpOptions): void {
  const pipeline = new Pipeline();
  const { metrics } = options.traffic;
  const take = (request: ServerRequest, response: ServerAnswer, expectation: Expectation): void => {
    if (isHttp2(request) || pipeline.admit(request, response as ServerResponse)) {
      new Arrival(options, request.socket).serve(request, clientOf(request, response), expectation);
    } else metrics.proxyRefused.inc({ reason: "pipeline" });
  };
  const handOver = (request: IncomingMessage, socket: Duplex, early: Buffer): void => {
    if (!pipeline.isAnswering(socket)) {
      new Arrival(options, request.socket).upgrade(request, socket, early);
      return;
    }
    // Its answer would be out before the one that an earlier request still waits for, and be taken for that.
    metrics.proxyRefused.inc({ reason: "pipeline" });
    socket.on("error", () => undefined);
    socket.destroy();
  };
  server.on("request", (request: ServerRequest, response: ServerAnswer) => take(request, response, "none"));
  server.on("checkContinue", (request: ServerRequest, response: ServerAnswer) => {
    take(request, response, "continue");
  });
  server.on("checkExpectation", (request: ServerRequest, response: ServerAnswer) => {
    take(request, response, "unknown");
  });
  server.on("connect", (request: ServerRequest, to: ServerAnswer | Duplex) => {
    // Over HTTP/2 it has a response like any other, over HTTP/1 it has taken the connection.
    if (isHttp2(request)) take(request, to as ServerAnswer, "none");
    else handOver(request, to as Duplex, NOTHING);
  });
  server.on("upgrade", handOver);
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    metrics.proxyRefused.inc({ reason: "head" });
    refuseBytes(socket, { error, isAnswering: pipeline.isAnswering(socket), traffic: options.traffic });
  });
}

const NOTHING = Buffer.alloc(0);

/** What a request expects before it sends its body (RFC 9110 10.1.1). */
type Expectation = "none" | "continue" | "unknown";

/** A request that is not carried, and what it is told. */
interface Turned {
  readonly status: number;
  readonly reason: string;
  /** Nothing more is read of the connection. */
  readonly closes: boolean;
  /** For the metric; a closed set. */
  readonly why: "head" | "no-route" | "no-replica";
}

/** One request that has come, on its way to a lane. */
class Arrival {
  readonly #options: HttpOptions;
  readonly #caller: Caller;
  readonly #isTrusted: boolean;

  constructor(options: HttpOptions, socket: Ends) {
    this.#options = options;
    this.#caller = options.arrivals.callerOf(socket);
    this.#isTrusted = options.isTrusted(this.#caller.address);
  }

  serve(request: ServerRequest, client: HttpClient, expectation: Expectation): void {
    const { traffic, forwarder, isClosing } = this.#options;
    const { head } = client;
    const facts = this.#factsOf(head);
    const turned = this.#turn(request, head, expectation);
    if ("why" in turned) {
      this.#refuse(client, facts, turned);
      return;
    }
    const { lane, target } = turned;
    if (hopsOf(head.method, valuesOf(head.rawHeaders, "max-forwards")[0] ?? "") === 0) {
      // RFC 9110 7.6.2: whoever the last hop meets answers in the server's place.
      this.#log(facts, 204, "ok");
      client.writeHead({ status: 204, message: "No Content", headers: [], closes: isClosing() });
      client.end();
      return;
    }
    // Not sooner: a request that waits would be kept twice.
    client.onTurn(() => {
      const fields = upstreamFields(head, this.#told(facts), client.hasBody);
      startExchange({
        traffic,
        forwarder,
        lane,
        head: { method: head.method, target, fields },
        client,
        facts,
        caller: this.#caller,
        expectsContinue: expectation === "continue",
        isClosing,
      });
    });
  }

  upgrade(request: IncomingMessage, socket: Duplex, early: Buffer): void {
    const { traffic, forwarder } = this.#options;
    // First of all: a reset with nobody listening would end the process.
    socket.on("error", () => undefined);
    const head = headOf(request);
    const facts = this.#factsOf(head);
    const turned = announcesBody(head.rawHeaders) ? BODY_REFUSED : this.#turn(request, head, "none");
    if ("why" in turned) {
      this.#note(facts, turned);
      refuseUpgrade(socket, facts, { ...turned, traffic });
      return;
    }
    const { lane, target } = turned;
    const fields = upgradeFields(head, this.#told(facts));
    const outgoing = { method: head.method, target, fields };
    startUpgrade({ traffic, forwarder, lane, head: outgoing, facts, socket, early, caller: this.#caller });
  }

  /** Finds where a request leads, or why it is not carried. */
  #turn(
    request: ServerRequest,
    head: RequestHead,
    expectation: Expectation,
  ): Turned | { readonly lane: Lane; readonly target: string } {
    const { find, pseudonym, isMisdirected, isClosing } = this.#options;
    const asked = readHead(head, pseudonym);
    // What follows on this connection is as doubtful as the head was.
    if (asked.kind === "refused") return { ...asked, closes: true, why: "head" };
    if (expectation === "unknown") return { ...EXPECT_REFUSAL, closes: true, why: "head" };
    if (isMisdirected?.(request, asked.host) === true) return MISDIRECTED;
    const found = find(asked.host, asked.target);
    if (found.lane !== null) return { lane: found.lane, target: asked.target };
    const { status, reason } = found;
    const closes = expectation === "continue" || isClosing();
    return { status, reason, closes, why: status === 404 ? "no-route" : "no-replica" };
  }

  #refuse(client: HttpClient, facts: RequestFacts, turned: Turned): void {
    this.#note(facts, turned);
    const { requestId } = facts;
    client.onTurn(() => answerError(client, { ...turned, requestId }));
  }

  #note(facts: RequestFacts, { why, status }: Turned): void {
    this.#options.traffic.metrics.proxyRefused.inc({ reason: why });
    this.#log(facts, status, why === "no-route" ? "no route" : why === "head" ? "refused" : "no replica");
  }

  #log(facts: RequestFacts, status: number, result: string): void {
    const { traffic } = this.#options;
    if (!isTold(traffic, facts)) return;
    tell(traffic, entryOf("http", facts, { ...UNTRIED, status, result, endedAtMs: traffic.nowMs() }), facts);
  }

  #factsOf(head: RequestHead): RequestFacts {
    const { traffic, isTrusted, proto } = this.#options;
    const { address } = this.#caller;
    const requestId = requestIdOf(head.rawHeaders, this.#isTrusted, traffic.random);
    const client = this.#isTrusted ? toldClient(head.rawHeaders, address, isTrusted) : address;
    const trace = traffic.tracing.begin(head.rawHeaders);
    return { head, startedAtMs: traffic.nowMs(), requestId, client, proto, trace };
  }

  #told({ requestId }: RequestFacts): ClientFacts {
    const { proto, pseudonym } = this.#options;
    const { address, toPort: port } = this.#caller;
    return { address, port, isTrusted: this.#isTrusted, proto, pseudonym, requestId };
  }
}

const MISDIRECTED: Turned = {
  status: 421,
  reason: "this connection is not for that host",
  closes: false,
  why: "head",
};

/** Nobody would pass the body on: the connection is the WebSocket's from the handshake's end. */
const BODY_REFUSED: Turned = {
  status: 400,
  reason: "a WebSocket handshake has no body",
  closes: true,
  why: "head",
};

/** True for a request that asks for WebSocket (RFC 6455 4.1). */
function isWebSocket(request: IncomingMessage): boolean {
  return request.method === "GET" && request.headers.upgrade?.toLowerCase() === "websocket";
}
