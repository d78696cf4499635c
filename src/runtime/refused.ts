/**
 * Refused: was what we wrote last thrown away by the other side's system, unread?
 *
 * A program that closes a connection ends it (FIN). What reaches its system after that is answered with a reset, for
 * nobody is there to read it. Who sees the end alone cannot tell whether his last words came before it or after. The
 * system can: a connection that was reset after its end fails with EPIPE, one that was reset before with ECONNRESET
 * (Linux, tcp_reset() in net/ipv4/tcp_input.c), and it says so to a write, even of nothing at all.
 *
 * It proves that nobody saw a message only where that travelled in one piece: else its first part may have been read.
 *
 * Touches: a connection, timers.
 */

import type { Duplex } from "node:stream";
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";

import { systemCodeOf } from "../base/failure.ts";

/** What fits one segment on any Ethernet (1,500 less IPv6 and TCP headers with options), in bytes. */
export const ONE_PIECE_BYTES = 1400;

/** When to look: a reset comes a round trip after what was written. Beyond this nobody is kept waiting for it. */
const LOOKS_MS = [0, 2, 10] as const;

/**
 * True when what was written last to a connection that the other side has ended was certainly not read. Never rejects;
 * the connection is of no use after it.
 */
export async function wasRefused(stream: Duplex): Promise<boolean> {
  for (const waitMs of LOOKS_MS) {
    if (waitMs === 0) await turn();
    else await delay(waitMs);
    const code = await writeNothing(stream);
    if (code !== null) return code === "EPIPE";
  }
  return false;
}

/** The code with which a write fails; null when it does not. */
function writeNothing(stream: Duplex): Promise<string | null> {
  // What was destroyed on this side fails with EPIPE, too, and tells nothing.
  if (stream.destroyed || stream.writableEnded) return Promise.resolve("destroyed");
  return new Promise((resolve) => {
    stream.write("", (thrown) => resolve(thrown ? (systemCodeOf(thrown) ?? "unknown") : null));
  });
}
