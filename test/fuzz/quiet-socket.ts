// A TCP connection without a network: what is written is kept, and everything happens at once.

import { Socket } from "node:net";

import { unframe } from "../dns/fixture.ts";

/** Events of the client's side are emitted by the test: `data`, `end`. */
export class QuietSocket extends Socket {
  override readonly remoteAddress: string;
  override destroyed = false;
  readonly #written: Buffer[] = [];
  #hasEnded = false;

  constructor(address: string) {
    super();
    this.remoteAddress = address;
  }

  override write(bytes: Uint8Array | string): boolean {
    this.#written.push(Buffer.from(bytes));
    return true;
  }

  override end(): this {
    this.#hasEnded = true;
    return this;
  }

  override destroy(): this {
    if (this.destroyed) return this;
    this.destroyed = true;
    this.emit("close", false);
    return this;
  }

  override cork(): void {}

  override uncork(): void {}

  override pause(): this {
    return this;
  }

  override resume(): this {
    return this;
  }

  override setNoDelay(): this {
    return this;
  }

  /** True once the server's side has ended or destroyed it. */
  get isOver(): boolean {
    return this.#hasEnded || this.destroyed;
  }

  /** Whole messages that were written. */
  messages(): readonly Buffer[] {
    return unframe(Buffer.concat(this.#written));
  }
}
