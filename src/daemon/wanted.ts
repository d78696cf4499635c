/**
 * Wanted: does something again and again, but only for as long as somebody wants it.
 *
 * It begins when it is first wanted and ends ten seconds after it was wanted last, so who asks each second, or a little
 * less often, always finds it at work, and an idle daemon does nothing.
 *
 * Touches: a timer, the clock.
 */

import { nowMs } from "../runtime/clock.ts";

/** How long it goes on after it was wanted last. */
const UNWANTED_MS = 10_000;

/** What is done. */
export interface Work {
  readonly everyMs: number;
  readonly begin: () => void;
  readonly again: () => void;
  readonly end: () => void;
}

/** Work that is done while it is wanted. */
export class Wanted {
  readonly #work: Work;
  #timer: NodeJS.Timeout | null = null;
  #wantedAtMs = 0;
  #isClosed = false;

  constructor(work: Work) {
    this.#work = work;
  }

  /** True from when it was wanted until it has ended. */
  get isAtWork(): boolean {
    return this.#timer !== null;
  }

  /** Says that it is wanted. Nothing begins any more once it was closed. */
  want(): void {
    this.#wantedAtMs = nowMs();
    if (this.#timer !== null || this.#isClosed) return;
    this.#timer = setInterval(() => {
      this.#work.again();
      if (nowMs() - this.#wantedAtMs >= UNWANTED_MS) this.#end();
    }, this.#work.everyMs);
    this.#timer.unref();
    this.#work.begin();
  }

  /** Ends it for good. */
  close(): void {
    this.#isClosed = true;
    this.#end();
  }

  #end(): void {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    this.#work.end();
  }
}
