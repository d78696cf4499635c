/**
 * Pump: joins two TCP connections so that each end sees what it would see of the other directly.
 *
 * Bytes pass both ways under backpressure; an end in one direction (FIN) passes on while the other direction
 * stays open, as protocols that half-close need; a reset (RST) passes on as a reset, so that a client learns
 * of a broken replica at once and never takes a cut answer for a whole one.
 *
 * Touches: the two sockets it is given.
 */

import type { Socket } from "node:net";

/**
 * Joins two connected sockets, both made with `allowHalfOpen`, until both have closed. Adds the `error`
 * listeners they need from then on.
 */
export function join(one: Socket, other: Socket): void {
  one.pipe(other);
  other.pipe(one);
  watch(one, other);
  watch(other, one);
}

/** Ends a connection with RST where the system allows, whatever is queued on it. */
export function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy();
}

function watch(socket: Socket, peer: Socket): void {
  // The `close` that follows every error does what must be done.
  socket.on("error", () => undefined);
  socket.once("close", () => {
    // Invariant: a socket that read to the end and wrote to the end closed in form, and its peer was given
    // both ends.
    const closedInForm = socket.errored === null && socket.readableEnded && socket.writableFinished;
    if (!closedInForm) reset(peer);
  });
}
