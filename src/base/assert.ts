/**
 * Assert: states what our own code promises, and stops when the promise is broken.
 *
 * An assertion is for our bugs only. Nothing a peer, client, label, file or query sends may reach one: input is
 * refused at the edge with a Failure. A daemon that goes on after a broken promise would spread wrong records, so
 * the process ends and its supervisor starts it again with the state on disk.
 *
 * Pure.
 */

/** Thrown when a promise of our own code is broken; never caught to continue. */
export class AssertionFailed extends Error {
  override readonly name = "AssertionFailed";
}

/** Throws AssertionFailed with `promise` as its text when `holds` is false. */
export function assert(holds: boolean, promise: string): asserts holds {
  if (!holds) throw new AssertionFailed(`broken promise: ${promise}`);
}

/** Marks a branch that the types rule out; use it as the default of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new AssertionFailed(`broken promise: no case for ${JSON.stringify(value)}`);
}
