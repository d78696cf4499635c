/**
 * Weather: what the network does to what is under way, and how TCP makes good for it.
 */

import type { Random } from "../../src/base/random.ts";

/** First wait before a lost segment is sent again; doubles up to the greatest. */
const RETRANSMIT_MS = 200;
const RETRANSMIT_MAX_MS = 120_000;
/** Payload of one segment. */
const SEGMENT_BYTES = 1448;

/** What the network does to frames. */
export interface Weather {
  /** Time under way, one way. */
  readonly latencyMs: { readonly low: number; readonly high: number };
  /** Chance that a segment is lost. */
  readonly loss: number;
  /** Chances that a frame is dropped, repeated, or overtaken by later ones; null for TCP. */
  readonly raw: { readonly drop: number; readonly repeat: number; readonly reorder: number } | null;
}

/** How much later a frame is whole because segments of it were lost, some of them again and again. */
export function lossMs(loss: number, random: Random, sizeBytes: number): number {
  if (loss === 0) return 0;
  let left = Math.ceil(sizeBytes / SEGMENT_BYTES);
  let lateMs = 0;
  let waitMs = RETRANSMIT_MS;
  for (;;) {
    let lost = 0;
    for (let segment = 0; segment < left; segment += 1) if (random() < loss) lost += 1;
    if (lost === 0) return lateMs;
    lateMs += waitMs;
    waitMs = Math.min(2 * waitMs, RETRANSMIT_MAX_MS);
    left = lost;
  }
}

/** When a sender tries again that was first held up at `sinceMs`: 0.2, 0.6, 1.4, 3 ... seconds later. */
export function retransmittedAtMs(sinceMs: number, nowMs: number): number {
  let waitMs = RETRANSMIT_MS;
  let atMs = sinceMs + waitMs;
  while (atMs <= nowMs) {
    waitMs = Math.min(2 * waitMs, RETRANSMIT_MAX_MS);
    atMs += waitMs;
  }
  return atMs;
}
