/**
 * Backoff: how long to wait before trying again.
 *
 * Doubling from a first wait to a cap, with full jitter over the upper half, so that hosts that lost the same peer in
 * the same moment do not come back in the same moment.
 *
 * Pure.
 */

import type { Random } from "./random.ts";

/** First and longest wait, both in milliseconds. */
export interface BackoffRange {
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * The wait before attempt number `attempt`, in milliseconds.
 *
 * @param attempt  failures so far, from 0
 */
export function backoffMs(range: BackoffRange, attempt: number, random: Random): number {
  const doubled = Math.min(range.longestMs, range.firstMs * 2 ** Math.min(attempt, 30));
  return doubled / 2 + (doubled / 2) * random();
}
