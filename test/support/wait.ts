// Waits for conditions with deadlines: the one place in the tests where time passes.

import { setTimeout as delay } from "node:timers/promises";

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
 * @throws when the deadline (10 s by default) passes first; a condition that throws counts as not yet, and what it
 *   threw last is the cause
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: UntilOptions = {},
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = performance.now() + (options.deadlineMs ?? 10_000);
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
      throw new Error(`not within ${options.deadlineMs ?? 10_000} ms: ${what}`, { cause });
    }
    await delay(options.everyMs ?? 10);
  }
}
