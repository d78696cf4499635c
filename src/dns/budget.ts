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
}

const OF_NETWORK = {
  bytesPerSecond: LIMITS.dnsExcessBytesPerSecond,
  burstBytes: LIMITS.dnsExcessBytesBurst,
};

const OF_CONTAINER = {
  bytesPerSecond: LIMITS.dnsLocalExcessBytesPerSecond,
  burstBytes: LIMITS.dnsLocalExcessBytesBurst,
};

/** The budgets of all who asked lately. Bounded by LIMITS.dnsBudgetsMax; past it the oldest is forgotten. */
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
    const budget = { leftBytes: rates.burstBytes, atMs: nowMs, ...rates };
    if (this.#budgetByOwner.size >= LIMITS.dnsBudgetsMax) this.#forgetOldest();
    this.#budgetByOwner.set(owner, budget);
    return budget;
  }

  get size(): number {
    return this.#budgetByOwner.size;
  }

  #forgetOldest(): void {
    for (const owner of this.#budgetByOwner.keys()) {
      this.#budgetByOwner.delete(owner);
      return;
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
  const grownBytes = ((nowMs - budget.atMs) / 1000) * budget.bytesPerSecond;
  budget.leftBytes = Math.min(budget.burstBytes, budget.leftBytes + grownBytes);
  budget.atMs = nowMs;
  if (budget.leftBytes < excessBytes) return false;
  budget.leftBytes -= excessBytes;
  return true;
}

/** The /24 or /56 that an address lies in, as text; other text is itself. */
function clientNetworkOf(address: string): string {
  if (isIpv4(address)) return `${address.slice(0, address.lastIndexOf("."))}.0/24`;
  if (!isIpv6(address)) return address;
  const [a = 0, b = 0, c = 0, d = 0] = groupsOf(address);
  return `${[a, b, c, d & 0xff00].map((group) => group.toString(16)).join(":")}::/56`;
}
