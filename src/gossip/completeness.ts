/**
 * Completeness: may this node believe its picture?
 *
 * A node that has just started knows little, and must not take what it does not know for gone. Its picture is complete
 * once it holds what a peer held that believes its own; or, where nobody does yet (a cluster that starts as a whole),
 * once every known address was tried and all that its peers held is here; or after a grace period, so that a peer that
 * never finishes cannot keep it waiting. Once complete it stays so.
 *
 * Pure.
 */

import { PAUSE_MS } from "./awareness.ts";
import type { Digest } from "./message.ts";

/** After this long a node believes its picture even if no exchange has finished. */
const GRACE_MS = 5000;
/** Peers that do not believe their own pictures and are waited for. */
const UNSURE_MAX = 32;

/** What is known of the exchange. */
export interface Exchange {
  readonly covers: (digest: Digest) => boolean;
  /** Every known address was dialled to an end. */
  readonly triedAll: boolean;
}

/** Judges one node's picture, from its start on. */
export class Completeness {
  /** When it started; moved on by pauses, in which nothing could finish. */
  #startedAtMs: number;
  #checkedAtMs: number;
  #sure: Digest | null = null;
  readonly #unsure: Digest[] = [];
  #reached = false;

  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs;
    this.#checkedAtMs = startedAtMs;
  }

  get reached(): boolean {
    return this.#reached;
  }

  /** Notes what a peer holds, and whether it believes that this is all. */
  greeted(digest: Digest, isSure: boolean): void {
    if (this.#reached) return;
    if (isSure) this.#sure ??= digest;
    else if (this.#unsure.length < UNSURE_MAX) this.#unsure.push(digest);
  }

  /** Looks again. @returns true when the picture became complete by it */
  check({ covers, triedAll }: Exchange, nowMs: number): boolean {
    if (this.#reached) return false;
    if (nowMs - this.#checkedAtMs > PAUSE_MS) this.#startedAtMs += nowMs - this.#checkedAtMs;
    this.#checkedAtMs = nowMs;
    const isCovered = this.#sure === null ? triedAll && this.#unsure.every(covers) : covers(this.#sure);
    this.#reached = isCovered || nowMs - this.#startedAtMs >= GRACE_MS;
    if (this.#reached) {
      this.#sure = null;
      this.#unsure.length = 0;
    }
    return this.#reached;
  }
}
