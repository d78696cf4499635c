/**
 * Nearest: the known name that a mistyped one was probably meant to be.
 *
 * A label that nobody reads, a service that is not there: the quietest of all mistakes, so they are reported with what
 * their writer may have meant. A guess only when it is near: a wrong hint costs more than none.
 *
 * Pure.
 */

/**
 * The candidate that differs least from `text`, by insertions, deletions, changes and swaps of characters.
 *
 * @returns null when even the nearest differs in more than a third of its characters
 */
export function nearest(text: string, candidates: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Number.POSITIVE_INFINITY;
  // A longer text is no typing error, and comparing it with every name would cost its length each time.
  if (text.length > 128) return null;
  for (const candidate of new Set(candidates)) {
    const allowed = Math.max(1, Math.floor(Math.max(text.length, candidate.length) / 3));
    if (Math.abs(text.length - candidate.length) > allowed) continue;
    const distance = editDistance(text, candidate);
    if (distance > allowed || distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

/** Optimal string alignment: Levenshtein's distance in which swapped neighbours, the commonest slip, count as one. */
export function editDistance(one: string, other: string): number {
  let before: readonly number[] = [];
  let row: readonly number[] = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let at = 1; at <= one.length; at += 1) {
    const next = [at];
    for (let by = 1; by <= other.length; by += 1) {
      const changed = (row[by - 1] ?? 0) + (one[at - 1] === other[by - 1] ? 0 : 1);
      const swaps = at > 1 && by > 1 && one[at - 1] === other[by - 2] && one[at - 2] === other[by - 1];
      const swapped = swaps ? (before[by - 2] ?? 0) + 1 : changed;
      next.push(Math.min(changed, swapped, (row[by] ?? 0) + 1, (next[by - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row[other.length] ?? 0;
}
