/**
 * Latest: hands a consumer the newest value, one at a time, and lets it skip the ones between.
 *
 * Our layers give each other whole values, not edits; so while a consumer is busy with one value only the newest of
 * those that came since is worth its time. This is the one place where that rule is written.
 *
 * Pure.
 */

/** A cell with one asynchronous consumer. */
export interface Latest<T> {
  /** Offers a value; the consumer sees it unless a newer one comes before it is free. */
  set(value: T): void;
  /** Settles when every value set so far has been consumed or skipped, however many follow. Never rejects. */
  soFar(): Promise<void>;
  /** Settles when nothing is left to consume, of what is set meanwhile either. Never rejects. */
  idle(): Promise<void>;
}

/**
 * Makes a Latest.
 *
 * @param consume  called with one value at a time, never concurrently
 * @param failed   told what `consume` threw; the next value is consumed all the same
 */
export function latest<T>(
  consume: (value: T) => Promise<void>,
  failed: (thrown: unknown) => void,
): Latest<T> {
  let waiting: { readonly value: T } | null = null;
  let running: Promise<void> | null = null;
  let setCount = 0;
  let awaited: { readonly count: number; readonly resolve: () => void }[] = [];

  const tellConsumed = (upTo: number): void => {
    const told = awaited.filter(({ count }) => count <= upTo);
    awaited = awaited.filter(({ count }) => count > upTo);
    for (const { resolve } of told) resolve();
  };

  const drain = async (): Promise<void> => {
    while (waiting !== null) {
      const { value } = waiting;
      const count = setCount;
      waiting = null;
      try {
        await consume(value);
      } catch (thrown) {
        failed(thrown);
      }
      tellConsumed(count);
    }
    running = null;
  };

  return {
    set(value) {
      waiting = { value };
      setCount += 1;
      // Not drain() itself: `running` must be set before the consumer runs, or a set from within it runs a second one.
      running ??= Promise.resolve().then(drain);
    },
    soFar() {
      if (running === null) return Promise.resolve();
      return new Promise((resolve) => {
        awaited.push({ count: setCount, resolve });
      });
    },
    idle: () => running ?? Promise.resolve(),
  };
}
