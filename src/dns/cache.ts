/**
 * Cache: finished answers about our own names, by the bytes of the query.
 *
 * Parsing and encoding cost 10 to 16 microseconds, looking bytes up a fraction of one. An answer depends on the query's
 * bytes behind its id, on who asks and how (`class`), and on the zone: so the key is the first two, and a new zone
 * empties the cache. Our records say the same TTL for as long as they hold; nothing here counts time. That goes for a
 * TTL of 0, too: a tentative address is told so until the view in which it is settled makes a new zone.
 *
 * A service's addresses are shuffled when the answer is made, and from then on turned by one at each hit: every address
 * comes first equally often, which a few stored shuffles would not give. They are records of one size (the owner is
 * always a pointer to the question), so turning them is copying bytes.
 *
 * Pure.
 */

import { LIMITS } from "../model/limits.ts";

import type { Encoded } from "./packet.ts";

/** An answer that can be sent, and its labels for metrics. */
export interface Finished {
  readonly encoded: Encoded;
  readonly qtype: string;
  readonly rcode: string;
}

/** A hit: bytes for this query, to be sent as they are. */
export interface Hit {
  readonly bytes: Buffer;
  readonly qtype: string;
  readonly rcode: string;
}

/** Bounded by LIMITS.dnsCacheEntries and LIMITS.dnsCacheBytes; past either the oldest go first. */
export interface AnswerCache {
  /** The key of a query; `askedAs` names all besides its bytes that its answer depends on. */
  keyOf(query: Buffer, askedAs: string): string;
  /** @returns null for a miss */
  get(key: string, query: Buffer): Hit | null;
  put(key: string, finished: Finished): void;
  clear(): void;
  readonly entries: number;
  readonly sizeBytes: number;
}

interface Entry extends Finished {
  turns: number;
}

/** What an entry costs besides its key and bytes: Buffer, map slot, objects; as measured, generously. */
const ENTRY_BYTES = 400;

/** Makes an empty cache. */
export function openAnswerCache(): AnswerCache {
  const entryByKey = new Map<string, Entry>();
  let sizeBytes = 0;

  const drop = (key: string): void => {
    const entry = entryByKey.get(key);
    if (entry === undefined) return;
    entryByKey.delete(key);
    sizeBytes -= costOf(key, entry);
  };

  return {
    // latin1: one character a byte, so distinct bytes make distinct keys, and it is the fastest to make.
    keyOf: (query, askedAs) => `${askedAs} ${query.toString("latin1", 2)}`,
    get(key, query) {
      const entry = entryByKey.get(key);
      if (entry === undefined) return null;
      entry.turns += 1;
      const bytes = turned(entry.encoded, entry.turns);
      query.copy(bytes, 0, 0, 2);
      return { bytes, qtype: entry.qtype, rcode: entry.rcode };
    },
    put(key, finished) {
      drop(key);
      const cost = costOf(key, finished);
      // Not worth emptying half the cache for.
      if (cost > LIMITS.dnsCacheBytes / 8) return;
      for (const oldest of entryByKey.keys()) {
        if (entryByKey.size < LIMITS.dnsCacheEntries && sizeBytes + cost <= LIMITS.dnsCacheBytes) break;
        drop(oldest);
      }
      entryByKey.set(key, { ...finished, turns: 0 });
      sizeBytes += cost;
    },
    clear() {
      entryByKey.clear();
      sizeBytes = 0;
    },
    get entries() {
      return entryByKey.size;
    },
    get sizeBytes() {
      return sizeBytes;
    },
  };
}

function costOf(key: string, finished: Finished): number {
  return key.length + finished.encoded.bytes.length + ENTRY_BYTES;
}

/** A copy whose answer records begin `turns` further on. */
function turned({ bytes, rotation }: Encoded, turns: number): Buffer {
  const copy = Buffer.from(bytes);
  if (rotation === null) return copy;
  const { startBytes, recordBytes, count } = rotation;
  const endBytes = startBytes + recordBytes * count;
  const firstBytes = startBytes + recordBytes * (turns % count);
  bytes.copy(copy, startBytes, firstBytes, endBytes);
  bytes.copy(copy, startBytes + (endBytes - firstBytes), startBytes, firstBytes);
  return copy;
}
