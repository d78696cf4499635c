/**
 * Suspicion: how long a silent member stays suspect before it counts as dead.
 *
 * Long enough for the suspect to hear of it and refute, short enough that clients do not wait. One accuser may be the
 * one at fault, so its word alone takes six times as long; each member that confirms it on its own shortens that, the
 * first most. With up to three members there is nobody, or one, to ask, and no wait for confirmations.
 *
 * A large cluster passes word on over more hops, so the time grows with log10 of its size: by 1 s for each factor of
 * ten. Not by 4 s, which is customary: 12 s at 1,000 members, where a silent host is to be out within 6 s.
 *
 * After SWIM (Das, Gupta, Motivala 2002) and Lifeguard (Dadgar, Phillips, Currey 2017, arXiv 1707.00788).
 *
 * Pure. membership.ts says who is suspect, awareness.ts how far this node may trust its own eyes.
 */

/** Bounds of one suspicion: as long as `most` without a confirmation, `least` with as many as are wanted. */
export interface SuspicionRange {
  readonly leastMs: number;
  readonly mostMs: number;
  /** Members other than the first accuser; with 0 the suspicion lasts `leastMs`. */
  readonly confirmationsWanted: number;
}

const LEAST_MS = 1000;
/**
 * Between two members only time can tell: a link that loses a segment three times in a row is silent for more than a
 * second, and comes back.
 */
const LEAST_ALONE_MS = 2000;
/** Up to here all are linked to each other, and word takes one hop. */
const ONE_HOP_MEMBERS_MAX = 24;
const MOST_TO_LEAST = 6;
const CONFIRMATIONS_WANTED = 2;
/** Whoever doubts itself lets suspects have so much more time: a part of what is left of the three seconds' bar. */
const DOUBTED_MS = 300;

/**
 * How long a suspicion may last in a cluster of this size.
 *
 * @param memberCount  live members, this node included; 1 is taken as 2
 * @param wellCount  those of them that nobody suspects: half of all do not wait for more words than they have; fewer
 *   do, for it may be they who are cut off
 */
export function suspicionRange(memberCount: number, wellCount: number = memberCount): SuspicionRange {
  const leastMs = leastFor(memberCount);
  const others = wellCount >= Math.floor(memberCount / 2) ? wellCount - 1 : memberCount;
  const confirmationsWanted = memberCount <= 3 ? 0 : Math.min(CONFIRMATIONS_WANTED, others);
  return { leastMs, mostMs: MOST_TO_LEAST * leastMs, confirmationsWanted };
}

function leastFor(memberCount: number): number {
  if (memberCount <= 2) return LEAST_ALONE_MS;
  if (memberCount <= ONE_HOP_MEMBERS_MAX) return LEAST_MS;
  return Math.max(LEAST_MS, LEAST_MS * Math.log10(memberCount));
}

/**
 * How long a suspicion lasts from its start, in milliseconds; never longer for more confirmations (Lifeguard, "LHA
 * Suspicion"). More confirmations than wanted count as those wanted.
 *
 * @param confirmations  members other than the first accuser that accuse too, from 0
 * @param healthScore  of this node, 0 when it is well (awareness.ts): who is slow itself waits longer
 */
export function suspicionMs(range: SuspicionRange, confirmations: number, healthScore: number): number {
  const { leastMs, mostMs, confirmationsWanted } = range;
  const stretch = 1 + healthScore;
  if (confirmations >= confirmationsWanted) return leastMs * stretch;
  const share = Math.log(confirmations + 1) / Math.log(confirmationsWanted + 1);
  return Math.max(leastMs, mostMs - (mostMs - leastMs) * share) * stretch;
}

/** Who judges, at this moment. */
export interface Judge {
  /** Live members, the judge included, and those of them that nobody suspects. */
  readonly presentCount: number;
  readonly wellCount: number;
  readonly healthScore: number;
  /** What it thinks it sees may be its own fault (awareness.ts). */
  readonly doubtsItself: boolean;
}

/** How long a suspicion that began among so many members lasts from its start, in the eyes of a judge. */
export function lastsMs(
  { members, accusers }: { readonly members: number; readonly accusers: { readonly size: number } },
  { presentCount, wellCount, healthScore, doubtsItself }: Judge,
): number {
  // Not fewer than when it began: of two that are gone the second has no more time to answer than the first.
  const range = suspicionRange(Math.max(members, presentCount), wellCount);
  return suspicionMs(range, accusers.size - 1, healthScore) + (doubtsItself ? DOUBTED_MS : 0);
}
