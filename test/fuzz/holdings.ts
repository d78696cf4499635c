// What must hold of a store whatever peers say: one owner's delta writes one owner's log, and nothing goes back.

import { isDeepStrictEqual } from "node:util";

import { base32 } from "../../src/base/bytes.ts";
import { FORGOTTEN_AT, type Delta } from "../../src/gossip/message.ts";
import type { Applied, Store } from "../../src/gossip/store.ts";
import { Sums, termOf } from "../../src/gossip/sums.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { Entry, OwnerLog } from "../../src/model/log.ts";

/** The id of a node by its number; neighbours fall into different parts of a digest. */
export function numberedId(number: number): NodeId {
  const bytes = Buffer.alloc(13);
  bytes.writeUInt32LE(number);
  return base32(bytes, 0, 20);
}

/** A copy of one log, to be compared with what becomes of it. */
type Held = Pick<OwnerLog, "incarnation" | "version" | "floor"> & {
  readonly entryByKey: ReadonlyMap<string, Entry>;
};

/** Copies all logs. */
export function heldBy(store: Store): ReadonlyMap<NodeId, Held> {
  return new Map(Array.from(store.logs, ([owner, log]) => [owner, copied(log)] as const));
}

function copied({ incarnation, version, floor, entryByKey }: OwnerLog): Held {
  return { incarnation, version, floor, entryByKey: new Map(entryByKey) };
}

/**
 * Applies a delta and checks that what came of it is what the store says, to the delta's owner and nobody else.
 *
 * @throws an Error that says what does not hold
 */
export function applyChecked(store: Store, delta: Delta, at: { link: number; nowMs: number }): Applied {
  const before = heldBy(store);
  const applied = store.apply(delta, at.link, at.nowMs);
  const after = heldBy(store);
  for (const [owner, held] of before) {
    const now = after.get(owner);
    check(now !== undefined, `the log of ${owner} is gone`);
    // Tombstones may go, of whomever, where there is no room.
    if (owner === delta.owner && applied.kind === "applied") continue;
    check(
      isDeepStrictEqual(now, held),
      `the log of ${owner} changed, by a delta of ${delta.owner}: ${applied.kind}`,
    );
  }
  const now = after.get(delta.owner);
  if (applied.kind === "applied") {
    check(now !== undefined && now.version === delta.to, `the log is not at the delta's end`);
    checkOrigin(now, before.get(delta.owner), applied.parts);
    checkGapless(before.get(delta.owner), applied.parts);
    checkForward(before.get(delta.owner), now);
  } else {
    check(after.size === before.size, `an owner came, by a delta that was ${applied.kind}`);
  }
  checkStore(store);
  return applied;
}

/** Every entry was there before, or is a write of the parts that were taken. */
function checkOrigin(now: Held, before: Held | undefined, parts: readonly Delta[]): void {
  const writeByKey = new Map(parts.flatMap(({ writes }) => writes.map((write) => [write.key, write])));
  for (const [key, { version, body }] of now.entryByKey) {
    const write = writeByKey.get(key);
    const old = before?.entryByKey.get(key);
    const isWritten = write?.version === version && write.body === body;
    check(
      isWritten || (old?.version === version && old.body === body),
      `the entry ${key} comes from nowhere`,
    );
  }
}

/** The first part begins where the log stood or before, or at 0; each further one where the last ended or before. */
function checkGapless(before: Held | undefined, parts: readonly Delta[]): void {
  let reached = 0;
  for (const { incarnation, from, to } of parts) {
    const goesOn = before?.incarnation === incarnation && from <= before.version;
    check(from <= reached || goesOn, `a delta from ${from} on is applied, past a gap`);
    reached = to;
  }
}

/** Nothing goes back, but where a log is taken anew, in parts: from below a floor, or after it was forgotten. */
function checkForward(before: Held | undefined, now: Held): void {
  if (before === undefined || now.incarnation > before.incarnation) return;
  check(now.incarnation === before.incarnation, "the incarnation goes back");
  const wasForgotten = before.entryByKey.size === 0 && before.floor === before.version;
  const isAnew = now.floor > before.floor || wasForgotten;
  check(now.version >= before.version || isAnew, "the version goes back");
}

/** Checks what must hold of a store at any time. */
export function checkStore(store: Store): void {
  check(store.logs.size <= LIMITS.ownersMax, `${store.logs.size} owners`);
  let sizeBytes = 0;
  for (const log of store.logs.values()) sizeBytes += checkedSizeOf(log);
  // Words on lives are let in past the bound.
  check(sizeBytes <= LIMITS.storeBytes + LIMITS.frameBytes, `${sizeBytes} bytes are held`);
  check(store.staging.sizeBytes <= LIMITS.stagedBytes, `${store.staging.sizeBytes} bytes wait for seals`);
  const sums = new Sums();
  for (const head of store.digest()) {
    if (head.deadAt !== FORGOTTEN_AT) sums.replace(head.owner, 0, termOf(head));
  }
  check(sums.whole === store.sums.whole, "the sum is not that of the heads");
  check(isDeepStrictEqual(sums.parts, store.sums.parts), "the sums of parts are not those of the heads");
}

function checkedSizeOf({ owner, version, entryByKey }: OwnerLog): number {
  check(entryByKey.size <= LIMITS.entriesPerOwner, `${owner} has ${entryByKey.size} entries`);
  let sizeBytes = 0;
  let last = 0;
  for (const [key, entry] of entryByKey) {
    check(entry.version > last && entry.version <= version, `${owner}'s entry ${key} is out of order`);
    last = entry.version;
    sizeBytes += key.length + (entry.body?.length ?? 0);
  }
  check(sizeBytes <= LIMITS.ownerBytes, `${owner} has ${sizeBytes} bytes`);
  return sizeBytes;
}

/** Throws an Error with `text` when something does not hold. */
export function check(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Error(text);
}
