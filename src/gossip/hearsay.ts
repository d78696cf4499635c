/**
 * Hearsay: deaths that this node only reads in a peer's digest.
 *
 * A verdict is told to all when it is made. One that comes by digest is old, and most often of the far side of a
 * partition that has just healed; the member itself is well and does not know that somebody gave it up. So it is told,
 * after a moment in which it may have heard and refuted by itself; and only when it keeps silent for a while, though
 * peers go on telling its death, is that believed: then this node has missed the verdict.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Rumor } from "./message.ts";

const WARN_AFTER_MS = 300;
const BELIEVE_AFTER_MS = 4000;
/** Told less often than this it counts as over. */
const FORGET_AFTER_MS = 10_000;
/** After a large partition thousands of deaths are read at once. */
const WARNED_PER_TICK = 16;

interface Heard {
  readonly rumor: Rumor;
  readonly firstAtMs: number;
  lastAtMs: number;
  warned: boolean;
}

/** Deaths read in digests. */
export class Hearsay {
  /** Of nodes of which no log is held. */
  readonly #deathBySubject = new Map<NodeId, Rumor>();
  readonly #heardBySubject = new Map<NodeId, Heard>();

  /** A peer's digest holds the subject for dead. @returns true once that has been told for long enough to believe it */
  read(rumor: Rumor, nowMs: number): boolean {
    const heard = this.#heardBySubject.get(rumor.subject);
    const isSame =
      heard?.rumor.incarnation === rumor.incarnation && heard.rumor.refutation === rumor.refutation;
    if (heard === undefined || !isSame || nowMs - heard.lastAtMs > FORGET_AFTER_MS) {
      if (heard === undefined && this.#heardBySubject.size >= LIMITS.ownersMax) return false;
      this.#heardBySubject.set(rumor.subject, { rumor, firstAtMs: nowMs, lastAtMs: nowMs, warned: false });
      return false;
    }
    heard.lastAtMs = nowMs;
    if (nowMs - heard.firstAtMs < BELIEVE_AFTER_MS) return false;
    this.#heardBySubject.delete(rumor.subject);
    return true;
  }

  /** Those whose subject should be told by now. */
  toWarn(nowMs: number): readonly Rumor[] {
    if (this.#heardBySubject.size === 0) return [];
    const due: Rumor[] = [];
    for (const [subject, heard] of this.#heardBySubject) {
      if (nowMs - heard.lastAtMs > FORGET_AFTER_MS) this.#heardBySubject.delete(subject);
      if (heard.warned || nowMs - heard.firstAtMs < WARN_AFTER_MS) continue;
      heard.warned = true;
      due.push(heard.rumor);
      if (due.length >= WARNED_PER_TICK) break;
    }
    return due;
  }

  /** Notes the death of a node that is not known yet: its log may come. Past the bound the oldest is dropped. */
  bury(rumor: Rumor): void {
    this.#deathBySubject.delete(rumor.subject);
    this.#deathBySubject.set(rumor.subject, rumor);
    if (this.#deathBySubject.size <= LIMITS.ownersMax) return;
    // Not the newest: deaths of nodes that never come would keep all later ones out for ever.
    for (const subject of this.#deathBySubject.keys()) {
      this.#deathBySubject.delete(subject);
      return;
    }
  }

  /** The death of a node that becomes known now; undefined when nobody told of one. */
  buried(subject: NodeId): Rumor | undefined {
    const death = this.#deathBySubject.get(subject);
    this.#deathBySubject.delete(subject);
    return death;
  }

  /** The subject has answered, or is known to be gone. */
  over(subject: NodeId): void {
    this.#heardBySubject.delete(subject);
  }
}
