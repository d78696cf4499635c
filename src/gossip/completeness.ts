/**
 * Completeness: may this node believe its picture?
 *
 * A node that has just started knows little, and must not take what it does not know for gone. Its picture is complete
 * once it holds what the first peer held at its hello; or once every address was tried and nobody is there; or after a
 * grace period, so that a peer that never finishes cannot keep it waiting. Once complete it stays so.
 *
 * Pure.
 */

import type { Digest } from "./message.ts";

/** After this long a node believes its picture even if the first exchange has not finished. */
const GRACE_MS = 5000;

/** What is known of the exchange. */
export interface Exchange {
  readonly covers: (digest: Digest) => boolean;
  /** Every known address was dialled to an end, and no link is open. */
  readonly alone: boolean;
}

/** Judges one node's picture, from its start on. */
export class Completeness {
  readonly #startedAtMs: number;
  #awaited: Digest | null = null;
  #reached = false;

  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs;
  }

  get reached(): boolean {
    return this.#reached;
  }

  /** Notes what the first peer holds. */
  greeted(digest: Digest): void {
    this.#awaited ??= digest;
  }

  /** Looks again. @returns true when the picture became complete by it */
  check(exchange: Exchange, nowMs: number): boolean {
    if (this.#reached) return false;
    const isCovered = this.#awaited !== null && exchange.covers(this.#awaited);
    this.#reached = isCovered || exchange.alone || nowMs - this.#startedAtMs >= GRACE_MS;
    return this.#reached;
  }
}
