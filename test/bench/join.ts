/**
 * Join: how long a new host takes to become a member.
 *
 * Two figures: asking for a certificate over the mesh port, of which the first loads what issues certificates, on both
 * sides; and the whole of a first start with a token, from the process to a daemon that serves.
 *
 * Touches: child processes, the mesh port of a daemon, temporary folders.
 */

import { roundOf, untold, type OnStep } from "../support/steps.ts";

import { joinAs } from "./credentials.ts";
import { startDaemon } from "./daemon.ts";
import { quantile } from "./statistics.ts";

const ROUNDS = 5;
const FIRST = "127.0.42.1";
const NEXT = "127.0.42.2";

/** In milliseconds. */
export interface JoinFigures {
  /** Of a joiner and a manager that have not issued or asked for any certificate before. */
  readonly firstMs: number;
  /** Median of those after it. */
  readonly medianMs: number;
  /** From starting the process of a daemon with a token and an empty data dir until it serves. */
  readonly startedMs: number;
}

/** Joins ROUNDS members to one daemon, then as many daemons one after the other. */
export async function measureJoin(onStep: OnStep = untold): Promise<JoinFigures> {
  const daemon = await startDaemon(FIRST);
  try {
    const askedMs: number[] = [];
    for (let round = 0; round <= ROUNDS; round += 1) {
      onStep(`certificates, ${roundOf(round, ROUNDS, { warmsUp: true })}`);
      const token = await daemon.token();
      const startMs = performance.now();
      await joinAs(`member-${round}`, daemon.mesh, token);
      askedMs.push(performance.now() - startMs);
    }
    const startedMs: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      onStep(`first starts, ${roundOf(round, ROUNDS)}`);
      const joiner = await startDaemon(NEXT, { joins: daemon });
      startedMs.push(joiner.readyMs);
      await joiner.end();
    }
    const [firstMs = Number.NaN, ...laterMs] = askedMs;
    return { firstMs, medianMs: quantile(laterMs, 0.5), startedMs: quantile(startedMs, 0.5) };
  } finally {
    await daemon.end();
  }
}
