/**
 * Client hello: whom does a TLS client ask for, as its first bytes say in the clear?
 *
 * A connection that is to pass unopened must be told by its name before TLS has begun, so the first message is read
 * here and left for whoever takes the connection. Only what is needed is understood: the record layer, the frame of the
 * message, the server's name. All else is skipped by its length. Whether the message is worth an answer, and which
 * alert a bad one gets, is for the TLS engine behind: here it is merely "none".
 *
 * Bytes come from strangers, perhaps one at a time: reading costs as much as there are bytes, which are bounded.
 * RFC 8446 4.1.2 and 5.1 (the same since TLS 1.0), RFC 6066 3 for the name.
 *
 * Pure.
 */

import { LIMITS } from "../../model/limits.ts";

/** What the first bytes of a connection say. */
export type HelloReading =
  /** Not all of it is here. */
  | { readonly kind: "more" }
  /** No TLS, or nothing that could be understood. */
  | { readonly kind: "none" }
  | {
      readonly kind: "hello";
      /** Lower case, without a closing dot; null when none was sent that could be a host's name. */
      readonly serverName: string | null;
    };

const MORE: HelloReading = { kind: "more" };
const NONE: HelloReading = { kind: "none" };

const HANDSHAKE_RECORD = 22;
const RECORD_HEAD_BYTES = 5;
/** Of plain text in one record (RFC 8446 5.1). */
const RECORD_BYTES_MAX = 16_384;
const CLIENT_HELLO = 1;
const MESSAGE_HEAD_BYTES = 4;
const VERSION_AND_RANDOM_BYTES = 34;
const SERVER_NAME = 0;
const HOST_NAME = 0;

/** Most messages fit in it; for others there is room up to the bound. */
const USUAL_BYTES = 2048;

/** Letters, digits, hyphens and, as hosts have them in practice, underscores; at most 253 bytes in all. */
const NAME = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;

/** Reads the first message of one connection. */
export class HelloReader {
  /** The message so far, without the heads of records. */
  #message: Buffer = Buffer.alloc(USUAL_BYTES);
  #messageBytes = 0;
  /** All bytes so far, with the heads of records. */
  #seenBytes = 0;
  readonly #recordHead: Buffer = Buffer.alloc(RECORD_HEAD_BYTES);
  #recordHeadBytes = 0;
  /** Of the current record, still to come. */
  #recordLeft = 0;
  #reading: HelloReading = MORE;

  /** Takes the next bytes. What is not `more` is final. */
  add(bytes: Uint8Array): HelloReading {
    if (this.#reading.kind === "more") this.#reading = this.#read(bytes);
    return this.#reading;
  }

  #read(bytes: Uint8Array): HelloReading {
    let at = 0;
    while (at < bytes.length) {
      if (this.#recordLeft === 0) {
        this.#recordHead[this.#recordHeadBytes] = bytes[at] ?? 0;
        this.#recordHeadBytes += 1;
        at += 1;
        if (!this.#acceptsRecordHead()) return NONE;
        continue;
      }
      const taken = Math.min(this.#recordLeft, bytes.length - at);
      if (!this.#holds(this.#messageBytes + taken)) return NONE;
      this.#message.set(bytes.subarray(at, at + taken), this.#messageBytes);
      this.#messageBytes += taken;
      this.#recordLeft -= taken;
      at += taken;
      if (this.#message[0] !== CLIENT_HELLO) return NONE;
      const size = this.#messageSize();
      if (size !== null && size > LIMITS.clientHelloBytes) return NONE;
      if (size !== null && this.#messageBytes >= size) return readMessage(this.#message.subarray(0, size));
    }
    this.#seenBytes += bytes.length;
    // Heads of records count too: a record may hold a single byte.
    return this.#seenBytes < LIMITS.clientHelloBytes ? MORE : NONE;
  }

  /** True while the head of a record, whole or not, is one of a handshake. */
  #acceptsRecordHead(): boolean {
    const count = this.#recordHeadBytes;
    if (this.#recordHead[0] !== HANDSHAKE_RECORD) return false;
    if (count >= 2 && this.#recordHead[1] !== 3) return false;
    if (count < RECORD_HEAD_BYTES) return true;
    this.#recordHeadBytes = 0;
    this.#recordLeft = this.#recordHead.readUInt16BE(3);
    return this.#recordLeft > 0 && this.#recordLeft <= RECORD_BYTES_MAX;
  }

  /** Makes room for so many bytes of the message; false when that would be too many. */
  #holds(count: number): boolean {
    if (count > LIMITS.clientHelloBytes) return false;
    if (count > this.#message.length) {
      const larger = Buffer.alloc(LIMITS.clientHelloBytes);
      this.#message.copy(larger);
      this.#message = larger;
    }
    return true;
  }

  /** The message's size with its head; null while that is not here. */
  #messageSize(): number | null {
    if (this.#messageBytes < MESSAGE_HEAD_BYTES) return null;
    return MESSAGE_HEAD_BYTES + this.#message.readUIntBE(1, 3);
  }
}

/** Walks over fields of bytes; once one does not fit, all that follow are empty and `isWhole` is false. */
class Fields {
  readonly #bytes: Buffer;
  #at: number;
  isWhole = true;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isOver(): boolean {
    return !this.isWhole || this.#at >= this.#bytes.length;
  }

  number(sizeBytes: 1 | 2): number {
    return this.#take(sizeBytes)?.readUIntBE(0, sizeBytes) ?? 0;
  }

  /** A field behind its own length. */
  counted(lengthBytes: 1 | 2): Buffer {
    return this.#take(this.number(lengthBytes)) ?? Buffer.alloc(0);
  }

  #take(count: number): Buffer | null {
    if (this.isWhole && this.#at + count <= this.#bytes.length) {
      this.#at += count;
      return this.#bytes.subarray(this.#at - count, this.#at);
    }
    this.isWhole = false;
    return null;
  }
}

function readMessage(message: Buffer): HelloReading {
  const fields = new Fields(message, MESSAGE_HEAD_BYTES + VERSION_AND_RANDOM_BYTES);
  fields.counted(1); // session id
  fields.counted(2); // cipher suites
  fields.counted(1); // compression methods
  // A hello may end here: before TLS 1.2 extensions were optional.
  const extensions = new Fields(fields.isOver ? Buffer.alloc(0) : fields.counted(2));
  let serverName: string | null = null;
  while (!extensions.isOver) {
    const type = extensions.number(2);
    const body = extensions.counted(2);
    if (type === SERVER_NAME) serverName = hostIn(body);
  }
  return fields.isWhole && extensions.isWhole ? { kind: "hello", serverName } : NONE;
}

function hostIn(body: Buffer): string | null {
  const names = new Fields(new Fields(body).counted(2));
  while (!names.isOver) {
    const type = names.number(1);
    const name = names.counted(2);
    // At most one name of a type (RFC 6066 3), so that two have no meaning.
    if (type === HOST_NAME) return names.isOver && names.isWhole ? hostOf(name.toString("latin1")) : null;
  }
  return null;
}

/** A name as routes and certificates write it; null for what is none, an address among them. */
export function hostOf(text: string): string | null {
  const name = text.toLowerCase().replace(/\.$/, "");
  return NAME.test(name) && !/^[0-9.]+$/.test(name) ? name : null;
}
