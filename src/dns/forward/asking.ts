/**
 * Asking: one query put to several upstreams until one of them settles it.
 *
 * The first is asked alone. Whenever one fails, and whenever it has been a while without an answer, the next is asked
 * as well and the others may still answer: so a dead server costs that while and not a client's patience, and a slow
 * one is not asked in vain. The first usable answer wins. SERVFAIL and its like are about the server, not the name:
 * such a reply is kept for the case that nobody has a better one. When all were asked and are silent, another round
 * follows, since datagrams get lost; it opens nothing more than what is open.
 *
 * Touches: timers, and the network through exchange.ts.
 */

import type { HostPort } from "../../base/ip.ts";
import { startDeadline, type RunningDeadline } from "../../runtime/deadline.ts";

import { startExchange, type RunningExchange, type Transport } from "./exchange.ts";
import { isUsable, type UpstreamReply } from "./reply.ts";

/** Rounds at most: of three datagrams running hardly ever all are lost. */
const ROUNDS_MAX = 3;

/** How long to wait for whom. */
export interface AskTimes {
  /** Without an answer for so long, the next server is asked as well. */
  readonly hedgeMs: number;
  /** After the last server was asked, so long passes before the next round; or before a failure is passed on. */
  readonly roundMs: number;
  /** All in all. */
  readonly totalMs: number;
}

/** A server to ask, and its place in the configuration. */
export interface Turn {
  readonly at: number;
  readonly upstream: HostPort;
}

/** What an asking works with. */
export interface AskingOptions {
  readonly query: Buffer;
  readonly transport: Transport;
  /** In the order in which they are asked; at least one. */
  readonly turns: readonly Turn[];
  readonly times: AskTimes;
  /** What is learned of the servers, by their places. */
  readonly observer: AskObserver;
  /** Called once: with the reply that settles it, or with null when nobody said anything in time. */
  readonly ended: (reply: UpstreamReply | null) => void;
}

/** Told what servers do. */
export interface AskObserver {
  /** False while there are too many exchanges for a second server to be asked besides the first. */
  mayHedge(): boolean;
  /** An exchange begins; each one ends by `ended`. `isExtra`: while others for the same query are open. */
  began(isExtra: boolean): void;
  /**
   * `answered` and `failed`: a reply, usable or not. `missed`: it was late, and `unreachable`. `unused`: it was not
   * needed.
   */
  ended(at: number, result: ExchangeResult, isExtra: boolean): void;
  /** A message came that was no reply to the query. */
  ignored(): void;
}

/** How an exchange ended. */
export type ExchangeResult = "answered" | "failed" | "missed" | "unreachable" | "unused";

/** Begins to ask. @returns ends it; nothing is called any more but the observer */
export function startAsking(options: AskingOptions): () => void {
  const inquiry = new Inquiry(options);
  inquiry.begin();
  return () => inquiry.cancel();
}

/** An exchange under way. */
interface Open {
  readonly at: number;
  readonly running: RunningExchange;
  readonly isExtra: boolean;
  /** The next server had to be asked because of it. */
  isLate: boolean;
}

class Inquiry {
  readonly #options: AskingOptions;
  readonly #open = new Set<Open>();
  /** Exchanges begun so far. */
  #begun = 0;
  #failing: UpstreamReply | null = null;
  #next: RunningDeadline | null = null;
  #total: RunningDeadline | null = null;
  #hasEnded = false;

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  begin(): void {
    this.#total = startDeadline(this.#options.times.totalMs, () => {
      for (const open of this.#open) open.isLate = true;
      this.#end(this.#failing);
    });
    this.#askNext();
  }

  cancel(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#next?.clear();
    this.#total?.clear();
    // One query is one miss, in however many rounds: some names nobody can answer.
    for (const open of this.#open) this.#drop(open, open.isLate ? "missed" : "unused");
  }

  #drop(open: Open, result: ExchangeResult): void {
    this.#open.delete(open);
    open.running.cancel();
    this.#options.observer.ended(open.at, result, open.isExtra);
  }

  #end(reply: UpstreamReply | null): void {
    if (this.#hasEnded) return;
    this.cancel();
    this.#options.ended(reply);
  }

  #askNext(): void {
    const { turns } = this.#options;
    const turn = turns[this.#begun % turns.length];
    // Invariant: there is at least one turn.
    if (turn === undefined) return;
    this.#begun += 1;
    if (!this.#askAgain(turn.at)) this.#ask(turn);
    this.#waitForNext(this.#isRoundOver ? this.#options.times.roundMs : this.#options.times.hedgeMs);
  }

  #ask({ at, upstream }: Turn): void {
    const { query, transport, observer } = this.#options;
    const isExtra = this.#open.size > 0;
    observer.began(isExtra);
    const exchange = { upstream, query, transport, ignored: () => observer.ignored() };
    const open: Open = {
      at,
      isExtra,
      isLate: false,
      running: startExchange(exchange, (reply) => this.#heard(open, reply)),
    };
    this.#open.add(open);
  }

  /** A server's turn in a later round. @returns false when nothing is open with it any more */
  #askAgain(at: number): boolean {
    const open = [...this.#open].find((one) => one.at === at);
    if (open === undefined || open.running.again()) return open !== undefined;
    // Its stream is stuck. Not one more miss: it has one for this query when it is late again.
    this.#drop(open, "unused");
    return false;
  }

  get #isRoundOver(): boolean {
    return this.#begun % this.#options.turns.length === 0;
  }

  #waitForNext(ms: number): void {
    this.#next?.clear();
    this.#next = startDeadline(ms, () => this.#overdue());
  }

  /** It has been a while without an answer. */
  #overdue(): void {
    const { turns, observer, times } = this.#options;
    for (const open of this.#open) open.isLate = true;
    const wasAllAsked = this.#begun >= turns.length;
    if (wasAllAsked && this.#failing !== null) return this.#end(this.#failing);
    if (this.#begun >= turns.length * ROUNDS_MAX) return;
    const at = turns[this.#begun % turns.length]?.at;
    const isOpen = [...this.#open].some((one) => one.at === at);
    if (!isOpen && this.#open.size > 0 && !observer.mayHedge()) return this.#waitForNext(times.hedgeMs);
    this.#askNext();
  }

  #heard(open: Open, reply: UpstreamReply | null): void {
    this.#open.delete(open);
    const isSettled = reply !== null && isUsable(reply);
    this.#options.observer.ended(open.at, resultOf(reply, isSettled), open.isExtra);
    if (isSettled) return this.#end(reply);
    this.#failing ??= reply;
    if (this.#begun < this.#options.turns.length) return this.#askNext();
    if (this.#open.size > 0) return;
    if (this.#failing !== null) return this.#end(this.#failing);
    // All are unreachable: perhaps just being restarted. Not at once: it would be told the same.
    if (this.#begun >= this.#options.turns.length * ROUNDS_MAX) return this.#end(null);
    this.#waitForNext(this.#options.times.hedgeMs);
  }
}

function resultOf(reply: UpstreamReply | null, isSettled: boolean): ExchangeResult {
  if (reply === null) return "unreachable";
  return isSettled ? "answered" : "failed";
}
