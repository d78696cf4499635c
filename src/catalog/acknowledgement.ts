/**
 * Acknowledgement: which drains has everyone heard of, and who has not?
 *
 * A drain is over by acknowledgement, not by sleep: once every alive member has applied the version of this node's log
 * that first said `draining`, and this host's own kernel follows it, no new traffic comes from anywhere. The owner then
 * says so in the replica's record, and
 * whoever asked for the drain, on whichever host, sees it in its own view. A drain that takes longer than a moment
 * names those who are missing the same way, once a second where they change: somebody waits, and only the owner knows.
 * When very many drain at once, as with a whole host, one of them tells for all: they lack the same members.
 *
 * Pure.
 */

import type { ReplicaId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { NOBODY, type ReplicaRecord } from "../model/record.ts";

/** How long a drain is given before those who have not applied it are named, and between two such lists. */
const NAMED_EVERY_MS = 1000;
/** Of more draining replicas than this only one tells who is missing. */
const NAMED_REPLICAS_MAX = 32;

/** A drain that is under way. */
interface Pending {
  /** The version of this node's log that first said it. */
  readonly version: number;
  readonly sinceMs: number;
  namedAtMs: number;
  names: readonly string[];
}

/** Remembers, for each draining replica, since which version it is, and whether that was applied everywhere. */
export class Acknowledgements {
  readonly #pendingById = new Map<ReplicaId, Pending>();
  readonly #appliedVersionById = new Map<ReplicaId, number>();

  /** True when every alive member has applied that a replica drains. */
  isApplied(id: ReplicaId): boolean {
    return this.#appliedVersionById.has(id);
  }

  /** The names of members that have not, as far as they are to be told by now; at most LIMITS.drainPendingMax. */
  pending(id: ReplicaId): readonly string[] {
    return this.#pendingById.get(id)?.names ?? NOBODY;
  }

  /** The names of members that have not applied all drains. @param lagging  as for `settle` */
  missing(lagging: (version: number) => readonly string[]): readonly string[] {
    let newest = 0;
    for (const { version } of this.#pendingById.values()) newest = Math.max(newest, version);
    return newest === 0 ? NOBODY : lagging(newest);
  }

  /**
   * Takes the records just published.
   *
   * @param version  the version of this node's log that holds them
   */
  published(records: readonly ReplicaRecord[], version: number, nowMs: number): void {
    const draining = new Set(records.filter(({ state }) => state === "draining").map(({ id }) => id));
    // A log that was started anew has a new numbering, and what it says now counts.
    const isOver = (id: ReplicaId, drainedAt: number): boolean => !draining.has(id) || drainedAt > version;
    for (const [id, one] of this.#pendingById) if (isOver(id, one.version)) this.#pendingById.delete(id);
    for (const [id, drainedAt] of this.#appliedVersionById)
      if (isOver(id, drainedAt)) this.#appliedVersionById.delete(id);
    for (const id of draining) {
      if (this.#pendingById.has(id) || this.#appliedVersionById.has(id)) continue;
      this.#pendingById.set(id, { version, sinceMs: nowMs, namedAtMs: nowMs, names: NOBODY });
    }
  }

  /**
   * Looks which drains have been applied by now, and who is missing in the others.
   *
   * @param lagging  the names of alive members that have not applied a version
   * @param aheadMs  drains of that time and later are not followed yet by this host's own kernel
   * @returns true when there is something new to tell
   */
  settle(
    lagging: (version: number) => readonly string[],
    nowMs: number,
    aheadMs: number = Number.POSITIVE_INFINITY,
  ): boolean {
    let hasNew = false;
    const isNamed = this.#pendingById.size <= NAMED_REPLICAS_MAX;
    const [first] = this.#pendingById.keys();
    const namesByVersion = new Map<number, readonly string[]>();
    for (const [id, pending] of this.#pendingById) {
      const { version, sinceMs } = pending;
      // Once a version: all replicas of a host that stops drain with the same one.
      const names = namesByVersion.get(version) ?? lagging(version);
      namesByVersion.set(version, names);
      if (names.length === 0 && sinceMs >= aheadMs) continue;
      if (names.length === 0) {
        this.#pendingById.delete(id);
        this.#appliedVersionById.set(id, version);
        hasNew = true;
      } else if ((isNamed || id === first) && nowMs - pending.namedAtMs >= NAMED_EVERY_MS) {
        pending.namedAtMs = nowMs;
        hasNew = rename(pending, names) || hasNew;
      }
    }
    return hasNew;
  }
}

/** @returns true when these are others than before */
function rename(pending: Pending, lagging: readonly string[]): boolean {
  const names = lagging.toSorted().slice(0, LIMITS.drainPendingMax);
  const isSame =
    names.length === pending.names.length && names.every((name, at) => name === pending.names[at]);
  if (!isSame) pending.names = names;
  return !isSame;
}
