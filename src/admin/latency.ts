/**
 * Latency: percentiles from the counts of a histogram's buckets.
 *
 * A bucket tells only between which two times its requests took. Within one they are taken to lie evenly, so a
 * percentile is read off the straight line between its ends; of what took longer than the last bound only that is
 * known, and that bound is told. Buckets, not percentiles, are what several hosts' numbers are added up by: the mean
 * of two 99th percentiles is nobody's.
 *
 * Pure.
 */

import type { LatencyMs } from "./contract-live.ts";

/** Counts of buckets added up, as long as the longer one. */
export function addBuckets(one: readonly number[], other: readonly number[]): readonly number[] {
  const [long, short] = one.length >= other.length ? [one, other] : [other, one];
  return long.map((count, at) => count + (short[at] ?? 0));
}

/**
 * The percentiles of what fell into the buckets.
 *
 * @param buckets  how many fell into each; the one above all bounds last, and zeros at the end may be missing
 * @param bounds  the buckets' upper ends, rising, in seconds
 * @returns null for none at all
 */
export function latencyOf(buckets: readonly number[], bounds: readonly number[]): LatencyMs | null {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return null;
  const at = (share: number): number => quantileMs(buckets, bounds, share * total);
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** By when `rank` of them were done, milliseconds. */
function quantileMs(buckets: readonly number[], bounds: readonly number[], rank: number): number {
  let below = 0;
  for (const [at, count] of buckets.entries()) {
    const upper = bounds[at];
    if (upper === undefined) break;
    if (count > 0 && below + count >= rank) {
      const lower = bounds[at - 1] ?? 0;
      return roundMs((lower + ((upper - lower) * (rank - below)) / count) * 1000);
    }
    below += count;
  }
  return roundMs((bounds.at(-1) ?? 0) * 1000);
}

/** To a thousandth: beyond that a bucket knows nothing. */
function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
