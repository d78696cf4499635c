/**
 * Awareness: how far this node may trust its own judgement of others.
 *
 * A daemon that is starved of CPU misses answers that did come, and would accuse the whole cluster. So it keeps a score
 * of its own health, from 0 (well) to 7, and waits 1 + score times as long before it thinks ill of others. Late timers,
 * a slow event loop and silence from members it had asked for help raise the score; answers in time lower it, slowly:
 * each step down wants half a second without a step up.
 *
 * A gap between two entries into gossip means that the node slept (suspend, frozen VM, SIGSTOP): then the silence was
 * its own. Whoever slept, is in poor health, or misses many at once doubts itself for some seconds: whom it misses then
 * may be well (membership.ts), and before it accuses anybody it waits a moment for a fresh answer (watch.ts). Only a
 * moment: where half the cluster is gone that must be seen too.
 *
 * After Lifeguard's Local Health Multiplier (Dadgar, Phillips, Currey 2017, arXiv 1707.00788).
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
/** From this score on this node doubts itself: late once and again, or by a ping's timeout. */
const POOR_SCORE = 2;
/** So long after a reason to: members are missed, given up and found again in that time. */
const DOUBTS_MS = 5000;
/** The longest wait for an answer before others are accused: one to a ping, in poor health. */
const WAITS_MS = 400;

/** One node's opinion of itself. Its clock is that of the entries; one that runs backwards counts as standing still. */
export class Awareness {
  #score = 0;
  #enteredMs: number | null = null;
  #tickedMs: number | null = null;
  /** When the score last changed. */
  #changedMs = Number.NEGATIVE_INFINITY;
  #doubtsUntilMs = Number.NEGATIVE_INFINITY;
  /** When it last began to wait for an answer; once that long a doubt lasts. */
  #alarmedMs = Number.NEGATIVE_INFINITY;
  #isWaiting = false;
  #isAlarmNew = false;

  /** From 0, well, to 7. */
  get score(): number {
    return this.#score;
  }

  /** True while what this node thinks of others may be its own fault. */
  get doubtsItself(): boolean {
    return this.#score >= POOR_SCORE || this.#nowMs < this.#doubtsUntilMs;
  }

  /** True while nobody may be accused: an answer must come first, or a moment pass. */
  get waits(): boolean {
    const waitedMs = this.#nowMs - this.#alarmedMs;
    return this.#isWaiting && waitedMs >= 0 && waitedMs < WAITS_MS;
  }

  /** True once after a wait has begun: all are to be pinged. */
  takeAlarm(): boolean {
    const isNew = this.#isAlarmNew;
    this.#isAlarmNew = false;
    return isNew;
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
    const hasSlept = nowMs - beforeMs > PAUSE_MS;
    if (hasSlept) this.#doubtsUntilMs = nowMs + DOUBTS_MS;
    return hasSlept;
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

  /** Many that were there are missed at once. */
  missedMany(): void {
    this.#doubt();
  }

  /** A ping that was sent at `sentMs` is answered: if it was sent in doubt, this node hears and is heard. */
  answered(sentMs: number): void {
    if (sentMs >= this.#alarmedMs) this.#isWaiting = false;
  }

  /** A ping was answered in time. */
  succeeded(): void {
    const nowMs = this.#nowMs;
    if (this.#score === 0 || nowMs - this.#changedMs < CALM_MS) return;
    this.#score -= 1;
    this.#changedMs = nowMs;
  }

  #raiseTo(score: number): void {
    if (score <= this.#score) return;
    this.#score = Math.min(SCORE_MAX, score);
    this.#changedMs = this.#nowMs;
    if (this.#score >= POOR_SCORE) this.#doubt();
  }

  #doubt(): void {
    const nowMs = this.#nowMs;
    this.#doubtsUntilMs = nowMs + DOUBTS_MS;
    // Not again and again: others may really be gone.
    const sinceMs = nowMs - this.#alarmedMs;
    if (sinceMs >= 0 && sinceMs < DOUBTS_MS) return;
    this.#alarmedMs = nowMs;
    this.#isWaiting = true;
    this.#isAlarmNew = true;
  }

  get #nowMs(): number {
    return this.#enteredMs ?? 0;
  }
}

function stepsFor(lateMs: number): number {
  if (lateMs > VERY_LATE_MS) return 2;
  return lateMs > LATE_MS ? 1 : 0;
}
