/**
 * Deadlines: everything the proxy waits for, compared with the time in one place.
 *
 * A connect, a first byte, a quiet transfer: each has a moment by which it must have moved. Not a timer each: moments
 * move with every chunk of a body, and re-arming a timer per chunk costs more than the chunk. So a deadline is a field
 * that its owner overwrites, and one tick looks at all of them.
 *
 * Pure. proxy.ts ticks.
 */

/** A moment, Unix milliseconds, that its owner may move at any time. */
export interface Deadline {
  atMs: number;
}

/** All deadlines of one proxy. */
export class Deadlines {
  readonly #passedByDeadline = new Map<Deadline, () => void>();

  /**
   * Adds a deadline.
   *
   * @param passed  called on each tick at or after `atMs`, until the deadline is moved or removed
   */
  add(atMs: number, passed: () => void): Deadline {
    const deadline = { atMs };
    this.#passedByDeadline.set(deadline, passed);
    return deadline;
  }

  /** Removes a deadline; harmless when it is gone already. */
  remove(deadline: Deadline): void {
    this.#passedByDeadline.delete(deadline);
  }

  /** Calls what has passed. */
  tick(nowMs: number): void {
    for (const [deadline, passed] of this.#passedByDeadline) {
      if (nowMs >= deadline.atMs) passed();
    }
  }

  get size(): number {
    return this.#passedByDeadline.size;
  }
}
