/**
 * Hello: reads whom a new connection asks for, and puts the bytes back.
 *
 * Whoever takes the connection then, a replica or our own TLS, reads it from its first byte on. A client that says
 * nothing, or not all of it, is not waited for longer than for a handshake.
 *
 * Touches: the sockets it is given.
 */

import type { Socket } from "node:net";

import { reset } from "../../runtime/pump.ts";

import type { Deadlines } from "../deadlines.ts";
import { HelloReader, type HelloReading } from "./client-hello.ts";

/** What was read, once that is settled. */
export type Hello = Exclude<HelloReading, { readonly kind: "more" }>;

/** What peeking needs. */
export interface PeekOptions {
  readonly deadlines: Deadlines;
  readonly nowMs: () => number;
  readonly waitMs: number;
}

/**
 * Reads the first message of a client.
 *
 * @param socket  paused, nothing read of it, with a listener for `error`; it is paused again when `heard` is called
 * @param heard   not called for a client that leaves before, or is late: its connection is closed then
 */
export function peekHello(socket: Socket, options: PeekOptions, heard: (hello: Hello) => void): void {
  const { deadlines, nowMs, waitMs } = options;
  const reader = new HelloReader();
  const chunks: Buffer[] = [];
  const release = (): void => {
    deadlines.remove(deadline);
    socket.off("data", take).off("end", leave).off("close", release);
  };
  const leave = (): void => {
    release();
    socket.destroy();
  };
  const take = (chunk: Buffer): void => {
    chunks.push(chunk);
    const reading = reader.add(chunk);
    if (reading.kind === "more") return;
    release();
    socket.pause();
    socket.unshift(Buffer.concat(chunks));
    heard(reading);
  };
  const deadline = deadlines.add(nowMs() + waitMs, () => {
    release();
    reset(socket);
  });
  socket.on("data", take).once("end", leave).once("close", release);
  socket.resume();
}
