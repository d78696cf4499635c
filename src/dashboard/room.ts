/**
 * Room: was a page refused because the daemon has as many watchers as it takes, and when is it to ask again?
 *
 * A reverse proxy says 503 as well, of a daemon that is away. So only an answer that says that it is of Skein's API is
 * taken for a full daemon's, and of its wait only what keeps the page alive: neither a loop of questions nor silence
 * for hours.
 *
 * Pure.
 */

import { API_HEADER } from "../admin/contract.ts";

const SOONEST_S = 1;
const LATEST_S = 60;

/** What of an answer says it. */
export interface Refused {
  readonly status: number;
  readonly headers: Pick<Headers, "get">;
}

/** Milliseconds to wait for room; null when the want of it is not why the page was refused. */
export function roomAfterMs({ status, headers }: Refused): number | null {
  if (status !== 503 || headers.get(API_HEADER) === null) return null;
  // It may be a date (RFC 9110 10.2.3), which no daemon of ours sends: that is no number.
  const seconds = Number(headers.get("retry-after"));
  return Math.min(Math.max(SOONEST_S, Number.isNaN(seconds) ? 0 : seconds), LATEST_S) * 1000;
}
