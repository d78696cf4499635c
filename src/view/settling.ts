/**
 * Settling: which of this node's new claims may be relied on by now?
 *
 * Two hosts that have not heard of each other's claims may claim one address for two services. That shows as soon as
 * both have applied both claims; so a new claim is tentative until every alive member has applied the write that holds
 * it. Half a second is waited for that at most: a member that is alive and takes longer must not hold up the others.
 *
 * Pure. A claim is known here by the key of its record.
 */

/** Longer than a change takes to reach everybody in the clusters measured, shorter than a person waits for a name. */
export const TENTATIVE_MS = 500;

interface Waiting {
  /** The version of this node's log that holds the claim; null until it is written. */
  readonly version: number | null;
  readonly sinceMs: number;
}

/** The claims of one node that are still tentative. */
export class Settling {
  readonly #waitingByKey = new Map<string, Waiting>();

  /** True while something is tentative. */
  get isWaiting(): boolean {
    return this.#waitingByKey.size > 0;
  }

  /** A new claim under this key, or another one than before. */
  begin(key: string, nowMs: number): void {
    this.#waitingByKey.set(key, { version: null, sinceMs: nowMs });
  }

  /** The claim under this key is let go, or settled by another claimant. */
  end(key: string): void {
    this.#waitingByKey.delete(key);
  }

  /**
   * The claims have been written.
   *
   * @param version  the version of this node's log after the write
   */
  written(version: number): void {
    for (const [key, waiting] of this.#waitingByKey) {
      // A log that was started anew has a new numbering.
      if (waiting.version === null || waiting.version > version)
        this.#waitingByKey.set(key, { ...waiting, version });
    }
  }

  /**
   * Looks which claims are settled by now, and forgets them.
   *
   * @param lagging  the names of alive members that have not applied a version
   * @returns the keys of their records
   */
  settle(lagging: (version: number) => readonly string[], nowMs: number): readonly string[] {
    const isAppliedByVersion = new Map<number, boolean>();
    const settled: string[] = [];
    for (const [key, { version, sinceMs }] of this.#waitingByKey) {
      if (version === null) continue;
      const isApplied = isAppliedByVersion.get(version) ?? lagging(version).length === 0;
      isAppliedByVersion.set(version, isApplied);
      if (isApplied || nowMs - sinceMs >= TENTATIVE_MS) settled.push(key);
    }
    for (const key of settled) this.#waitingByKey.delete(key);
    return settled;
  }
}
