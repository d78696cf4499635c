/**
 * Sampler: looks at counts once a second while somebody wants to know what passed between.
 *
 * Who asks first waits for a window of its own; whoever asks while it looks gets the last window at once, be it for the
 * page, for `top` or for another host. Windows are as long as they are: rates are by the time that really passed.
 *
 * Touches: a timer.
 */

import { Failure } from "../base/failure.ts";

import { Wanted } from "./wanted.ts";

/** How long a window is. */
export const WINDOW_MS = 1000;

const ENDED = "traffic is not measured any more: the daemon stops";

/** What is looked at. */
export interface Looks<L, W> {
  /** One look. */
  readonly look: () => Promise<L>;
  /** What was between two of them. */
  readonly between: (before: L, after: L) => W;
  /** Told of a look that failed: ours to mend. A window then lasts until the next that does not. */
  readonly onFailed: (thrown: unknown) => void;
}

/** Windows between looks, one after the other. */
export class Sampler<L, W> {
  readonly #looks: Looks<L, W>;
  readonly #wanted: Wanted;
  #last: L | null = null;
  #window: W | null = null;
  #first: PromiseWithResolvers<W> | null = null;
  #isLooking = false;
  /** Rises when it ends: a look that was under way then counts no more. */
  #life = 0;

  constructor(looks: Looks<L, W>) {
    this.#looks = looks;
    this.#wanted = new Wanted({
      everyMs: WINDOW_MS,
      begin: () => void this.#look(),
      again: () => void this.#look(),
      end: () => this.#forget(),
    });
  }

  /** The last window; waits for the first one. @throws Failure `unreachable` when it ends meanwhile */
  window(): Promise<W> {
    const known = this.peek();
    if (known !== null) return Promise.resolve(known);
    if (!this.#wanted.isAtWork) return Promise.reject(new Failure("unreachable", ENDED));
    this.#first ??= Promise.withResolvers<W>();
    return this.#first.promise;
  }

  /** The last window; null while there is none yet. Begins to look where nobody did. */
  peek(): W | null {
    this.#wanted.want();
    return this.#window;
  }

  /** Looks no more. */
  close(): void {
    this.#wanted.close();
  }

  /** One at a time: a look may take long where the machine is busy. */
  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const life = this.#life;
    try {
      const next = await this.#looks.look();
      if (life === this.#life) this.#take(next);
    } catch (thrown) {
      this.#looks.onFailed(thrown);
    } finally {
      if (life === this.#life) this.#isLooking = false;
    }
  }

  #take(next: L): void {
    const before = this.#last;
    this.#last = next;
    if (before === null) return;
    this.#window = this.#looks.between(before, next);
    this.#first?.resolve(this.#window);
    this.#first = null;
  }

  #forget(): void {
    this.#first?.reject(new Failure("unreachable", ENDED));
    this.#first = null;
    this.#last = null;
    this.#window = null;
    this.#isLooking = false;
    this.#life += 1;
  }
}
