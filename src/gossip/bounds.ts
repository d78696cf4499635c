/**
 * Bounds: how much of one owner's log is held.
 *
 * The same for its owner and for all others. A holder that dropped an entry for want of room could not hand the log on,
 * since the seal would not fit what is left; so a change that goes past a bound is refused whole, and an owner leaves
 * out what nobody would take. Tombstones do not count: they can go whenever there is need. So whoever puts deletions
 * into a log that is not his own, which no seal forbids, cannot keep its owner's writes out.
 *
 * Pure.
 */

import { LIMITS } from "../model/limits.ts";

import { collectBuried, sizeOf, type HeldLog } from "./held.ts";
import { LIFE_KEY } from "./life.ts";

/** A word on a life is never longer; without room for it an owner could not say that it is alive. */
const LIFE_BYTES = 200;

/** True for a log that is larger than one may be. */
export function isPastBounds(sizeBytes: number, count: number): boolean {
  return sizeBytes > LIMITS.ownerBytes || count > LIMITS.entriesPerOwner;
}

/** Whether a write of the owner itself keeps its log and the record within their bounds. */
export function hasRoomFor(log: HeldLog, key: string, body: string | null): boolean {
  if (key.length > LIMITS.recordKeyBytes || (body?.length ?? 0) > LIMITS.recordBytes) return false;
  if (body === null || key === LIFE_KEY) return true;
  const old = log.entryByKey.get(key)?.body ?? null;
  const liveBytes = liveBytesOf(log) + sizeOf(key, body) - (old === null ? 0 : sizeOf(key, old));
  const liveCount = log.entryByKey.size - (log.buriedAtMsByKey?.size ?? 0) + Number(old === null);
  return !isPastBounds(liveBytes + LIMITS.ownerReservedBytes, liveCount + LIMITS.ownerReservedEntries);
}

/** What a log takes without its tombstones; 0 for none. */
export function liveBytesOf(log: HeldLog | undefined): number {
  return log === undefined ? 0 : log.sizeBytes - log.buriedBytes;
}

/** Takes as many tombstones out as make a log too large, the oldest first. */
export function keepWithinBounds(log: HeldLog): void {
  collectBuried(log, () => !isPastBounds(log.sizeBytes, log.entryByKey.size));
}

/** True for writes that are nothing but an owner's word on its own life. */
export function isLifeAlone(writes: ReadonlyMap<string, { readonly body: string | null }>): boolean {
  return [...writes].every(([key, { body }]) => key === LIFE_KEY && (body?.length ?? 0) <= LIFE_BYTES);
}
