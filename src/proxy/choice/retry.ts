/**
 * Retry: may a request whose attempt failed go on to another replica?
 *
 * A request is sent again only when nothing can happen twice. A connect that failed lost no byte, so any method moves
 * on. Once bytes were sent only an idempotent method may (RFC 9110 9.2.2), with its body still whole in our hands and
 * before a response head has come: then the upstream may be replaced after it died or kept silent.
 *
 * Retries after bytes were sent do work twice, and an outage in which every request is sent three times is a worse
 * outage. So they are paid from a budget: each request earns a fifth of a retry. A few at a time are always allowed,
 * since a quiet service earns nothing. Failed connects cost nothing: an ejection bounds them.
 *
 * Pure.
 */

import { LIMITS } from "../../model/limits.ts";

/**
 * How an attempt ended without a response: `connect` never sent a byte; `stale` died on a kept-alive connection that
 * the upstream may have closed before it saw the request; `undelivered` died, and it is known that the upstream was
 * given nothing of the request; `died` on a fresh connection; `late` has not answered in time; `unsendable` says
 * nothing of the upstream: the request is one that cannot be written, or does not keep to its own length.
 */
export type AttemptEnd = "connect" | "stale" | "undelivered" | "died" | "late" | "unsendable";

/** What of a request decides whether it can be sent again. */
export interface Resendable {
  readonly method: string;
  /** True while every body byte read so far is still kept; also for a request without a body. */
  readonly isBodyKept: boolean;
}

/**
 * Deaths after which a request is given up: one that kills each replica it meets must not meet them all. Connections
 * lost to a crash are covered by the first.
 */
const DEATHS_MAX = 2;

const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** True for methods whose repetition changes nothing more (RFC 9110 9.2.2). */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}

/** True when a request of which bytes were sent may be sent again. */
export function maySendAgain(request: Resendable): boolean {
  return isIdempotent(request.method) && request.isBodyKept;
}

/**
 * Where a request goes after an attempt.
 *
 * @param deaths  earlier attempts of this request that ended with `died`
 * @returns `next`: another upstream; `again`: the same one over a fresh connection, since only the connection is
 *   known to be bad; `stop`: nowhere
 */
export function afterAttempt(
  end: AttemptEnd,
  request: Resendable,
  deaths: number,
): "next" | "again" | "stop" {
  switch (end) {
    case "connect":
      return "next";
    case "stale":
      return maySendAgain(request) ? "again" : "stop";
    case "undelivered":
      return request.isBodyKept ? "again" : "stop";
    case "late":
      return maySendAgain(request) ? "next" : "stop";
    case "unsendable":
      return "stop";
    case "died":
      return maySendAgain(request) && deaths < DEATHS_MAX ? "next" : "stop";
  }
}

const EARNED_PER_REQUEST = 0.2;
const ALWAYS_AT_ONCE = 3;

/** What a retry was paid from. */
export type RetryFunds = "saved" | "allowed";

/** The retries of one pool. Starts full: an outage may be the first thing a proxy sees. */
export class RetryBudget {
  #tokens: number = LIMITS.retryTokensMax;
  #active = 0;

  /** Told of each request. */
  earn(): void {
    this.#tokens = Math.min(LIMITS.retryTokensMax, this.#tokens + EARNED_PER_REQUEST);
  }

  /**
   * Takes a retry out of the budget. Each one taken is followed by one `finished` or `giveBack`.
   *
   * @returns what it was paid from, what was saved or what is always allowed; null when there is none
   */
  take(): RetryFunds | null {
    const isPaid = this.#tokens >= 1;
    if (!isPaid && this.#active >= ALWAYS_AT_ONCE) return null;
    if (isPaid) this.#tokens -= 1;
    this.#active += 1;
    return isPaid ? "saved" : "allowed";
  }

  /** Told of a retry that was taken and not made. */
  giveBack(funds: RetryFunds): void {
    this.#active -= 1;
    if (funds === "saved") this.#tokens = Math.min(LIMITS.retryTokensMax, this.#tokens + 1);
  }

  /** Told when a request that took a retry is over. */
  finished(): void {
    this.#active -= 1;
  }
}
