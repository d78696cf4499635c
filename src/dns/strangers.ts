/**
 * Strangers: queries of addresses of which it is not known yet who has them.
 *
 * A container may ask for names some milliseconds before its engine has told of it. No answer is right for everybody,
 * and one that is wrong may be kept for good; so the query waits until the askers are told anew, for a moment, and is
 * then answered in the right view or with an error that clients take for a passing one. How many wait is bounded, in
 * all and for one address: past it the error comes at once.
 *
 * Touches: timers.
 */

import { LIMITS } from "../model/limits.ts";
import { startDeadline, type RunningDeadline } from "../runtime/deadline.ts";

/** How long a query waits: engines tell of a container within some 20 ms, and clients ask again after seconds. */
const WAIT_MS = 1000;

/** A query that waits. */
export interface StrangerQuery {
  readonly address: string;
  /** Answers it when that can be done by now. @returns whether it was done */
  readonly again: () => boolean;
  /** Its time is over. */
  readonly late: () => void;
}

/** All queries that wait. */
export class Strangers {
  readonly #deadlineByQuery = new Map<StrangerQuery, RunningDeadline>();
  readonly #countByAddress = new Map<string, number>();

  /** How many there are. */
  get count(): number {
    return this.#deadlineByQuery.size;
  }

  /** Has a query wait; it is then called `again` until that succeeds, or `late`. @returns false when too many wait */
  hold(query: StrangerQuery): boolean {
    const count = this.#countByAddress.get(query.address) ?? 0;
    if (this.count >= LIMITS.dnsStrangersMax || count >= LIMITS.dnsStrangersPerAddress) return false;
    this.#countByAddress.set(query.address, count + 1);
    const late = (): void => {
      this.#end(query);
      query.late();
    };
    this.#deadlineByQuery.set(query, startDeadline(WAIT_MS, late));
    return true;
  }

  /** The askers were told anew: who can be answered now is. */
  retry(): void {
    for (const query of this.#deadlineByQuery.keys()) if (query.again()) this.#end(query);
  }

  /** Forgets all; nobody is called any more. */
  close(): void {
    for (const query of this.#deadlineByQuery.keys()) this.#end(query);
  }

  #end(query: StrangerQuery): void {
    this.#deadlineByQuery.get(query)?.clear();
    this.#deadlineByQuery.delete(query);
    const left = (this.#countByAddress.get(query.address) ?? 1) - 1;
    if (left === 0) this.#countByAddress.delete(query.address);
    else this.#countByAddress.set(query.address, left);
  }
}
