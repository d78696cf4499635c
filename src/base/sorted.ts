/**
 * Sorted: lists that stay sorted while little in them changes.
 *
 * Lists of a large cluster (members, services, replicas) are immutable and change by one element at a time, so sorting
 * them anew would cost more than everything else about the change. A few changes are put in their places in a copy;
 * many at once are sorted as a whole, which a sort of a nearly sorted list does well.
 *
 * Pure.
 */

/** Up to so many changes are moved to their places one by one: each move shifts half of the list in memory. */
const FEW = 32;

/** What is to leave a list and what is to come into it. */
export interface ListChange<T> {
  /** Elements of the list, by identity. */
  readonly gone: readonly T[];
  readonly come: readonly T[];
}

/** Compares texts by their code units: negative, zero or positive, as a sort wants it. */
export function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/**
 * Where something sought stands in a sorted list, or would stand.
 *
 * @param compareTo  how an element compares with what is sought: negative when it comes before
 * @returns the index of the first element that does not come before it; the list's length when all do
 */
export function positionIn<T>(list: readonly T[], compareTo: (element: T) => number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const element = list[middle];
    if (element !== undefined && compareTo(element) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The list after a change.
 *
 * @param compare  the order of the list; no two elements that stay or come compare as equal
 * @returns a new list; the same one when nothing goes or comes
 */
export function updated<T>(
  list: readonly T[],
  { gone, come }: ListChange<T>,
  compare: (one: T, other: T) => number,
): readonly T[] {
  if (gone.length === 0 && come.length === 0) return list;
  if (gone.length + come.length > FEW) {
    const leaving = new Set(gone);
    return [...list.filter((element) => !leaving.has(element)), ...come].sort(compare);
  }
  const draft = [...list];
  for (const element of gone) {
    const at = positionIn(draft, (other) => compare(other, element));
    if (draft[at] === element) draft.splice(at, 1);
  }
  for (const element of come) {
    draft.splice(
      positionIn(draft, (other) => compare(other, element)),
      0,
      element,
    );
  }
  return draft;
}

/**
 * The list with some elements replaced by others that stand in the same places.
 *
 * @param nextByElement  elements of the list, by identity, and what comes in their places
 * @returns a new list; the same one when nothing is replaced
 */
export function replaced<T>(list: readonly T[], nextByElement: ReadonlyMap<T, T>): readonly T[] {
  if (nextByElement.size === 0) return list;
  if (nextByElement.size > FEW) return list.map((element) => nextByElement.get(element) ?? element);
  const draft = [...list];
  for (const [element, next] of nextByElement) {
    const at = list.indexOf(element);
    if (at >= 0) draft[at] = next;
  }
  return draft;
}
