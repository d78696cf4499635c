/**
 * Slots: upstreams and weights as a short list that the kernel goes through, or looks a client up in.
 *
 * In turn: each upstream has as many slots as its weight, spread evenly among the others', so that shares are exact and
 * a heavy one does not get all its turns in a row. By the client's address: 256 buckets, each with the upstream that
 * scores highest in it (base/rendezvous.ts), so that every host comes to the same answer by itself and an upstream that
 * leaves moves its own clients only.
 *
 * Pure.
 */

import { evenScore, placeOf, weightedScore } from "../../base/rendezvous.ts";

/** Something with a share. */
export interface Weighted {
  /** A whole number, at least 1. */
  readonly weight: number;
}

/** Slots of one service port at most. */
export const SLOTS_MAX = 256;

/** Buckets into which clients fall. */
export const BUCKETS = 256;

/** How the slots of a service port are shared: so many for each healthy upstream, so many for the doubtful ones. */
export interface Shares {
  readonly healthy: readonly number[];
  readonly doubtful: number;
}

/** Whole shares in the smallest numbers that keep their ratios, at most SLOTS_MAX in all. */
export function sharesOf(healthy: readonly Weighted[], doubtful: readonly Weighted[]): Shares {
  const weights = [...healthy, ...doubtful].map(({ weight }) => weight);
  const divisor = weights.reduce(greatestCommonDivisor, 0) || 1;
  const total = weights.reduce((sum, weight) => sum + weight, 0) / divisor;
  // More than that many upstreams take one slot each, whatever they weigh.
  const scale = total <= SLOTS_MAX ? 1 : SLOTS_MAX / total;
  const share = ({ weight }: Weighted): number => Math.max(1, Math.floor((weight / divisor) * scale));
  return {
    healthy: healthy.map(share),
    doubtful: doubtful.reduce((sum, upstream) => sum + share(upstream), 0),
  };
}

/**
 * Puts shares in turn: which of them has each slot.
 *
 * @param first  by how many turns the order is moved, so that not every host begins with the same one
 */
export function inTurn(shares: readonly number[], first: number): readonly number[] {
  const turns = shares.flatMap((share, at) =>
    Array.from({ length: share }, (_, turn) => ({ at, place: (turn + 0.5) / share })),
  );
  turns.sort((one, other) => one.place - other.place || one.at - other.at);
  const from = turns.length === 0 ? 0 : first % turns.length;
  return [...turns.slice(from), ...turns.slice(0, from)].map(({ at }) => at);
}

/** Which upstream each bucket belongs to: its index in the list, which must not be empty. */
export function bucketsOf(upstreams: readonly (Weighted & { readonly id: string })[]): readonly number[] {
  const places = upstreams.map(({ id }) => placeOf(id));
  const isEven = upstreams.every(({ weight }) => weight === upstreams[0]?.weight);
  return Array.from({ length: BUCKETS }, (_, bucket) => {
    let best = 0;
    let bestScore = -1;
    for (const [at, place] of places.entries()) {
      const weight = upstreams[at]?.weight ?? 1;
      const client = bucketPlace(bucket);
      const score = isEven ? evenScore(client, place) : weightedScore(client, place, weight);
      if (score <= bestScore) continue;
      best = at;
      bestScore = score;
    }
    return best;
  });
}

/** Buckets that follow each other must not stand beside each other. */
function bucketPlace(bucket: number): number {
  return Math.imul(bucket + 1, 0x9e3779b1);
}

function greatestCommonDivisor(one: number, other: number): number {
  return other === 0 ? one : greatestCommonDivisor(other, one % other);
}
