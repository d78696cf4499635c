/**
 * Deadline: a timer for somebody else's answer, which does not blame them for a pause of our own.
 *
 * A process that the machine keeps from running (too few cores, a host that is moved, a long collection of garbage)
 * finds all its timers due when it goes on, and the event loop runs timers before it reads what arrived meanwhile. A
 * plain timer would then call an answer late that is here already. So what a deadline calls has to wait until what
 * is here was read: an immediate comes after that.
 *
 * Touches: timers.
 */

/** A deadline under way. */
export interface RunningDeadline {
  /** Ends it; nothing is called any more. Harmless when it has passed. */
  clear(): void;
}

/** Calls `passed` once so many milliseconds have passed, and what had arrived by then has been read. */
export function startDeadline(ms: number, passed: () => void): RunningDeadline {
  let last: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    last = setImmediate(passed);
  }, ms);
  return {
    clear() {
      clearTimeout(timer);
      clearImmediate(last);
    },
  };
}

/** What came of work that was waited for only so long. */
export type Outcome<T> =
  | { readonly kind: "whole"; readonly value: T }
  | { readonly kind: "failed"; readonly thrown: unknown }
  | { readonly kind: "late" };

/** Waits for work, so many milliseconds at most. Never rejects; what fails after that is nobody's any more. */
export async function outcomeWithin<T>(work: Promise<T>, ms: number): Promise<Outcome<T>> {
  const passed = Promise.withResolvers<Outcome<T>>();
  const deadline = startDeadline(ms, () => passed.resolve({ kind: "late" }));
  const done = work.then(
    (value): Outcome<T> => ({ kind: "whole", value }),
    (thrown: unknown): Outcome<T> => ({ kind: "failed", thrown }),
  );
  try {
    return await Promise.race([done, passed.promise]);
  } finally {
    deadline.clear();
  }
}
