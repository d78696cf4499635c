/**
 * Balance: whose turn is it, and who comes next when that one fails?
 *
 * A pool falls into groups of upstreams that are as good as each other: by tier, and with `prefer: local` by distance
 * within a tier. The first group that has somebody to offer decides; how it decides among its members is the
 * service's choice: in turn, whoever carries least, the better of two at random, or by the client's address.
 *
 * An attempt that failed asks again with what it has tried, instead of holding a list made at the start: the next
 * choice then counts as a turn too (a dead replica's neighbour does not get a double share), and uses the newest pool.
 * An ejection is an opinion: it never leaves a client without any candidate, nor does it count for more than the word
 * of a replica's own host.
 *
 * Pure.
 */

import { below, type Random } from "../../base/random.ts";
import { clientPlace, evenScore, weightedScore } from "../../base/rendezvous.ts";
import { TIERS } from "../../model/view.ts";

import type { Pool, Upstream } from "../routes.ts";
import type { Active } from "./active.ts";
import { Group } from "./group.ts";
import type { EjectionReason } from "./outlier.ts";

/** What speaks against a candidate. */
export interface Bars {
  readonly ejections: {
    /** True while this proxy would rather not use the upstream. */
    readonly isEjected: (id: string) => boolean;
    /** True of an ejected one that takes connections, but has not answered us either. */
    readonly isHung: (id: string) => boolean;
    /** When it last failed, Unix milliseconds; 0 when it is not known to have. */
    readonly failedAtMs: (id: string) => number;
    /** True when none is ejected. */
    readonly isEmpty: boolean;
  };
  /** Ids this request has tried already. */
  readonly tried: ReadonlySet<string>;
}

/** A request, connection or flow in search of an upstream. */
export interface Ask extends Bars {
  /** The client's address. */
  readonly client: string;
  readonly active: Active;
  readonly nowMs: number;
}

/** How one group is chosen from: the member's index, -1 when all are barred. */
type Choice = (group: Group, ask: Ask, random: Random) => number;

/** The choices of one frontend among its pool. */
export class Chooser {
  readonly #random: Random;
  #pool: Pool | null = null;
  #groupByRank = new Map<number, Group>();
  /** The same, by tier. */
  #tiers: readonly (readonly Group[])[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * Chooses an upstream for whoever asks, and counts it as served.
   *
   * A tier's ejected ones come after its others, those first that have not failed for longest, and before any of a
   * worse tier. Who is wrongly tried costs a moment: mostly it takes no connection. One that drains or is not ready
   * may take the request and then lose it, or answer that it is not ready. Only those that are hung for all that is
   * known, and would keep the request, come after all others.
   *
   * @returns null only when every upstream of the pool has been tried
   */
  choose(pool: Pool, ask: Ask): Upstream | null {
    if (pool !== this.#pool) this.#take(pool);
    const { balance, slowStartMs } = pool.traffic;
    const choice = CHOICES[balance];
    for (let tier = 0; tier < this.#tiers.length; tier += 1) {
      for (const group of this.#tiers[tier] ?? []) {
        group.weigh(ask.nowMs, slowStartMs);
        const at = choice(group, ask, this.#random);
        if (at !== -1) return group.upstreams[at] ?? null;
      }
      const ejected = leastRecentlyFailed(pool.tiers[tier] ?? [], ask, false);
      if (ejected !== null) return ejected;
    }
    return leastRecentlyFailed(pool.tiers.flat(), ask, true);
  }

  /** Groups a new pool, best first; groups that were there go on with their turns. */
  #take(pool: Pool): void {
    const before = this.#groupByRank;
    this.#groupByRank = new Map();
    this.#pool = pool;
    const isByDistance = pool.traffic.prefer === "local";
    this.#tiers = pool.tiers.map((upstreams, tier) => {
      const groups: Group[] = [];
      for (const distance of isByDistance ? DISTANCES : NO_DISTANCES) {
        const members = isByDistance
          ? upstreams.filter((upstream) => upstream.distance === distance)
          : upstreams;
        const rank = tier * DISTANCES.length + distance;
        if (members.length === 0) continue;
        const group = new Group(members, before.get(rank) ?? null, this.#random);
        this.#groupByRank.set(rank, group);
        groups.push(group);
      }
      return groups;
    });
  }
}

const DISTANCES: readonly Upstream["distance"][] = [0, 1, 2];
const NO_DISTANCES: readonly Upstream["distance"][] = [0];

const CHOICES: Readonly<Record<Pool["traffic"]["balance"], Choice>> = {
  "round-robin": inTurn,
  "least-connections": leastLoaded,
  p2c: betterOfTwo,
  "source-hash": byClient,
};

function inTurn(group: Group, ask: Ask): number {
  let best = -1;
  let bestTurn = Infinity;
  for (let at = 0; at < group.upstreams.length; at += 1) {
    const turn = group.turnOf(at);
    if (turn >= bestTurn || isBarred(group, at, ask)) continue;
    best = at;
    bestTurn = turn;
  }
  if (best !== -1) group.served(best);
  return best;
}

/** Whoever would carry least for its weight with one more; of those that are level the one served longest ago. */
function leastLoaded(group: Group, ask: Ask): number {
  const loads = group.loadsIn(ask.active);
  let best = -1;
  let bestLoad = Infinity;
  for (let at = 0; at < loads.length; at += 1) {
    const load = ((loads[at]?.count ?? 0) + 1) / (group.weights[at] ?? 1);
    if (load > bestLoad || (load === bestLoad && group.recencyOf(at) >= group.recencyOf(best))) continue;
    if (isBarred(group, at, ask)) continue;
    best = at;
    bestLoad = load;
  }
  if (best !== -1) group.servedOutOfTurn(best);
  return best;
}

/**
 * The less loaded of two drawn at random: nearly as even as asking all (Mitzenmacher, 2001), at the same cost for any
 * number, and hosts that do not know of each other's requests do not all go to the same one.
 */
function betterOfTwo(group: Group, ask: Ask, random: Random): number {
  const loads = group.loadsIn(ask.active);
  const one = draw(group, { ask, random, besides: -1 });
  const other = one === -1 ? -1 : draw(group, { ask, random, besides: one });
  if (other === -1) return one;
  const loadOf = (at: number): number => (loads[at]?.count ?? 0) / (group.weights[at] ?? 1);
  return loadOf(other) < loadOf(one) ? other : one;
}

/** How often an even draw that is barred is repeated before all members are looked at. */
const DRAWS_MAX = 4;

/** Draws a member that is not barred, by weight; -1 when there is none. */
function draw(
  group: Group,
  { ask, random, besides }: { readonly ask: Ask; readonly random: Random; readonly besides: number },
): number {
  const count = group.upstreams.length;
  for (let draws = 0; group.isEven && draws < DRAWS_MAX; draws += 1) {
    const at = below(random, count);
    if (at !== besides && !isBarred(group, at, ask)) return at;
  }
  let total = 0;
  for (let at = 0; at < count; at += 1)
    if (at !== besides && !isBarred(group, at, ask)) total += group.weights[at] ?? 1;
  let drawn = random() * total;
  let last = -1;
  for (let at = 0; at < count; at += 1) {
    if (at === besides || isBarred(group, at, ask)) continue;
    last = at;
    drawn -= group.weights[at] ?? 1;
    if (drawn < 0) break;
  }
  return last;
}

function byClient(group: Group, ask: Ask): number {
  const client = clientPlace(ask.client);
  const { places, weights, isEven } = group;
  let best = -1;
  let bestScore = -1;
  for (let at = 0; at < places.length; at += 1) {
    const place = places[at];
    if (place === undefined) continue;
    const score = isEven ? evenScore(client, place) : weightedScore(client, place, weights[at] ?? 1);
    if (score <= bestScore || isBarred(group, at, ask)) continue;
    best = at;
    bestScore = score;
  }
  return best;
}

function isBarred({ upstreams }: Group, at: number, { tried, ejections }: Bars): boolean {
  if (ejections.isEmpty && tried.size === 0) return false;
  const id = upstreams[at]?.id ?? "";
  return tried.has(id) || ejections.isEjected(id);
}

/** Who to try when all of these are ejected or tried. */
function leastRecentlyFailed(
  upstreams: readonly Upstream[],
  { tried, ejections }: Bars,
  mayBeHung: boolean,
): Upstream | null {
  let best: Upstream | null = null;
  for (const upstream of upstreams) {
    if (tried.has(upstream.id) || (!mayBeHung && ejections.isHung(upstream.id))) continue;
    if (best === null || ejections.failedAtMs(upstream.id) < ejections.failedAtMs(best.id)) best = upstream;
  }
  return best;
}

/**
 * True when a request that `current` keeps waiting has somewhere better to go: an upstream, neither tried nor ejected,
 * of the same tier or a higher one. Not one of a lower tier: a slow eligible replica is a better bet than one that is
 * unready. One that has left the table, as when its host fell silent after the request was sent, is no bet at all. One
 * that drains is left to finish.
 */
export function hasAlternative(pool: Pool, current: string, { tried, ejections }: Bars): boolean {
  const at = pool.tiers.findIndex((upstreams) => upstreams.some((upstream) => upstream.id === current));
  const isDraining = at === TIERS.indexOf("draining");
  const asGood = at === -1 ? pool.tiers : pool.tiers.slice(isDraining ? at : 0, at + 1);
  const isBetter = ({ id }: Upstream): boolean =>
    id !== current && !tried.has(id) && !ejections.isEjected(id);
  return asGood.some((upstreams) => upstreams.some(isBetter));
}

/**
 * True when a pool can spare an upstream: it is in the table, and where it is eligible it is not the last of those
 * that is not ejected. Whatever one proxy thinks of it, the last one is tried first.
 */
export function canSpare(pool: Pool, id: string, ejections: Bars["ejections"]): boolean {
  const tier = pool.tiers.findIndex((upstreams) => upstreams.some((upstream) => upstream.id === id));
  if (tier !== TIERS.indexOf("eligible")) return tier !== -1;
  return pool.tiers[tier]?.some((other) => other.id !== id && !ejections.isEjected(other.id)) ?? false;
}

/** What tells why an upstream is ejected. */
interface Reasons {
  /** Null when it is not. */
  readonly reasonOf: (id: string) => EjectionReason | null;
}

/**
 * True when a pool can spare an upstream for what it answers: with it, at most half of those of its tier that can be
 * reached are left alone for that. Connects fail and silence falls without anybody's doing; a bad answer is often what
 * somebody asked for, and nobody is to ask most of a service's replicas away from the others.
 */
export function canSpareForAnswers(pool: Pool, id: string, ejections: Reasons): boolean {
  const tier = pool.tiers.find((upstreams) => upstreams.some((upstream) => upstream.id === id)) ?? [];
  const reasons = tier.map((upstream) => ejections.reasonOf(upstream.id));
  const out = reasons.filter((reason) => reason === "errors" || reason === "broken").length;
  const reachable = reasons.filter((reason) => reason !== "connect" && reason !== "late").length;
  return (out + 1) * 2 <= reachable;
}
