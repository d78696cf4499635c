/**
 * Words: numbers and times as people read them at a glance.
 *
 * Three digits at most, for nobody acts on a fourth, and columns stay narrow. A rate of nothing is "0", and not "0.0":
 * a quiet cell must look quiet. What is not known is a dash, so that it is never taken for zero.
 *
 * Pure.
 */

const DASH = "–";
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A number with a unit of thousands: `0`, `0.4`, `12`, `1.2k`, `340k`, `3.4M`. */
export function short(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return DASH;
  const steps = ["", "k", "M", "G", "T"];
  return scaled(value, 1000, steps);
}

/** Bytes: `0 B`, `820 B`, `1.2 kB`, `34 MB`. */
export function bytes(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return DASH;
  return scaled(value, 1000, [" B", " kB", " MB", " GB", " TB"]);
}

/** A time span of milliseconds: `0.4 ms`, `12 ms`, `1.2 s`. */
export function millis(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return DASH;
  if (value >= SECOND_MS) return `${digits(value / SECOND_MS)} s`;
  return `${value < 0.1 && value > 0 ? value.toFixed(2) : digits(value)} ms`;
}

/** How long ago: `now`, `12 s`, `4 min`, `3 h`, `2 d`. A clock that is behind is taken for now. */
export function ago(thenMs: number, nowMs: number): string {
  return span(Math.max(0, nowMs - thenMs)) ?? "now";
}

/** How long until: as `ago`, the other way. */
export function until(thenMs: number, nowMs: number): string {
  return span(Math.max(0, thenMs - nowMs)) ?? "now";
}

/** Time of day, by the clock of whoever looks: `14:03:07`. */
export function clock(atMs: number): string {
  return new Date(atMs).toLocaleTimeString("en-GB", { hour12: false });
}

/** Day and time: `21 Nov 2026, 14:03:07`. */
export function moment(atMs: number): string {
  const day = new Date(atMs).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  return `${day}, ${clock(atMs)}`;
}

/** `1 replica`, `2 replicas`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

function span(ms: number): string | null {
  if (ms < SECOND_MS) return null;
  if (ms < 2 * MINUTE_MS) return `${Math.floor(ms / SECOND_MS)} s`;
  if (ms < 2 * HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  return ms < 2 * DAY_MS ? `${Math.floor(ms / HOUR_MS)} h` : `${Math.floor(ms / DAY_MS)} d`;
}

function scaled(value: number, step: number, units: readonly string[]): string {
  let rest = value;
  let unit = 0;
  // 999.6 would be written as 1000: it belongs to the next unit.
  while (Math.abs(rest) >= step - 0.5 && unit < units.length - 1) {
    rest /= step;
    unit += 1;
  }
  return `${digits(rest)}${units[unit] ?? ""}`;
}

function digits(value: number): string {
  if (value === 0) return "0";
  const text = Math.abs(value) < 9.95 ? value.toFixed(1) : String(Math.round(value));
  return text.endsWith(".0") ? text.slice(0, -2) : text;
}
