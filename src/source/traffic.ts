/**
 * Traffic: what a service may ask of those that carry its traffic, in the words of labels and of the config file.
 *
 * A label and a config entry that say the same thing must mean the same, so words, ranges and their refusals are told
 * here once, as probe-plan.ts does for checks.
 *
 * Pure.
 */

import type { DurationRange } from "../base/duration.ts";
import { LIMITS } from "../model/limits.ts";
import type { Delivery, TrafficPolicy } from "../model/service.ts";

/** The words of each choice beside BALANCES; the first is the default. */
export const PREFERENCES: readonly TrafficPolicy["prefer"][] = ["any", "local"];
export const UDP_MODES: readonly TrafficPolicy["udpMode"][] = ["flow", "datagram"];
export const SOURCES: readonly TrafficPolicy["source"][] = ["keep", "masquerade"];
export const PROXY_PROTOCOLS: readonly Delivery["proxyProtocol"][] = ["off", "v1", "v2"];

/** The largest weight: a share beside others, which is a percentage where it matters. */
export const WEIGHT_MAX = 100;

/** Below a tenth of a second a ramp is none. */
export const SLOW_START_RANGE: DurationRange = { leastMs: 100, mostMs: LIMITS.policyMs };
/** Below 10 ms a replica on another host is late before it was asked. */
export const FIRST_BYTE_RANGE: DurationRange = { leastMs: 10, mostMs: LIMITS.policyMs };
/** 0 cuts at once what a stopping replica still has. */
export const DRAIN_RANGE: DurationRange = { leastMs: 0, mostMs: LIMITS.policyMs };
/** Below a second a flow would end between two of its datagrams. */
export const UDP_IDLE_RANGE: DurationRange = { leastMs: 1000, mostMs: LIMITS.policyMs };

/** The words of a choice, as they are told: `v1, v2 or off`. */
export function oneOf(words: readonly string[]): string {
  return [words.slice(0, -1).join(", "), ...words.slice(-1)].filter((part) => part !== "").join(" or ");
}

/** What is said; the usual itself where that is the same, so that most services share one object. */
export function orUsual<T extends object>(said: T, usual: T): T {
  const keys = Object.keys(usual) as (keyof T)[];
  return keys.every((key) => said[key] === usual[key]) ? usual : said;
}
