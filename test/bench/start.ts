/**
 * Start: how long from starting the process until it serves.
 *
 * Touches: child processes.
 */

import { startDaemon } from "./daemon.ts";
import { quantile } from "./statistics.ts";

const ROUNDS = 10;

/** Times of cold processes with a warm compile cache, in milliseconds. */
export interface StartFigures {
  readonly rounds: number;
  readonly medianMs: number;
  readonly slowestMs: number;
  readonly idleRssMb: number;
}

/** Starts a daemon ROUNDS times, after one start that fills Node's compile cache. */
export async function measureStart(): Promise<StartFigures> {
  const timesMs: number[] = [];
  const rssMb: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const daemon = await startDaemon("127.0.41.1");
    if (round > 0) timesMs.push(daemon.readyMs);
    if (round > 0) rssMb.push(daemon.rssBytes() / 1e6);
    await daemon.end();
  }
  const idleRssMb = quantile(rssMb, 0.5);
  return { rounds: ROUNDS, medianMs: quantile(timesMs, 0.5), slowestMs: Math.max(...timesMs), idleRssMb };
}
