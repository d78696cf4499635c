/**
 * Pump: joins two connections so that each end sees what it would see of the other directly.
 *
 * Bytes pass both ways under backpressure; an end in one direction (FIN) passes on while the other direction stays
 * open, as protocols that half-close need; a reset (RST) passes on as a reset, so that a client learns of a broken
 * replica at once and never takes a cut answer for a whole one. The proxy joins a client with a replica, the mesh a
 * relayed stream with one; what a client sees must not depend on which of them it was.
 *
 * Touches: the two connections it is given.
 */

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/**
 * Joins two connected streams, both of which keep their writing half open when the other side ends, until both have
 * closed. Adds the `error` listeners they need from then on.
 */
export function join(one: Duplex, other: Duplex): void {
  one.pipe(other);
  other.pipe(one);
  watch(one, other);
  watch(other, one);
}

/** Ends a connection with RST where it can, whatever is queued on it: its reader must not take the cut for an end. */
export function reset(stream: Duplex): void {
  if (stream.destroyed) return;
  if (isSocket(stream)) stream.resetAndDestroy();
  else stream.destroy();
}

function isSocket(stream: Duplex): stream is Socket {
  return "resetAndDestroy" in stream;
}

function watch(stream: Duplex, peer: Duplex): void {
  // The `close` that follows every error does what must be done.
  stream.on("error", () => undefined);
  stream.once("close", () => {
    // Invariant: a stream that was read and written to its end closed in form, and its peer was given both ends.
    const closedInForm = stream.errored === null && stream.readableEnded && stream.writableFinished;
    if (!closedInForm) reset(peer);
  });
}
