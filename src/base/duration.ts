/**
 * Duration: `500ms`, `1s`, `1m30s` as milliseconds.
 *
 * Labels and the config file write spans the way Compose does, so people need learn one form. A bare number is
 * refused: half of its readers would take it for seconds and half for milliseconds.
 *
 * Pure.
 */

import { failed, success, type Result } from "./failure.ts";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const DURATION = /^(?:\d{1,9}(?:\.\d{1,3})?(?:ms|s|m|h))+$/;
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;

/** The shortest and longest span accepted, both in milliseconds. */
export interface DurationRange {
  readonly leastMs: number;
  readonly mostMs: number;
}

/**
 * Parses a span of time into whole milliseconds.
 *
 * @param thing  where the text stands, for the failure: `label "skein.health.interval"`
 */
export function parseDuration(thing: string, text: string, range: DurationRange): Result<number> {
  const trimmed = text.trim();
  if (trimmed.length > 40 || !DURATION.test(trimmed)) {
    return failed("invalid", `${thing} is "${text}"; expected a duration such as 500ms, 1s or 1m30s`);
  }
  let totalMs = 0;
  for (const [, amount = "0", unit = "ms"] of trimmed.matchAll(PART)) {
    totalMs += Number(amount) * (UNIT_MS[unit] ?? 1);
  }
  const roundedMs = Math.round(totalMs);
  if (roundedMs >= range.leastMs && roundedMs <= range.mostMs) return success(roundedMs);
  const expected = `expected ${renderDuration(range.leastMs)}..${renderDuration(range.mostMs)}`;
  return failed("invalid", `${thing} is "${text}"; ${expected}`);
}

/**
 * Parses a span of time that may be `off`.
 *
 * @returns 0 for `off`; else as parseDuration
 */
export function parseDurationOrOff(thing: string, text: string, range: DurationRange): Result<number> {
  const trimmed = text.trim();
  if (trimmed.toLowerCase() === "off") return success(0);
  if (trimmed.length <= 40 && DURATION.test(trimmed)) return parseDuration(thing, trimmed, range);
  return failed("invalid", `${thing} is "${text}"; expected a duration such as 500ms or 1m30s, or off`);
}

/** Renders milliseconds in the largest unit that divides them: `90000` is `90s`. */
export function renderDuration(ms: number): string {
  for (const unit of ["h", "m", "s"]) {
    const unitMs = UNIT_MS[unit] ?? 1;
    if (ms >= unitMs && ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  }
  return `${ms}ms`;
}
