/**
 * Rows: which lines of a long list are shown, in which order, and which of them are on the screen.
 *
 * A list of a thousand services is filtered and sorted whole, which costs a millisecond, and drawn in part: only the
 * rows near the screen exist as elements. Rows have one height, so which those are is arithmetic.
 *
 * Pure.
 */

import type { ServiceTraffic, TrafficReport } from "../admin/contract-live.ts";
import type { ServiceLine } from "../admin/contract.ts";

import { keyOf } from "./board.ts";
import { SERVICE_STATES, serviceState, type ServiceState } from "./judge.ts";

/** A service with its traffic; null while none is known. */
export interface ServiceRow {
  readonly line: ServiceLine;
  readonly key: string;
  readonly state: ServiceState;
  readonly traffic: ServiceTraffic | null;
}

/** By what the list of services may be sorted. */
export const SORTS = ["name", "state", "requests", "latency", "errors"] as const;

/** One of them. */
export type Sort = (typeof SORTS)[number];

/** What is asked of the list. */
export interface RowWish {
  readonly text: string;
  /** Null for all. */
  readonly state: ServiceState | null;
  readonly sort: Sort;
}

/** Makes rows of lines, in their order. */
export function rowsOf(
  lines: readonly ServiceLine[],
  traffic: readonly ServiceTraffic[],
): readonly ServiceRow[] {
  const byKey = new Map(traffic.map((one) => [one.key, one]));
  return lines.map((line) => {
    const key = keyOf(line);
    return { line, key, state: serviceState(line), traffic: byKey.get(key) ?? null };
  });
}

/** The rows that are wished for, in the wished order; equal ones keep theirs. */
export function chosenRows(rows: readonly ServiceRow[], wish: RowWish): readonly ServiceRow[] {
  const words = wish.text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const kept = rows.filter(
    (row) =>
      (wish.state === null || row.state === wish.state) &&
      (words.length === 0 || hasAll(textOf(row.line), words)),
  );
  return wish.sort === "name"
    ? kept
    : kept.toSorted((a, b) => weightOf(b, wish.sort) - weightOf(a, wish.sort));
}

/** What the replicas of each host were sent: requests and connections a second, by the host's name. */
export function servedByHost(traffic: TrafficReport | null): ReadonlyMap<string, number> {
  const served = new Map<string, number>();
  for (const { node, rates } of traffic?.replicas ?? [])
    served.set(node, (served.get(node) ?? 0) + rates.requests + rates.connections);
  return served;
}

/** How many rows are in each state. */
export function countByState(rows: readonly ServiceRow[]): Readonly<Record<ServiceState, number>> {
  const found = { ready: 0, partly: 0, down: 0, empty: 0 };
  for (const row of rows) found[row.state] += 1;
  return found;
}

/** A filter's state from an address; null when it names none. */
export function stateNamed(text: string | undefined): ServiceState | null {
  return SERVICE_STATES.find((state) => state === text) ?? null;
}

/** A sort from an address; by name when it names none. */
export function sortNamed(text: string | undefined): Sort {
  return SORTS.find((sort) => sort === text) ?? "name";
}

/** Everything of a service that somebody may look for, in lower case. */
export function textOf(line: ServiceLine): string {
  const routes = line.http.map((route) => `${route.host}${route.path}`);
  const ports = line.publish.map((port) => `:${port.published}`);
  const parts = [keyOf(line), line.vip ?? "", line.stack ?? "", ...routes, ...ports];
  return parts.join(" ").toLowerCase();
}

/** The part of a list that is drawn: rows from `first` up to, not including, `end`. */
export interface Window {
  readonly first: number;
  readonly end: number;
}

/** What is seen of a list; all lengths in pixels. */
export interface Sight {
  readonly scrolled: number;
  readonly height: number;
  readonly rowHeight: number;
}

/** Rows drawn above and below the screen, so that a scroll shows rows and not a gap. */
const SPARE_ROWS = 12;

/** The rows to draw. Even numbers, so that small scrolls draw nothing anew. */
export function windowOf(rowCount: number, { scrolled, height, rowHeight }: Sight): Window {
  const top = Math.max(0, Math.floor(scrolled / rowHeight) - SPARE_ROWS);
  const bottom = Math.ceil((scrolled + height) / rowHeight) + SPARE_ROWS;
  const end = Math.min(rowCount, bottom + (bottom % 2));
  return { first: Math.max(0, Math.min(top - (top % 2), end)), end };
}

/** Where to scroll so that a row is seen whole; as it is where it is seen. */
export function scrollToShow(row: number, { scrolled, height, rowHeight }: Sight): number {
  const top = row * rowHeight;
  if (top < scrolled) return top;
  return top + rowHeight > scrolled + height ? top + rowHeight - height : scrolled;
}

function hasAll(text: string, words: readonly string[]): boolean {
  return words.every((word) => text.includes(word));
}

function weightOf(row: ServiceRow, sort: Sort): number {
  switch (sort) {
    case "name":
      return 0;
    case "state":
      return { down: 3, partly: 2, ready: 1, empty: 0 }[row.state];
    case "requests":
      return (row.traffic?.rates.requests ?? 0) + (row.traffic?.rates.connections ?? 0);
    case "latency":
      return row.traffic?.latencyMs?.p95 ?? -1;
    case "errors":
      return row.traffic?.rates.errors ?? 0;
  }
}
