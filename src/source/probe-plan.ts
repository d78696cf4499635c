/**
 * Probe plan: the shared bounds and defaults of an active check, whichever source asks for it.
 *
 * A label and a config entry that say the same thing must lead to the same check, so the ranges and the choice of the
 * default check are told here once.
 *
 * Pure.
 */

import type { HealthSource, ProbePlan } from "../model/endpoint.ts";
import { transportOf, type ServicePort } from "../model/service.ts";

import type { DurationRange } from "../base/duration.ts";

/** How often and how strictly an endpoint is checked: config's `health` section, in milliseconds and results. */
export type ProbeTimes = Pick<ProbePlan, "intervalMs" | "timeoutMs" | "rise" | "fall">;

/** Below 100 ms a check is a load test; above an hour it says nothing. */
export const INTERVAL_RANGE: DurationRange = { leastMs: 100, mostMs: 3_600_000 };
/** A probe holds one of few sockets, so it may not wait longer than a minute. */
export const TIMEOUT_RANGE: DurationRange = { leastMs: 10, mostMs: 60_000 };
/** Results in a row, for `rise` and `fall`. */
export const STREAK_MAX = 100;

/** A path a probe may ask for: what HTTP takes unescaped (RFC 3986 3.3, 3.4), without a fragment. */
export function isProbePath(path: string): boolean {
  return path.length <= 512 && /^\/[\x21\x22\x24-\x7e]*$/.test(path);
}

/** The check of an endpoint that asks for none: connect to its first TCP port; nobody when it has none. */
export function defaultHealth(ports: readonly ServicePort[], times: ProbeTimes): HealthSource {
  const first = firstTcpPort(ports);
  if (first === null) return { kind: "none" };
  return { kind: "probe", probe: { kind: "tcp", port: first.target, path: "", ...pickTimes(times) } };
}

/** The first port carried by TCP, `http` included; null when there is none. */
export function firstTcpPort(ports: readonly ServicePort[]): ServicePort | null {
  return ports.find((port) => transportOf(port.protocol) === "tcp") ?? null;
}

/** The four times alone: a wider object spread into a plan would publish fields that do not belong there. */
export function pickTimes(times: ProbeTimes): ProbeTimes {
  return { intervalMs: times.intervalMs, timeoutMs: times.timeoutMs, rise: times.rise, fall: times.fall };
}
