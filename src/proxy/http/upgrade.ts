/**
 * Upgrade: one WebSocket handshake of a client, and its connection after that.
 *
 * A handshake is a GET: until an upstream has answered it, it moves on from replicas that refuse, die or keep silent
 * as any GET does. A refusal by the upstream is the application's answer and is passed on whole. Once switched, the two
 * connections live and die together, with no deadline: a quiet WebSocket is a healthy one.
 *
 * node:http has handed the client's socket over by then, so what the client reads is written here by hand.
 *
 * Touches: the client's socket, upstreams through the forwarder.
 */

import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

import { Failure, textOf } from "../../base/failure.ts";

import { newRequestId, renderAnswer, titleOf } from "./answers.ts";
import { Attempts, type Lane, type Traffic } from "../choice/attempts.ts";
import type { Deadline } from "../deadlines.ts";
import { failureAnswer } from "./exchange.ts";
import type { Attempt, HttpForwarder, OutgoingHead } from "./forwarder.ts";
import { clientHeaders, valuesOf, type HeadRefusal } from "./headers.ts";
import type { Resendable } from "../choice/retry.ts";

/** What a handshake needs. */
export interface UpgradeOptions {
  readonly traffic: Traffic;
  readonly forwarder: HttpForwarder;
  readonly lane: Lane;
  readonly head: OutgoingHead;
  readonly request: IncomingMessage;
  /** The client's; the caller has attached `error`. */
  readonly socket: Duplex;
  /** What the client sent right behind its request. */
  readonly early: Buffer;
}

const HANDSHAKE: Resendable = { method: "GET", isBodyKept: true };

/** Carries one handshake and what follows it; returns at once. */
export function startUpgrade(options: UpgradeOptions): void {
  if (options.early.length > 0) options.socket.unshift(options.early);
  new Upgrade(options).start();
}

class Upgrade {
  readonly #options: UpgradeOptions;
  readonly #attempts: Attempts;
  readonly #deadline: Deadline;
  readonly #giveUpAtMs: number;
  #attempt: Attempt | null = null;
  #isOver = false;
  #lastFailure: unknown = null;

  constructor(options: UpgradeOptions) {
    const { traffic, lane } = options;
    this.#options = options;
    this.#attempts = new Attempts(traffic, lane);
    this.#giveUpAtMs = traffic.nowMs() + traffic.times.answerMs;
    this.#deadline = traffic.deadlines.add(this.#giveUpAtMs, () => this.#late());
  }

  start(): void {
    const { socket } = this.#options;
    socket.once("close", () => {
      // Harmless when joined: the two sides end each other by then.
      this.#attempt?.abandon();
      this.#settle();
    });
    // A client that ends before it has an answer has left.
    socket.once("end", () => {
      if (!this.#isOver) socket.destroy();
    });
    socket.on("readable", this.#noticeEnd);
    this.#tryNext();
  }

  /** Lets an end be told, which only reading does; bytes that come early stay for the upstream. */
  readonly #noticeEnd = (): void => {
    if (this.#options.socket.readableLength === 0) this.#options.socket.read();
  };

  #tryNext(): void {
    const { traffic, forwarder, head, request, socket } = this.#options;
    const upstream = this.#attempts.next();
    if (upstream === null) {
      this.#giveUp();
      return;
    }
    this.#deadline.atMs = Math.min(traffic.nowMs() + traffic.times.firstByteMs, this.#giveUpAtMs);
    const { method, target, fields } = head;
    this.#attempt = forwarder.upgrade(
      upstream,
      socket,
      { method, target, fields, request },
      {
        joined: () => {
          this.#count(101);
          this.#attempts.succeeded();
          this.#settle();
        },
        answered: (response) => {
          this.#attempts.succeeded();
          this.#settle();
          this.#relayRefusal(response);
        },
        failed: ({ end, cause }) => {
          if (this.#isOver) return;
          this.#lastFailure = cause;
          if (this.#attempts.failed(end, HANDSHAKE, cause)) this.#tryNext();
          else this.#giveUp();
        },
      },
    );
  }

  #late(): void {
    const { nowMs, times } = this.#options.traffic;
    if (nowMs() >= this.#giveUpAtMs) {
      this.#lastFailure = new Failure("timeout", `no answer in ${times.answerMs} ms`);
      this.#attempt?.abandon();
      this.#giveUp();
      return;
    }
    this.#deadline.atMs = Math.min(nowMs() + times.firstByteMs, this.#giveUpAtMs);
    if (!this.#attempts.leavesLate(HANDSHAKE)) return;
    this.#attempt?.abandon();
    this.#tryNext();
  }

  /** Passes on an answer other than 101; the connection ends with it, which also frames its body. */
  #relayRefusal(response: IncomingMessage): void {
    const { socket } = this.#options;
    const status = response.statusCode ?? 502;
    this.#count(status);
    const head = renderHead(status, response.statusMessage ?? "", clientHeaders(response.rawHeaders));
    socket.write(head, "latin1");
    response.on("error", () => socket.destroy());
    response.once("close", () => {
      if (!response.complete) socket.destroy();
    });
    response.pipe(socket);
    linger(socket, this.#options.traffic);
  }

  #giveUp(): void {
    if (this.#isOver) return;
    const { traffic, lane, request, socket } = this.#options;
    this.#settle();
    const answer = failureAnswer(this.#lastFailure, lane.pool.service);
    this.#count(answer.status);
    const requestId = refuseUpgrade(request, socket, answer, traffic);
    traffic.log.info(`request ${requestId}: ${answer.reason}: ${textOf(this.#lastFailure)}`);
  }

  #count(status: number): void {
    const { traffic, lane } = this.#options;
    traffic.metrics.proxyRequests.inc({ service: lane.pool.service, code: String(status) });
  }

  #settle(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.socket.removeListener("readable", this.#noticeEnd);
    this.#options.traffic.deadlines.remove(this.#deadline);
    this.#attempts.finished();
  }
}

/**
 * Refuses a request whose socket node:http has handed over, and ends the connection.
 *
 * @returns the request id the client was told
 */
export function refuseUpgrade(
  request: IncomingMessage,
  socket: Duplex,
  refusal: HeadRefusal,
  traffic: Traffic,
): string {
  const requestId = newRequestId(traffic.random);
  const accept = valuesOf(request.rawHeaders, "accept").join(", ");
  const { headers, body } = renderAnswer({ ...refusal, requestId }, accept);
  socket.on("error", () => undefined);
  socket.end(`${renderHead(refusal.status, titleOf(refusal.status), headers)}${body}`);
  linger(socket, traffic);
  return requestId;
}

function renderHead(status: number, message: string, headers: readonly string[]): string {
  const lines = [`HTTP/1.1 ${status} ${message}`];
  for (let at = 0; at + 1 < headers.length; at += 2)
    lines.push(`${headers[at] ?? ""}: ${headers[at + 1] ?? ""}`);
  return `${[...lines, "Connection: close"].join("\r\n")}\r\n\r\n`;
}

/**
 * Reads on until the client ends: closing with bytes unread would reset it before it has read the answer. Not for
 * ever, since a client may never end.
 */
function linger(socket: Duplex, { deadlines, nowMs, times }: Traffic): void {
  const deadline = deadlines.add(nowMs() + times.answerMs, () => socket.destroy());
  socket.once("close", () => deadlines.remove(deadline));
  socket.resume();
}
