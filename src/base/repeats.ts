/**
 * Repeats: has this been said lately?
 *
 * A peer that is refused comes back each second, and a line in the log each time hides all other lines. So what is the
 * same is said once in a period. The memory of what was said is bounded: when there is too much of it, nothing new is
 * said until the period is over, since whoever makes up new things to say must not fill the log either.
 *
 * Pure.
 */

/** What was said in the present period. */
export class Repeats {
  readonly #periodMs: number;
  readonly #keysMax: number;
  readonly #saidAtMsByKey = new Map<string, number>();

  /** @param keysMax  different things said in one period at most */
  constructor(periodMs: number, keysMax: number) {
    this.#periodMs = periodMs;
    this.#keysMax = keysMax;
  }

  /** Whether to say this now: true once a period for each key. Time may not go back between calls. */
  isNew(key: string, nowMs: number): boolean {
    // Invariant: oldest first, since a key is put in anew each time that it is said.
    for (const [old, saidAtMs] of this.#saidAtMsByKey) {
      if (nowMs - saidAtMs < this.#periodMs) break;
      this.#saidAtMsByKey.delete(old);
    }
    if (this.#saidAtMsByKey.has(key) || this.#saidAtMsByKey.size >= this.#keysMax) return false;
    this.#saidAtMsByKey.set(key, nowMs);
    return true;
  }
}
