/**
 * Streaks: how many answers in a row of each upstream were bad.
 *
 * One failed request says little of a replica that took the connection: it may be the request. Five in a row are a
 * pattern, as Envoy has it (consecutive_5xx, which counts resets too). A good answer ends a streak, but only once it is
 * whole: an upstream that breaks off every answer begins each of them well.
 *
 * Pure. Bounded; whoever was asked for longest ago is forgotten first.
 */

import { LIMITS } from "../../model/limits.ts";

/** Bad answers in a row that are one too many. */
export const STREAK_MAX = 5;

/** The streaks of one proxy's upstreams, by id. */
export class Streaks {
  readonly #countById = new Map<string, number>();

  /** Counts a bad answer; returns how many in a row that makes. */
  bad(id: string): number {
    const count = this.countOf(id) + 1;
    this.#countById.delete(id);
    this.#countById.set(id, count);
    const oldest = this.#countById.keys().next();
    if (this.#countById.size > LIMITS.ejectionsMax && oldest.done !== true)
      this.#countById.delete(oldest.value);
    return count;
  }

  /** Ends a streak. */
  end(id: string): void {
    if (this.#countById.size > 0) this.#countById.delete(id);
  }

  /** Bad answers in a row by now. */
  countOf(id: string): number {
    return this.#countById.get(id) ?? 0;
  }

  /** Forgets every upstream that is not known any more. */
  keepOnly(isKnown: (id: string) => boolean): void {
    for (const id of this.#countById.keys()) if (!isKnown(id)) this.#countById.delete(id);
  }
}
