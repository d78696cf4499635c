// A clock that stands still until it is told to go on, and what is to happen at which of its times.

import assert from "node:assert/strict";

interface Event {
  readonly atMs: number;
  readonly act: () => void;
}

/** Runs what is due, in order of time and then of asking. */
export class VirtualClock {
  #nowMs: number;
  /** Ascending by time; of one time in the order in which they were asked for. */
  readonly #events: Event[] = [];

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Has something done so much later; never before now. */
  later(delayMs: number, act: () => void): void {
    const event = { atMs: this.#nowMs + Math.max(0, delayMs), act };
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#events[middle]?.atMs ?? Infinity) <= event.atMs) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }

  /** Lets time pass. */
  runFor(ms: number): void {
    const endMs = this.#nowMs + ms;
    while ((this.#events[0]?.atMs ?? Infinity) <= endMs) this.#next();
    this.#nowMs = endMs;
  }

  /** Lets time pass in which nothing happens: what was due in it is done late, at its end. */
  skip(ms: number): void {
    this.#nowMs += ms;
  }

  /** Runs until a condition holds. @returns the time it took; null when that is more than `withinMs` */
  runUntil(withinMs: number, holds: () => boolean): number | null {
    const startMs = this.#nowMs;
    while (!holds()) {
      if ((this.#events[0]?.atMs ?? Infinity) > startMs + withinMs) return null;
      this.#next();
    }
    return this.#nowMs - startMs;
  }

  #next(): void {
    const event = this.#events.shift();
    assert.ok(event !== undefined, "the clock always has a next event");
    this.#nowMs = Math.max(this.#nowMs, event.atMs);
    event.act();
  }
}
