/**
 * Intake: reads what a connection sends into the same memory again and again, and passes it to another connection.
 *
 * Node allocates 64 KiB for each read. In a fast transfer that is memory by the gigabyte, and collecting it takes
 * longer than carrying it. Where all that is read goes to one socket, the memory is free again as soon as the system
 * has taken the bytes, which mostly is at once; where it has not, nothing more is read until it has. So a direction
 * holds one piece of memory and no queue.
 *
 * Touches: the two connections it is given.
 */

import type { OnReadOpts, Socket } from "node:net";
import type { Duplex } from "node:stream";

/** Half of what Node reads at once: as fast, and the system backs it with memory only as far as it was ever filled. */
const BUFFER_BYTES = 32 * 1024;

/** What one connection sends, on its way to another. */
export class Intake {
  readonly #to: Socket;
  #from: Socket | null = null;
  #isWaiting = false;

  /** @param to  a TCP socket: other streams may keep what they are given, which is overwritten here */
  constructor(to: Socket) {
    this.#to = to;
  }

  /** For `net.connect`, which gives the connection to `takeFrom` right after that. */
  get onread(): OnReadOpts {
    return {
      buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
      callback: (size, bytes) => this.#took(size, bytes),
    };
  }

  /** Reads from a connection that was made with `onread`, from when it is resumed. */
  takeFrom(socket: Socket): void {
    this.#from = socket;
    socket.pause();
  }

  /** True for the connection that is read here: it tells of its end, but not of data. */
  reads(stream: Duplex): boolean {
    return this.#from === stream;
  }

  /** @returns false to read no further until resumed */
  #took(size: number, bytes: Uint8Array): boolean {
    this.#to.write(bytes.subarray(0, size), this.#sent);
    this.#isWaiting = this.#to.writableLength > 0;
    return !this.#isWaiting;
  }

  readonly #sent = (): void => {
    if (!this.#isWaiting || this.#to.writableLength > 0) return;
    this.#isWaiting = false;
    this.#from?.resume();
  };
}
