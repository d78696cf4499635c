/**
 * Deadlines: everything the proxy waits for, compared with the time in one place.
 *
 * A connect, a first byte, a quiet transfer: each has a moment by which it must have moved. Not a timer each: moments
 * move with every chunk of a body, and re-arming a timer per chunk costs more than the chunk. So a deadline is a field
 * that its owner overwrites, and one tick looks at all of them.
 *
 * Pure. proxy.ts ticks.
 */

import { Roster, type Placed } from "../base/roster.ts";

/** A moment, Unix milliseconds, that its owner may move at any time. */
export interface Deadline {
  atMs: number;
}

interface Kept extends Deadline, Placed {
  readonly passed: () => void;
}

/** All deadlines of one proxy. */
export class Deadlines {
  readonly #roster = new Roster<Kept>();

  /**
   * Adds a deadline.
   *
   * @param passed  called on each tick at or after `atMs`, until the deadline is moved or removed
   */
  add(atMs: number, passed: () => void): Deadline {
    const kept: Kept = { atMs, passed, at: -1 };
    this.#roster.add(kept);
    return kept;
  }

  /** Removes a deadline; harmless when it is gone already. */
  remove(deadline: Deadline): void {
    this.#roster.remove(deadline as Kept);
  }

  /** Calls what has passed. */
  tick(nowMs: number): void {
    for (const kept of this.#roster.filter(({ atMs }) => nowMs >= atMs)) {
      // Looked at again: one that has passed may move or remove others.
      if (kept.at !== -1 && nowMs >= kept.atMs) kept.passed();
    }
  }

  get size(): number {
    return this.#roster.size;
  }
}
