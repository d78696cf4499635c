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

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { Failure, textOf } from "../../base/failure.ts";
import { reset } from "../../runtime/pump.ts";

import type { AccessEntry } from "../access/entry.ts";
import type { Meter } from "../choice/active.ts";
import { Attempts, type Lane, type Traffic } from "../choice/attempts.ts";
import type { AttemptEnd, Resendable } from "../choice/retry.ts";
import type { Deadline } from "../deadlines.ts";
import type { Caller } from "../tcp/proxy-header.ts";

import type { UpstreamAnswer } from "./answer.ts";
import { failureAnswer, renderAnswer, titleOf } from "./answers.ts";
import { patienceMs } from "./exchange.ts";
import type { Attempt, HttpForwarder, OutgoingHead } from "./forwarder.ts";
import { clientHeaders, valuesOf } from "./headers.ts";
import { renderHead } from "./pipeline.ts";
import { askerOf, CLIENT_LEFT, codeLabel, entryOf, isTold, tell, type RequestFacts } from "./record.ts";

/** What a handshake needs. */
export interface UpgradeOptions {
  readonly traffic: Traffic;
  readonly forwarder: HttpForwarder;
  readonly lane: Lane;
  readonly head: OutgoingHead;
  readonly facts: RequestFacts;
  /** The client's; the caller has attached `error`. */
  readonly socket: Duplex;
  /** What the client sent right behind its request. */
  readonly early: Buffer;
  /** The ends of the client's connection. */
  readonly caller: Caller;
}

const HANDSHAKE: Resendable = { method: "GET", isBodyKept: true };

/** Carries one handshake and what follows it; returns at once. */
export function startUpgrade(options: UpgradeOptions): void {
  if (options.early.length > 0) options.socket.unshift(options.early);
  new Upgrade(options).start();
}

class Upgrade implements Meter {
  readonly #options: UpgradeOptions;
  readonly #attempts: Attempts;
  readonly #deadline: Deadline;
  readonly #giveUpAtMs: number;
  /** What the connection had carried when the handshake came. */
  readonly #before: Meter;
  #attempt: Attempt | null = null;
  #isOver = false;
  #isJoined = false;
  #lastFailure: unknown = null;
  #lastEnd: AttemptEnd | null = null;
  #tried = 0;
  #status = 0;
  #answeredAtMs: number | null = null;
  #result = "client left";

  constructor(options: UpgradeOptions) {
    const { traffic, lane, socket } = options;
    this.#options = options;
    const { bytesRead: receivedBytes = 0, bytesWritten: sentBytes = 0 } = socket as Partial<Socket>;
    this.#before = { receivedBytes, sentBytes };
    this.#attempts = new Attempts(
      traffic,
      lane,
      askerOf(options.facts, () => this.#lost(), this),
    );
    this.#giveUpAtMs = traffic.nowMs() + traffic.times.answerMs;
    this.#deadline = traffic.deadlines.add(this.#giveUpAtMs, () => this.#late());
  }

  // Those of the handshake and of what came before it on the connection are no traffic of the upstream's.
  get receivedBytes(): number {
    return (this.#socket.bytesRead ?? 0) - this.#before.receivedBytes;
  }

  get sentBytes(): number {
    return (this.#socket.bytesWritten ?? 0) - this.#before.sentBytes;
  }

  get #socket(): Partial<Socket> {
    return this.#options.socket as Partial<Socket>;
  }

  start(): void {
    const { socket } = this.#options;
    socket.once("close", () => {
      // Harmless when joined: the two sides end each other by then.
      this.#attempt?.abandon();
      this.#settle();
      this.#attempts.finished();
      this.#log();
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
    const { forwarder, head, caller, socket, facts } = this.#options;
    const upstream = this.#attempts.next();
    if (upstream === null) {
      this.#giveUp();
      return;
    }
    this.#tried += 1;
    this.#awaitFirstByte();
    this.#attempt = forwarder.upgrade(
      upstream,
      socket,
      { ...head, fields: facts.trace?.outgoing(head.fields) ?? head.fields, caller },
      {
        joined: () => {
          this.#answered(101);
          this.#isJoined = true;
        },
        answered: (answer) => {
          this.#answered(answer.status);
          this.#relayRefusal(answer);
        },
        failed: ({ end, cause }) => {
          if (this.#isOver) return;
          this.#failed(end, cause);
        },
      },
    );
  }

  /** The upstream is gone: a handshake goes elsewhere, a WebSocket ends. */
  #lost(): void {
    if (this.#isJoined) {
      this.#result = "upstream left";
      reset(this.#options.socket);
    }
    if (this.#isOver) return;
    this.#attempt?.abandon();
    this.#failed("died", new Failure("unreachable", "the upstream has left"));
  }

  #failed(end: Exclude<AttemptEnd, "late">, cause: unknown): void {
    this.#lastFailure = cause;
    this.#lastEnd = end;
    if (this.#attempts.failed(end, HANDSHAKE, cause)) this.#tryNext();
    else this.#giveUp();
  }

  #answered(status: number): void {
    this.#count(status);
    this.#attempts.answered(status);
    this.#answeredAtMs = this.#options.traffic.nowMs();
    this.#result = "ok";
    // A trace tells of the handshake: the WebSocket may last for days.
    const { trace } = this.#options.facts;
    if (trace?.isRecorded === true) trace.over(this.#entry());
    this.#settle();
  }

  #awaitFirstByte(): void {
    const byMs = this.#options.traffic.nowMs() + patienceMs(this.#attempts);
    this.#deadline.atMs = Math.min(byMs, this.#giveUpAtMs);
  }

  #late(): void {
    const { nowMs, times } = this.#options.traffic;
    if (nowMs() >= this.#giveUpAtMs) {
      this.#lastFailure = new Failure("timeout", `no answer in ${times.answerMs} ms`);
      this.#attempt?.abandon();
      this.#giveUp();
      return;
    }
    this.#awaitFirstByte();
    if (!this.#attempts.leavesLate(HANDSHAKE)) return;
    this.#attempt?.abandon();
    this.#tryNext();
  }

  /**
   * Passes on an answer other than 101; the connection ends with it, which also frames its body. So one that is not
   * whole is reset: an end in form would make it so.
   */
  #relayRefusal(answer: UpstreamAnswer): void {
    const { socket, traffic } = this.#options;
    const { status, message, rawHeaders } = answer;
    const { deadlines, nowMs, times } = traffic;
    const idle = deadlines.add(nowMs() + times.idleMs, () => {
      this.#cutRefusal(answer.isPaused ? "client stalled" : "upstream stalled");
    });
    socket.once("close", () => deadlines.remove(idle));
    socket.write(renderHead(status, message, clientHeaders(rawHeaders)), "latin1");
    socket.on("drain", () => {
      idle.atMs = nowMs() + times.idleMs;
      answer.resume();
    });
    answer.read({
      data: (part) => {
        idle.atMs = nowMs() + times.idleMs;
        if (!socket.write(part)) answer.pause();
      },
      ended: () => {
        deadlines.remove(idle);
        socket.end();
        linger(socket, traffic);
      },
      cut: () => this.#cutRefusal("upstream died"),
    });
    socket.resume();
  }

  #cutRefusal(reason: "upstream died" | "upstream stalled" | "client stalled"): void {
    const { socket, traffic, lane } = this.#options;
    if (socket.destroyed) return;
    this.#result = reason;
    if (reason !== "client stalled") {
      this.#attempts.broke();
      const { service } = lane.pool;
      traffic.metrics.proxyCut.inc({ service, reason: reason.replace(" ", "-") });
      if (this.#status >= 500) traffic.metrics.proxyCutErrors.inc({ service });
    }
    this.#attempt?.abandon();
    reset(socket);
  }

  #giveUp(): void {
    if (this.#isOver) return;
    const { traffic, lane, facts, socket } = this.#options;
    this.#settle();
    const outcome = { failure: this.#lastFailure, end: this.#lastEnd, tried: this.#tried };
    const answer = failureAnswer(outcome, lane.pool);
    this.#result = answer.result;
    this.#count(answer.status);
    refuseUpgrade(socket, facts, { ...answer, traffic });
    const why = this.#lastFailure === null ? "nobody was asked" : textOf(this.#lastFailure);
    traffic.log.info(`request ${facts.requestId}: ${lane.pool.service}: ${answer.reason}: ${why}`);
  }

  #count(status: number): void {
    const { traffic, lane } = this.#options;
    this.#status = status;
    traffic.metrics.proxyRequests.inc({ service: lane.pool.service, code: codeLabel(status) });
  }

  #log(): void {
    const { traffic, lane, facts } = this.#options;
    if (this.#status === 0) {
      traffic.metrics.proxyRequests.inc({ service: lane.pool.service, code: CLIENT_LEFT });
    }
    if (isTold(traffic, facts)) tell(traffic, this.#entry(), facts);
  }

  /** What is known by now. */
  #entry(): AccessEntry {
    const { traffic, lane, facts, socket } = this.#options;
    const { bytesRead = 0, bytesWritten = 0 } = socket as Partial<Socket>;
    return entryOf("websocket", facts, {
      service: lane.pool.service,
      upstream: this.#attempts.upstream,
      retries: this.#attempts.retries,
      status: this.#status,
      answeredAtMs: this.#answeredAtMs,
      // Those of the handshake and what came before it on the connection count too: they are few.
      bytesSent: bytesRead,
      bytesReceived: bytesWritten,
      result: this.#result,
      endedAtMs: traffic.nowMs(),
    });
  }

  #settle(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.socket.removeListener("readable", this.#noticeEnd);
    this.#options.traffic.deadlines.remove(this.#deadline);
  }
}

/** Refuses a request whose socket node:http has handed over, and ends the connection. */
export function refuseUpgrade(
  socket: Duplex,
  { head, requestId }: RequestFacts,
  refusal: { readonly status: number; readonly reason: string; readonly traffic: Traffic },
): void {
  const { status, traffic } = refusal;
  const accept = valuesOf(head.rawHeaders, "accept").join(", ");
  const { headers, body } = renderAnswer({ ...refusal, requestId }, accept);
  socket.on("error", () => undefined);
  socket.end(`${renderHead(status, titleOf(status), headers)}${body}`);
  linger(socket, traffic);
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
