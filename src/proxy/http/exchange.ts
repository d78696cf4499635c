/**
 * Exchange: one HTTP request of a client, from the choice of an upstream to the last byte of the answer.
 *
 * The client sees one answer, however many upstreams were tried for it: until a response head has come an attempt may
 * be given up for the next, after that there is no way back, and an upstream that dies mid-body takes the client's
 * answer with it, since a cut body must not look whole. The two sides live and die together: a client that leaves
 * ends the upstream's request, so nothing is left running that nobody waits for.
 *
 * One deadline moves along with the exchange: for the body to be sent, for the first byte of the answer, for the next
 * byte of its body.
 *
 * Touches: the client's request and response, upstreams through the forwarder.
 */

import { ONE_PIECE_BYTES } from "../../runtime/refused.ts";
import { Failure, textOf } from "../../base/failure.ts";

import type { Meter } from "../choice/active.ts";
import { Attempts, type Lane, type Traffic } from "../choice/attempts.ts";
import { isIdempotent, type AttemptEnd, type Resendable } from "../choice/retry.ts";
import type { Deadline } from "../deadlines.ts";
import type { Caller } from "../tcp/proxy-header.ts";

import type { UpstreamAnswer } from "./answer.ts";
import { failureAnswer, type FailureAnswer } from "./answers.ts";
import { RequestBody } from "./body.ts";
import type { HttpClient } from "./client.ts";
import type { Attempt, AttemptFailure, HttpForwarder, OutgoingHead } from "./forwarder.ts";
import { answerHeaders, clientHeaders, endToEndTrailers } from "./headers.ts";
import { answerError } from "./own-answer.ts";
import { askerOf, CLIENT_LEFT, codeLabel, entryOf, isTold, tell, type RequestFacts } from "./record.ts";

/** What an exchange needs. */
export interface ExchangeOptions {
  readonly traffic: Traffic;
  readonly forwarder: HttpForwarder;
  readonly lane: Lane;
  readonly head: OutgoingHead;
  readonly client: HttpClient;
  readonly facts: RequestFacts;
  /** The ends of the client's connection. */
  readonly caller: Caller;
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
  options.client.onTurn(() => new Exchange(options).start());
}

/** Of a request of which nothing has left: as good as one that may be repeated. */
const UNSENT: Resendable = { method: "GET", isBodyKept: true };

type Phase = "sending" | "waiting" | "relaying" | "over";

/** What ended an exchange, for the access log. */
type Result = "ok" | "client left" | "body stopped" | FailureAnswer["result"] | CutReason | OwnCut;

/** Why an answer was cut after its head was out; a closed set, as it labels a metric. */
type CutReason = "upstream died" | "upstream stalled" | "upstream left";

/** The same, for which no upstream is to blame. */
type OwnCut = "client stalled" | "request broken";

/** True for a request whose body is to leave in one piece: it may not be sent twice, and is small enough. */
function isGathered({ method, fields }: OutgoingHead): boolean {
  if (isIdempotent(method)) return false;
  for (const [name, [length = ""]] of fields) {
    if (name.toLowerCase() === "content-length") return Number(length) <= ONE_PIECE_BYTES;
  }
  return false;
}

class Exchange implements Meter {
  readonly #options: ExchangeOptions;
  readonly #attempts: Attempts;
  readonly #body: RequestBody | null;
  readonly #deadline: Deadline;
  #phase: Phase = "sending";
  #attempt: Attempt | null = null;
  #answer: UpstreamAnswer | null = null;
  /** Bytes of the request may have left in the current attempt. */
  #hasBegun = false;
  #giveUpAtMs: number;
  #lastFailure: unknown = null;
  #lastEnd: AttemptEnd | null = null;
  #tried = 0;
  #hasInvited = false;
  #status = 0;
  #answeredAtMs: number | null = null;
  #bytesReceived = 0;
  #result: Result = "client left";

  constructor(options: ExchangeOptions) {
    const { traffic, client, lane } = options;
    this.#options = options;
    this.#attempts = new Attempts(
      traffic,
      lane,
      askerOf(options.facts, () => this.#lost(), this),
    );
    this.#body = client.hasBody ? new RequestBody(client, isGathered(options.head)) : null;
    this.#giveUpAtMs = traffic.nowMs() + traffic.times.answerMs;
    this.#deadline = traffic.deadlines.add(this.#giveUpAtMs, () => this.#late());
  }

  /** For the tally of upstreams: of the request's body, and of the answer's. */
  get receivedBytes(): number {
    return this.#body?.bytesRead ?? 0;
  }

  get sentBytes(): number {
    return this.#bytesReceived;
  }

  start(): void {
    this.#options.client.onClose(() => this.#over());
    this.#tryNext();
  }

  get #resendable(): Resendable {
    return { method: this.#options.head.method, isBodyKept: this.#body === null || this.#body.isKept };
  }

  #tryNext(): void {
    const { traffic, forwarder, head, caller, facts } = this.#options;
    const upstream = this.#attempts.next();
    if (upstream === null) {
      this.#giveUp();
      return;
    }
    this.#tried += 1;
    this.#phase = "sending";
    this.#hasBegun = false;
    this.#deadline.atMs = this.#giveUpAtMs;
    const kept = isIdempotent(head.method) ? "any" : "warm";
    const freshness = this.#attempts.needsFreshConnection ? "new" : kept;
    this.#attempt = forwarder.send(
      upstream,
      { ...head, fields: facts.trace?.outgoing(head.fields) ?? head.fields, caller, freshness },
      {
        connected: (sink) => {
          this.#hasBegun = true;
          this.#invite();
          if (this.#body === null) {
            sink.end();
            this.#sent();
          } else this.#body.sendTo(sink, { moved: () => this.#moved(), sent: () => this.#sent() });
        },
        informed: (status, rawHeaders) => this.#inform(status, rawHeaders),
        answered: (answer) => this.#relay(answer),
        failed: (failure) => {
          traffic.log.debug(`upstream of ${upstream.service}: ${textOf(failure.cause)}`);
          this.#failed(failure);
        },
      },
    );
  }

  /** The upstream is gone: whoever can be served elsewhere is, everybody else is told now. */
  #lost(): void {
    if (this.#phase === "over") return;
    const cause = new Failure("unreachable", "the upstream has left");
    this.#attempt?.abandon();
    if (this.#phase === "relaying") this.#cut("upstream left");
    else this.#failed({ end: this.#hasBegun ? "died" : "connect", cause, wasSent: this.#hasBegun });
  }

  #failed({ end, cause, wasSent }: AttemptFailure): void {
    if (this.#phase === "over") return;
    this.#lastFailure = cause;
    this.#lastEnd = end;
    this.#body?.stop();
    const mayGoOn = this.#attempts.failed(end, wasSent ? this.#resendable : UNSENT, cause);
    if (mayGoOn && this.#options.traffic.nowMs() < this.#giveUpAtMs) this.#tryNext();
    else this.#giveUp();
  }

  /** Lets a client that asked first send its body: once, now that there is somebody to take it. */
  #invite(): void {
    if (!this.#options.expectsContinue || this.#hasInvited) return;
    this.#hasInvited = true;
    this.#options.client.inviteBody();
  }

  /** Passes an interim answer on. An upstream that has sent one is at work: it may take as long again. */
  #inform(status: number, rawHeaders: readonly string[]): void {
    if (this.#phase !== "sending" && this.#phase !== "waiting") return;
    this.#options.client.inform(status, clientHeaders(rawHeaders));
    this.#giveUpAtMs = this.#options.traffic.nowMs() + this.#options.traffic.times.answerMs;
    this.#deadline.atMs = this.#giveUpAtMs;
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
    this.#phase = "waiting";
    this.#awaitFirstByte();
  }

  #awaitFirstByte(): void {
    const byMs = this.#options.traffic.nowMs() + patienceMs(this.#attempts);
    this.#deadline.atMs = Math.min(byMs, this.#giveUpAtMs);
  }

  #late(): void {
    const { nowMs, times } = this.#options.traffic;
    if (this.#phase === "relaying") {
      this.#cut(this.#answer?.isPaused === false ? "upstream stalled" : "client stalled");
      return;
    }
    if (nowMs() >= this.#giveUpAtMs) {
      this.#lastFailure = new Failure("timeout", `no answer in ${times.answerMs} ms`);
      if (this.#awaitsUpstream) this.#attempts.broke();
      this.#attempt?.abandon();
      this.#giveUp();
      return;
    }
    // Asked again each time: by then another upstream's ejection may have expired.
    this.#awaitFirstByte();
    if (!this.#attempts.leavesLate(this.#resendable)) return;
    this.#attempt?.abandon();
    this.#body?.stop();
    this.#tryNext();
  }

  /** True while it is the upstream's turn: to answer, or to read on. */
  get #awaitsUpstream(): boolean {
    if (this.#phase === "waiting") return true;
    return this.#phase === "sending" && this.#hasBegun && this.#body?.awaitsClient === false;
  }

  #relay(answer: UpstreamAnswer): void {
    const { traffic, client } = this.#options;
    this.#attempts.answered(answer.status);
    this.#answeredAtMs = traffic.nowMs();
    try {
      this.#writeHead(answer);
    } catch (thrown) {
      this.#lastFailure = new Failure("refused", `answer: ${textOf(thrown)}`, { cause: thrown });
      this.#attempt?.abandon();
      this.#giveUp();
      return;
    }
    this.#phase = "relaying";
    this.#answer = answer;
    this.#idleFrom(this.#answeredAtMs);
    answer.read({
      data: (part) => {
        this.#idleFrom(traffic.nowMs());
        this.#bytesReceived += part.byteLength;
        if (!client.write(part)) answer.pause();
      },
      ended: () => this.#endAnswer(answer),
      cut: (by) => this.#cut(by === "request" ? "request broken" : "upstream died"),
    });
    // With what has arrived of the body where it has (the listener above has it in this turn), by itself where not: a
    // stream of events may begin in silence.
    process.nextTick(() => client.flushHead());
    client.onDrain(() => {
      this.#idleFrom(traffic.nowMs());
      answer.resume();
    });
  }

  #writeHead(answer: UpstreamAnswer): void {
    const { client, isClosing } = this.#options;
    const { status, message, rawHeaders } = answer;
    const headers = answerHeaders(client.head, status, rawHeaders);
    client.writeHead({ status, message, headers, closes: isClosing() });
    this.#count(status);
  }

  #endAnswer(answer: UpstreamAnswer): void {
    this.#result = "ok";
    this.#options.client.end(endToEndTrailers(answer.rawTrailers));
    if (this.#body === null || this.#body.hasEnded) return;
    // Answered before the body was read: the upstream wants no more of it, the client's next request comes after it.
    this.#body.discard();
    this.#attempt?.abandon();
  }

  #idleFrom(nowMs: number): void {
    this.#deadline.atMs = nowMs + this.#options.traffic.times.idleMs;
  }

  /** Ends an answer of which the client has a part, so that it cannot be taken for whole. */
  #cut(reason: CutReason | OwnCut): void {
    const { client, traffic, lane } = this.#options;
    if (this.#phase === "over" || client.isOver) return;
    this.#result = reason;
    if (reason !== "client stalled" && reason !== "request broken") {
      if (reason !== "upstream left") this.#attempts.broke();
      const { service } = lane.pool;
      traffic.metrics.proxyCut.inc({ service, reason: reason.replace(" ", "-") });
      if (this.#status >= 500) traffic.metrics.proxyCutErrors.inc({ service });
    }
    client.cut();
  }

  /** Answers in the upstreams' place; what was sent already can only be cut. */
  #giveUp(): void {
    if (this.#phase === "over") return;
    const { client, lane, traffic, isClosing, facts, expectsContinue } = this.#options;
    if (client.isHeadSent) {
      this.#cut("upstream died");
      return;
    }
    const outcome = { failure: this.#lastFailure, end: this.#lastEnd, tried: this.#tried };
    const answer = this.#body?.awaitsClient === true ? BODY_STOPPED : failureAnswer(outcome, lane.pool);
    this.#result = answer.result;
    this.#count(answer.status);
    this.#phase = "relaying";
    this.#idleFrom(traffic.nowMs());
    this.#body?.discard();
    // A client that was not invited may send its body all the same, or not: what comes next is not known.
    const isDoubtful = answer.status === 408 || answer.status === 400 || expectsContinue !== this.#hasInvited;
    const { requestId } = facts;
    this.#bytesReceived = answerError(client, { ...answer, closes: isClosing() || isDoubtful, requestId });
    traffic.log.info(`request ${requestId}: ${lane.pool.service}: ${answer.reason}: ${this.#whyFailed()}`);
  }

  #whyFailed(): string {
    return this.#lastFailure === null ? "nobody was asked" : textOf(this.#lastFailure);
  }

  #count(status: number): void {
    const { traffic, lane } = this.#options;
    this.#status = status;
    traffic.metrics.proxyRequests.inc({ service: lane.pool.service, code: codeLabel(status) });
  }

  /** The client's side has closed, done or not. */
  #over(): void {
    if (this.#phase === "over") return;
    const { traffic, lane, client, isClosing, facts } = this.#options;
    this.#phase = "over";
    traffic.deadlines.remove(this.#deadline);
    this.#attempts.finished();
    // Nothing to abandon after a whole answer: its connection may serve another request by now.
    if (!client.isFinished) {
      this.#attempt?.abandon();
      if (this.#result === "ok") this.#result = "client left";
    }
    // An answer whose head was out before the proxy began to close has not told the client so.
    if (isClosing()) client.closeConnection();
    const endedAtMs = traffic.nowMs();
    const { service } = lane.pool;
    if (this.#status === 0) traffic.metrics.proxyRequests.inc({ service, code: CLIENT_LEFT });
    traffic.metrics.proxyDuration.observe({ service }, (endedAtMs - facts.startedAtMs) / 1000);
    if (!isTold(traffic, facts)) return;
    const counted = {
      service,
      upstream: this.#attempts.upstream,
      retries: this.#attempts.retries,
      status: this.#status,
      answeredAtMs: this.#answeredAtMs,
      bytesSent: this.receivedBytes,
      bytesReceived: this.#bytesReceived,
      result: this.#result,
    };
    tell(traffic, entryOf("http", facts, { ...counted, endedAtMs }), facts);
  }
}

/** How long an upstream may keep silent before the request looks elsewhere, milliseconds. */
export function patienceMs({ firstByteMs }: Pick<Attempts, "firstByteMs">): number {
  return firstByteMs === 0 ? Infinity : firstByteMs;
}

const BODY_STOPPED = {
  status: 408,
  reason: "the request's body stopped arriving",
  result: "body stopped",
} as const;
