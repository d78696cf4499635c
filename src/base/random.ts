/**
 * Random: numbers that a seed decides.
 *
 * The core must replay the same way under the daemon, the simulator and a recorded trace, so it never asks the
 * ambient generator: it is handed a Random. The daemon seeds it from the system once; a test passes a constant.
 * The generator is Mulberry32 (32 bits of state, period 2^32): ample for jitter and choices, never for secrets.
 *
 * Pure.
 */

/** Returns the next number in [0, 1). */
export type Random = () => number;

/** Makes a generator from a 32-bit seed; equal seeds give equal sequences. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** A whole number in [0, bound); bound is at least 1. */
export function below(random: Random, bound: number): number {
  return Math.floor(random() * bound);
}

/** One element, or undefined for an empty list. */
export function pick<T>(random: Random, items: readonly T[]): T | undefined {
  return items[below(random, items.length)];
}

/** A shuffled copy (Fisher-Yates); the argument is left as it was. */
export function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const copy = [...items];
  for (let last = copy.length - 1; last > 0; last -= 1) {
    const chosen = below(random, last + 1);
    [copy[last], copy[chosen]] = [copy[chosen] as T, copy[last] as T];
  }
  return copy;
}

/** At most `countMax` elements of a list in random order: what `shuffled` begins with, at the cost of their number. */
export function sampled<T>(random: Random, items: readonly T[], countMax: number): T[] {
  const copy = [...items];
  const count = Math.min(countMax, copy.length);
  for (let at = 0; at < count; at += 1) {
    const chosen = at + below(random, copy.length - at);
    [copy[at], copy[chosen]] = [copy[chosen] as T, copy[at] as T];
  }
  return copy.slice(0, count);
}
