/**
 * WebSockets: joins a client with an upstream that switches protocols, by http-proxy.
 *
 * http-proxy 1.18.1 has not been maintained since 2020, and left alone it rewrites paths, forwards hop-by-hop headers,
 * leaks and crashes. So it is fenced in. It gets a handshake of its own for each attempt, never the client's; we are
 * called before anything is sent, and there path, headers and lifetimes become ours; what it would say to the client
 * is not said. What is left to it is making the request and joining the two.
 *
 * Each has a connection of its own, which ends with it.
 *
 * Touches: sockets, through `connect`.
 */

import { IncomingMessage, type ClientRequest } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import util from "node:util";

import type HttpProxy from "http-proxy";

import { assert } from "../../base/assert.ts";
import { Failure, textOf } from "../../base/failure.ts";
import { LIMITS } from "../../model/limits.ts";
import { reset } from "../../runtime/pump.ts";

import type { Connect } from "../connect.ts";
import type { Upstream } from "../routes.ts";

import { SingleUseAgent } from "./agent.ts";
import type { AnswerReader, UpstreamAnswer } from "./answer.ts";
import type { Attempt, Joiner, OutgoingHead, UpgradeEvents } from "./forwarder.ts";

/** Opens what joins WebSockets. */
export async function openWebSockets(connect: Connect): Promise<Joiner> {
  const proxy = (await loadHttpProxy()).createProxyServer({});
  // Emitted inside `proxy.ws`, before anything is sent: the one chance to get hold of the request.
  const handshakes = new WeakMap<IncomingMessage, (request: ClientRequest) => void>();
  proxy.on("proxyReqWs", (outgoing, request) => handshakes.get(request)?.(outgoing));

  return {
    upgrade(upstream, socket, exchange, events) {
      const settled = new Settled();
      const agent = new SingleUseAgent(() => connect(upstream, exchange.caller));
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

/** The options that every request has: the target as an object and no path, since it parses and rewrites text. */
function toward(upstream: Upstream): HttpProxy.ServerOptions {
  const target = { host: upstream.address, port: upstream.port, protocol: "http:" };
  return { target, ignorePath: true, toProxy: true };
}

/** A handshake that http-proxy takes for one, by the headers that it checks. */
function handshakeOn(socket: Duplex): IncomingMessage {
  const standIn = new IncomingMessage(socket as Socket);
  standIn.method = "GET";
  standIn.url = "/";
  standIn.headers = { upgrade: "websocket" };
  return standIn;
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
  guard(events: UpgradeEvents, act: () => void): void {
    try {
      act();
    } catch (thrown) {
      const cause = new Failure("invalid", `request: ${textOf(thrown)}`, { cause: thrown });
      if (!this.claim()) return;
      this.#outgoing?.destroy();
      queueMicrotask(() => events.failed({ end: "unsendable", cause, wasSent: false }));
    }
  }
}

function watchAttempt(outgoing: ClientRequest, settled: Settled, events: UpgradeEvents): void {
  let isConnected = false;
  outgoing.once("socket", () => {
    isConnected = true;
  });
  const fail = (cause: unknown): void => {
    if (!settled.claim()) return;
    events.failed({ end: isConnected ? "died" : "connect", cause, wasSent: isConnected });
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
      if (!response.complete) reader.cut("upstream");
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
