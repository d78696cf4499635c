// Waits for conditions with deadlines: the one place in the tests where time passes.

import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

/** Long, for it costs nothing while all is well: a busy machine may stand still for seconds. */
export const DEADLINE_MS = 30_000;

/** How long to wait, and how often to look. */
export interface UntilOptions {
  readonly deadlineMs?: number;
  readonly everyMs?: number;
  /** How long one look may take, 120 s by default: commands are looked with, and have deadlines of their own. */
  readonly lookDeadlineMs?: number;
  /** What is awaited, for the error's text. */
  readonly what?: string;
}

/**
 * Waits for what a promise brings.
 *
 * For what ends by somebody else's doing: an event of a socket, the end of a stream. Without a deadline a test waits
 * for ever for what was lost, and takes its whole file with it.
 *
 * @param what what is awaited, for the error's text
 * @throws when `deadlineMs` pass first, or what the promise rejects with; its late end is then ignored
 */
export async function within<T>(promise: Promise<T>, what: string, deadlineMs = DEADLINE_MS): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`not within ${deadlineMs} ms: ${what}`)), deadlineMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Reads a stream to its end, as latin1; destroys it when that does not come in time. */
export async function readToEnd(stream: Readable, what: string, deadlineMs = DEADLINE_MS): Promise<string> {
  let text = "";
  const read = async (): Promise<void> => {
    for await (const chunk of stream.setEncoding("latin1")) text += String(chunk);
  };
  try {
    await within(read(), what, deadlineMs);
    return text;
  } catch (thrown) {
    stream.destroy();
    throw thrown;
  }
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
  const { lookDeadlineMs = 120_000 } = options;
  const what = options.what ?? condition.toString().slice(0, 200);
  let cause: unknown;
  for (;;) {
    try {
      const looked = condition();
      const isQuick = !(looked instanceof Promise);
      const value = isQuick ? looked : await within(looked, `${what}, by a look`, lookDeadlineMs);
      if (value !== false && value !== null && value !== undefined) {
        return value as Exclude<T, false | null | undefined>;
      }
      cause = undefined;
    } catch (thrown) {
      cause = thrown;
    }
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause });
    await delay(options.everyMs ?? 10);
  }
}
