/**
 * Lag: whether the kernel follows what is known already, for those who must not say so before.
 *
 * Who hears that this host has applied a change may stop a replica, so the word waits for the rules. It does not wait
 * for ever: rules that cannot be changed are the status's matter, and a drain must not hang on a host in trouble.
 *
 * Touches: timers, the monotonic clock.
 */

/** What was noted and is not followed yet. */
export interface Lag {
  /** Something changed. */
  note(): void;
  /** A change set begins that holds all that was noted so far. */
  begin(): { ended(isFollowed: boolean): void };
  /** True while something that was noted is not followed yet, and has not taken too long. */
  readonly isBehind: boolean;
  /** Settles when all that was noted so far is followed, or has taken too long. Never rejects. */
  caughtUp(): Promise<void>;
  /** Nothing is followed any more, and nobody is to wait for it. */
  close(): void;
}

/** Those who wait for one moment's notes. */
interface Batch {
  readonly sinceMs: number;
  readonly followed: PromiseWithResolvers<void>;
}

/** @param longestMs  for how long at most somebody waits */
export function openLag(longestMs: number): Lag {
  /** Noted, and in no change set yet; then what is in one. */
  let fresh: Batch | null = null;
  let taken: Batch | null = null;
  let isClosed = false;
  const newBatch = (): Batch => ({ sinceMs: performance.now(), followed: Promise.withResolvers() });
  const leftMs = (): number => {
    const oldest = taken ?? fresh;
    return oldest === null ? 0 : oldest.sinceMs + longestMs - performance.now();
  };
  return {
    note() {
      if (!isClosed) fresh ??= newBatch();
    },
    begin() {
      const batch = taken ?? fresh;
      // What an earlier set did not bring about waits for this one, and so does what came since.
      if (taken !== null && fresh !== null) void taken.followed.promise.then(fresh.followed.resolve);
      taken = batch;
      fresh = null;
      return {
        ended(isFollowed) {
          if (!isFollowed) return;
          taken = null;
          batch?.followed.resolve();
        },
      };
    },
    get isBehind() {
      return leftMs() > 0;
    },
    async caughtUp() {
      const newest = fresh ?? taken;
      if (newest === null || leftMs() <= 0) return;
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, leftMs());
      await Promise.race([newest.followed.promise, late.promise]);
      clearTimeout(timer);
    },
    close() {
      isClosed = true;
      for (const batch of [fresh, taken]) batch?.followed.resolve();
      fresh = taken = null;
    },
  };
}
