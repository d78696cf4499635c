/**
 * Attempts: who has guessed wrong too often lately, and waits.
 *
 * A secret of 128 bits is not guessed, whatever the rate; the bound is there so that guessing costs us little and is
 * seen. An address (of IPv6 its /64, which one host has all of) may fail ten times in any minute. Over all addresses
 * there is a bound as well, for whoever has many: past it, an address that has failed once waits, and one that has not
 * still gets its try. So a good token from a quiet address comes through while others guess.
 *
 * Only failures count: a rack of hosts behind one address translator joins at once. When more addresses failed than
 * are remembered, those that did so longest ago are forgotten.
 *
 * Pure. enrolment.ts asks before it compares, in the same turn.
 */

import { networkOf } from "../base/ip.ts";

/** How many failures, of how many. Each at least 1. */
export interface AttemptBounds {
  readonly perAddress: number;
  readonly overall: number;
  readonly addresses: number;
}

/** In which time the bounds hold. */
export const ATTEMPT_PERIOD_MS = 60_000;

/** The failures of the last minute. Time may not go back between calls. */
export class Attempts {
  readonly #bounds: AttemptBounds;
  /** When each address failed, oldest first. Invariant: in the order of the last failure. */
  readonly #failuresByNetwork = new Map<string, readonly number[]>();
  /** When anybody did, oldest first, at most `overall` of them. */
  #failures: readonly number[] = [];

  constructor(bounds: AttemptBounds) {
    this.#bounds = bounds;
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#failuresByNetwork.size;
  }

  /** How long this address has to wait before it may try, in milliseconds; 0 when it may now. */
  waitMs(address: string, nowMs: number): number {
    const own = recent(this.#failuresByNetwork.get(networkOf(address)) ?? [], nowMs);
    const allowed = this.#isCrowded(nowMs) ? 1 : this.#bounds.perAddress;
    // The first of those that must be past before there are fewer than allowed.
    const decisive = own[own.length - allowed];
    return decisive === undefined ? 0 : decisive + ATTEMPT_PERIOD_MS - nowMs;
  }

  /** Notes a failure. */
  failed(address: string, nowMs: number): void {
    const network = networkOf(address);
    const own = recent(this.#failuresByNetwork.get(network) ?? [], nowMs);
    this.#failuresByNetwork.delete(network);
    this.#failuresByNetwork.set(network, [...own, nowMs].slice(-this.#bounds.perAddress));
    this.#failures = [...recent(this.#failures, nowMs), nowMs].slice(-this.#bounds.overall);
    for (const [old, failures] of this.#failuresByNetwork) {
      const isPast = nowMs - (failures.at(-1) ?? 0) >= ATTEMPT_PERIOD_MS;
      if (!isPast && this.#failuresByNetwork.size <= this.#bounds.addresses) break;
      this.#failuresByNetwork.delete(old);
    }
  }

  #isCrowded(nowMs: number): boolean {
    return recent(this.#failures, nowMs).length >= this.#bounds.overall;
  }
}

/** Those within the period; the same list when all are. */
function recent(failures: readonly number[], nowMs: number): readonly number[] {
  const from = failures.findIndex((atMs) => nowMs - atMs < ATTEMPT_PERIOD_MS);
  if (from === 0) return failures;
  return from === -1 ? [] : failures.slice(from);
}
