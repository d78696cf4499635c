/**
 * Frame writer: frames of datagrams onto a connection, as long as there is room.
 *
 * What finds none is dropped: a queue would deliver late what its sender has sent again by then. Frames of one turn of
 * the event loop leave together: one record of TLS and one segment instead of one for each.
 *
 * Touches: the connection it is given.
 */

import type { Socket } from "node:net";

import { LIMITS } from "../model/limits.ts";

import { encodeFrame, type FrameKind } from "./datagram-frames.ts";

/** Writes frames to a connection; what finds no room is dropped. */
export class FrameWriter {
  readonly #socket: Socket;
  #isCorked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** @returns false when it was dropped */
  write(kind: FrameKind, flow: number, payload?: Uint8Array): boolean {
    const socket = this.#socket;
    if (!socket.writable || socket.writableLength >= LIMITS.datagramsBufferedBytes) return false;
    if (!this.#isCorked) {
      this.#isCorked = true;
      socket.cork();
      setImmediate(() => {
        this.#isCorked = false;
        socket.uncork();
      });
    }
    socket.write(encodeFrame(kind, flow, payload));
    return true;
  }
}
