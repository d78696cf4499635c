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

import { hasAlternative, Rotation, type Bars } from "./balance.ts";
import type { Connect } from "../connect.ts";
import type { Deadlines } from "../deadlines.ts";
import type { Ejections } from "./outlier.ts";
import { afterAttempt, maySendAgain, RetryBudget, type AttemptEnd, type Resendable } from "./retry.ts";
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
}

/** What all that carries traffic shares. */
export interface Traffic {
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
  readonly rotation: Rotation;
  readonly budget: RetryBudget;
}

/** Makes a lane to a pool. */
export function openLane(pool: Pool, random: Random): Lane {
  return { pool, rotation: new Rotation(random), budget: new RetryBudget() };
}

/** The attempts of one request or connection, one at a time. */
export class Attempts {
  readonly #traffic: Traffic;
  readonly #lane: Lane;
  readonly #tried = new Set<string>();
  /** Tried, silent for too long, but perhaps only slow. */
  readonly #slow: string[] = [];
  #current: Upstream | null = null;
  #sentAtMs = 0;
  #deaths = 0;
  #retriesTaken = 0;
  #isPatient = false;
  #sendsAgain = false;

  constructor(traffic: Traffic, lane: Lane) {
    this.#traffic = traffic;
    this.#lane = lane;
    lane.budget.earn();
  }

  /** True when the current attempt repeats the last one over a fresh connection. */
  get needsFreshConnection(): boolean {
    return this.#sendsAgain;
  }

  /** The upstream for the next attempt; null when there is none left. */
  next(): Upstream | null {
    const { ejections, nowMs } = this.#traffic;
    this.#sentAtMs = nowMs();
    if (this.#sendsAgain) return this.#current;
    this.#current = this.#lane.rotation.choose(this.#lane.pool, this.#bars());
    if (this.#current === null && this.#slow.length > 0 && !this.#isPatient) {
      this.#isPatient = true;
      for (const id of this.#slow) this.#tried.delete(id);
      this.#current = this.#lane.rotation.choose(this.#lane.pool, this.#bars());
    }
    if (this.#current !== null) ejections.chosen(this.#current.id, this.#sentAtMs);
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
    const goes = afterAttempt(end, request, this.#deaths);
    if (end === "connect" && !isOurOwn(cause)) this.#eject(upstream);
    if (end === "died") this.#deaths += 1;
    // Not for a failed connect or a stale connection: the first costs the upstream nothing, the second comes once.
    if (goes === "stop" || (end === "died" && !this.#takeRetry())) return false;
    this.#sendsAgain = goes === "again";
    if (goes === "next") this.#tried.add(upstream.id);
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
    if (!hasAlternative(this.#lane.pool, upstream.id, this.#bars()) || !this.#takeRetry()) return false;
    this.#eject(upstream);
    this.#slow.push(upstream.id);
    this.#tried.add(upstream.id);
    this.#sendsAgain = false;
    this.#count("late");
    return true;
  }

  /** Told that the current upstream has answered, or taken the connection. */
  succeeded(): void {
    const { ejections, nowMs, times } = this.#traffic;
    if (this.#current !== null) ejections.succeeded(this.#current.id);
    if (nowMs() - this.#sentAtMs < times.firstByteMs) return;
    for (const id of this.#slow) ejections.succeeded(id);
  }

  /** Told when the request is over, whatever became of it. Call it once. */
  finished(): void {
    for (; this.#retriesTaken > 0; this.#retriesTaken -= 1) this.#lane.budget.finished();
  }

  #bars(): Bars {
    const { ejections, nowMs } = this.#traffic;
    const atMs = nowMs();
    return { isEjected: (id) => ejections.isEjected(id, atMs), tried: this.#tried };
  }

  #eject(upstream: Upstream): void {
    const { ejections, metrics, nowMs } = this.#traffic;
    if (ejections.failed(upstream.id, nowMs())) metrics.ejections.inc({ service: upstream.service });
  }

  #takeRetry(): boolean {
    if (!this.#lane.budget.take()) return false;
    this.#retriesTaken += 1;
    return true;
  }

  #count(reason: AttemptEnd): void {
    this.#traffic.metrics.proxyRetries.inc({ service: this.#lane.pool.service, reason });
  }
}

/** True when this host, not the upstream, was at fault: no reason to leave the upstream alone. */
function isOurOwn(cause: unknown): boolean {
  return cause instanceof Failure && cause.code === "busy";
}
