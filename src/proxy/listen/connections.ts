/**
 * Connections: the client connections of all frontends, counted and bounded together.
 *
 * File descriptors and memory are shared by every service, so the bound is one number for the daemon. What comes
 * beyond it is reset at once: a client that is told can go to another host, one that waits in a queue cannot.
 *
 * Touches: the sockets it is given.
 */

import type { Duplex } from "node:stream";

import { reset } from "../../runtime/pump.ts";

/** The open client connections of a proxy. */
export class Connections {
  /** By the connection, the stream that ends it. */
  readonly #open = new Map<Duplex, Duplex>();
  readonly #countMax: number;
  readonly #waiting: (() => void)[] = [];

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Counts a connection until it closes; resets it and returns false when there are too many. */
  admit(socket: Duplex): boolean {
    if (this.#open.size >= this.#countMax) {
      reset(socket);
      return false;
    }
    this.#open.set(socket, socket);
    socket.once("close", () => this.release(socket));
    return true;
  }

  /**
   * Has a connection be reset by the stream that it carries from now on, TLS: that alone knows when its end is being
   * written, and the system refuses to reset then.
   */
  carry(socket: Duplex, stream: Duplex): void {
    if (this.#open.has(socket)) this.#open.set(socket, stream);
  }

  /** Counts a connection no longer, open as it may be. */
  release(socket: Duplex): void {
    this.#open.delete(socket);
    if (this.#open.size > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Settles when no connection is open. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Resets every connection. */
  resetAll(): void {
    for (const stream of this.#open.values()) reset(stream);
  }
}
