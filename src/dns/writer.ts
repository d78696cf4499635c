/**
 * Writer: the bytes of a message as they grow, for dns2's encoders.
 *
 * dns2's own writer keeps one array element for each bit and renders all of them after each record, which makes an
 * answer of many records quadratic. This one keeps bytes and renders once.
 *
 * Names are compressed against the question alone. So no answer record points into another, and their order may be
 * turned by moving bytes (cache.ts).
 *
 * Pure.
 */

import { Packet } from "dns2";

/** Room for most answers; doubled when it is not enough. */
const START_BYTES = 1024;

const NOTHING = Buffer.alloc(0);

/** Where the suffixes of the question's name begin. */
class QuestionNames extends Map<string, number> {
  /** dns2 would add each name it writes. */
  override set(): this {
    return this;
  }

  add(suffix: string, atBytes: number): void {
    super.set(suffix, atBytes);
  }
}

/** A message being written. */
export class MessageWriter extends Packet.Writer {
  /** What names may point to, in lower case; dns2's encoder looks for this by its name. */
  readonly names = new QuestionNames();
  #bytes = Buffer.allocUnsafe(START_BYTES);
  #sizeBits = 0;

  override write(value: number, bits: number): void {
    this.#reserve(Math.ceil((this.#sizeBits + bits) / 8));
    for (let left = bits; left > 0;) {
      const filled = this.#sizeBits & 7;
      const taken = Math.min(left, 8 - filled);
      const part = (value >>> (left - taken)) & ((1 << taken) - 1);
      const at = this.#sizeBits >>> 3;
      const before = filled === 0 ? 0 : (this.#bytes[at] ?? 0);
      this.#bytes[at] = before | (part << (8 - filled - taken));
      this.#sizeBits += taken;
      left -= taken;
    }
  }

  /** Appends bytes as they are. */
  append(bytes: Uint8Array): void {
    const at = this.byteLength();
    this.#reserve(at + bytes.length);
    this.#bytes.set(bytes, at);
    this.#sizeBits += bytes.length * 8;
  }

  /** Appends once more what was written from `startBytes` on. */
  repeat(startBytes: number): void {
    const endBytes = this.byteLength();
    this.#reserve(endBytes * 2 - startBytes);
    this.#bytes.copyWithin(endBytes, startBytes, endBytes);
    this.#sizeBits += (endBytes - startBytes) * 8;
  }

  /** Takes back all but the first `count` bytes. */
  truncate(count: number): void {
    this.#sizeBits = count * 8;
  }

  override bitLength(): number {
    return this.#sizeBits;
  }

  override byteLength(): number {
    return this.#sizeBits / 8;
  }

  /** Writes over whole bytes: `bits` is 8, 16, ... */
  override patch(bitOffset: number, value: number, bits: number): void {
    this.#bytes.writeUIntBE(value, bitOffset / 8, bits / 8);
  }

  /** Sets bits of a byte that was written. */
  mark({ atBytes, mask }: { readonly atBytes: number; readonly mask: number }): void {
    this.#bytes[atBytes] = (this.#bytes[atBytes] ?? 0) | mask;
  }

  /** Nothing: dns2's record encoder ends with this, and nobody needs its result. */
  override toBuffer(): Buffer {
    return NOTHING;
  }

  /** The message, in memory of its own. */
  render(): Buffer {
    const size = this.byteLength();
    // Not from Buffer's pool: answers are kept, and each would keep a whole slab of the pool.
    const message = Buffer.allocUnsafeSlow(size);
    this.#bytes.copy(message, 0, 0, size);
    return message;
  }

  #reserve(sizeBytes: number): void {
    if (sizeBytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(sizeBytes, this.#bytes.length * 2));
    this.#bytes.copy(larger);
    this.#bytes = larger;
  }
}
