/**
 * Budget: how much more than it asked for a network of clients is sent over UDP.
 *
 * Whoever forges the sender of small queries has the large answers sent to somebody else. So each network (/24 of
 * IPv4, /56 of IPv6: what one attacker's victim usually has) may be sent only so many bytes beyond those that came from
 * it. Past that its answers are truncated to the size of the question: a client that is really there comes back over
 * TCP and gets everything, and one that is not gets no more than was sent in its name. Nothing is dropped, so nothing
 * that could have been answered fails.
 *
 * A container of this host has a larger budget of its own: its answers leave no machine. Loopback needs none.
 *
 * Pure. clients.ts keeps who has which budget.
 */

import { groupsOf, isIpv4, isIpv6, isLoopback } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";

/** A bucket of bytes that fills with time. */
export interface Budget {
  leftBytes: number;
  /** When `leftBytes` was true; monotonic. */
  atMs: number;
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
  /** True once it counts no more: whoever has it asks for the one that counts instead. */
  isForgotten: boolean;
}

/** Of how many of the oldest the fullest is forgotten. */
const FORGET_CHOICES = 32;

const OF_NETWORK = {
  bytesPerSecond: LIMITS.dnsExcessBytesPerSecond,
  burstBytes: LIMITS.dnsExcessBytesBurst,
};

const OF_CONTAINER = {
  bytesPerSecond: LIMITS.dnsLocalExcessBytesPerSecond,
  burstBytes: LIMITS.dnsLocalExcessBytesBurst,
};

/**
 * The budgets of all who asked lately. Bounded by LIMITS.dnsBudgetsMax; past it one is forgotten that has lost least:
 * a full one comes back as it was, but one that is used up would come back full.
 */
export class Budgets {
  readonly #budgetByOwner = new Map<string, Budget>();

  /**
   * The budget that an address draws from, with others of its network.
   *
   * @param address  plain: IPv4 never in its IPv6 form
   * @returns null for one without a bound
   */
  of(address: string, isContainer: boolean, nowMs: number): Budget | null {
    if (isLoopback(address)) return null;
    const owner = isContainer ? address : clientNetworkOf(address);
    const there = this.#budgetByOwner.get(owner);
    if (there !== undefined) return there;
    const rates = isContainer ? OF_CONTAINER : OF_NETWORK;
    const budget = { leftBytes: rates.burstBytes, atMs: nowMs, ...rates, isForgotten: false };
    if (this.#budgetByOwner.size >= LIMITS.dnsBudgetsMax) this.#forgetOne(nowMs);
    this.#budgetByOwner.set(owner, budget);
    return budget;
  }

  get size(): number {
    return this.#budgetByOwner.size;
  }

  /** The fullest of the oldest; the others of them have their turn again after everybody else. */
  #forgetOne(nowMs: number): void {
    let fullest: readonly [string, Budget] | null = null;
    const looked: (readonly [string, Budget])[] = [];
    for (const entry of this.#budgetByOwner) {
      looked.push(entry);
      if (fullest === null || missingBytes(entry[1], nowMs) < missingBytes(fullest[1], nowMs))
        fullest = entry;
      if (looked.length === FORGET_CHOICES || missingBytes(entry[1], nowMs) === 0) break;
    }
    for (const entry of looked) {
      const [owner, budget] = entry;
      this.#budgetByOwner.delete(owner);
      if (entry === fullest) budget.isForgotten = true;
      else this.#budgetByOwner.set(owner, budget);
    }
  }
}

/**
 * Takes the bytes by which an answer exceeds its query.
 *
 * @returns false when they are not there; then nothing is taken
 */
export function spend(budget: Budget, excessBytes: number, nowMs: number): boolean {
  if (excessBytes <= 0) return true;
  budget.leftBytes = budget.burstBytes - missingBytes(budget, nowMs);
  budget.atMs = nowMs;
  if (budget.leftBytes < excessBytes) return false;
  budget.leftBytes -= excessBytes;
  return true;
}

/** How far from full a budget is now. */
function missingBytes({ leftBytes, burstBytes, bytesPerSecond, atMs }: Budget, nowMs: number): number {
  return Math.max(0, burstBytes - leftBytes - ((nowMs - atMs) / 1000) * bytesPerSecond);
}

/** The /24 or /56 that an address lies in, as text; other text is itself. */
function clientNetworkOf(address: string): string {
  if (isIpv4(address)) return `${address.slice(0, address.lastIndexOf("."))}.0/24`;
  if (!isIpv6(address)) return address;
  const [a = 0, b = 0, c = 0, d = 0] = groupsOf(address);
  return `${[a, b, c, d & 0xff00].map((group) => group.toString(16)).join(":")}::/56`;
}
