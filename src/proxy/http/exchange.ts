/**
 * Exchange: one HTTP request of a client, from the choice of an upstream to the last byte of the answer.
 *
 * The client sees one answer, however many upstreams were tried for it: until a response head has come an attempt may
 * be given up for the next, after that there is no way back, and an upstream that dies mid-body takes the client's
 * connection with it, since a cut body must not look whole. The two sides live and die together: a client that leaves
 * ends the upstream's request, so nothing is left running that nobody waits for.
 *
 * One deadline moves along with the exchange: for the body to be sent, for the first byte of the answer, for the next
 * byte of its body.
 *
 * Touches: the client's request and response, upstreams through the forwarder.
 */

import type { IncomingMessage } from "node:http";

import { Failure, textOf } from "../../base/failure.ts";

import { newRequestId, renderAnswer, titleOf } from "./answers.ts";
import { Attempts, type Lane, type Traffic } from "../choice/attempts.ts";
import { pairsOf, RequestBody } from "./body.ts";
import type { Deadline } from "../deadlines.ts";
import type { Attempt, AttemptFailure, ClientExchange, HttpForwarder, OutgoingHead } from "./forwarder.ts";
import { announcesBody, clientHeaders, valuesOf } from "./headers.ts";
import { isIdempotent, type Resendable } from "../choice/retry.ts";

/** What an exchange needs. */
export interface ExchangeOptions {
  readonly traffic: Traffic;
  readonly forwarder: HttpForwarder;
  readonly lane: Lane;
  readonly head: OutgoingHead;
  readonly client: ClientExchange;
  /** The client waits for `100 Continue` before it sends its body (RFC 9110 10.1.1). */
  readonly expectsContinue: boolean;
  /** True once the proxy is closing: connections are then not kept for another request. */
  readonly isClosing: () => boolean;
}

/**
 * Carries one request; returns at once, and all that follows is events.
 *
 * A pipelined request waits until the answers before its own are out: its own could not be sent sooner, and a client
 * could otherwise make one connection ask for a thousand.
 */
export function startExchange(options: ExchangeOptions): void {
  const { response } = options.client;
  const start = (): void => new Exchange(options).start();
  if (response.socket === null) response.once("socket", start);
  else start();
}

type Phase = "sending" | "waiting" | "relaying" | "over";

class Exchange {
  readonly #options: ExchangeOptions;
  readonly #attempts: Attempts;
  readonly #body: RequestBody;
  readonly #hasBody: boolean;
  readonly #startedAtMs: number;
  readonly #deadline: Deadline;
  #phase: Phase = "sending";
  #attempt: Attempt | null = null;
  #giveUpAtMs: number;
  #lastFailure: unknown = null;
  #hasInvited = false;

  constructor(options: ExchangeOptions) {
    const { traffic, client, head, lane } = options;
    this.#options = options;
    this.#attempts = new Attempts(traffic, lane);
    this.#body = new RequestBody(client.request, isIdempotent(head.method));
    this.#hasBody = announcesBody(client.request.rawHeaders);
    this.#startedAtMs = traffic.nowMs();
    this.#giveUpAtMs = this.#startedAtMs + traffic.times.answerMs;
    this.#deadline = traffic.deadlines.add(this.#giveUpAtMs, () => this.#late());
  }

  start(): void {
    const { request, response } = this.#options.client;
    // A client that goes away is seen as the response closing; these only keep its errors from being nobody's.
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    response.once("close", () => this.#over());
    this.#tryNext();
  }

  get #resendable(): Resendable {
    return { method: this.#options.head.method, isBodyKept: !this.#hasBody || this.#body.isKept };
  }

  #tryNext(): void {
    const { traffic, forwarder, head, client, lane } = this.#options;
    const upstream = this.#attempts.next();
    if (upstream === null) {
      this.#giveUp();
      return;
    }
    this.#phase = "sending";
    this.#deadline.atMs = this.#giveUpAtMs;
    const kept = isIdempotent(head.method) ? "any" : "warm";
    const freshness = this.#attempts.needsFreshConnection ? "new" : kept;
    const { method, target, fields } = head;
    const exchanged = { method, target, fields, client };
    this.#attempt = forwarder.send(upstream, freshness, exchanged, {
      connected: (sink) => {
        this.#invite();
        if (this.#hasBody) this.#body.sendTo(sink, { moved: () => this.#moved(), sent: () => this.#sent() });
        else {
          sink.end();
          this.#sent();
        }
      },
      answered: (response) => this.#relay(response),
      failed: (failure) => {
        traffic.log.debug(`upstream of ${lane.pool.service}: ${textOf(failure.cause)}`);
        this.#failed(failure);
      },
    });
  }

  #failed({ end, cause }: AttemptFailure): void {
    if (this.#phase === "over") return;
    this.#lastFailure = cause;
    if (this.#hasBody) this.#body.stop();
    const mayGoOn = this.#attempts.failed(end, this.#resendable, cause);
    if (mayGoOn && this.#options.traffic.nowMs() < this.#giveUpAtMs) this.#tryNext();
    else this.#giveUp();
  }

  /** Lets a client that asked first send its body: once, now that there is somebody to take it. */
  #invite(): void {
    if (!this.#options.expectsContinue || this.#hasInvited) return;
    this.#hasInvited = true;
    this.#options.client.response.writeContinue();
  }

  /** A chunk of the body has passed: the answer may come as much later. */
  #moved(): void {
    const { nowMs, times } = this.#options.traffic;
    if (this.#phase === "relaying") this.#idleFrom(nowMs());
    if (this.#phase !== "sending") return;
    this.#giveUpAtMs = nowMs() + times.answerMs;
    this.#deadline.atMs = this.#giveUpAtMs;
  }

  #sent(): void {
    if (this.#phase !== "sending") return;
    const { nowMs, times } = this.#options.traffic;
    this.#phase = "waiting";
    this.#deadline.atMs = Math.min(nowMs() + times.firstByteMs, this.#giveUpAtMs);
  }

  #late(): void {
    const { nowMs, times } = this.#options.traffic;
    if (this.#phase === "relaying") {
      this.#options.client.response.destroy();
      return;
    }
    if (nowMs() >= this.#giveUpAtMs) {
      this.#lastFailure = new Failure("timeout", `no answer in ${times.answerMs} ms`);
      this.#attempt?.abandon();
      this.#giveUp();
      return;
    }
    // Asked again each time: by then another upstream's ejection may have expired.
    this.#deadline.atMs = Math.min(nowMs() + times.firstByteMs, this.#giveUpAtMs);
    if (!this.#attempts.leavesLate(this.#resendable)) return;
    this.#attempt?.abandon();
    if (this.#hasBody) this.#body.stop();
    this.#tryNext();
  }

  #relay(upstream: IncomingMessage): void {
    const { traffic, client } = this.#options;
    const { response } = client;
    this.#attempts.succeeded();
    this.#phase = "relaying";
    this.#idleFrom(traffic.nowMs());
    try {
      this.#writeHead(upstream);
    } catch (thrown) {
      this.#lastFailure = new Failure("refused", `answer: ${textOf(thrown)}`, { cause: thrown });
      this.#attempt?.abandon();
      this.#giveUp();
      return;
    }
    // With what has arrived of the body where it has, by itself where not: a stream of events may begin in silence.
    setImmediate(() => {
      if (!response.writableEnded && !response.destroyed) response.flushHeaders();
    });
    upstream.on("data", (chunk: Buffer) => {
      this.#idleFrom(traffic.nowMs());
      if (!response.write(chunk)) upstream.pause();
    });
    response.on("drain", () => upstream.resume());
    upstream.on("error", () => response.destroy());
    upstream.once("close", () => {
      if (!upstream.complete) response.destroy();
    });
    upstream.once("end", () => {
      if (upstream.complete) this.#endAnswer(upstream);
    });
  }

  #writeHead(upstream: IncomingMessage): void {
    const { client, isClosing } = this.#options;
    const status = upstream.statusCode ?? 502;
    const headers = clientHeaders(upstream.rawHeaders);
    if (isClosing()) headers.push("Connection", "close");
    client.response.writeHead(status, upstream.statusMessage ?? "", headers);
    this.#count(status);
  }

  #endAnswer(upstream: IncomingMessage): void {
    const trailers = clientHeaders(upstream.rawTrailers);
    if (trailers.length > 0) this.#options.client.response.addTrailers(pairsOf(trailers));
    this.#options.client.response.end();
    if (!this.#hasBody || this.#body.hasEnded) return;
    // Answered before the body was read: the upstream wants no more of it, the client's next request comes after it.
    this.#body.discard();
    this.#attempt?.abandon();
  }

  #idleFrom(nowMs: number): void {
    this.#deadline.atMs = nowMs + this.#options.traffic.times.idleMs;
  }

  /** Answers in the upstreams' place; what was sent already can only be cut. */
  #giveUp(): void {
    if (this.#phase === "over") return;
    const { client, lane, traffic, isClosing } = this.#options;
    if (client.response.headersSent) {
      client.response.destroy();
      return;
    }
    const { status, reason } = this.#body.awaitsClient
      ? { status: 408, reason: "the request's body stopped arriving" }
      : failureAnswer(this.#lastFailure, lane.pool.service);
    this.#count(status);
    this.#phase = "relaying";
    this.#idleFrom(traffic.nowMs());
    if (this.#hasBody) this.#body.discard();
    // A client that was not invited may send its body all the same, or not: what comes next is not known.
    const closes = isClosing() || status === 408 || this.#options.expectsContinue !== this.#hasInvited;
    const requestId = answerError(client, { status, reason, closes }, traffic);
    traffic.log.info(`request ${requestId}: ${reason}: ${textOf(this.#lastFailure)}`);
  }

  #count(status: number): void {
    const { traffic, lane } = this.#options;
    traffic.metrics.proxyRequests.inc({ service: lane.pool.service, code: String(status) });
  }

  /** The client's side has closed, done or not. */
  #over(): void {
    if (this.#phase === "over") return;
    const { traffic, lane, client, isClosing } = this.#options;
    this.#phase = "over";
    traffic.deadlines.remove(this.#deadline);
    this.#attempts.finished();
    // Nothing to abandon after a whole answer: its connection may serve another request by now.
    if (!client.response.writableFinished) this.#attempt?.abandon();
    // An answer whose head was out before the proxy began to close has not told the client so.
    if (isClosing()) client.request.socket.end();
    const seconds = (traffic.nowMs() - this.#startedAtMs) / 1000;
    traffic.metrics.proxyDuration.observe({ service: lane.pool.service }, seconds);
  }
}

/**
 * What to tell the client of a request for which no upstream had an answer.
 *
 * @param failure  the last attempt's; null when there was no upstream to try
 */
export function failureAnswer(
  failure: unknown,
  service: string,
): { readonly status: number; readonly reason: string } {
  if (failure === null) return { status: 503, reason: `no replica of ${service} is available` };
  if (failure instanceof Failure && failure.code === "timeout") {
    return { status: 504, reason: `no replica of ${service} answered in time` };
  }
  return { status: 502, reason: `no replica of ${service} gave an answer` };
}

/**
 * Answers a request in place of any upstream.
 *
 * @param answer.closes  the connection is not to be used again
 * @returns the id the client was told
 */
export function answerError(
  client: ClientExchange,
  answer: { readonly status: number; readonly reason: string; readonly closes: boolean },
  traffic: Pick<Traffic, "random">,
): string {
  const { request, response } = client;
  const requestId = newRequestId(traffic.random);
  const accept = valuesOf(request.rawHeaders, "accept").join(", ");
  const { headers, body } = renderAnswer({ ...answer, requestId }, accept);
  if (answer.closes) headers.push("Connection", "close");
  response.writeHead(answer.status, titleOf(answer.status), headers);
  response.end(request.method === "HEAD" ? undefined : body);
  return requestId;
}
