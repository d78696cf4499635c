/**
 * Forwarder: sends one request to one upstream, by http-proxy.
 *
 * http-proxy 1.18.1 has not been maintained since 2020, and left alone it rewrites paths, forwards hop-by-hop headers,
 * smuggles, leaks and crashes. So it is fenced in. It gets a request object of its own for each attempt, never the
 * client's; our `buffer` is called before anything is sent, and there path, headers and lifetimes become ours; it
 * neither writes to the client's response nor hears of its errors. What is left to it is making the request and
 * joining WebSockets. The rest of the proxy knows only HttpForwarder: another engine may take its place.
 *
 * Touches: sockets, through agents.
 */

import { IncomingMessage, type ClientRequest, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Stream, type Duplex } from "node:stream";
import util from "node:util";

import type HttpProxy from "http-proxy";

import { assert } from "../../base/assert.ts";
import { Failure, textOf } from "../../base/failure.ts";
import { LIMITS } from "../../model/limits.ts";

import type { Freshness, UpstreamAgents } from "./agents.ts";
import type { AnswerReader, UpstreamAnswer } from "./answer.ts";
import type { BodySink } from "./body.ts";
import { reset } from "../../runtime/pump.ts";
import type { HeaderFields } from "./headers.ts";
import { isIdempotent, type AttemptEnd } from "../choice/retry.ts";
import type { Upstream } from "../routes.ts";
import type { Caller } from "../tcp/proxy-header.ts";

/** The head of a request as the upstream is to get it. */
export interface OutgoingHead {
  readonly method: string;
  /** The request target; sent byte for byte. */
  readonly target: string;
  readonly fields: HeaderFields;
}

/** A request and how it is to be carried. */
export interface Exchanged extends OutgoingHead {
  /** The ends of the client's connection, for upstreams that want to be told. */
  readonly caller: Caller;
  readonly freshness: Freshness;
}

/** A WebSocket handshake. */
export type Handshake = Omit<Exchanged, "freshness">;

/** How an attempt ended without an answer. */
export interface AttemptFailure {
  readonly end: Exclude<AttemptEnd, "late">;
  readonly cause: unknown;
  /** False when not a byte has left: then the request may be sent again, whatever it is. */
  readonly wasSent: boolean;
}

/** What becomes of an attempt. After `answered`, `failed` or `abandon` nothing more is told. */
export interface AttemptEvents {
  /** The upstream has taken the connection: the body may be sent. */
  readonly connected: (body: BodySink) => void;
  /** An interim answer (1xx other than 100 and 101) has come; the answer is still to come. */
  readonly informed: (status: number, rawHeaders: readonly string[]) => void;
  /** A response head has come; its body and how it ends are in the stream. */
  readonly answered: (answer: UpstreamAnswer) => void;
  readonly failed: (failure: AttemptFailure) => void;
}

/** As AttemptEvents, for a WebSocket handshake. */
export interface UpgradeEvents extends Omit<AttemptEvents, "connected" | "informed"> {
  /** The upstream has switched protocols; both sides are joined, and end each other from here on. */
  readonly joined: () => void;
}

/** One attempt under way. */
export interface Attempt {
  /** Ends the attempt and its connection, in whatever state it is; harmless afterwards. */
  abandon(): void;
}

/** Sends requests to upstreams. Neither function throws; failures come as events, never before it has returned. */
export interface HttpForwarder {
  send(upstream: Upstream, exchange: Exchanged, events: AttemptEvents): Attempt;
  upgrade(upstream: Upstream, socket: Duplex, exchange: Handshake, events: UpgradeEvents): Attempt;
}

/** Opens the forwarder that is built on http-proxy. */
export async function openHttpProxy(agents: UpstreamAgents): Promise<HttpForwarder> {
  const proxy = (await loadHttpProxy()).createProxyServer({});
  withoutDeleteLength(proxy);
  // Emitted inside `proxy.ws`, before anything is sent: the one chance to get hold of the request.
  const handshakes = new WeakMap<IncomingMessage, (request: ClientRequest) => void>();
  proxy.on("proxyReqWs", (outgoing, request) => handshakes.get(request)?.(outgoing));

  return {
    send(upstream, exchange, events) {
      const settled = new Settled();
      const agent = agents.agentFor(upstream, exchange);
      const take = (outgoing: ClientRequest): void => {
        settled.own(outgoing);
        watchAttempt(outgoing, settled, events);
        prepare(outgoing, exchange);
        outgoing.on("information", ({ statusCode, rawHeaders }) => {
          if (!settled.isOver && statusCode !== 100) events.informed(statusCode, rawHeaders);
        });
        outgoing.once("socket", () => {
          const begin = (): void => {
            if (settled.isOver) return;
            settled.hasSent = true;
            events.connected(outgoing as unknown as BodySink);
          };
          if (outgoing.reusedSocket && !isIdempotent(exchange.method)) afterNextPoll(begin);
          else begin();
        });
      };
      const options = { ...toward(upstream), agent, method: exchange.method, selfHandleResponse: true };
      settled.guard(events, () =>
        proxy.web(STAND_IN, NO_RESPONSE, { ...options, buffer: new Handover(take) }, ignored),
      );
      return settled;
    },

    upgrade(upstream, socket, exchange, events) {
      const settled = new Settled();
      const agent = agents.singleUse(upstream, exchange.caller);
      const standIn = handshakeOn(socket);
      handshakes.set(standIn, (request) => {
        settled.own(request);
        prepare(request, exchange);
      });
      settled.guard(events, () =>
        proxy.ws(standIn, socket, Buffer.alloc(0), { ...toward(upstream), agent }, ignored),
      );
      const { outgoing } = settled;
      assert(outgoing !== null, "http-proxy announces each handshake");
      // Its own listeners would end the client on a failed attempt, and frame a refusal wrongly.
      outgoing.removeAllListeners("error").removeAllListeners("response");
      watchAttempt(outgoing, settled, events);
      watchUpgrade(outgoing, socket, settled, events);
      return settled;
    },
  };
}

/**
 * Loads http-proxy with Object.assign in place of `util._extend`, which it takes hold of while it loads: node warns on
 * stderr of every use of the old one (DEP0060), and a daemon that warns of itself at its first request looks broken.
 */
async function loadHttpProxy(): Promise<typeof HttpProxy> {
  const old = util as unknown as { _extend: typeof Object.assign };
  const extend = old._extend;
  old._extend = Object.assign;
  try {
    return (await import("http-proxy")).default;
  } finally {
    old._extend = extend;
  }
}

/** http-proxy must be given a callback, or it throws; what it would tell is heard from the request itself. */
function ignored(): void {
  // The listeners of watchAttempt have it.
}

/** Its pass of this name drops the framing of a DELETE with a body, which then reads as the next request. */
function withoutDeleteLength(proxy: HttpProxy): void {
  const { webPasses } = proxy as unknown as { webPasses: { readonly name: string }[] };
  const at = webPasses.findIndex((pass) => pass.name === "deleteLength");
  assert(at !== -1, "http-proxy has a pass named deleteLength");
  webPasses.splice(at, 1);
}

/** The options that every request has: the target as an object and no path, since it parses and rewrites text. */
function toward(upstream: Upstream): HttpProxy.ServerOptions {
  const target = { host: upstream.address, port: upstream.port, protocol: "http:" };
  return { target, ignorePath: true, toProxy: true };
}

/**
 * The request that http-proxy sees, the same for all: what it reads of one is nothing, and what it would hear of one,
 * that the client has gone, is the exchange's to act on.
 */
const STAND_IN = Object.freeze({
  method: "GET",
  url: "/",
  headers: Object.freeze({}),
  socket: Object.freeze({ destroyed: false }),
  on: () => STAND_IN,
}) as unknown as IncomingMessage;

/** The response that http-proxy sees: one that is finished, which it leaves alone. */
const NO_RESPONSE = Object.freeze({ headersSent: true, finished: true }) as unknown as ServerResponse;

/** A handshake that http-proxy takes for one, by the headers that it checks. */
function handshakeOn(socket: Duplex): IncomingMessage {
  const standIn = new IncomingMessage(socket as Socket);
  standIn.method = "GET";
  standIn.url = "/";
  standIn.headers = { upgrade: "websocket" };
  return standIn;
}

/**
 * Acts once what has come by now was read: on a kept connection that may be its end, and then what was to be sent can
 * go elsewhere. The first turn ends what the event loop is at, the second comes after it has asked the system again.
 */
function afterNextPoll(act: () => void): void {
  setImmediate(() => setImmediate(act));
}

/** What http-proxy pipes into the request in place of the client's: it only hands the request over. */
class Handover extends Stream {
  readonly #take: (outgoing: ClientRequest) => void;

  constructor(take: (outgoing: ClientRequest) => void) {
    super();
    this.#take = take;
  }

  override pipe<T extends NodeJS.WritableStream>(destination: T): T {
    this.#take(destination as unknown as ClientRequest);
    return destination;
  }
}

/** Makes the head of the request ours, whatever http-proxy has put there. */
function prepare(outgoing: ClientRequest, head: OutgoingHead): void {
  outgoing.path = head.target;
  outgoing.removeHeader("upgrade");
  for (const [name, values] of head.fields) {
    const [only = ""] = values;
    outgoing.setHeader(name, values.length === 1 ? only : values);
  }
  // Bounded by bytes instead: node:http drops what is beyond a count without a word.
  outgoing.maxHeadersCount = 0;
  Object.assign(outgoing, { maxHeaderSize: LIMITS.httpHeadBytes });
}

/** Whether an attempt has come to its end, so that only one end is told. */
class Settled implements Attempt {
  #isOver = false;
  #outgoing: ClientRequest | null = null;
  /** True once the request's head may have left. */
  hasSent = false;

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Claims the one end; false when there was one already. */
  claim(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    return true;
  }

  get outgoing(): ClientRequest | null {
    return this.#outgoing;
  }

  /** Takes charge of a request that was just made and has no listener yet. */
  own(outgoing: ClientRequest): void {
    this.#outgoing = outgoing;
    outgoing.on("error", () => undefined);
  }

  abandon(): void {
    this.#isOver = true;
    this.#outgoing?.destroy();
  }

  /** Runs what may throw at once (a header that node:http refuses) and tells it as any other failure: later. */
  guard(events: Pick<AttemptEvents, "failed">, act: () => void): void {
    try {
      act();
    } catch (thrown) {
      const cause = new Failure("invalid", `request: ${textOf(thrown)}`, { cause: thrown });
      if (!this.claim()) return;
      this.#outgoing?.destroy();
      queueMicrotask(() => events.failed({ end: "died", cause, wasSent: true }));
    }
  }
}

function watchAttempt(
  outgoing: ClientRequest,
  settled: Settled,
  events: Pick<AttemptEvents, "answered" | "failed">,
): void {
  let isConnected = false;
  outgoing.once("socket", () => {
    isConnected = true;
  });
  const fail = (cause: unknown): void => {
    if (!settled.claim()) return;
    const end = isConnected ? (outgoing.reusedSocket ? "stale" : "died") : "connect";
    events.failed({ end, cause, wasSent: settled.hasSent });
  };
  outgoing.on("error", fail);
  // A protocol switch that nobody asked for ends a request without an error.
  outgoing.once("close", () => {
    if (!settled.isOver) fail(new Failure("refused", "the connection closed without an answer"));
  });
  outgoing.once("response", (response) => {
    if (settled.claim()) events.answered(new MessageAnswer(response));
    else response.destroy();
  });
}

/** The answer of node:http's client. */
class MessageAnswer implements UpstreamAnswer {
  readonly #response: IncomingMessage;

  constructor(response: IncomingMessage) {
    this.#response = response;
  }

  get status(): number {
    return this.#response.statusCode ?? 502;
  }

  get message(): string {
    return this.#response.statusMessage ?? "";
  }

  get rawHeaders(): readonly string[] {
    return this.#response.rawHeaders;
  }

  get rawTrailers(): readonly string[] {
    return this.#response.rawTrailers;
  }

  get isPaused(): boolean {
    return this.#response.isPaused();
  }

  read(reader: AnswerReader): void {
    const response = this.#response;
    response.on("data", (part: Buffer) => reader.data(part));
    // The `close` that follows it tells.
    response.on("error", () => undefined);
    response.once("end", () => {
      if (response.complete) reader.ended();
    });
    response.once("close", () => {
      if (!response.complete) reader.cut();
    });
  }

  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }
}

function watchUpgrade(
  outgoing: ClientRequest,
  socket: Duplex,
  settled: Settled,
  events: UpgradeEvents,
): void {
  // After http-proxy's own listener, which has joined the two by then.
  outgoing.once("upgrade", (_response, upstream: Socket) => {
    // Its listeners would end the other side in form, where a reset must pass as one.
    for (const stream of [socket, upstream]) stream.removeAllListeners("error").on("error", () => undefined);
    if (!settled.claim()) {
      upstream.destroy();
      return;
    }
    endTogether(socket, upstream);
    endTogether(upstream, socket);
    events.joined();
  });
}

/** Resets `peer` when `stream` closes otherwise than in form; a stream that ended in form has told its peer. */
function endTogether(stream: Duplex, peer: Duplex): void {
  stream.once("close", () => {
    if (stream.errored !== null || !stream.readableEnded) reset(peer);
  });
}
