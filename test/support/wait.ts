// Waits for conditions with deadlines: the one place in the tests where time passes.

import { setTimeout as delay } from "node:timers/promises";

/** Long, for it costs nothing while all is well: a busy machine may stand still for seconds. */
export const DEADLINE_MS = 30_000;

/** How long to wait, and how often to look. */
export interface UntilOptions {
  readonly deadlineMs?: number;
  readonly everyMs?: number;
  /** What is awaited, for the error's text. */
  readonly what?: string;
}

/**
 * Looks until `condition` holds: until it returns (or resolves to) anything but false, null or undefined.
 *
 * @returns what the condition returned
 * @throws when the deadline (DEADLINE_MS by default) passes first; a condition that throws counts as not yet, and
 *   what it threw last is the cause
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: UntilOptions = {},
): Promise<Exclude<T, false | null | undefined>> {
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  const deadline = performance.now() + deadlineMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== false && value !== null && value !== undefined) {
        return value as Exclude<T, false | null | undefined>;
      }
      cause = undefined;
    } catch (thrown) {
      cause = thrown;
    }
    if (performance.now() > deadline) {
      const what = options.what ?? condition.toString().slice(0, 200);
      throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause });
    }
    await delay(options.everyMs ?? 10);
  }
}
