/**
 * Response: reads the answers that come over one connection to an upstream, as their bytes come.
 *
 * Bytes come in any pieces; what is told does not depend on where they were cut. Whatever is not a whole answer of
 * HTTP/1.1 in its one reading is refused, and then nothing more of the connection is believed. An answer counts as
 * whole only when its framing says so: a connection that ends before has cut it. What comes behind an answer was asked
 * by nobody, so the connection is not to be used again.
 *
 * Nothing is held but a head, a line of a chunk or the trailers, each bounded; a byte is looked at a fixed number of
 * times however small the pieces are.
 *
 * Pure.
 */

import { LIMITS } from "../../../model/limits.ts";

import { framesInterim, framesTrailers, framingOf, type Framing } from "./framing.ts";
import { readAnswerHead, readFields, type AnswerHead } from "./head.ts";

/** What a reader tells, in this order: any number of `informed`, `answered`, any number of `data`, `ended`. */
export interface ResponseEvents {
  /** An interim answer, 1xx other than 100 and 101. */
  informed(status: number, rawHeaders: readonly string[]): void;
  answered(head: AnswerHead): void;
  /** A part of the body; its bytes are the reader's caller's. */
  data(part: Buffer): void;
  /** The answer is whole. */
  ended(rawTrailers: readonly string[]): void;
}

type State =
  | "idle"
  | "head"
  | "sized"
  | "chunk-size"
  | "chunk"
  | "chunk-return"
  | "chunk-feed"
  | "trailers"
  | "until-close";

const RETURN = 13;
const FEED = 10;
const LINE_END = Buffer.from("\r\n");
const BLOCK_END = Buffer.from("\r\n\r\n");
const NO_TRAILERS: readonly string[] = [];
/** What every head begins with, as far as that is the same for all. */
const BEGINNING = Buffer.from("HTTP/1.");

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const QUOTED = String.raw`"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t -\x7e\x80-\xff])*"`;
/** RFC 9112 7.1, without the blanks that it calls bad; a size of 13 digits is exact as a number. */
const CHUNK_LINE = new RegExp(`^([0-9A-Fa-f]{1,13})((?:;${TOKEN}(?:=(?:${TOKEN}|${QUOTED}))?)*)$`);

/** Reads one answer after the other. */
export class ResponseReader {
  readonly #events: ResponseEvents;
  readonly #held = new Held();
  #state: State = "idle";
  #problem: string | null = null;
  #isHead = false;
  #framing: Framing | null = null;
  /** Bytes of the body, or of its chunk, that are still to come. */
  #left = 0;
  #extensionBytes = 0;
  #interimBytes = 0;
  #hasBytes = false;
  #hasSurplus = false;

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /** Expects the answer to a request; only while none is expected. */
  expect(method: string): void {
    this.#state = "head";
    this.#isHead = method === "HEAD";
    this.#framing = null;
    this.#extensionBytes = 0;
    this.#interimBytes = 0;
    this.#hasBytes = false;
  }

  /** True once a byte of the answer that is expected, or of the last one, has come. */
  get hasBytes(): boolean {
    return this.#hasBytes;
  }

  /** True when the last answer came whole and the connection may carry another request. */
  get isReusable(): boolean {
    return (
      this.#state === "idle" && this.#problem === null && !this.#hasSurplus && this.#framing?.keeps === true
    );
  }

  /** True when the answer, whose head has come, leaves the connection open. */
  get keeps(): boolean {
    return this.#framing?.keeps === true;
  }

  /** How long the upstream said that it keeps the connection, milliseconds. */
  get keepsMs(): number {
    return this.#framing?.keepsMs ?? Infinity;
  }

  /** Tells nothing more; what is read from now on is dropped. */
  stop(): void {
    this.#problem ??= "nobody reads on";
  }

  /**
   * Reads what has come.
   *
   * @returns what is wrong with it; null when nothing is
   */
  read(bytes: Buffer): string | null {
    let at = 0;
    if (bytes.length > 0) this.#hasBytes = true;
    while (at < bytes.length && this.#problem === null) at = this.#step(bytes, at);
    return this.#problem;
  }

  /**
   * Told that the connection has ended.
   *
   * @returns what the answer lacks; null when it is whole
   */
  finish(): string | null {
    if (this.#problem !== null || this.#state === "idle") return this.#problem;
    if (this.#state === "until-close") this.#end(NO_TRAILERS);
    else
      this.#problem =
        this.#framing === null ? "closed without an answer" : "closed in the midst of an answer";
    return this.#problem;
  }

  /** Reads on from a place; returns where to go on. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case "head":
        return this.#readHead(bytes, at);
      case "sized":
      case "chunk":
        return this.#readPart(bytes, at);
      case "chunk-size":
        return this.#readChunkSize(bytes, at);
      case "chunk-return":
        return this.#expectByte(bytes, at, { code: RETURN, next: "chunk-feed" });
      case "chunk-feed":
        return this.#expectByte(bytes, at, { code: FEED, next: "chunk-size" });
      case "trailers":
        return this.#readTrailers(bytes, at);
      case "until-close":
        this.#events.data(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      case "idle":
        this.#hasSurplus = true;
        return bytes.length;
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    const next = this.#held.take(bytes, at, { end: BLOCK_END, bytesMax: LIMITS.httpHeadBytes });
    if (next === -1) {
      this.#problem = `the answer's head is over ${LIMITS.httpHeadBytes} bytes`;
      return at;
    }
    const text = this.#held.taken();
    if (text === null) {
      if (!this.#held.mayBecomeHead()) this.#problem = "the answer is not of HTTP/1.1";
      return next;
    }
    const head = readAnswerHead(text);
    if (typeof head === "string") this.#problem = head;
    else if (head.status < 200) this.#inform(head, text.length);
    else this.#answer(head);
    return next;
  }

  #inform(head: AnswerHead, bytes: number): void {
    const { status, rawHeaders } = head;
    this.#interimBytes += bytes;
    if (status === 101) this.#problem = "the upstream switched protocols unasked";
    else if (framesInterim(head)) this.#problem = "an interim answer frames a body, or ends the connection";
    else if (this.#interimBytes > LIMITS.httpInterimBytes)
      this.#problem = `the interim answers are over ${LIMITS.httpInterimBytes} bytes`;
    else if (status !== 100) this.#events.informed(status, rawHeaders);
  }

  #answer(head: AnswerHead): void {
    const framing = framingOf(head, this.#isHead);
    if (typeof framing === "string") {
      this.#problem = framing;
      return;
    }
    this.#framing = framing;
    this.#left = framing.bytes;
    if (framing.kind !== "none") this.#state = framing.kind === "chunked" ? "chunk-size" : framing.kind;
    this.#events.answered(head);
    if (framing.kind === "none" && this.#problem === null) this.#end(NO_TRAILERS);
  }

  #readPart(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    // Before it is told: whoever is told of the last part may ask whether it is.
    const isLast = this.#left === 0;
    this.#events.data(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
    if (!isLast || this.#problem !== null) return end;
    if (this.#state === "chunk") this.#state = "chunk-return";
    else this.#end(NO_TRAILERS);
    return end;
  }

  #readChunkSize(bytes: Buffer, at: number): number {
    const next = this.#held.take(bytes, at, { end: LINE_END, bytesMax: LIMITS.httpHeadBytes });
    const text = this.#held.taken();
    if (next === -1) this.#problem = `the line of a chunk is over ${LIMITS.httpHeadBytes} bytes`;
    if (next === -1 || text === null) return next === -1 ? at : next;
    const [, size, extension = ""] = CHUNK_LINE.exec(text) ?? [];
    this.#extensionBytes += extension.length;
    if (size === undefined) this.#problem = "a chunk does not begin with its size";
    else if (this.#extensionBytes > LIMITS.httpHeadBytes)
      this.#problem = `the extensions of chunks are over ${LIMITS.httpHeadBytes} bytes`;
    this.#left = Number.parseInt(size ?? "0", 16);
    this.#state = this.#left === 0 ? "trailers" : "chunk";
    // The end of the line before the trailers counts, so that no trailers and some end in the same way.
    if (this.#left === 0) this.#held.begin(LINE_END);
    return next;
  }

  #expectByte(bytes: Buffer, at: number, expected: { readonly code: number; readonly next: State }): number {
    if (bytes[at] === expected.code) this.#state = expected.next;
    else this.#problem = "a chunk is longer than its size";
    return at + 1;
  }

  #readTrailers(bytes: Buffer, at: number): number {
    const next = this.#held.take(bytes, at, { end: BLOCK_END, bytesMax: LIMITS.httpHeadBytes });
    const text = this.#held.taken();
    if (next === -1) this.#problem = `the answer's trailers are over ${LIMITS.httpHeadBytes} bytes`;
    if (next === -1 || text === null) return next === -1 ? at : next;
    const trailers = text.length === 0 ? NO_TRAILERS : readFields(text, LINE_END.length);
    if (typeof trailers === "string") this.#problem = trailers;
    else if (framesTrailers(trailers)) this.#problem = "the trailers frame the body anew";
    else this.#end(trailers);
    return next;
  }

  #end(rawTrailers: readonly string[]): void {
    this.#state = "idle";
    this.#events.ended(rawTrailers);
  }
}

/** Bytes that wait for the rest of what they begin. */
class Held {
  #bytes: Buffer | null = null;
  #length = 0;
  /** Where the search for the end goes on, and that for lines that end otherwise than in CRLF. */
  #searched = 0;
  #looked = 0;
  #text: string | null = null;

  /** What the last `take` has completed, without its end, once; null when more must come. */
  taken(): string | null {
    const text = this.#text;
    this.#text = null;
    return text;
  }

  /** Puts bytes in front of what comes. */
  begin(bytes: Buffer): void {
    this.#append(bytes, 0, bytes.length);
  }

  /** False once what is held cannot be the beginning of a head: nobody has to wait for the end of that. */
  mayBecomeHead(): boolean {
    const bytes = this.#bytes;
    if (bytes === null) return true;
    const length = Math.min(this.#length, BEGINNING.length);
    if (bytes.compare(BEGINNING, 0, length, 0, length) !== 0) return false;
    for (let at = this.#looked; at < this.#length; at += 1)
      if (bytes[at] === FEED && bytes[at - 1] !== RETURN) return false;
    this.#looked = this.#length;
    return true;
  }

  /**
   * Takes bytes up to an end, which may come in parts.
   *
   * @returns where it goes on behind them; -1 when there are too many
   */
  take(bytes: Buffer, at: number, until: { readonly end: Buffer; readonly bytesMax: number }): number {
    const { end, bytesMax } = until;
    this.#text = null;
    if (this.#length === 0) {
      const found = bytes.indexOf(end, at);
      if (found !== -1) {
        if (found + end.length - at > bytesMax) return -1;
        this.#text = bytes.toString("latin1", at, found);
        return found + end.length;
      }
    }
    const before = this.#length;
    // One more than allowed tells that there are too many.
    const taken = Math.min(bytes.length - at, bytesMax + 1 - before);
    this.#append(bytes, at, at + taken);
    const held = this.#bytes?.subarray(0, this.#length) ?? bytes.subarray(0, 0);
    const found = held.indexOf(end, this.#searched);
    if (found === -1) {
      this.#searched = Math.max(0, this.#length - end.length + 1);
      return this.#length > bytesMax ? -1 : at + taken;
    }
    if (found + end.length > bytesMax) return -1;
    this.#text = held.toString("latin1", 0, found);
    this.#bytes = null;
    this.#length = 0;
    this.#searched = 0;
    this.#looked = 0;
    return at + found + end.length - before;
  }

  #append(bytes: Buffer, from: number, to: number): void {
    const length = this.#length + to - from;
    if (this.#bytes === null || this.#bytes.length < length) {
      const grown = Buffer.allocUnsafe(Math.max(256, 2 * length));
      this.#bytes?.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    bytes.copy(this.#bytes, this.#length, from, to);
    this.#length = length;
  }
}
