/**
 * Anew: waits for the next life of a daemon that opens itself anew.
 *
 * Some commands make a daemon another member than it was, and it closes and opens for that. Who typed the command, or
 * wrote it into a script, expects what comes after it to find the daemon as it is to be.
 *
 * Touches: nothing but the daemon, through the session; a timer between looks.
 */

import { setTimeout as delay } from "node:timers/promises";

import type { StatusReport } from "../admin/contract.ts";
import { Failure } from "../base/failure.ts";

import type { Session } from "./context.ts";

/** For the daemon to close, to open anew, and to see the cluster. */
const DEADLINE_MS = 30_000;
const LOOK_EVERY_MS = 50;

/**
 * Looks until another life of the daemon sees its cluster.
 *
 * @param startedAtMs  when the present life began
 * @throws Failure `timeout` when there is none in half a minute
 */
export async function untilAnew({ client, surroundings }: Session, startedAtMs: number): Promise<void> {
  const { interrupted, nowMs } = surroundings;
  const deadlineMs = nowMs() + DEADLINE_MS;
  while (nowMs() < deadlineMs) {
    try {
      const status = await client.get<StatusReport>("/api/v1/status");
      if (status.startedAtMs !== startedAtMs && status.view.complete) return;
    } catch (thrown) {
      // Between its two lives nobody answers.
      if (!(thrown instanceof Failure) || !["unreachable", "timeout"].includes(thrown.code)) throw thrown;
    }
    await delay(LOOK_EVERY_MS, null, { signal: interrupted });
  }
  const seconds = DEADLINE_MS / 1000;
  throw new Failure("timeout", `the daemon does not serve again after ${seconds} s; its log tells why`);
}
