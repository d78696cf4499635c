/**
 * Voice: what this node says of its own life.
 *
 * It answers accusations, and says farewell. Each answer is a write that goes to everybody, so a peer that accuses
 * again and again must not make this node shout: at most one answer in a while, and the highest counts for all.
 *
 * Pure. life.ts is what is said, gossip.ts writes it.
 */

import { FIRST_LIFE, REFUTATION_MAX, type Life } from "./life.ts";

const ANSWER_EVERY_MS = 200;

/** One node's own life. */
export class Voice {
  #life: Life = FIRST_LIFE;
  #answeredAtMs = Number.NEGATIVE_INFINITY;
  #accusedAt: number | null = null;

  get life(): Life {
    return this.#life;
  }

  /** Somebody holds this node for lost at this refutation of it. */
  accused(refutation: number): void {
    if (refutation < this.#life.refutation || refutation >= REFUTATION_MAX) return;
    this.#accusedAt = Math.max(this.#accusedAt ?? 0, refutation);
  }

  /** The answer that is due; null for none. */
  answer(nowMs: number): Life | null {
    if (this.#accusedAt === null || this.#life.said === "left") return null;
    if (nowMs - this.#answeredAtMs < ANSWER_EVERY_MS && nowMs >= this.#answeredAtMs) return null;
    this.#answeredAtMs = nowMs;
    this.#life = { ...this.#life, refutation: this.#accusedAt + 1 };
    this.#accusedAt = null;
    return this.#life;
  }

  /** A clean stop: for good, or for a while. */
  farewell(said: "left" | "away", forMs: number): Life {
    this.#life = { refutation: this.#life.refutation + 1, said, forMs: said === "away" ? forMs : 0 };
    return this.#life;
  }
}
