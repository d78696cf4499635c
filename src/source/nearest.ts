/**
 * Nearest: the known name that a mistyped one was probably meant to be.
 *
 * A label that nobody reads is the quietest of all mistakes, so it is reported with what its writer may have meant.
 * Levenshtein's distance, and a guess only when it is near: a wrong hint costs more than none.
 *
 * Pure.
 */

/** Longer words are compared by this many characters: a distance costs the product of both lengths. */
const COMPARED_CHARS = 64;

/**
 * The known word with the smallest edit distance to `word`; the first of equals.
 *
 * @returns null when the nearest is further than a third of the word
 */
export function nearest(word: string, known: readonly string[]): string | null {
  const compared = word.slice(0, COMPARED_CHARS);
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(compared.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(compared, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein distance: the fewest insertions, deletions and replacements that turn one text into the other. */
export function editDistance(one: string, other: string): number {
  let above = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const replaced = (above[column - 1] ?? 0) + (one[row - 1] === other[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    above = current;
  }
  return above[other.length] ?? 0;
}
