/**
 * Receipts: how many bytes a replica was given over a relayed stream that has ended.
 *
 * A server that stops closes its idle connections. A request that crosses that on its way over a kept connection is
 * lost, and who sent it cannot tell whether it was acted upon: an idempotent one is sent again, a POST must fail. But
 * over a relayed stream the daemon beside the replica knows what it gave. So who asks for a stream for HTTP may name a
 * receipt, and ask by it afterwards: a request of which no byte was given may go elsewhere, whatever its method.
 *
 * Beside the stream, not in it: bytes added to a stream whose answer was cut, or that ends with its connection, would
 * be taken for a part of the answer. Not for ever: nobody asks later than some seconds after the end.
 *
 * Touches: the replica's connection, and a stream of its own to ask.
 */

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { LIMITS } from "../model/limits.ts";
import { nowMs } from "../runtime/clock.ts";
import { startDeadline } from "../runtime/deadline.ts";
import { ONE_PIECE_BYTES, wasRefused } from "../runtime/refused.ts";

import { RECEIPT_HEADER, type Ask, type OpenStream, type StreamPeer } from "./stream.ts";

/** How long a receipt is kept: well above the time in which a request is sent again or given up. */
const KEPT_MS = 10_000;

/** What is answered where nothing is known. */
const UNKNOWN = "unknown";

/** The receipts of one daemon. */
export class Receipts {
  readonly #byName = new Map<string, { readonly givenBytes: Promise<number>; readonly untilMs: number }>();

  /** Notes what the replica was given when its connection ends. Bytes are then to pass by `pass` of what it returns. */
  keep(name: string, replica: Socket): Giving {
    const giving = new Giving(replica);
    const note = (): void => {
      if (this.#byName.has(name)) return;
      this.#byName.set(name, { givenBytes: giving.bytesTaken(), untilMs: nowMs() + KEPT_MS });
      this.#bound();
    };
    replica.once("end", note);
    replica.once("close", note);
    return giving;
  }

  /** The bytes given in all; null for one that is not known, not ended, or ended long ago. */
  async givenBytes(name: string): Promise<number | null> {
    const receipt = this.#byName.get(name);
    return receipt === undefined || nowMs() > receipt.untilMs ? null : await receipt.givenBytes;
  }

  /** In the order in which they ended, so the first are the oldest. */
  #bound(): void {
    for (const [name, { untilMs }] of this.#byName) {
      if (this.#byName.size <= LIMITS.receiptsMax && nowMs() <= untilMs) return;
      this.#byName.delete(name);
    }
  }
}

/**
 * What is given to one replica: bytes until it has ended its side, and none after that, as in HTTP, where nothing is
 * said to one who has hung up. What comes while the replica waits for nothing is held for a turn of the event loop, in
 * which an end that has reached this host already is read first.
 */
export class Giving {
  readonly #replica: Socket;
  /** Bytes given when it last spoke, and how many writes were made since. */
  #bytesBefore = 0;
  #writeCount = 0;

  constructor(replica: Socket) {
    this.#replica = replica;
    replica.on("data", () => {
      this.#bytesBefore = replica.bytesWritten;
      this.#writeCount = 0;
    });
  }

  /** Passes what comes `from` one end on; for join() of runtime/pump.ts. */
  readonly pass = (from: Duplex): void => {
    const replica = this.#replica;
    const give = (chunk: Buffer): void => {
      this.#writeCount += 1;
      if (!replica.write(chunk)) from.pause();
    };
    from.on("data", (chunk: Buffer) => {
      if (replica.readableEnded) return;
      if (this.#writeCount > 0) return give(chunk);
      from.pause();
      setImmediate(() => {
        from.resume();
        if (!replica.readableEnded && !replica.destroyed) give(chunk);
      });
    });
    replica.on("drain", () => from.resume());
  };

  /** The bytes that the replica may have seen, once it has ended; those that its system threw away are none. */
  async bytesTaken(): Promise<number> {
    const givenBytes = this.#replica.bytesWritten;
    const isOnePiece = this.#writeCount === 1 && givenBytes - this.#bytesBefore <= ONE_PIECE_BYTES;
    return isOnePiece && (await wasRefused(this.#replica)) ? this.#bytesBefore : givenBytes;
  }
}

/** The receipt that a request for a stream names; one of another form is as if it were not there. */
export function receiptOf(request: Pick<IncomingMessage, "headers">): string | null {
  const name = request.headers[RECEIPT_HEADER];
  return typeof name === "string" && /^[a-z0-9]{16,64}$/.test(name) ? name : null;
}

/** Answers who asks by a receipt, and ends the stream. */
export function answerReceipt(asker: Duplex, givenBytes: number | null): void {
  asker.end(givenBytes === null ? UNKNOWN : String(givenBytes));
  asker.resume();
}

/**
 * Asks how many bytes a replica was given over a stream that has ended. Never rejects.
 *
 * @param ask  names the replica, and the receipt that was named when the stream was asked for
 * @returns null where that is not known, or not in time
 */
export async function askGiven(
  openStream: OpenStream,
  peer: StreamPeer,
  ask: Ask & { readonly receipt: string },
): Promise<number | null> {
  try {
    return await readCount(await openStream(peer, { ...ask, carries: "receipts" }), ask.deadlineMs);
  } catch {
    // An older daemon, or none: then nothing is known.
    return null;
  }
}

function readCount(stream: Duplex, deadlineMs: number): Promise<number | null> {
  return new Promise((resolve) => {
    let text = "";
    const settle = (count: number | null): void => {
      deadline.clear();
      stream.destroy();
      resolve(count);
    };
    const deadline = startDeadline(deadlineMs, () => settle(null));
    stream.on("error", () => settle(null));
    stream.once("close", () => settle(null));
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (text.length > UNKNOWN.length + 16) settle(null);
    });
    stream.once("end", () => settle(/^\d{1,16}$/.test(text) ? Number(text) : null));
  });
}
