/**
 * Balance: whose turn is it, and who comes next when that one fails?
 *
 * Round-robin by name, not by index: the turn goes to the first upstream after the one served last, in the order of
 * ids. So an upstream that joins or leaves moves nobody else's turn: nothing restarts, nobody is served twice in a
 * row. The first turn is random, else every frontend of every host would start at the same replica.
 *
 * An attempt that failed asks again with what it has tried, instead of holding a list made at the start: the next
 * choice then counts as a turn too (a dead replica's neighbour does not get a double share), and uses the newest pool.
 * The order in which one request would see all candidates: those not ejected, tier by tier; then the ejected ones,
 * tier by tier. An ejection is an opinion, and an opinion never leaves a client without any candidate.
 *
 * Pure.
 */

import { below, type Random } from "../../base/random.ts";
import { TIERS } from "../../model/view.ts";

import type { Pool, Upstream } from "../routes.ts";

/** What speaks against a candidate. */
export interface Bars {
  /** True while this proxy would rather not use the upstream. */
  readonly isEjected: (id: string) => boolean;
  /** Ids this request has tried already. */
  readonly tried: ReadonlySet<string>;
}

/** The turns of one frontend through its pool. */
export class Rotation {
  readonly #random: Random;
  #lastId: string | null = null;

  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * Chooses the next upstream and moves the turn to it.
   *
   * @returns null only when every upstream of the pool has been tried
   */
  choose(pool: Pool, bars: Bars): Upstream | null {
    for (const tier of pool.tiers) {
      const chosen = this.#next(tier, (id) => !bars.tried.has(id) && !bars.isEjected(id));
      if (chosen !== null) return chosen;
    }
    for (const tier of pool.tiers) {
      const chosen = this.#next(tier, (id) => !bars.tried.has(id));
      if (chosen !== null) return chosen;
    }
    return null;
  }

  #next(tier: readonly Upstream[], isAllowed: (id: string) => boolean): Upstream | null {
    if (tier.length === 0) return null;
    const start = this.#lastId === null ? below(this.#random, tier.length) : firstAfter(tier, this.#lastId);
    for (let step = 0; step < tier.length; step += 1) {
      const upstream = tier[(start + step) % tier.length];
      if (upstream !== undefined && isAllowed(upstream.id)) {
        this.#lastId = upstream.id;
        return upstream;
      }
    }
    return null;
  }
}

/**
 * True when a request that `current` keeps waiting has somewhere better to go: an upstream, neither tried nor ejected,
 * of the same tier or a higher one. Not one of a lower tier: a slow eligible replica is a better bet than one that is
 * unready. One that has left the table, as when its host fell silent after the request was sent, is no bet at all. One
 * that drains is left to finish.
 */
export function hasAlternative(pool: Pool, current: string, bars: Bars): boolean {
  const at = pool.tiers.findIndex((upstreams) => upstreams.some((upstream) => upstream.id === current));
  const isDraining = at === TIERS.indexOf("draining");
  const asGood = at === -1 ? pool.tiers : pool.tiers.slice(isDraining ? at : 0, at + 1);
  const isBetter = ({ id }: Upstream): boolean =>
    id !== current && !bars.tried.has(id) && !bars.isEjected(id);
  return asGood.some((upstreams) => upstreams.some(isBetter));
}

/** Index of the first upstream whose id sorts after `id`, wrapping to 0; the tier is sorted by id. */
function firstAfter(tier: readonly Upstream[], id: string): number {
  let low = 0;
  let high = tier.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const candidate = tier[middle];
    if (candidate !== undefined && candidate.id <= id) low = middle + 1;
    else high = middle;
  }
  return low === tier.length ? 0 : low;
}
