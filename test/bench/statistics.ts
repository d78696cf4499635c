/**
 * Statistics: what a list of measurements comes to.
 *
 * Pure.
 */

/** The value below which a part of the list lies (nearest rank); NaN for an empty list. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
}
