/**
 * Body: a request's body on its way to an upstream, and to another one when the first fails.
 *
 * Nothing is read before an upstream has taken the connection: what was never read cannot be lost. From then on the
 * client is read as fast as the upstream takes it, no faster. The first bytes are kept, up to a bound, whatever the
 * method: a request that surely reached nobody may be sent again too. A body that outgrows the bound is let go, and the
 * request can then no longer be repeated.
 *
 * Touches: the client's request stream.
 */

import type { Readable } from "node:stream";

import { LIMITS } from "../../model/limits.ts";

import { pairsOf, type HttpClient } from "./client.ts";
import type { BodySink } from "./forwarder.ts";
import { endToEndTrailers } from "./headers.ts";

/** What the sender of a body wants to know. */
export interface BodyEvents {
  /** Bytes have passed. */
  readonly moved: () => void;
  /** All of it has been handed to the sink. */
  readonly sent: () => void;
}

/** The body of one request. */
export class RequestBody {
  readonly #client: Pick<HttpClient, "body" | "trailers">;
  readonly #request: Readable;
  /** All that was read so far; null when it is kept no longer. */
  #kept: Buffer[] | null = [];
  #bytesRead = 0;
  readonly #isGathered: boolean;
  #hasBegun = false;
  #hasEnded = false;
  #sink: BodySink | null = null;
  #events: BodyEvents | null = null;

  /**
   * @param isGathered  nothing is sent before all of it is here, and then at once: for small ones, of requests that
   *   may not be sent twice. What travels in one piece was read whole or not at all
   */
  constructor(client: Pick<HttpClient, "body" | "trailers">, isGathered: boolean) {
    this.#client = client;
    this.#request = client.body;
    this.#isGathered = isGathered;
  }

  /** True while every byte read so far is still here, so that it can be sent from the start. */
  get isKept(): boolean {
    return this.#kept !== null;
  }

  /** Bytes that were read of the client. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** True when the client has sent all of it. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** True while the next byte is the client's to send. */
  get awaitsClient(): boolean {
    return this.#hasBegun && !this.#hasEnded && !this.#request.isPaused();
  }

  /** Sends it from its first byte; only while `isKept`. */
  sendTo(sink: BodySink, events: BodyEvents): void {
    this.#sink = sink;
    this.#events = events;
    sink.on("drain", () => {
      if (this.#sink === sink) this.#request.resume();
    });
    // The head goes out with the first chunk where there is one by then; a slow client must not keep it back.
    if (!this.#isGathered) {
      setImmediate(() => {
        if (this.#sink === sink && !sink.writableEnded) sink.flushHeaders();
      });
      for (const chunk of this.#kept ?? []) sink.write(chunk);
    }
    if (this.#hasEnded) this.#finish();
    else if (!this.#hasBegun) this.#begin();
    else if (!sink.writableNeedDrain) this.#request.resume();
  }

  /** Stops sending; what the client sends further waits in its connection. */
  stop(): void {
    this.#sink = null;
    this.#request.pause();
  }

  /** Reads the rest and drops it, so that the client's next request can be read. */
  discard(): void {
    this.#sink = null;
    this.#kept = null;
    this.#hasBegun = true;
    this.#request.resume();
  }

  #begin(): void {
    this.#hasBegun = true;
    this.#request.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#request.once("end", () => {
      this.#hasEnded = true;
      if (this.#sink !== null) this.#finish();
    });
    this.#request.resume();
  }

  #take(chunk: Buffer): void {
    this.#bytesRead += chunk.byteLength;
    if (this.#kept !== null) {
      if (this.#bytesRead > LIMITS.httpReplayBytes) this.#kept = null;
      else this.#kept.push(chunk);
    }
    if (this.#sink === null) return;
    this.#events?.moved();
    if (!this.#isGathered && !this.#sink.write(chunk)) this.#request.pause();
  }

  #finish(): void {
    if (this.#isGathered) this.#sink?.write(Buffer.concat(this.#kept ?? []));
    const trailers = endToEndTrailers(this.#client.trailers);
    if (trailers.length > 0) this.#sink?.addTrailers(pairsOf(trailers));
    this.#sink?.end();
    this.#events?.sent();
  }
}
