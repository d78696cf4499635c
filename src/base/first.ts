/**
 * First: what a set or a map yields first.
 *
 * Sets and maps keep the order in which things came, so the first of one is the oldest; many of our bounds let that one
 * go. It is found without a copy of all the others.
 *
 * Pure.
 */

/** @returns null when there is none */
export function first<T>(items: Iterable<T>): T | null {
  for (const item of items) return item;
  return null;
}
