/**
 * Attempts: what one client's request or connection has tried, and what it tries next.
 *
 * The rules are elsewhere (balance.ts: whose turn; outlier.ts: who is left alone; retry.ts: what may be sent again);
 * here they meet for one request. Requests, WebSocket handshakes and TCP connections use the same, so that none of
 * them has a rule of its own.
 *
 * An upstream that kept silent too long is left for another, but remembered: when all others refuse, it was merely
 * slow, and gets the request again with all the time there is. And when the one that answered was as slow, it is the
 * request that takes long: then nobody is held ejected for it.
 *
 * Touches: metrics, through the Traffic it is given.
 */

import { Failure } from "../../base/failure.ts";
import type { Random } from "../../base/random.ts";
import type { Log } from "../../runtime/log.ts";
import type { Metrics } from "../../runtime/metrics.ts";

import type { AccessLog } from "../access/entry.ts";
import type { Active, Use } from "./active.ts";
import { canSpare, Chooser, hasAlternative, type Ask } from "./balance.ts";
import type { Connect } from "../connect.ts";
import type { Deadlines } from "../deadlines.ts";
import type { EjectionReason, Ejections, Recheck } from "./outlier.ts";
import { afterAttempt, maySendAgain, RetryBudget, type AttemptEnd, type Resendable } from "./retry.ts";
import { STREAK_MAX } from "./streaks.ts";
import type { Pool, Upstream } from "../routes.ts";

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
}

/** What all that carries traffic shares. */
export interface Traffic {
  readonly active: Active;
  readonly access: AccessLog;
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

/** The attempts of one request, connection or flow, one at a time. */
export class Attempts {
  readonly #traffic: Traffic;
  readonly #lane: Lane;
  readonly #asker: Asker;
  #tried = NONE_TRIED;
  #retries = NO_RETRIES;
  /** Tried, silent for too long, but perhaps only slow. */
  #slow: readonly string[] = [];
  #current: Upstream | null = null;
  #last: Upstream | null = null;
  #use: Use | null = null;
  #sentAtMs = 0;
  #deaths = 0;
  #retriesTaken = 0;
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
    if (this.#sendsAgain) return this.#current;
    this.#release();
    this.#current = this.#choose();
    if (this.#current === null && this.#slow.length > 0 && !this.#isPatient) {
      this.#isPatient = true;
      const again = new Set(this.#slow);
      this.#tried = new Set([...this.#tried].filter((id) => !again.has(id)));
      this.#current = this.#choose();
    }
    if (this.#current === null) return null;
    this.#last = this.#current;
    this.#use = this.#traffic.active.use(this.#current, this.#asker.gone);
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
    const decided = afterAttempt(end, request, this.#deaths);
    // Twice in a row, and over a connection made for it: this upstream takes none.
    const goes = end === "undelivered" && decided === "again" && this.#sendsAgain ? "next" : decided;
    if (end === "connect" && !isOurOwn(cause)) this.#eject(upstream, "connect");
    if (end === "died") {
      this.#deaths += 1;
      this.#wentBadly(upstream, "broken");
    }
    // Not for a failed connect or a stale connection: the first costs the upstream nothing, the second comes once.
    if (goes === "stop" || (end === "died" && !this.#takeRetry())) return false;
    this.#sendsAgain = goes === "again";
    if (goes === "next") this.#tried = new Set(this.#tried).add(upstream.id);
    this.#count(end);
    return true;
  }

  /**
   * Asked when the current upstream has not answered for `firstByteMs`: is the request to be taken elsewhere? When
   * true, that is decided: the caller abandons the attempt and goes to `next`.
   */
  leavesLate(request: Resendable): boolean {
    const upstream = this.#current;
    if (upstream === null || this.#isPatient || !maySendAgain(request)) return false;
    const bars = { ejections: this.#traffic.ejections, tried: this.#tried };
    if (!hasAlternative(this.#lane.pool, upstream.id, bars) || !this.#takeRetry()) return false;
    this.#eject(upstream, "late");
    this.#slow = [...this.#slow, upstream.id];
    this.#tried = new Set(this.#tried).add(upstream.id);
    this.#sendsAgain = false;
    this.#count("late");
    return true;
  }

  /** Told that the current upstream has taken the connection, or answered without a status. */
  succeeded(): void {
    const { ejections, nowMs } = this.#traffic;
    if (this.#current === null) return;
    this.#goesWell = true;
    if (ejections.isEmpty) return;
    ejections.succeeded(this.#current.id, { sentAtMs: this.#sentAtMs, nowMs: nowMs() });
    this.#acquitSlow();
  }

  /** In place of `succeeded` for HTTP: a server's error is an answer, but many in a row get an upstream ejected. */
  answered(status: number): void {
    if (status < 500) {
      this.succeeded();
      return;
    }
    this.#acquitSlow();
    if (this.#current !== null) this.#wentBadly(this.#current, "errors");
  }

  /** Told that the current upstream broke off what it had begun: an answer cut short, a connection reset unused. */
  broke(): void {
    this.#goesWell = false;
    if (this.#current !== null) this.#wentBadly(this.#current, "broken");
  }

  /** Told when the request, or the connection, is over, whatever became of it; harmless when repeated. */
  finished(): void {
    if (this.#goesWell && this.#current !== null) this.#traffic.ejections.streaks.end(this.#current.id);
    this.#goesWell = false;
    this.#release();
    for (; this.#retriesTaken > 0; this.#retriesTaken -= 1) this.#lane.budget.finished();
  }

  #choose(): Upstream | null {
    const { active, ejections } = this.#traffic;
    const { client } = this.#asker;
    const ask: Ask = { client, active, ejections, tried: this.#tried, nowMs: this.#sentAtMs };
    return this.#lane.chooser.choose(this.#lane.pool, ask);
  }

  #release(): void {
    if (this.#use !== null) this.#traffic.active.release(this.#use);
    this.#use = null;
  }

  #eject(upstream: Upstream, reason: EjectionReason): void {
    const { ejections, log, metrics, nowMs } = this.#traffic;
    const { pool } = this.#lane;
    if (!ejections.isEjected(upstream.id) && !canSpare(pool, upstream.id, ejections)) return;
    const recheck = this.#recheckFor(reason);
    const fault = { reason, recheck, sentAtMs: this.#sentAtMs, nowMs: nowMs() };
    if (!ejections.failed(upstream, fault)) return;
    metrics.ejections.inc({ service: upstream.service });
    log.debug(`upstream ${upstream.id} of ${upstream.service} is left alone: ${reason}`);
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
    if (ejections.streaks.bad(upstream.id) < STREAK_MAX) return;
    const isWell = ({ id }: Upstream): boolean =>
      id !== upstream.id && ejections.streaks.countOf(id) === 0 && !ejections.isEjected(id);
    if (this.#lane.pool.tiers[0]?.some(isWell) === true) this.#eject(upstream, reason);
  }

  #acquitSlow(): void {
    if (this.#slow.length === 0) return;
    const { ejections, nowMs } = this.#traffic;
    if (nowMs() - this.#sentAtMs < this.firstByteMs) return;
    for (const id of this.#slow) ejections.acquit(id);
  }

  #takeRetry(): boolean {
    if (!this.#lane.budget.take()) return false;
    this.#retriesTaken += 1;
    return true;
  }

  #count(reason: AttemptEnd): void {
    this.#retries = [...this.#retries, reason];
    this.#traffic.metrics.proxyRetries.inc({ service: this.#lane.pool.service, reason });
  }
}

/** True when this host, not the upstream, was at fault: no reason to leave the upstream alone. */
function isOurOwn(cause: unknown): boolean {
  return cause instanceof Failure && cause.code === "busy";
}
