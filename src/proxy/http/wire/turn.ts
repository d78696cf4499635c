/**
 * Turn: one request over one connection, and its answer.
 *
 * To the exchange that asked for it, it is three things: the attempt that may be abandoned, the sink that takes the
 * body, and the answer. One object, since each request has one of each for the same time.
 *
 * The body must have the length that the head announces: what is too much would be read as the next request, and what
 * is too little would make the next request its rest.
 *
 * Touches: its connection.
 */

import type { Duplex } from "node:stream";

import { Failure } from "../../../base/failure.ts";
import { ONE_PIECE_BYTES } from "../../../runtime/refused.ts";

import { isIdempotent } from "../../choice/retry.ts";
import type { AnswerReader, UpstreamAnswer } from "../answer.ts";
import type { Attempt, AttemptEvents, AttemptFailure, BodySink } from "../forwarder.ts";

import type { Carried, UpstreamConnection } from "./connection.ts";
import type { AnswerHead } from "./head.ts";
import type { Taker, Wait } from "./reservoir.ts";
import { renderLastChunk, type RenderedHead } from "./request.ts";

const NOTHING: readonly string[] = [];
const NO_TRAILERS: readonly (readonly [string, string])[] = [];

/** One request and its answer. */
export class Turn implements Attempt, BodySink, Carried, Taker, UpstreamAnswer {
  readonly #method: string;
  readonly #head: RenderedHead;
  readonly #events: AttemptEvents;
  #wait: Wait | null = null;
  #connection: UpstreamConnection | null = null;
  #stream: Duplex | null = null;
  /** The one end was told, or is not wanted any more. */
  #isOver = false;
  #isConnected = false;
  #isHeadOut = false;
  #isSent = false;
  #bodyLeft: number;
  /** Writes that the request went out in: what went in several may have been read in part. */
  #writeCount = 0;
  #isCorked = false;
  /** Bytes of the requests before this one on its connection. */
  #bytesBefore = 0;
  #trailers = NO_TRAILERS;
  #drain: (() => void) | null = null;
  #isComplete = false;
  #reader: AnswerReader | null = null;
  status = 0;
  message = "";
  rawHeaders = NOTHING;
  rawTrailers = NOTHING;

  constructor(method: string, head: RenderedHead, events: AttemptEvents) {
    this.#method = method;
    this.#head = head;
    this.#events = events;
    this.#bodyLeft = head.bodyBytes;
  }

  /** Takes a connection; the request is asked for at once where that loses nothing. */
  ready(connection: UpstreamConnection): void {
    this.#wait = null;
    this.#connection = connection;
    this.#stream = connection.stream;
    this.#bytesBefore = connection.bytesWritten;
    connection.begin(this, this.#method);
    if (connection.isReused && !isIdempotent(this.#method)) afterNextPoll(() => this.#start());
    else this.#start();
  }

  /** Told of the place in a queue that it has, so that it can be given up. */
  waits(wait: Wait): void {
    this.#wait = wait;
  }

  /** There is no connection. */
  refused(cause: unknown): void {
    this.#wait = null;
    this.#fail({ end: "connect", cause, wasSent: false });
  }

  #start(): void {
    if (this.#isOver) return;
    this.#isConnected = true;
    this.#events.connected(this);
  }

  // The attempt.

  abandon(): void {
    if (this.#isComplete) return;
    this.#isOver = true;
    this.#wait?.leave();
    this.#release()?.destroy();
  }

  // The sink.

  get writableEnded(): boolean {
    return this.#isSent;
  }

  get writableNeedDrain(): boolean {
    return this.#stream?.writableNeedDrain ?? false;
  }

  on(_event: "drain", listener: () => void): void {
    this.#drain = listener;
  }

  flushHeaders(): void {
    if (this.#isHeadOut) return;
    this.#isHeadOut = true;
    this.#put(this.#head.text);
  }

  addTrailers(trailers: readonly (readonly [string, string])[]): void {
    this.#trailers = trailers;
  }

  write(part: Buffer): boolean {
    const stream = this.#stream;
    if (stream === null || this.#isSent || part.length === 0) return true;
    if (!this.#head.isChunked && part.length > this.#bodyLeft) {
      this.#misframed("longer");
      return true;
    }
    stream.cork();
    this.#isCorked = true;
    this.#writeCount += 1;
    this.flushHeaders();
    if (this.#head.isChunked) this.#put(`${part.length.toString(16)}\r\n`);
    else this.#bodyLeft -= part.length;
    this.#put(part);
    if (this.#head.isChunked) this.#put("\r\n");
    this.#isCorked = false;
    stream.uncork();
    return !stream.writableNeedDrain;
  }

  end(): void {
    if (this.#stream === null || this.#isSent) return;
    if (!this.#head.isChunked && this.#bodyLeft > 0) {
      this.#misframed("shorter");
      return;
    }
    this.#isSent = true;
    this.flushHeaders();
    if (this.#head.isChunked) this.#put(renderLastChunk(this.#trailers));
  }

  /** Writes text, in latin1, or bytes. */
  #put(part: string | Buffer): void {
    if (this.#connection === null) return;
    this.#connection.bytesWritten += part.length;
    if (!this.#isCorked) this.#writeCount += 1;
    if (typeof part === "string") this.#stream?.write(part, "latin1");
    else this.#stream?.write(part);
  }

  // The answer.

  get isPaused(): boolean {
    return this.#stream?.isPaused() ?? false;
  }

  read(reader: AnswerReader): void {
    this.#reader = reader;
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  // What the connection tells.

  get isBegun(): boolean {
    return this.#isConnected;
  }

  /** True when the request was handed over whole. */
  get isSent(): boolean {
    return this.#isSent;
  }

  /** True when the answer came whole. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  drained(): void {
    this.#drain?.();
  }

  informed(status: number, rawHeaders: readonly string[]): void {
    if (!this.#isOver) this.#events.informed(status, rawHeaders);
  }

  answered({ status, message, rawHeaders }: AnswerHead): void {
    if (this.#isOver) return;
    if (status === 408 && this.#hasCrossed()) {
      this.#release()?.destroy();
      this.#fail({
        end: "stale",
        cause: new Failure("refused", "the upstream had timed out"),
        wasSent: true,
      });
      return;
    }
    this.#isOver = true;
    this.status = status;
    this.message = message;
    this.rawHeaders = rawHeaders;
    this.#events.answered(this);
  }

  data(part: Buffer): void {
    this.#reader?.data(part);
  }

  ended(rawTrailers: readonly string[]): void {
    this.rawTrailers = rawTrailers;
    this.#isComplete = true;
    this.#reader?.ended();
    this.#release();
  }

  /** The connection is gone before the answer was whole. */
  lost(cause: unknown): void {
    const connection = this.#release();
    if (this.#isComplete) return;
    if (this.#isOver) {
      this.#isComplete = true;
      this.#reader?.cut("upstream");
      return;
    }
    const hasAnswerBytes = connection?.hasAnswerBytes === true;
    const end = connection?.isReused === true && !hasAnswerBytes ? "stale" : "died";
    const failure = { end, cause, wasSent: this.#writeCount > 0 } as const;
    // Only for a request that may not be sent again unless that is known.
    const isSpared = hasAnswerBytes || !this.#isConnected || isIdempotent(this.#method);
    if (connection === null || isSpared) this.#fail(failure);
    else void this.#failKnowing(failure, connection);
  }

  /**
   * True where a 408 may speak of the time before this request: some servers end idle connections so (RFC 9110
   * 15.5.9), and a request without a body may simply be repeated.
   */
  #hasCrossed(): boolean {
    const { isChunked, bodyBytes } = this.#head;
    const isPlain = !isChunked && bodyBytes === 0 && isIdempotent(this.#method);
    return isPlain && this.#connection?.isReused === true && this.#connection.isLast;
  }

  async #failKnowing(failure: AttemptFailure, connection: UpstreamConnection): Promise<void> {
    const isUndelivered = await this.#wasMissed(connection);
    this.#fail(isUndelivered ? { ...failure, end: "undelivered" } : failure);
  }

  /** True when the upstream has certainly not seen the request. */
  async #wasMissed(connection: UpstreamConnection): Promise<boolean> {
    const { askGiven, bytesWritten } = connection;
    if (askGiven === null) {
      const isOnePiece = this.#writeCount === 1 && bytesWritten - this.#bytesBefore <= ONE_PIECE_BYTES;
      return isOnePiece && (await connection.wasRefused());
    }
    const given = await askGiven();
    return given !== null && given <= this.#bytesBefore;
  }

  #misframed(how: string): void {
    const cause = new Failure("invalid", `request: the body is ${how} than its Content-Length`);
    this.#release()?.destroy();
    if (this.#isOver) this.#reader?.cut("request");
    else queueMicrotask(() => this.#fail({ end: "unsendable", cause, wasSent: true }));
  }

  /** Lets go of the connection: what comes of it from now on is not of this turn. */
  #release(): UpstreamConnection | null {
    const connection = this.#connection;
    this.#connection = null;
    this.#stream = null;
    return connection;
  }

  #fail(failure: AttemptFailure): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#events.failed(failure);
  }
}

/**
 * Acts once what has come by now was read: on a kept connection that may be its end, and then what was to be sent can
 * go elsewhere. The first turn ends what the event loop is at, the second comes after it has asked the system again.
 */
function afterNextPoll(act: () => void): void {
  setImmediate(() => setImmediate(act));
}
