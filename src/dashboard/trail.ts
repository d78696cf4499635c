/**
 * Trail: the last five minutes of numbers, as the charts draw them.
 *
 * The daemon keeps no history, and a page that is opened starts with none: what the charts show is what the page saw.
 * Numbers lie in rings of fixed size, one for the whole and one for each service that had traffic lately, so a page
 * that is left open for a week is as small as after five minutes. A second without a report is a gap, not a zero. Times
 * are the daemon's own; where its clock was set back the trail begins anew, for what is newer would never be drawn.
 *
 * Pure. Its rings are changed in place.
 */

import type { TrafficReport } from "../admin/contract-live.ts";

/** What is charted: of the whole and of each service. */
const TRACKS = [
  "requests",
  "connections",
  "errors",
  "retries",
  "received",
  "sent",
  "p50",
  "p95",
  "p99",
] as const;

/** One of them. */
export type Track = (typeof TRACKS)[number];

/** Reports kept: five minutes of one each second. */
export const KEPT = 300;
const SPAN_MS = 300_000;
/** Services charted at most: the busiest, for reports name those first. */
export const CHARTED_MAX = 1000;
/** A report later than this after the one before leaves a gap. */
const GAP_MS = 3500;

/** Times and the values of tracks, oldest first; null where nothing is known. Times are Unix seconds. */
export interface Series {
  readonly times: readonly number[];
  readonly values: readonly (readonly (number | null)[])[];
}

/** A ring of rows of numbers. */
export class Ring {
  readonly #times = new Float64Array(KEPT);
  readonly #values: Float32Array;
  readonly #width: number;
  #written = 0;

  constructor(width: number) {
    this.#width = width;
    this.#values = new Float32Array(KEPT * width);
  }

  /** When the last row was written; -Infinity before the first. */
  get lastMs(): number {
    return this.#written === 0 ? -Infinity : (this.#times[(this.#written - 1) % KEPT] ?? 0);
  }

  /** Adds a row; null for what is not known. One that is not later than the last is left out. */
  push(atMs: number, row: readonly (number | null)[]): void {
    if (atMs <= this.lastMs) return;
    const at = this.#written % KEPT;
    this.#times[at] = atMs;
    for (let column = 0; column < this.#width; column += 1)
      this.#values[at * this.#width + column] = row[column] ?? NaN;
    this.#written += 1;
  }

  /** Some columns of the rows after a time. */
  series(columns: readonly number[], afterMs: number): Series {
    const times: number[] = [];
    const values: (number | null)[][] = columns.map(() => []);
    const first = Math.max(0, this.#written - KEPT);
    for (let index = first; index < this.#written; index += 1) {
      const at = index % KEPT;
      const atMs = this.#times[at] ?? 0;
      if (atMs <= afterMs) continue;
      const last = times.at(-1);
      if (last !== undefined && atMs - last * 1000 > GAP_MS) gap(times, values, last + 1);
      times.push(atMs / 1000);
      columns.forEach((column, place) => {
        const value = this.#values[at * this.#width + column] ?? NaN;
        values[place]?.push(Number.isNaN(value) ? null : value);
      });
    }
    return { times, values };
  }
}

function gap(times: number[], values: readonly (number | null)[][], atSeconds: number): void {
  times.push(atSeconds);
  for (const column of values) column.push(null);
}

/** Everything that was reported in the last five minutes. */
export class Trail {
  readonly #services = new Map<string, Ring>();
  #total = new Ring(TRACKS.length);
  #dns = new Ring(3);

  /** Takes a report in. */
  add(report: TrafficReport): void {
    const { atMs, total, latencyMs, dns } = report;
    if (atMs < this.#total.lastMs) this.#beginAnew();
    this.#total.push(atMs, rowOf({ rates: total, latencyMs }));
    const failures = (dns.byCode["SERVFAIL"] ?? 0) + (dns.byCode["REFUSED"] ?? 0);
    this.#dns.push(atMs, [dns.queries, failures, dns.latencyMs?.p95 ?? null]);
    for (const service of report.services) {
      const ring = this.#services.get(service.key) ?? this.#begin(service.key);
      ring?.push(atMs, rowOf(service));
    }
    for (const [key, ring] of this.#services) if (ring.lastMs < atMs - SPAN_MS) this.#services.delete(key);
  }

  /** Tracks of the whole, or of one service. */
  series(tracks: readonly Track[], service: string | null, nowMs: number): Series {
    const ring = service === null ? this.#total : this.#services.get(service);
    const columns = tracks.map((track) => TRACKS.indexOf(track));
    return ring?.series(columns, nowMs - SPAN_MS) ?? { times: [], values: tracks.map(() => []) };
  }

  /** Questions for names, those that failed, and the 95th percentile of their time. */
  dns(nowMs: number): Series {
    return this.#dns.series([0, 1, 2], nowMs - SPAN_MS);
  }

  /** How many services have a ring. */
  get charted(): number {
    return this.#services.size;
  }

  #beginAnew(): void {
    this.#total = new Ring(TRACKS.length);
    this.#dns = new Ring(3);
    this.#services.clear();
  }

  #begin(key: string): Ring | null {
    if (this.#services.size >= CHARTED_MAX) return null;
    const ring = new Ring(TRACKS.length);
    this.#services.set(key, ring);
    return ring;
  }
}

function rowOf({
  rates,
  latencyMs,
}: Pick<TrafficReport["services"][number], "rates" | "latencyMs">): readonly (number | null)[] {
  const { requests, connections, errors, retries, receivedBytes, sentBytes } = rates;
  const times = [latencyMs?.p50 ?? null, latencyMs?.p95 ?? null, latencyMs?.p99 ?? null];
  return [requests, connections, errors, retries, receivedBytes, sentBytes, ...times];
}
