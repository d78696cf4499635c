/**
 * Connection: one connection to an upstream, carrying one request after the other.
 *
 * Between requests it is read all the same, so that an end, or bytes that nobody asked for, are seen as they come:
 * then it is closed at once, before another request is written into it. What is under way is told of everything by its
 * turn (turn.ts), and of its end exactly once.
 *
 * Touches: the connection it is given.
 */

import type { Duplex } from "node:stream";

import { Failure } from "../../../base/failure.ts";

import type { AnswerHead } from "./head.ts";
import { ResponseReader, type ResponseEvents } from "./response.ts";
import type { Turn } from "./turn.ts";

/** Who keeps a connection between its requests. */
export interface Keeper {
  /** Takes back a connection that may carry another request; false when it is not to be kept. */
  keep(connection: UpstreamConnection): boolean;
  /** Told once, when the connection is of no more use. */
  closed(connection: UpstreamConnection): void;
}

/** One connection. */
export class UpstreamConnection implements ResponseEvents {
  /** What an answer carries when the request before it was certainly not delivered; null when nobody can say. */
  readonly token: string | null;
  readonly #stream: Duplex;
  readonly #keeper: Keeper;
  readonly #reader = new ResponseReader(this);
  #turn: Turn | null = null;
  #wasUsed = false;
  #isClosed = false;
  #error: unknown = null;
  /** When it was kept, and when it is to be closed if nobody uses it; Unix milliseconds, of the keeper's. */
  keptAtMs = -Infinity;
  expiresAtMs = Infinity;

  /** Takes charge of a connected stream, `error` included. */
  constructor(stream: Duplex, options: { readonly keeper: Keeper; readonly token: string | null }) {
    this.#stream = stream;
    this.#keeper = options.keeper;
    this.token = options.token;
    stream.on("error", (error) => {
      this.#error ??= error;
    });
    stream.on("data", (bytes: Buffer) => this.#read(bytes));
    stream.on("drain", () => this.#turn?.drained());
    stream.once("end", () => this.#end(this.#reader.finish()));
    stream.once("close", () => this.#end("closed"));
  }

  /** True when it was kept, or used, before the request under way: its end may have crossed that. */
  get isReused(): boolean {
    return this.#wasUsed || this.keptAtMs !== -Infinity;
  }

  /** True once a byte of the answer that is expected has come. */
  get hasAnswerBytes(): boolean {
    return this.#reader.hasBytes;
  }

  /** How long the upstream said that it keeps the connection, milliseconds; Infinity when it has not. */
  get keepsMs(): number {
    return this.#reader.keepsMs;
  }

  /** The stream, for the turn that has the connection to write to. */
  get stream(): Duplex {
    return this.#stream;
  }

  /** Gives the connection to a request; only one that is new or was taken from its keeper. */
  begin(turn: Turn, method: string): void {
    this.#turn = turn;
    this.#reader.expect(method);
    if (this.#isClosed) queueMicrotask(() => this.#end("closed before it was used"));
  }

  /** Closes it, without a word to the turn that has it. */
  destroy(): void {
    this.#turn = null;
    this.#reader.stop();
    this.#stream.destroy();
    this.#tellClosed();
  }

  informed(status: number, rawHeaders: readonly string[]): void {
    this.#turn?.informed(status, rawHeaders);
  }

  answered(head: AnswerHead): void {
    this.#turn?.answered(head);
  }

  data(part: Buffer): void {
    this.#turn?.data(part);
  }

  ended(rawTrailers: readonly string[]): void {
    this.#turn?.ended(rawTrailers);
  }

  #read(bytes: Buffer): void {
    if (this.#turn === null) {
      // An end in words, or nonsense: in either case not a connection to write a request to.
      this.destroy();
      return;
    }
    const turn = this.#turn;
    const problem = this.#reader.read(bytes);
    // What was told may have made somebody destroy the connection.
    if (turn !== this.#turn) return;
    if (problem !== null) this.#end(problem);
    else if (turn.isComplete) this.#free(turn);
  }

  /** The answer has come whole: the connection is kept where it may be. */
  #free(turn: Turn): void {
    const stream = this.#stream;
    // One that has not taken the whole request will take the next for the rest of it.
    const isClean = this.#reader.isReusable && turn.isSent && stream.writableLength === 0;
    this.#turn = null;
    this.#wasUsed = true;
    if (stream.isPaused()) stream.resume();
    if (!isClean || !this.#keeper.keep(this)) this.destroy();
  }

  /** Nothing more comes. */
  #end(problem: string | null): void {
    const turn = this.#turn;
    const cause = this.#error ?? new Failure("refused", problem ?? "closed");
    this.destroy();
    turn?.lost(cause);
  }

  #tellClosed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#keeper.closed(this);
  }
}
