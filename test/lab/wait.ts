/**
 * Wait: the one way a lab test lets time pass.
 *
 * A sleep is either too short on a noisy machine or too long on a quiet one. So everything here waits for a
 * condition with a deadline, and a missed deadline says what was waited for and what stood in the way last.
 * A check that throws counts as "not yet": connections are refused and files are missing while things start.
 *
 * Touches: the clock.
 */

import { setTimeout as delay } from "node:timers/promises";

export type WaitOptions = { readonly timeoutMs?: number; readonly intervalMs?: number };

type NotYet = null | undefined | false;

/**
 * Polls until `check` gives something other than null, undefined or false, and returns it.
 *
 * @throws when the deadline passes, with the last error of `check` as its cause
 */
export async function until<T>(
  what: string,
  check: () => T | NotYet | Promise<T | NotYet>,
  options: WaitOptions = {},
): Promise<T> {
  const { timeoutMs = 10_000, intervalMs = 50 } = options;
  const deadlineMs = performance.now() + timeoutMs;
  let cause: unknown = null;
  do {
    try {
      const found = await check();
      if (found !== null && found !== undefined && found !== false) return found;
      cause = null;
    } catch (error) {
      cause = error;
    }
    await delay(intervalMs);
  } while (performance.now() < deadlineMs);
  const last = cause instanceof Error ? `; last: ${cause.message}` : "";
  throw new Error(`waited ${timeoutMs} ms for ${what}${last}`, { cause });
}

/** As `until`, but blocking the whole process: for exit handlers, where no promise is ever resumed. */
export function untilSync(check: () => boolean, options: WaitOptions = {}): boolean {
  const { timeoutMs = 10_000, intervalMs = 20 } = options;
  const deadlineMs = performance.now() + timeoutMs;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  while (!check()) {
    if (performance.now() >= deadlineMs) return false;
    Atomics.wait(cell, 0, 0, intervalMs);
  }
  return true;
}
