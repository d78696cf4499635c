/**
 * Quarantine: what was let go lately is not given to anybody else yet.
 *
 * Clients remember addresses longer than DNS tells them to. For ten minutes an address that a service let go stays
 * unused, or is used by that service again; so nobody is led to a stranger. The same holds for slices of networks: the
 * containers of their last owner may still be known by their addresses.
 *
 * Each node judges from what it has seen itself, and is bound only in its own choices: a claim that another node made
 * counts as any other. Names are opaque here: an address, or `<network>/<index>`.
 *
 * Pure.
 */

import type { Release } from "../model/kept.ts";
import { LIMITS } from "../model/limits.ts";

/** How long what was let go is left alone: longer than most clients cache, shorter than tombstones are kept. */
export const QUARANTINE_MS = 600_000;

/** What one node has seen being let go. */
export class Quarantine {
  /** The oldest first. */
  readonly #releaseByName = new Map<string, Release>();
  #holderByName: ReadonlyMap<string, string> = new Map();
  #revision = 0;

  /** @param kept  what an earlier run had seen; a moment in the future (the clock was set back) counts as now */
  constructor(kept: readonly Release[], nowMs: number) {
    for (const { name, holder, atMs } of kept.toSorted((one, other) => one.atMs - other.atMs))
      this.#releaseByName.set(name, { name, holder, atMs: Math.min(atMs, Math.floor(nowMs)) });
  }

  /** What is worth keeping on disk, the oldest first. */
  get releases(): readonly Release[] {
    return [...this.#releaseByName.values()];
  }

  /** Rises when `releases` changed. */
  get revision(): number {
    return this.#revision;
  }

  /** Takes who holds what now: whatever is held no more has been let go, whatever is held again is free of it. */
  observe(holderByName: ReadonlyMap<string, string>, nowMs: number): void {
    const before = this.#holderByName;
    this.#holderByName = holderByName;
    if (before !== holderByName) this.#compare(before, holderByName, nowMs);
    for (const { name, atMs } of this.#releaseByName.values()) {
      const excess = this.#releaseByName.size - LIMITS.quarantined;
      if (excess <= 0 && nowMs - atMs < QUARANTINE_MS) return;
      this.#releaseByName.delete(name);
      this.#revision += 1;
    }
  }

  /**
   * When `name` was let go, for somebody who would like to have it.
   *
   * @returns null when it is free for him: its time is up, or he had it himself
   */
  releasedAtMs(name: string, asker: string, nowMs: number): number | null {
    const release = this.#releaseByName.get(name);
    if (release === undefined || release.holder === asker || nowMs - release.atMs >= QUARANTINE_MS)
      return null;
    return release.atMs;
  }

  #compare(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>, nowMs: number): void {
    for (const [name, holder] of before) {
      if (after.has(name)) continue;
      // Taken out first: a name that is set again would keep its place among the old ones.
      this.#releaseByName.delete(name);
      this.#releaseByName.set(name, { name, holder, atMs: Math.floor(nowMs) });
      this.#revision += 1;
    }
    for (const name of after.keys()) if (this.#releaseByName.delete(name)) this.#revision += 1;
  }
}
