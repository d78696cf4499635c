/**
 * Free: which number of a range does somebody take who needs one?
 *
 * Hashed candidates first, so that hosts that never met choose alike and whoever returns finds what he had. Where the
 * range is nearly full, hashing would go on for long and still miss the last free number: then every number in turn,
 * from the first candidate on. What was let go a moment ago is left alone, since clients may still use it for its last
 * holder; only where nothing else is left is it taken, the one that has been free the longest: a small risk against
 * none to be had at all.
 *
 * Pure. vip.ts asks it for addresses, subnet.ts for slices.
 */

/** Hashed tries: at a range that is nine tenths full one search in a thousand walks. */
const CANDIDATES_MAX = 64;

/** The numbers from 0 to `size` - 1, as they stand for whoever asks. */
export interface Range {
  readonly size: number;
  /** The i-th candidate, inside the range. */
  readonly candidate: (index: number) => number;
  readonly isTaken: (number: number) => boolean;
  /** When somebody else let it go, if that is not long ago; null for a number that is free without reserve. */
  readonly releasedAtMs: (number: number) => number | null;
}

/**
 * Chooses a free number.
 *
 * Costs a few hashes, or a walk past everything that is taken or was let go lately; ask only when not all is taken.
 *
 * @returns null when every number is taken
 */
export function chooseFree({ size, candidate, isTaken, releasedAtMs }: Range): number | null {
  if (size < 1) return null;
  for (let index = 0; index < CANDIDATES_MAX; index += 1) {
    const number = candidate(index);
    if (!isTaken(number) && releasedAtMs(number) === null) return number;
  }
  const start = candidate(0);
  let oldest: { readonly number: number; readonly atMs: number } | null = null;
  for (let step = 0; step < size; step += 1) {
    const number = (start + step) % size;
    if (isTaken(number)) continue;
    const atMs = releasedAtMs(number);
    if (atMs === null) return number;
    if (oldest === null || atMs < oldest.atMs) oldest = { number, atMs };
  }
  return oldest?.number ?? null;
}
