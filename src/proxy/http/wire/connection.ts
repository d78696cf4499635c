/**
 * Connection: one connection to an upstream, carrying one request after the other.
 *
 * Between requests it is read all the same, so that an end, or bytes that nobody asked for, are seen as they come:
 * then it is closed at once, before another request is written into it. What is under way is told of everything, and
 * of one end.
 *
 * Touches: the connection it is given.
 */

import type { Duplex } from "node:stream";

import { Failure } from "../../../base/failure.ts";
import { wasRefused } from "../../../runtime/refused.ts";

import type { AnswerHead } from "./head.ts";
import { ResponseReader, type ResponseEvents } from "./response.ts";

/** What a connection carries: one request and its answer, told of what becomes of them. */
export interface Carried extends ResponseEvents {
  /** True once a byte of the request may have been written. */
  readonly isBegun: boolean;
  /** True when the request was handed over whole. */
  readonly isSent: boolean;
  /** True when the answer has come whole. */
  readonly isComplete: boolean;
  /** More may be written. */
  drained(): void;
  /** The connection is gone; told unless the answer was whole by then. */
  lost(cause: unknown): void;
}

/** Who keeps a connection between its requests. */
export interface Keeper {
  /** Takes back a connection that may carry another request; false when it is not to be kept. */
  keep(connection: UpstreamConnection): boolean;
  /** Told once, when the connection is of no more use. */
  closed(connection: UpstreamConnection): void;
}

/** Asks how many bytes the upstream was given; null where that is not known. Never rejects. */
export type AskGiven = () => Promise<number | null>;

/** One connection. */
export class UpstreamConnection implements ResponseEvents {
  /** Asks what the upstream was given over it, once it has ended; null when nobody can say. */
  readonly askGiven: AskGiven | null;
  readonly #stream: Duplex;
  readonly #keeper: Keeper;
  readonly #reader = new ResponseReader(this);
  #carried: Carried | null = null;
  #wasUsed = false;
  #isClosed = false;
  #isAsked = false;
  #error: unknown = null;
  /** When it was kept, and when it is to be closed if nobody uses it; Unix milliseconds, of the keeper's. */
  keptAtMs = -Infinity;
  expiresAtMs = Infinity;
  /** Bytes of requests written so far. */
  bytesWritten = 0;

  /** Takes charge of a connected stream, `error` included. */
  constructor(stream: Duplex, options: { readonly keeper: Keeper; readonly askGiven: AskGiven | null }) {
    this.#stream = stream;
    this.#keeper = options.keeper;
    this.askGiven = options.askGiven;
    stream.on("error", (error) => {
      this.#error ??= error;
    });
    stream.on("data", (bytes: Buffer) => this.#read(bytes));
    stream.on("drain", () => this.#carried?.drained());
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

  /** True when the answer under way, whose head has come, says that the connection ends with it. */
  get isLast(): boolean {
    return !this.#reader.keeps;
  }

  /** How long the upstream said that it keeps the connection, milliseconds; Infinity when it has not. */
  get keepsMs(): number {
    return this.#reader.keepsMs;
  }

  /** The stream, to write the request to. */
  get stream(): Duplex {
    return this.#stream;
  }

  /** Gives the connection to a request; only one that is new or was taken from its keeper. */
  begin(carried: Carried, method: string): void {
    this.#carried = carried;
    this.#reader.expect(method);
    if (this.#isClosed) queueMicrotask(() => this.#end("closed before it was used"));
  }

  /** Closes it, without a word to what it carries. */
  destroy(): void {
    this.#detach();
    this.#stream.destroy();
  }

  #detach(): void {
    this.#carried = null;
    this.#reader.stop();
    this.#tellClosed();
  }

  /**
   * True when the request written last was certainly not read, provided that it was written in one piece; to be asked
   * of a direct connection by what it carried, at once when that is told of its loss. Never rejects.
   */
  async wasRefused(): Promise<boolean> {
    this.#isAsked = true;
    const refused = this.#error === null && (await wasRefused(this.#stream));
    this.#stream.destroy();
    return refused;
  }

  informed(status: number, rawHeaders: readonly string[]): void {
    this.#carried?.informed(status, rawHeaders);
  }

  answered(head: AnswerHead): void {
    this.#carried?.answered(head);
  }

  data(part: Buffer): void {
    this.#carried?.data(part);
  }

  ended(rawTrailers: readonly string[]): void {
    this.#carried?.ended(rawTrailers);
  }

  #read(bytes: Buffer): void {
    const carried = this.#carried;
    if (carried?.isBegun !== true) {
      // An end in words, or nonsense: in either case not a connection to write a request to.
      this.#end("the upstream spoke unasked");
      return;
    }
    const problem = this.#reader.read(bytes);
    // What was told may have made somebody destroy the connection.
    if (carried !== this.#carried) return;
    if (problem !== null) this.#end(problem);
    else if (carried.isComplete) this.#free(carried);
  }

  /** The answer has come whole: the connection is kept where it may be. */
  #free(carried: Carried): void {
    const stream = this.#stream;
    // One that has not taken the whole request will take the next for the rest of it.
    const isClean = this.#reader.isReusable && carried.isSent && stream.writableLength === 0;
    this.#carried = null;
    this.#wasUsed = true;
    if (stream.isPaused()) stream.resume();
    if (!isClean || !this.#keeper.keep(this)) this.destroy();
  }

  /** Nothing more comes. */
  #end(problem: string | null): void {
    const carried = this.#carried;
    const cause = this.#error ?? new Failure("refused", problem ?? "closed");
    this.#detach();
    carried?.lost(cause);
    if (!this.#isAsked) this.#stream.destroy();
  }

  #tellClosed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#keeper.closed(this);
  }
}
