/**
 * Cache: finished answers about our own names, by the bytes of the query.
 *
 * An answer depends on the query's bytes behind its id, on who asks and how (`variant`), and on the zone. By the first
 * two it is found, at a twentieth of what parsing and encoding cost; it carries the generation of the zone for which it
 * holds. Under a newer one whoever asked finds out by the object it was made from (`basis`) whether it still does: so a
 * change of one service costs the others' answers nothing; only the serial of an SOA is written over. Nothing counts
 * time: our TTLs stay as they are.
 *
 * Addresses are shuffled when the answer is made, and turned by one at each hit: each comes first equally often. No
 * record points into another (encode.ts), so turning is copying. Where only some had room, the answer is made anew when
 * each of them came first once: kept for longer it would leave copies of a service without work.
 *
 * Pure.
 */

import { LIMITS } from "../model/limits.ts";

import type { Encoded } from "./encode.ts";

/** An answer that can be sent. */
export interface Finished {
  readonly encoded: Encoded;
  /** What of the zone it was made from (OwnAnswer); null for one that does not outlive the zone. */
  readonly basis: object | null;
  /** The zone for which it holds. */
  readonly generation: number;
}

/** An answer that is kept; `T` is what its owner wants to find with it. */
export interface Entry<T> {
  readonly encoded: Encoded;
  readonly label: T;
  /** Weak: an entry that nobody asks for must not keep the addresses of an old zone. */
  readonly basis: WeakRef<object> | null;
  generation: number;
  readonly variant: number;
  /** The query; its id is that of the last one that was looked for. */
  readonly query: Buffer;
  turns: number;
  /** True for an answer that is to be made anew. */
  isSpent: boolean;
}

/** What an entry costs besides its bytes: Buffers, map slot, objects; as measured, generously. */
const ENTRY_BYTES = 500;

/** Bounded by LIMITS.dnsCacheEntries and LIMITS.dnsCacheBytes; past either the oldest go first. */
export class AnswerCache<T> {
  /** One place for each hash, the newer takes it: whoever finds colliding queries in spite of the seed makes misses. */
  readonly #entryByHash = new Map<number, Entry<T>>();
  readonly #seed: number;
  #sizeBytes = 0;

  /** @param seed  a whole number that clients cannot know */
  constructor(seed: number) {
    this.#seed = seed;
  }

  get entries(): number {
    return this.#entryByHash.size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * The answer to these bytes, of whichever generation; not one that was sent often enough.
   *
   * @param query  at least 2 bytes
   * @param variant  a whole number for all besides the bytes that the answer depends on
   */
  find(query: Buffer, variant: number): Entry<T> | null {
    const entry = this.#entryByHash.get(hashOf(query, this.#seed ^ variant));
    if (entry === undefined || entry.variant !== variant || entry.isSpent) return null;
    // Not subarray(2) of both: two bytes are written faster than two views are made.
    entry.query[0] = query[0] ?? 0;
    entry.query[1] = query[1] ?? 0;
    return entry.query.equals(query) ? entry : null;
  }

  /** Keeps an answer to these bytes, in place of the one that may be there. */
  put(query: Buffer, variant: number, { label, ...finished }: Finished & { readonly label: T }): void {
    const hash = hashOf(query, this.#seed ^ variant);
    this.#drop(hash);
    const { encoded, generation } = finished;
    const basis = finished.basis === null ? null : new WeakRef(finished.basis);
    // Not from Buffer's pool: each entry would keep a whole slab of the pool, most of it of no use to anybody.
    const kept = Buffer.allocUnsafeSlow(query.length);
    query.copy(kept);
    const entry = { encoded, label, basis, generation, variant, query: kept, turns: 0, isSpent: false };
    const cost = costOf(entry);
    // Not worth emptying half the cache for.
    if (cost > LIMITS.dnsCacheBytes / 8) return;
    for (const oldest of this.#entryByHash.keys()) {
      const fits = this.#sizeBytes + cost <= LIMITS.dnsCacheBytes;
      if (this.#entryByHash.size < LIMITS.dnsCacheEntries && fits) break;
      this.#drop(oldest);
    }
    this.#entryByHash.set(hash, entry);
    this.#sizeBytes += cost;
  }

  #drop(hash: number): void {
    const entry = this.#entryByHash.get(hash);
    if (entry === undefined) return;
    this.#entryByHash.delete(hash);
    this.#sizeBytes -= costOf(entry);
  }
}

/** Puts the zone's serial into an answer that holds over a new zone: an SOA that stays behind is no answer of ours. */
export function restamp({ encoded: { bytes, serialAt } }: Entry<unknown>, serial: number): void {
  if (serialAt !== null) bytes.writeUInt32BE(serial, serialAt);
}

/** The bytes of an answer for the query that asks now, its addresses turned by one more. */
export function bytesFor(entry: Entry<unknown>, query: Buffer): Buffer {
  const { bytes, rotation } = entry.encoded;
  const copy = Buffer.allocUnsafe(bytes.length);
  copy.set(bytes);
  copy[0] = query[0] ?? 0;
  copy[1] = query[1] ?? 0;
  if (rotation === null) return copy;
  const { offsets } = rotation;
  entry.turns = (entry.turns + 1) % (offsets.length - 1);
  entry.isSpent = rotation.isSample && entry.turns === 0;
  const startBytes = offsets[0] ?? 0;
  const endBytes = offsets[offsets.length - 1] ?? 0;
  const firstBytes = offsets[entry.turns] ?? 0;
  bytes.copy(copy, startBytes, firstBytes, endBytes);
  bytes.copy(copy, startBytes + (endBytes - firstBytes), startBytes, firstBytes);
  return copy;
}

function costOf({ query, encoded }: Entry<unknown>): number {
  const { bytes, rotation } = encoded;
  return query.length + bytes.length + (rotation?.offsets.byteLength ?? 0) + ENTRY_BYTES;
}

/** Over all but the id, four bytes at a time; multiplied by the golden ratio and folded (as in Murmur's finish). */
function hashOf(bytes: Buffer, seed: number): number {
  const { length } = bytes;
  let hash = seed ^ length;
  let at = 2;
  for (; at + 4 <= length; at += 4) {
    const word =
      (bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24);
    hash = Math.imul(hash ^ word, 0x9e37_79b1);
    hash ^= hash >>> 15;
  }
  for (; at < length; at += 1) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x0100_0193);
  return hash ^ (hash >>> 13);
}
