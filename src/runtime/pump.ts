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
import type { TLSSocket } from "node:tls";

import type { Intake } from "./intake.ts";

/** How two connections are joined. */
export interface JoinOptions {
  readonly over?: (brokenBy: Duplex | null) => void;
  readonly intake?: Intake;
  /** Passes bytes to this one, in place of what is done for the other. */
  readonly to?: { readonly stream: Duplex; readonly pass: (from: Duplex, to: Duplex) => void };
}

/**
 * Joins two connected streams, both of which keep their writing half open when the other side ends, until both have
 * closed. Adds the `error` listeners they need from then on.
 *
 * @param options.over  called once both have closed, with the one that broke off first; null when both ended in form
 * @param options.to  one of the two, and how bytes get to it
 * @param options.intake  reads one of them, as far as it says so, and passes that to the other
 */
export function join(one: Duplex, other: Duplex, options: JoinOptions = {}): void {
  const { over, intake, to } = options;
  let openCount = 2;
  let brokenBy: Duplex | null = null;
  const closed = (stream: Duplex, peer: Duplex): void => {
    openCount -= 1;
    // Invariant: a stream that was read and written to its end closed in form, and its peer was given both ends.
    const closedInForm = stream.errored === null && stream.readableEnded && stream.writableFinished;
    if (!closedInForm) {
      brokenBy ??= stream;
      reset(peer);
    }
    if (openCount === 0) over?.(brokenBy);
  };
  for (const [stream, peer] of [
    [one, other],
    [other, one],
  ] as const) {
    // The `close` that follows every error does what must be done.
    stream.on("error", () => undefined);
    stream.once("close", () => closed(stream, peer));
    if (to?.stream === peer) to.pass(stream, peer);
    else if (intake?.reads(stream) !== true) passData(stream, peer);
    stream.once("end", () => peer.end());
    stream.resume();
  }
}

/** Passes bytes on. Not by `pipe`: what it keeps for either is half as much again for each connection. */
function passData(from: Duplex, to: Duplex): void {
  from.on("data", (chunk) => {
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
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

/**
 * Makes a TLS socket end with RST as a plain one does.
 *
 * It inherits `resetAndDestroy` and throws there, for its own handle is none of TCP's; the socket below can do it. What
 * is merely destroyed ends with FIN, and the other side would take a cut answer for a whole one.
 */
export function resettable(secure: TLSSocket, below: Socket): TLSSocket {
  return Object.assign(secure, {
    resetAndDestroy() {
      below.resetAndDestroy();
      return secure;
    },
  });
}

function resetNow(stream: Duplex): void {
  if (stream.destroyed) return;
  try {
    if (isSocket(stream)) stream.resetAndDestroy();
    else stream.destroy();
  } catch {
    // TLS inherits the method and throws there (ERR_INVALID_HANDLE_TYPE), unless it was told how: then a cut has to do.
    stream.destroy();
  }
}

function isSocket(stream: Duplex): stream is Socket {
  if (Object.hasOwn(stream, "resetAndDestroy")) return true;
  return "resetAndDestroy" in stream && !("encrypted" in stream);
}
