/**
 * Agent: one connection for one request of node:http's client, made as all connections to upstreams are.
 *
 * Touches: sockets, through what it is given.
 */

import { Agent } from "node:http";
import type { Duplex } from "node:stream";

import { Failure, textOf } from "../../base/failure.ts";

/** Connects once for each request, and keeps nothing. */
export class SingleUseAgent extends Agent {
  readonly #connect: () => Promise<Duplex>;

  /** @param connect  rejects with what is to be the request's error */
  constructor(connect: () => Promise<Duplex>) {
    super({ keepAlive: false });
    this.#connect = connect;
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    // Its type wants a stream even beside an error; node:http itself passes none.
    if (callback !== undefined) void this.#open(callback as (error: Error | null, stream?: Duplex) => void);
  }

  async #open(callback: (error: Error | null, stream?: Duplex) => void): Promise<void> {
    let stream: Duplex;
    try {
      stream = await this.#connect();
    } catch (thrown) {
      callback(thrown instanceof Error ? thrown : new Failure("unreachable", textOf(thrown)));
      return;
    }
    // An upstream that ends without an answer has closed: half-open it would be waited for.
    stream.allowHalfOpen = false;
    callback(null, stream);
  }
}
