/**
 * Kept: the datagrams that an upstream may still refuse.
 *
 * A refusal (ICMP) comes after the datagram it is about and does not say which that was. So the last few are kept for a
 * moment, and when a refusal comes they go to the next upstream, whole and in order. An answer shows that the upstream
 * lives, and what was sent before it is let go. Only for a moment: what was sent long before the refusal was not what
 * was refused, and most likely did its work.
 *
 * Pure.
 */

import { LIMITS } from "../../model/limits.ts";

/** How long a refusal may take to come: a round trip to another host, and a busy one's turn. */
const REFUSABLE_MS = 250;

/** The datagrams of one flow. */
export class Kept {
  readonly #kept: { readonly payload: Buffer; readonly atMs: number }[] = [];

  /** Keeps what was sent now, when it is not too long. */
  sent(payload: Buffer, nowMs: number): void {
    if (payload.length > LIMITS.udpKeptBytes) return;
    this.#kept.push({ payload, atMs: nowMs });
    if (this.#kept.length > LIMITS.udpKeptPerFlow) this.#kept.shift();
  }

  /** Lets go of all, for the upstream has answered. */
  answered(): void {
    this.#kept.length = 0;
  }

  /** Lets go of what no refusal can be about any more. */
  expire(nowMs: number): void {
    while (this.#kept[0] !== undefined && nowMs - this.#kept[0].atMs > REFUSABLE_MS) this.#kept.shift();
  }

  /** Takes what a refusal that came now may be about, or what was lost with the way it was sent on. */
  refused(nowMs: number): readonly Buffer[] {
    this.expire(nowMs);
    return this.#kept.splice(0).map(({ payload }) => payload);
  }
}
