/**
 * Part: one kind of thing of the kernel that is made to match: rules, links, WireGuard.
 *
 * A part is told the whole of what should be and works out the difference to what is there, so that a restart, a change
 * and a repair are one and the same. What it did not make it does not touch; what it made it can take away.
 *
 * Pure. reconcile.ts drives the parts.
 */

/** What came of making the kernel match. */
export interface Applied {
  /** Things added, changed and removed; 0 when all was as it should be. */
  readonly changes: number;
  /** What could not be done, in words with a remedy; the rest was done. */
  readonly problems: readonly string[];
}

/** One kind of thing. Its calls are made one after the other, never at once. */
export interface KernelPart<Desired> {
  /**
   * Makes the kernel match, touching only what differs. The first call reads what an earlier life of the daemon left.
   *
   * @param options  `mayRemove`: false while the picture is incomplete: nothing is taken away then
   * @throws Failure when nothing could be done: no such program, not allowed
   */
  apply(desired: Desired, options: { readonly mayRemove: boolean }): Promise<Applied>;
  /** Reads back what is there and makes it match what was last applied: somebody else may have changed it. */
  repair(): Promise<Applied>;
  /** Takes away all that is ours, whoever of us made it. Does what it can; says what is left. */
  remove(): Promise<Applied>;
}
