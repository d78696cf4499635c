/**
 * Attempts: what one client's request or connection has tried, and what it tries next.
 *
 * The rules are elsewhere (balance.ts: whose turn; outlier.ts: who is left alone; retry.ts: what may be sent again);
 * here they meet for one request. Requests, WebSocket handshakes and TCP connections use the same, so that none of
 * them has a rule of its own.
 *
 * An upstream that kept silent too long is left for another, but remembered: when all others refuse, or one of them
 * is found to be hung, it was merely slow, and gets the request again with all the time there is.
 *
 * Whether silence speaks against the upstream is another question than whether the request goes elsewhere. It does
 * where nobody was answered by it since the request was sent: also for a request that must stay, and also where there
 * is nothing left to pay a retry with. What one client asked for then decides nothing alone: the upstream is probed at
 * once, and unless another answered the same request quickly the suspicion ends with the request.
 *
 * Touches: metrics, through the Traffic it is given.
 */

import { Failure } from "../../base/failure.ts";
import type { Random } from "../../base/random.ts";
import type { Log } from "../../runtime/log.ts";
import type { Metrics } from "../../runtime/metrics.ts";

import type { AccessLog } from "../access/entry.ts";
import type { Active, Meter, Tally, Use } from "./active.ts";
import { canSpare, canSpareForAnswers, Chooser, hasAlternative, type Ask } from "./balance.ts";
import type { Connect } from "../connect.ts";
import type { Deadlines } from "../deadlines.ts";
import type { EjectionReason, Ejections, Recheck } from "./outlier.ts";
import { afterAttempt, maySendAgain, RetryBudget } from "./retry.ts";
import type { AttemptEnd, Resendable, RetryFunds } from "./retry.ts";
import { STREAK_MAX } from "./streaks.ts";
import type { Pool, Upstream } from "../routes.ts";
import type { RequestTrace } from "../trace/span.ts";
import type { Tracing } from "../trace/tracing.ts";

/** How long the proxy waits, in milliseconds. */
export interface Times {
  /** For a direct connection to be accepted. */
  readonly connectMs: number;
  /** For a relayed one. */
  readonly streamMs: number;
  /** For the first byte of an answer, while the request could go elsewhere. */
  readonly firstByteMs: number;
  /** For it when there is nowhere else to go. */
  readonly answerMs: number;
  /** For the head of a request, from its first byte. */
  readonly headMs: number;
  /** For the next byte of a body, either way. */
  readonly idleMs: number;
  /** For the next datagram of a flow, either way. */
  readonly udpIdleMs: number;
}

/** Whose attempts they are. */
export interface Asker {
  /** The client's address. */
  readonly client: string;
  /** Called at most once for each upstream chosen: it is gone, what it carries is to be ended or taken elsewhere. */
  readonly gone: () => void;
  /** Told of each attempt; null and left out when nobody wants to know. */
  readonly trace?: RequestTrace | null;
  /** As what attempts count for their upstream; nothing unless told. */
  readonly counts?: "requests" | "connections";
  /** Tells of the bytes. */
  readonly meter?: Meter;
}

/** What all that carries traffic shares. */
export interface Traffic {
  readonly active: Active;
  readonly access: AccessLog;
  readonly tracing: Tracing;
  readonly ejections: Ejections;
  readonly deadlines: Deadlines;
  readonly connect: Connect;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly random: Random;
  readonly nowMs: () => number;
  readonly times: Times;
}

/** A frontend's way to one pool: the pool as it is now, whose turn it is, and what may be retried. */
export interface Lane {
  pool: Pool;
  readonly chooser: Chooser;
  readonly budget: RetryBudget;
}

/** Makes a lane to a pool. */
export function openLane(pool: Pool, random: Random): Lane {
  return { pool, chooser: new Chooser(random), budget: new RetryBudget() };
}

/** Most requests fail nowhere: they share these. */
const NONE_TRIED: ReadonlySet<string> = new Set();
const NO_RETRIES: readonly AttemptEnd[] = [];
const NOBODY: readonly string[] = [];

/** The attempts of one request, connection or flow, one at a time. */
export class Attempts {
  readonly #traffic: Traffic;
  readonly #lane: Lane;
  readonly #asker: Asker;
  #tried = NONE_TRIED;
  #retries = NO_RETRIES;
  /** Tried, silent for too long, but perhaps only slow. */
  #slow = NOBODY;
  /** Ejected for what this request waited. */
  #suspects = NOBODY;
  /** Why the next attempt will be a further one; null for the first. */
  #movesFor: AttemptEnd | null = null;
  #current: Upstream | null = null;
  #last: Upstream | null = null;
  #use: Use | null = null;
  /** Of the upstream that was tried last. */
  #tally: Tally | null = null;
  /** The current attempt counts as an error of its upstream. */
  #isFault = false;
  #sentAtMs = 0;
  #deaths = 0;
  #retriesTaken = 0;
  /** Pays for the next attempt; null once that is made, and where it costs nothing. */
  #funds: RetryFunds | null = null;
  #isPatient = false;
  #sendsAgain = false;
  /** The current upstream has answered, and well so far. */
  #goesWell = false;

  constructor(traffic: Traffic, lane: Lane, asker: Asker) {
    this.#traffic = traffic;
    this.#asker = asker;
    this.#lane = lane;
    lane.budget.earn();
  }

  /** True when the current attempt repeats the last one over a fresh connection. */
  get needsFreshConnection(): boolean {
    return this.#sendsAgain;
  }

  /** The upstream that was tried last; null when none was. */
  get upstream(): Upstream | null {
    return this.#last;
  }

  /** Why each further attempt was made, in order. */
  get retries(): readonly AttemptEnd[] {
    return this.#retries;
  }

  /** How long an upstream may keep silent before `leavesLate` is asked, milliseconds; 0 for ever. */
  get firstByteMs(): number {
    return this.#lane.pool.traffic.firstByteMs ?? this.#traffic.times.firstByteMs;
  }

  /** The upstream for the next attempt; null when there is none left. */
  next(): Upstream | null {
    this.#sentAtMs = this.#traffic.nowMs();
    this.#goesWell = false;
    this.#isFault = false;
    if (this.#sendsAgain) {
      this.#countRetry();
      if (this.#current !== null) this.#asker.trace?.began(this.#current, this.#sentAtMs);
      return this.#current;
    }
    this.#release();
    this.#current = this.#choose();
    if (this.#current === null && this.#slow.length > 0 && !this.#isPatient) {
      this.#isPatient = true;
      const again = new Set(this.#slow);
      this.#tried = new Set([...this.#tried].filter((id) => !again.has(id)));
      this.#current = this.#choose();
    }
    if (this.#current === null) {
      this.#giveBack();
      return null;
    }
    this.#countRetry();
    this.#last = this.#current;
    this.#begin(this.#current);
    this.#asker.trace?.began(this.#current, this.#sentAtMs);
    return this.#current;
  }

  /**
   * Told that the current attempt has failed.
   *
   * @returns true when the request may go on to `next`
   */
  failed(told: Exclude<AttemptEnd, "late">, request: Resendable, cause: unknown): boolean {
    const upstream = this.#current;
    if (upstream === null) return false;
    // A fresh connection cannot have gone stale: whoever says so again met an upstream that dies of the request.
    const end = told === "stale" && this.#sendsAgain ? "died" : told;
    this.#asker.trace?.failed(end, this.#traffic.nowMs());
    const decided = afterAttempt(end, request, this.#deaths);
    // Twice in a row, and over a connection made for it: this upstream takes none.
    const goes = end === "undelivered" && decided === "again" && this.#sendsAgain ? "next" : decided;
    if (end === "connect" && !isOurOwn(cause)) {
      this.#fault();
      this.#eject(upstream, "connect");
    }
    if (end === "died") {
      this.#deaths += 1;
      this.#fault();
      this.#wentBadly(upstream, "broken");
    }
    // Not for a failed connect or a stale connection: the first costs the upstream nothing, the second comes once.
    if (goes === "stop" || (end === "died" && !this.#takeRetry())) return false;
    this.#sendsAgain = goes === "again";
    if (goes === "next") this.#tried = new Set(this.#tried).add(upstream.id);
    this.#movesFor = end;
    return true;
  }

  /**
   * Asked when the current upstream has not answered for `firstByteMs`: is the request to be taken elsewhere? When
   * true, that is decided: the caller abandons the attempt and goes to `next`.
   */
  leavesLate(request: Resendable): boolean {
    const upstream = this.#current;
    if (upstream === null || this.#isPatient) return false;
    this.#suspect(upstream);
    if (!maySendAgain(request) || !this.#hasBetter(upstream) || !this.#takeRetry()) return false;
    this.#asker.trace?.failed("late", this.#traffic.nowMs());
    this.#fault();
    this.#slow = [...this.#slow, upstream.id];
    this.#tried = new Set(this.#tried).add(upstream.id);
    this.#sendsAgain = false;
    this.#movesFor = "late";
    return true;
  }

  /** Told that the current upstream has taken the connection, or answered a datagram. */
  succeeded(): void {
    const { ejections, nowMs } = this.#traffic;
    if (this.#current === null) return;
    this.#goesWell = true;
    if (!ejections.isEmpty)
      ejections.succeeded(this.#current.id, { sentAtMs: this.#sentAtMs, nowMs: nowMs() });
  }

  /** In place of `succeeded` for HTTP: a server's error is an answer, but many in a row get an upstream ejected. */
  answered(status: number): void {
    const { active, ejections } = this.#traffic;
    if (this.#current === null) return;
    const nowMs = this.#traffic.nowMs();
    this.#asker.trace?.answered(status, nowMs);
    if (this.#use !== null) active.answered(this.#use, nowMs);
    ejections.answered(this.#current.id);
    // The same request took no time here: those who kept silent on it are not acquitted.
    if (nowMs - this.#sentAtMs < this.firstByteMs) this.#suspects = NOBODY;
    else this.#acquit();
    if (status < 500) return this.succeeded();
    this.#fault();
    this.#wentBadly(this.#current, "errors");
  }

  /** Told that the current upstream broke off what it had begun: an answer cut short, a connection reset unused. */
  broke(): void {
    this.#goesWell = false;
    this.#asker.trace?.failed("broken", this.#traffic.nowMs());
    this.#fault();
    if (this.#current !== null) this.#wentBadly(this.#current, "broken");
  }

  /** Told when the request, or the connection, is over, whatever became of it; harmless when repeated. */
  finished(): void {
    if (this.#goesWell && this.#current !== null) this.#traffic.ejections.streaks.end(this.#current.id);
    this.#goesWell = false;
    this.#acquit();
    this.#release();
    this.#giveBack();
    for (; this.#retriesTaken > 0; this.#retriesTaken -= 1) this.#lane.budget.finished();
  }

  #choose(): Upstream | null {
    const { active, ejections } = this.#traffic;
    const { client } = this.#asker;
    const ask: Ask = { client, active, ejections, tried: this.#tried, nowMs: this.#sentAtMs };
    return this.#lane.chooser.choose(this.#lane.pool, ask);
  }

  #begin(upstream: Upstream): void {
    const { counts, gone, meter } = this.#asker;
    this.#use = this.#traffic.active.use(upstream, gone, meter);
    this.#tally = this.#use.load.tally;
    if (counts !== undefined) this.#tally[counts] += 1;
  }

  /** Counts an error of the current upstream, once for each attempt. */
  #fault(): void {
    if (this.#isFault || this.#tally === null || this.#asker.counts === undefined) return;
    this.#isFault = true;
    this.#tally.errors += 1;
  }

  #release(): void {
    if (this.#use !== null) this.#traffic.active.release(this.#use);
    this.#use = null;
  }

  /** @returns true when it became ejected by this */
  #eject(upstream: Upstream, reason: EjectionReason): boolean {
    const { ejections, log, metrics, nowMs } = this.#traffic;
    const { pool } = this.#lane;
    if (!ejections.isEjected(upstream.id) && !canSpare(pool, upstream.id, ejections)) return false;
    const recheck = this.#recheckFor(reason);
    const fault = { reason, recheck, sentAtMs: this.#sentAtMs, nowMs: nowMs() };
    if (!ejections.failed(upstream, fault)) return false;
    metrics.ejections.inc({ service: upstream.service });
    log.debug(`upstream ${upstream.id} of ${upstream.service} is left alone: ${reason}`);
    return true;
  }

  /** Ejects a silent upstream unless somebody else was answered by it since this request was sent. */
  #suspect(upstream: Upstream): void {
    if ((this.#use?.load.answeredAtMs ?? 0) > this.#sentAtMs) return;
    if (this.#eject(upstream, "late")) this.#suspects = [...this.#suspects, upstream.id];
  }

  /**
   * True when a request that keeps waiting should not: there is another upstream as good; or this one is known to be
   * hung by now, and there is any that is not, were it one that was left for being slow.
   */
  #hasBetter(upstream: Upstream): boolean {
    const { ejections } = this.#traffic;
    const { pool } = this.#lane;
    if (hasAlternative(pool, upstream.id, { ejections, tried: this.#tried })) return true;
    const isLeft = ({ id }: Upstream): boolean =>
      !ejections.isEjected(id) && (!this.#tried.has(id) || this.#slow.includes(id));
    return ejections.isHung(upstream.id) && pool.tiers.some((tier) => tier.some(isLeft));
  }

  #recheckFor(reason: EjectionReason): Recheck {
    const { protocol } = this.#lane.pool;
    // A datagram that nobody answers proves nothing.
    if (protocol === "udp") return "none";
    return protocol === "http" && reason !== "connect" ? "request" : "connect";
  }

  /**
   * Counts a bad answer. The one too many ejects, but only where another upstream has none: when all of them answer
   * like that it is the application, and whoever leaves replicas alone for it leaves the rest with all the load.
   */
  #wentBadly(upstream: Upstream, reason: EjectionReason): void {
    const { ejections } = this.#traffic;
    const { pool } = this.#lane;
    if (ejections.streaks.bad(upstream.id) < STREAK_MAX) return;
    const isWell = ({ id }: Upstream): boolean =>
      id !== upstream.id && ejections.streaks.countOf(id) === 0 && !ejections.isEjected(id);
    if (pool.tiers[0]?.some(isWell) !== true || !canSpareForAnswers(pool, upstream.id, ejections)) return;
    this.#eject(upstream, reason);
  }

  /** Takes back what is only known from this request. */
  #acquit(): void {
    for (const id of this.#suspects) this.#traffic.ejections.acquit(id);
    this.#suspects = NOBODY;
  }

  #takeRetry(): boolean {
    this.#giveBack();
    this.#funds = this.#lane.budget.take();
    return this.#funds !== null;
  }

  /** Gives back what was taken for an attempt that nobody was found for. */
  #giveBack(): void {
    if (this.#funds !== null) this.#lane.budget.giveBack(this.#funds);
    this.#funds = null;
  }

  /** Counts a further attempt, once there is somebody to make it at. */
  #countRetry(): void {
    if (this.#funds !== null) this.#retriesTaken += 1;
    this.#funds = null;
    const reason = this.#movesFor;
    if (reason === null) return;
    this.#movesFor = null;
    if (this.#tally !== null) this.#tally.retries += 1;
    this.#retries = [...this.#retries, reason];
    this.#traffic.metrics.proxyRetries.inc({ service: this.#lane.pool.service, reason });
  }
}

/** True when this host, not the upstream, was at fault: no reason to leave the upstream alone. */
function isOurOwn(cause: unknown): boolean {
  return cause instanceof Failure && cause.code === "busy";
}
