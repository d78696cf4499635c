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

/** How long an end that is on its way may take before a reset that waits for it gives up. */
const SHUTTING_MS = 1000;

/**
 * Ends a connection with RST where it can, whatever is queued on it: its reader must not take the cut for an end.
 *
 * Not while its own end is being written: the system refuses to reset then (EINVAL), and Node would forget the
 * connection without closing it. All but the end has been taken by then, so waiting for it cuts nothing.
 */
export function reset(stream: Duplex): void {
  if (stream.destroyed) return;
  const isShutting = stream.writableEnded && !stream.writableFinished && stream.writableLength === 0;
  if (!isShutting) return resetNow(stream);
  const timer = setTimeout(() => stream.destroy(), SHUTTING_MS);
  stream.once("close", () => clearTimeout(timer));
  stream.once("finish", () => resetNow(stream));
}

function resetNow(stream: Duplex): void {
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
