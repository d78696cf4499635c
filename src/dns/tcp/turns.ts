/**
 * Turns: how long TCP connections are served before the rest of the daemon has its turn.
 *
 * A query may take a microsecond (answered before) or some milliseconds (the SRV records of thousands of replicas), so
 * counting queries bounds nothing. All connections of a server together get some milliseconds a turn of the event loop;
 * what is left over goes on in the next one, by rounds (rounds.ts). While nothing is left over, a query is served the
 * moment it comes.
 *
 * Touches: the event loop, the monotonic clock.
 */

import { nowMs } from "../../runtime/clock.ts";

import { Rounds } from "./rounds.ts";

/** Something that can be served a slice at a time. */
export interface Sliced {
  readonly network: string;
  /** Serves until the time is over, and at least one query. It asks for another turn when there is more. */
  slice(endMs: number): void;
}

/** The turns of all TCP connections of a server. */
export class Turns {
  readonly #turnMs: number;
  readonly #waiting = new Rounds<Sliced>();
  readonly #next = (): void => this.#turn();
  #endMs = 0;
  #isOpen = false;

  /** @param turnMs  how long a turn is; Infinity: all is served at once */
  constructor(turnMs: number) {
    this.#turnMs = turnMs;
  }

  /** Serves at once when it can. @returns false when it has to wait for its turn */
  ask(item: Sliced): boolean {
    this.#open();
    if (this.#waiting.size > 0 || nowMs() >= this.#endMs) {
      this.#waiting.add(item.network, item);
      return false;
    }
    item.slice(this.#endMs);
    return true;
  }

  /** Lets others go first. */
  later(item: Sliced): void {
    this.#open();
    this.#waiting.add(item.network, item);
  }

  /** Forgets one that is over. */
  drop(item: Sliced): void {
    this.#waiting.delete(item.network, item);
  }

  #open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#endMs = nowMs() + this.#turnMs;
    setImmediate(this.#next);
  }

  /** What was left over, as far as the time of a turn goes. */
  #turn(): void {
    this.#isOpen = false;
    if (this.#waiting.size === 0) return;
    this.#open();
    // At least one, so that it goes on however slow the machine.
    do {
      const item = this.#waiting.next();
      if (item === null) return;
      item.slice(this.#endMs);
    } while (nowMs() < this.#endMs);
  }
}
