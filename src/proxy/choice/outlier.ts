/**
 * Outlier: which upstreams has this proxy lately failed to get an answer from?
 *
 * A failed connect is news that is seconds older in gossip, so the proxy acts on it at once and alone: the upstream is
 * ejected for 1 s, doubling with each further failure up to 30 s. That is a private opinion with an expiry. It is
 * never gossiped: another host may reach the replica well, and only the owner and the membership decide eligibility.
 *
 * When an ejection expires one request may try; the others stay away until that trial has ended or a second has
 * passed, so a host that swallows packets costs one client its connect deadline, not all that come in the meantime.
 *
 * Pure. Time comes as an argument; ejections beyond the bound push out the oldest.
 */

import { LIMITS } from "../../model/limits.ts";

const FIRST_MS = 1000;
const LONGEST_MS = 30_000;
/** How long one trial keeps other requests away: longer than the connect and first-byte deadlines. */
const TRIAL_MS = 1000;

interface Ejection {
  readonly untilMs: number;
  readonly durationMs: number;
  /** The ejection has expired and one request is finding out; `untilMs` then keeps the others away. */
  readonly isOnTrial: boolean;
}

/** The ejections of one proxy. */
export class Ejections {
  readonly #ejectionById = new Map<string, Ejection>();

  /** True while the upstream should be left alone. */
  isEjected(id: string, nowMs: number): boolean {
    const ejection = this.#ejectionById.get(id);
    return ejection !== undefined && nowMs < ejection.untilMs;
  }

  /** Told that an upstream gets a request; one whose ejection has expired is then on trial. */
  chosen(id: string, nowMs: number): void {
    const ejection = this.#ejectionById.get(id);
    if (ejection === undefined || nowMs < ejection.untilMs) return;
    this.#ejectionById.set(id, { ...ejection, untilMs: nowMs + TRIAL_MS, isOnTrial: true });
  }

  /**
   * Ejects an upstream that refused, or did not answer in time.
   *
   * Only a failed trial lengthens an ejection. Requests that were under way together fail together, and where all
   * upstreams are ejected they are tried all the same: neither is new evidence.
   *
   * @returns true when it became ejected anew
   */
  failed(id: string, nowMs: number): boolean {
    const known = this.#ejectionById.get(id);
    if (known !== undefined && nowMs < known.untilMs && !known.isOnTrial) return false;
    const isFirst = known === undefined || nowMs - known.untilMs > LONGEST_MS;
    const durationMs = isFirst ? FIRST_MS : Math.min(LONGEST_MS, known.durationMs * 2);
    this.#ejectionById.delete(id);
    this.#ejectionById.set(id, { untilMs: nowMs + durationMs, durationMs, isOnTrial: false });
    this.#bound();
    return true;
  }

  /** Clears an upstream that answered. */
  succeeded(id: string): void {
    this.#ejectionById.delete(id);
  }

  /** Forgets every upstream that is not in `ids`. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#ejectionById.keys()) {
      if (!ids.has(id)) this.#ejectionById.delete(id);
    }
  }

  /** The upstreams that are ejected now, with when that ends, Unix milliseconds. */
  current(nowMs: number): readonly { readonly id: string; readonly untilMs: number }[] {
    return [...this.#ejectionById]
      .filter(([, ejection]) => nowMs < ejection.untilMs)
      .map(([id, { untilMs }]) => ({ id, untilMs }));
  }

  #bound(): void {
    const oldest = this.#ejectionById.keys().next();
    if (this.#ejectionById.size > LIMITS.ejectionsMax && oldest.done !== true) {
      this.#ejectionById.delete(oldest.value);
    }
  }
}
