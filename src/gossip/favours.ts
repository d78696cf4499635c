/**
 * Favours: reaching for a member because another asked.
 *
 * The indirect probe of SWIM, from the side of who is asked. A member that is linked is pinged, and what is heard of it
 * from then on is the answer; one that is not is dialled. Either way the answer is a yes or a no in time: silence would
 * mean to the asker that this node is gone as well.
 *
 * Pure. gossip.ts pings, dials and answers.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

/** Less than the asker waits. */
const ANSWER_MS = 600;

/** What is owed to a member that asked. */
export interface Favour {
  readonly subject: NodeId;
  /** The link over which it was asked. */
  readonly link: number;
  readonly sequence: number;
  readonly deadlineMs: number;
}

/** Favours that are not done yet. */
export class Favours {
  #open: Favour[] = [];

  /** Somebody asks. @returns false when there are too many: answered with no at once */
  asked(favour: Omit<Favour, "deadlineMs">, nowMs: number): boolean {
    if (this.#open.length >= LIMITS.favoursMax) return false;
    this.#open.push({ ...favour, deadlineMs: nowMs + ANSWER_MS });
    return true;
  }

  /** The subject was heard, or its host refuses: what is owed because of it. */
  settled(subject: NodeId): readonly Favour[] {
    return this.#take((favour) => favour.subject === subject);
  }

  /** What was not heard in time. */
  overdue(nowMs: number): readonly Favour[] {
    return this.#take(({ deadlineMs }) => nowMs >= deadlineMs);
  }

  #take(isTaken: (favour: Favour) => boolean): readonly Favour[] {
    if (this.#open.length === 0) return [];
    const taken = this.#open.filter(isTaken);
    if (taken.length > 0) this.#open = this.#open.filter((favour) => !isTaken(favour));
    return taken;
  }
}
