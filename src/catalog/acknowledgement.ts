/**
 * Acknowledgement: which drains has everyone heard of?
 *
 * A drain is over by acknowledgement, not by sleep: once every alive member has applied the version of this node's log
 * that first said `draining`, no new traffic comes from anywhere. The owner then says so in the replica's record, and
 * whoever asked for the drain, on whichever host, sees it in its own view.
 *
 * Pure.
 */

import type { ReplicaId } from "../model/ids.ts";
import type { ReplicaRecord } from "../model/record.ts";

/** Remembers, for each draining replica, since which version it is, and whether that was applied everywhere. */
export class Acknowledgements {
  readonly #versionById = new Map<ReplicaId, number>();
  readonly #appliedIds = new Set<ReplicaId>();

  /** Draining replicas whose drain every alive member has applied. */
  get appliedIds(): ReadonlySet<ReplicaId> {
    return this.#appliedIds;
  }

  /**
   * Takes the records just published.
   *
   * @param version  the version of this node's log that holds them
   */
  published(records: readonly ReplicaRecord[], version: number): void {
    const draining = new Set(records.filter(({ state }) => state === "draining").map(({ id }) => id));
    for (const [id, drainedAt] of this.#versionById) {
      // A log that was started anew has a new numbering, and what it says now counts.
      if (draining.has(id) && drainedAt <= version) continue;
      this.#versionById.delete(id);
      this.#appliedIds.delete(id);
    }
    for (const id of draining) if (!this.#versionById.has(id)) this.#versionById.set(id, version);
  }

  /**
   * Looks which drains have been applied by now.
   *
   * @param lagging  the names of alive members that have not applied a version
   * @returns true when there is a new one
   */
  settle(lagging: (version: number) => readonly string[]): boolean {
    let hasNew = false;
    for (const [id, version] of this.#versionById) {
      if (this.#appliedIds.has(id) || lagging(version).length > 0) continue;
      this.#appliedIds.add(id);
      hasNew = true;
    }
    return hasNew;
  }
}
