/**
 * Wire: numbers, texts and ids as bytes, and back.
 *
 * Whole numbers are unsigned LEB128, 7 bits a byte, the lowest first: most of ours are small. Everything has one form
 * only, the shortest, so equal messages are equal bytes and a frame that decodes is the frame its message encodes to.
 * Before a text is made or a list begun, its length is checked against its bound and against the bytes that are left:
 * what a frame makes its reader hold is in proportion to the frame.
 *
 * A Writer writes what our own code says, so it asserts; a Reader reads what a peer sent, so it refuses with a Failure
 * that names the thing, its value and what was expected.
 *
 * Pure. codec.ts knows the messages.
 */

import { isUtf8 } from "node:buffer";

import { assert } from "../base/assert.ts";
import { base32, unbase32 } from "../base/bytes.ts";
import { Failure } from "../base/failure.ts";
import type { NodeId } from "../model/ids.ts";

/** The most bytes of a whole number: 2^53 - 1 has 53 bits. */
export const WHOLE_BYTES_MAX = 8;
/** A node id: 100 bits and four zeros. */
export const ID_BYTES = 13;
/** A sum: 48 bits, the highest byte first. */
export const SUM_BYTES = 6;
/** Sums are below this. */
export const SUM_SIZE = 2 ** 48;

const WHOLE_MAX = Number.MAX_SAFE_INTEGER;
const ID_CHARACTERS = 20;
const REPLACEMENT = "\ufffd";

/** Writes one frame into bytes that grow as needed. */
export class Writer {
  #bytes: Buffer;
  #at = 0;

  /** @param sizeHint  bytes the frame is expected to take */
  constructor(sizeHint: number) {
    // Not out of the pool that small buffers share: a frame may wait long, and would keep all of it; and who gives a
    // received frame's memory back tells by the memory whether a frame to be sent lies in it.
    this.#bytes = Buffer.allocUnsafeSlow(sizeHint);
  }

  /** The frame so far; it shares the writer's bytes, so the writer is done with. */
  frame(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  /** One of 0 to 255. */
  byte(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 255, "a byte is 0..255");
    this.#reserve(1);
    this.#put(value);
  }

  /** True as 1, false as 0. */
  flag(value: boolean): void {
    this.#reserve(1);
    this.#put(value ? 1 : 0);
  }

  /** A whole number from 0 to 2^53 - 1. */
  whole(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, "what is written is a whole number, 0..2^53-1");
    this.#reserve(WHOLE_BYTES_MAX);
    let rest = value;
    // Not with bit operators from the start: they cut off all above 32 bits.
    while (rest >= 2 ** 31) {
      this.#put((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    while (rest > 127) {
      this.#put((rest & 127) + 128);
      rest >>>= 7;
    }
    this.#put(rest);
  }

  /** A whole number below 2^53 - 1, or null: null as 0, a number as one more. */
  optional(value: number | null): void {
    this.whole(value === null ? 0 : value + 1);
  }

  /** A whole number below 2^48. */
  sum(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value < SUM_SIZE, "a sum is a whole number below 2^48");
    this.#reserve(SUM_BYTES);
    this.#at = this.#bytes.writeUIntBE(value, this.#at, SUM_BYTES);
  }

  /** A node's id. */
  id(id: NodeId): void {
    this.#reserve(ID_BYTES);
    assert(id.length === ID_CHARACTERS && unbase32(id, this.#bytes, this.#at), "a node id is well-formed");
    this.#at += ID_BYTES;
  }

  /** Bytes whose number both sides know. */
  fixed(bytes: Uint8Array, sizeBytes: number): void {
    assert(bytes.byteLength === sizeBytes, "what is written has its fixed length");
    this.#reserve(sizeBytes);
    this.#bytes.set(bytes, this.#at);
    this.#at += sizeBytes;
  }

  /** As `fixed` behind a flag, or null. */
  optionalFixed(bytes: Uint8Array | null, sizeBytes: number): void {
    this.flag(bytes !== null);
    if (bytes !== null) this.fixed(bytes, sizeBytes);
  }

  /** Text as UTF-8 behind its length in bytes; half a surrogate pair, which UTF-8 cannot tell, becomes U+FFFD. */
  text(text: string): void {
    const sizeBytes = Buffer.byteLength(text);
    this.whole(sizeBytes);
    this.#utf8(text, sizeBytes);
  }

  /** Text or null: as `text`, the length as in `optional`. */
  optionalText(text: string | null): void {
    const sizeBytes = text === null ? null : Buffer.byteLength(text);
    this.optional(sizeBytes);
    if (text !== null) this.#utf8(text, sizeBytes ?? 0);
  }

  /** A list behind its count. */
  list<T>(elements: readonly T[], write: (writer: Writer, element: T) => void): void {
    this.whole(elements.length);
    for (const element of elements) write(this, element);
  }

  #utf8(text: string, sizeBytes: number): void {
    this.#reserve(sizeBytes);
    this.#at += this.#bytes.write(text, this.#at, "utf8");
  }

  #put(byte: number): void {
    this.#bytes[this.#at] = byte;
    this.#at += 1;
  }

  #reserve(sizeBytes: number): void {
    const neededBytes = this.#at + sizeBytes;
    if (neededBytes <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, neededBytes));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }
}

/** A text to be read. */
export interface TextBound {
  /** What it is, for the failure: `name`. */
  readonly what: string;
  /** UTF-16 units, as our strings count them. */
  readonly lengthMax: number;
}

/** A list to be read. */
export interface ListBound {
  /** What its elements are, for the failure: `writes`. */
  readonly what: string;
  readonly countMax: number;
  /** What each element takes at least. */
  readonly eachBytes: number;
}

/** Reads one frame from its begin to its end; every method throws a Failure on what it does not expect. */
export class Reader {
  readonly #bytes: Buffer;
  readonly #subject: string;
  #at: number;

  /**
   * @param subject  what the failures are about: `hello`
   * @param at  where to begin
   */
  constructor(frame: Uint8Array, subject: string, at: number) {
    this.#bytes = Buffer.isBuffer(frame)
      ? frame
      : Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
    this.#subject = subject;
    this.#at = at;
  }

  /** Bytes not yet read. */
  get leftBytes(): number {
    return this.#bytes.length - this.#at;
  }

  /** Steps over all that is left. */
  skipRest(): void {
    this.#at = this.#bytes.length;
  }

  /** Refuses bytes behind the end. */
  end(): void {
    if (this.leftBytes > 0) this.refuse("end", `followed by ${this.leftBytes} bytes`, "none");
  }

  /** One byte, 0 to 255. */
  byte(what: string): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) this.#lacks(what, 1);
    this.#at += 1;
    return byte;
  }

  /** True or false. */
  flag(what: string): boolean {
    const byte = this.byte(what);
    if (byte > 1) this.refuse(what, `${byte}`, "0 or 1");
    return byte === 1;
  }

  /**
   * A whole number from 0 to `max`.
   *
   * @param unit  what it counts, for the failure: ` bytes long`
   */
  whole(what: string, max: number = WHOLE_MAX, unit = ""): number {
    const value = this.#leb128(what);
    if (value > max) this.refuse(what, `${value}${unit}`, `at most ${max}`);
    return value;
  }

  /** A whole number from 0 to `max`, or null. `unit` as in `whole`. */
  optional(what: string, max: number, unit = ""): number | null {
    const value = this.#leb128(what) - 1;
    if (value > max) this.refuse(what, `${value}${unit}`, `at most ${max}`);
    return value === -1 ? null : value;
  }

  /** A list behind its count: no more than the bound, nor than there can be in the bytes that are left. */
  list<T>({ what, countMax, eachBytes }: ListBound, read: (reader: Reader) => T): T[] {
    const count = this.whole(what, countMax);
    const countLeft = Math.floor(this.leftBytes / eachBytes);
    if (count > countLeft) this.refuse(what, `${count}`, `at most ${countLeft} in the bytes left`);
    const elements: T[] = [];
    for (let index = 0; index < count; index += 1) elements.push(read(this));
    return elements;
  }

  /** A whole number below 2^48. */
  sum(what: string): number {
    return this.#bytes.readUIntBE(this.#take(what, SUM_BYTES), SUM_BYTES);
  }

  /** A node's id. */
  id(what: string): NodeId {
    const at = this.#take(what, ID_BYTES);
    if (((this.#bytes[at + ID_BYTES - 1] ?? 0) & 15) !== 0)
      this.refuse(what, "padded with ones", "zeros behind its 100 bits");
    return base32(this.#bytes, at, ID_CHARACTERS);
  }

  /** A copy of so many bytes: the frame's are not kept. */
  fixed(what: string, sizeBytes: number): Uint8Array {
    const at = this.#take(what, sizeBytes);
    return Uint8Array.from(this.#bytes.subarray(at, this.#at));
  }

  /** So many bytes, or null. */
  optionalFixed(what: string, sizeBytes: number): Uint8Array | null {
    return this.flag(what) ? this.fixed(what, sizeBytes) : null;
  }

  /** Text; in UTF-8 a UTF-16 unit takes at most three bytes. */
  text(bound: TextBound): string {
    return this.#utf8(bound, this.whole(bound.what, 3 * bound.lengthMax, " bytes long"));
  }

  /** Text, or null. */
  optionalText(bound: TextBound): string | null {
    const sizeBytes = this.optional(bound.what, 3 * bound.lengthMax, " bytes long");
    return sizeBytes === null ? null : this.#utf8(bound, sizeBytes);
  }

  /** Ends the reading: throws a Failure. */
  refuse(what: string, value: string, expected: string): never {
    throw new Failure("corrupt", `${this.#subject}'s ${what} is ${value}; expected ${expected}`);
  }

  #leb128(what: string): number {
    let byte = this.byte(what);
    if (byte < 128) return byte;
    let value = byte & 127;
    let scale = 1;
    for (let count = 1; byte >= 128; count += 1) {
      if (count === WHOLE_BYTES_MAX) this.refuse(what, `of over ${count} bytes`, `at most ${WHOLE_MAX}`);
      byte = this.byte(what);
      scale *= 128;
      // Past 2^53 the sum is rounded, but never to below 2^53, so its bound refuses it all the same.
      value += (byte & 127) * scale;
    }
    if (byte === 0) this.refuse(what, "padded with zeros", "its shortest form");
    return value;
  }

  #utf8({ what, lengthMax }: TextBound, sizeBytes: number): string {
    const at = this.#take(what, sizeBytes);
    const text = this.#bytes.toString("utf8", at, this.#at);
    // What is no UTF-8 becomes U+FFFD; looking for that is cheaper than looking at the bytes, where it is rare.
    if (text.includes(REPLACEMENT) && !isUtf8(this.#bytes.subarray(at, this.#at)))
      this.refuse(what, "no UTF-8", "UTF-8");
    if (text.length > lengthMax) this.refuse(what, `${text.length} characters long`, `at most ${lengthMax}`);
    return text;
  }

  /** Steps over bytes and returns where they begin. */
  #take(what: string, sizeBytes: number): number {
    if (sizeBytes > this.leftBytes) this.#lacks(what, sizeBytes);
    const at = this.#at;
    this.#at += sizeBytes;
    return at;
  }

  #lacks(what: string, sizeBytes: number): never {
    const text = `${this.#subject} ends in its ${what}, ${this.leftBytes} bytes left; expected ${sizeBytes}`;
    throw new Failure("corrupt", text);
  }
}
