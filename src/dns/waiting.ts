/**
 * Waiting: queries that are answered a moment later, because no answer of now would be right.
 *
 * A container may ask for names some milliseconds before its engine has told of it, and anybody for a service whose
 * address this host does not serve yet. What is told then may be kept for good, or tried at once and fail; so the query
 * waits until something has changed, for a moment. How many wait is bounded, in all and for one client: whoever comes
 * past that is answered at once, as who has waited for too long.
 *
 * Touches: timers.
 */

import { startDeadline, type RunningDeadline } from "../runtime/deadline.ts";

/** A query that waits. */
export interface WaitingQuery {
  /** Of the client. */
  readonly address: string;
  /** For how long at most. */
  readonly waitMs: number;
  /** Answers it when that can be done by now. @returns whether it was done */
  readonly again: () => boolean;
  /** Its time is over. */
  readonly late: () => void;
}

/** How many queries may wait at once. */
export interface WaitingBounds {
  readonly max: number;
  readonly perAddress: number;
}

/** All queries that wait for one kind of thing. */
export class Waiting {
  readonly #bounds: WaitingBounds;
  readonly #deadlineByQuery = new Map<WaitingQuery, RunningDeadline>();
  readonly #countByAddress = new Map<string, number>();

  constructor(bounds: WaitingBounds) {
    this.#bounds = bounds;
  }

  /** How many there are. */
  get count(): number {
    return this.#deadlineByQuery.size;
  }

  /** Has a query wait; it is then called `again` until that succeeds, or `late`. @returns false when too many wait */
  hold(query: WaitingQuery): boolean {
    const { max, perAddress } = this.#bounds;
    const count = this.#countByAddress.get(query.address) ?? 0;
    if (this.count >= max || count >= perAddress) return false;
    this.#countByAddress.set(query.address, count + 1);
    const late = (): void => {
      this.#end(query);
      query.late();
    };
    this.#deadlineByQuery.set(query, startDeadline(query.waitMs, late));
    return true;
  }

  /** Something has changed: whatever can be answered now is. */
  retry(): void {
    for (const query of this.#deadlineByQuery.keys()) if (query.again()) this.#end(query);
  }

  /** Forgets all; nobody is called any more. */
  close(): void {
    for (const query of this.#deadlineByQuery.keys()) this.#end(query);
  }

  #end(query: WaitingQuery): void {
    this.#deadlineByQuery.get(query)?.clear();
    this.#deadlineByQuery.delete(query);
    const left = (this.#countByAddress.get(query.address) ?? 1) - 1;
    if (left === 0) this.#countByAddress.delete(query.address);
    else this.#countByAddress.set(query.address, left);
  }
}
