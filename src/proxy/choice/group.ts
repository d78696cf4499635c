/**
 * Group: upstreams that are as good as each other, what share each is to have, and whose turn it is.
 *
 * Turns are kept as in stride scheduling (Waldspurger and Weihl, 1995): each member has a pass, the lowest one is next,
 * and being served moves it on by one over its weight. So shares are exact, a heavy member's turns are spread among
 * the others' (three to one is not three in a row and then one), and each member's turns are its own: who joins or
 * leaves moves nobody else's. A first pass is random, within the member's own stride: else every frontend of every
 * host would begin with the same one, and a new member would meet them all at once.
 *
 * A member that could not be served for a while does not make up for it: nobody is behind the one served last.
 *
 * Pure.
 */

import type { Random } from "../../base/random.ts";
import { placeOf, type Place } from "../../base/rendezvous.ts";
import { compareText } from "../../base/sorted.ts";

import type { Upstream } from "../routes.ts";
import type { Active, Load } from "./active.ts";

/** What a member that was just made eligible gets at first of what it will get. */
const FIRST_SHARE = 0.1;

/** A list of upstreams and how far each has come. */
export class Group {
  /** Sorted by id. */
  readonly upstreams: readonly Upstream[];
  /** The share of each beside the others', by now. */
  readonly weights: Float64Array;
  readonly #passes: Float64Array;
  /** The pass of the one served last. */
  #floor = 0;
  #isEven: boolean;
  /** When the youngest was made eligible, Unix milliseconds. */
  readonly #youngestSinceMs: number;
  #weighedAtMs = -Infinity;
  #isRamping = false;
  #loads: readonly Load[] | null = null;
  #places: readonly Place[] | null = null;

  /** @param before  what this group was until now: its turns go on */
  constructor(upstreams: readonly Upstream[], before: Group | null, random: Random) {
    this.upstreams = upstreams;
    this.weights = Float64Array.from(upstreams, ({ weight }) => weight);
    this.#isEven = isEven(this.weights);
    this.#youngestSinceMs = upstreams.reduce((latest, { sinceMs }) => Math.max(latest, sinceMs), 0);
    this.#floor = before === null ? 0 : before.#floor;
    this.#passes = Float64Array.from(upstreams, ({ weight }) => this.#floor + random() / weight);
    if (before !== null) this.#carryOver(before);
  }

  /** True when all have equal shares. */
  get isEven(): boolean {
    return this.#isEven;
  }

  /**
   * The turn of a member: the lowest is next. Two that are level take their turns in the order of the group.
   */
  turnOf(at: number): number {
    const pass = this.#passes[at] ?? 0;
    return pass > this.#floor ? pass : this.#floor;
  }

  /** Told that a member is served in its turn. */
  served(at: number): void {
    this.#floor = this.turnOf(at);
    this.#passes[at] = this.#floor + 1 / (this.weights[at] ?? 1);
  }

  /** When a member was last served, on a scale of its own: for those who are not served in turn. */
  recencyOf(at: number): number {
    return this.#passes[at] ?? 0;
  }

  /** Told that a member is served, though not in its turn. */
  servedOutOfTurn(at: number): void {
    this.#floor += 1;
    this.#passes[at] = this.#floor;
  }

  /** What each member carries. */
  loadsIn(active: Active): readonly Load[] {
    this.#loads ??= this.upstreams.map((upstream) => active.loadOf(upstream));
    return this.#loads;
  }

  /** Where each member stands for those who come by address: by replica, so all ports of a service lead to the same. */
  get places(): readonly Place[] {
    this.#places ??= this.upstreams.map(({ replica }) => placeOf(replica));
    return this.#places;
  }

  /**
   * Sets the shares of members that are still new: rising from a tenth over `slowStartMs`. Relative to the most grown
   * one, since where all are as young, as when this daemon has just started, there is nobody to spare them.
   */
  weigh(nowMs: number, slowStartMs: number): void {
    const isRamping = slowStartMs > 0 && nowMs < this.#youngestSinceMs + slowStartMs;
    if (!isRamping && !this.#isRamping) return;
    if (nowMs === this.#weighedAtMs) return;
    this.#weighedAtMs = nowMs;
    this.#isRamping = isRamping;
    const shares = this.upstreams.map(({ sinceMs }) => shareOf(nowMs - sinceMs, slowStartMs));
    const full = shares.reduce((most, share) => Math.max(most, share), 0);
    for (const [at, { weight }] of this.upstreams.entries())
      this.weights[at] = (weight * (shares[at] ?? 1)) / full;
    this.#isEven = isEven(this.weights);
  }

  /** Takes over the passes of members that were there before; both lists are sorted by id. */
  #carryOver(before: Group): void {
    let then = 0;
    for (const [at, { id }] of this.upstreams.entries()) {
      let order = -1;
      for (; then < before.upstreams.length; then += 1) {
        order = compareText(before.upstreams[then]?.id ?? "", id);
        if (order >= 0) break;
      }
      if (order === 0) this.#passes[at] = before.#passes[then] ?? this.#floor;
    }
  }
}

/** The part of its full share that a member of this age gets. */
function shareOf(ageMs: number, slowStartMs: number): number {
  if (slowStartMs <= 0 || ageMs >= slowStartMs) return 1;
  return FIRST_SHARE + ((1 - FIRST_SHARE) * Math.max(0, ageMs)) / slowStartMs;
}

function isEven(weights: Float64Array): boolean {
  return weights.every((weight) => weight === weights[0]);
}
