/**
 * Shared: one object for values that are equal.
 *
 * Ten thousand records say the same few things: the declaration of their service, the reason of their state. Kept
 * once, they cost once, and whether two are equal is a comparison of references.
 *
 * Pure.
 */

/** Gives out one object for equal values; remembers a bounded number of them. */
export class Shared<T> {
  readonly #countMax: number;
  readonly #valueByText = new Map<string, T>();

  /** @param countMax  distinct values remembered at once */
  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  /**
   * The value that was made for this text.
   *
   * @param text  tells values apart: equal texts, equal values
   * @param make  makes the value where none is remembered; never `undefined`
   */
  of(text: string, make: () => T): T {
    const known = this.#valueByText.get(text);
    if (known !== undefined) return known;
    const value = make();
    // Starting over when full: what is in use is held by its users, and equal ones to come share anew.
    if (this.#valueByText.size >= this.#countMax) this.#valueByText.clear();
    this.#valueByText.set(text, value);
    return value;
  }
}
