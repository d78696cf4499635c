/**
 * Journal: the last things that happened, numbered, and who wants to hear of the next.
 *
 * Bounded: a reader who was away too long learns how many it missed from the numbers, which rise by one.
 *
 * Pure.
 */

import type { Event, Happening } from "../model/event.ts";
import { LIMITS } from "../model/limits.ts";

/** Keeps events and hands them on. */
export class Journal {
  #events: Event[] = [];
  #lastId = 0;
  readonly #listeners = new Set<(event: Event) => void>();

  /** The last LIMITS.eventsKept events, oldest first. */
  get events(): readonly Event[] {
    return this.#events;
  }

  /** Numbers happenings, keeps them and tells every listener. */
  append(happenings: readonly Happening[]): void {
    for (const happening of happenings) {
      this.#lastId += 1;
      const event: Event = { ...happening, id: this.#lastId };
      this.#events.push(event);
      for (const listener of this.#listeners) listener(event);
    }
    // Cut seldom, and by half a bound at once: a shift for each event would move the whole list each time.
    if (this.#events.length > LIMITS.eventsKept * 1.5) this.#events = this.#events.slice(-LIMITS.eventsKept);
  }

  /** Calls `listener` with each event from now on. @returns what ends that */
  subscribe(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
