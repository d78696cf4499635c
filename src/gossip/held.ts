/**
 * Held: one owner's log as a node holds it, its own or another's.
 *
 * Beside the entries stand what vouches for them: the sum over the live ones, the owner's seal over that sum at this
 * version, and the credential by which the seal was checked. So whoever asks is sent what the owner signed, by whom
 * ever. Tombstones are in no sum: that one was left out shows in the entry that it should have taken away. They may go
 * early; the floor then says up to which version they may be missing.
 *
 * Pure. store.ts decides what is taken.
 */

import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import type { Entry, OwnerLog } from "../model/log.ts";
import type { ContentSum } from "../model/seal.ts";

/** A log and what vouches for it. Changed by store.ts alone. */
export interface HeldLog extends OwnerLog {
  version: number;
  floor: number;
  /** As in Head. */
  deadAt: number | null;
  isForgotten: boolean;
  /** What its head adds to the sums of all heads. */
  term: number;
  /** Of all keys and bodies. */
  sizeBytes: number;
  /** The part of it that tombstones take. */
  buriedBytes: number;
  /** Invariant: in ascending order of version, since each write re-inserts its key. */
  readonly entryByKey: Map<string, Entry>;
  /** Keys of tombstones and when this node first held them, oldest first; null for none, as for most owners. */
  buriedAtMsByKey: Map<string, number> | null;
  /** Over all live entries. */
  sum: ContentSum;
  /** The owner's, over the log at this version; null while this node's own has not been asked for. */
  seal: Uint8Array | null;
  /** Who the owner has proved to be; null for a forgotten one. */
  credential: Credential | null;
}

/** What an entry costs beside its key and body. */
const ENTRY_BYTES = 64;

/** A log without entries. @param sum  taken over */
export function emptyLog(owner: NodeId, incarnation: number, sum: ContentSum): HeldLog {
  return {
    owner,
    incarnation,
    version: 0,
    floor: 0,
    deadAt: null,
    isForgotten: false,
    term: 0,
    sizeBytes: 0,
    buriedBytes: 0,
    entryByKey: new Map(),
    buriedAtMsByKey: null,
    sum,
    seal: null,
    credential: null,
  };
}

/** What one entry takes. */
export function sizeOf(key: string, body: string | null): number {
  return key.length + (body?.length ?? 0) + ENTRY_BYTES;
}

/** Sets an entry; the sum is the caller's to keep. */
export function put(log: HeldLog, key: string, { version, body }: Entry, nowMs: number): void {
  const old = log.entryByKey.get(key);
  if (old !== undefined) log.sizeBytes -= sizeOf(key, old.body);
  log.entryByKey.delete(key);
  if (log.buriedAtMsByKey?.delete(key) === true) log.buriedBytes -= sizeOf(key, null);
  log.sizeBytes += sizeOf(key, body);
  log.entryByKey.set(key, { version, body });
  if (body !== null) return;
  log.buriedAtMsByKey ??= new Map();
  log.buriedAtMsByKey.set(key, nowMs);
  log.buriedBytes += sizeOf(key, null);
}

/** Sets an entry of this node's own log, with the next version, and keeps the sum. */
export function writeOwn(log: HeldLog, key: string, body: string | null, nowMs: number): void {
  const old = log.entryByKey.get(key);
  if (typeof old?.body === "string") log.sum.remove(key, old.version, old.body);
  log.version += 1;
  log.seal = null;
  put(log, key, { version: log.version, body }, nowMs);
  if (body !== null) log.sum.add(key, log.version, body);
}

/** Takes out tombstones, the oldest first, until `isEnough` of the next one; raises the floor. */
export function collectBuried(log: HeldLog, isEnough: (buriedAtMs: number) => boolean): void {
  if (log.buriedAtMsByKey === null) return;
  for (const [key, buriedAtMs] of log.buriedAtMsByKey) {
    if (isEnough(buriedAtMs)) break;
    log.floor = Math.max(log.floor, log.entryByKey.get(key)?.version ?? 0);
    log.buriedAtMsByKey.delete(key);
    log.entryByKey.delete(key);
    log.sizeBytes -= sizeOf(key, null);
    log.buriedBytes -= sizeOf(key, null);
  }
}
