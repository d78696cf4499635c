/**
 * Awareness: how far this node may trust its own judgement of others.
 *
 * A daemon that is starved of CPU misses answers that did come, and would accuse the whole cluster. So it keeps a score
 * of its own health, from 0 (well) to 7, and waits 1 + score times as long before it thinks ill of others. Late timers,
 * a slow event loop and silence from members it had asked for help raise the score; answers in time lower it, slowly:
 * each step down wants half a second without a step up.
 *
 * A gap between two entries into gossip means that the node slept (suspend, frozen VM, SIGSTOP): then the silence was
 * its own. After Lifeguard's Local Health Multiplier (Dadgar, Phillips, Currey 2017, arXiv 1707.00788).
 *
 * Pure. The shell measures the event loop; gossip.ts decides what follows from a pause.
 */

/** A gap between two entries from which on this node was asleep; the tick enters several times a second. */
export const PAUSE_MS = 900;

const SCORE_MAX = 7;
/** Above what a collection of garbage takes, well below a ping's timeout. */
const LATE_MS = 100;
/** A ping's whole timeout. */
const VERY_LATE_MS = 500;
const CALM_MS = 500;

/** One node's opinion of itself. Its clock is that of the entries; one that runs backwards counts as standing still. */
export class Awareness {
  #score = 0;
  #enteredMs: number | null = null;
  #tickedMs: number | null = null;
  /** When the score last changed. */
  #changedMs = Number.NEGATIVE_INFINITY;

  /** From 0, well, to 7. */
  get score(): number {
    return this.#score;
  }

  /** A timeout as long as this node's health demands: `ms` to eight times that. */
  stretch(ms: number): number {
    return ms * (1 + this.#score);
  }

  /**
   * To be called first at every entry into gossip, whatever the input.
   *
   * @returns true when this node slept since the entry before; told once a pause
   */
  entered(nowMs: number): boolean {
    const beforeMs = this.#enteredMs ?? nowMs;
    this.#enteredMs = nowMs;
    if (nowMs < beforeMs) this.#changedMs = Math.min(this.#changedMs, nowMs);
    return nowMs - beforeMs > PAUSE_MS;
  }

  /** A tick came, which was due `expectedEveryMs` after the one before. */
  ticked(nowMs: number, expectedEveryMs: number): void {
    const lateMs = this.#tickedMs === null ? 0 : nowMs - this.#tickedMs - expectedEveryMs;
    this.#tickedMs = nowMs;
    this.#raiseTo(this.#score + stepsFor(lateMs));
  }

  /**
   * The event loop's delay, 99th percentile over the last seconds. A level, not an occurrence: the same delay told
   * twice as often weighs the same.
   */
  delayed(p99Ms: number): void {
    this.#raiseTo(stepsFor(p99Ms));
  }

  /** A member asked to probe another did not even say that it could not: it may be us that nobody hears. */
  missedNack(): void {
    this.#raiseTo(this.#score + 1);
  }

  /** A ping was answered in time. */
  succeeded(): void {
    const nowMs = this.#enteredMs ?? 0;
    if (this.#score === 0 || nowMs - this.#changedMs < CALM_MS) return;
    this.#score -= 1;
    this.#changedMs = nowMs;
  }

  #raiseTo(score: number): void {
    if (score <= this.#score) return;
    this.#score = Math.min(SCORE_MAX, score);
    this.#changedMs = this.#enteredMs ?? 0;
  }
}

function stepsFor(lateMs: number): number {
  if (lateMs > VERY_LATE_MS) return 2;
  return lateMs > LATE_MS ? 1 : 0;
}
