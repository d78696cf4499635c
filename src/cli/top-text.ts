/**
 * Top text: a report of traffic as lines for people.
 *
 * Two or three lines of totals, then a row for each service or replica, the busiest first. Numbers are as short as
 * they can be read, so that a row fits into 80 columns; who wants them exact asks for JSON. Where rows go one below the
 * other for as long as the command runs, each stands for itself: it begins with its time and is cut by nothing.
 *
 * Pure.
 */

import type { Rates, ReplicaTraffic, ServiceTraffic, TrafficReport } from "../admin/contract-live.ts";
import { compareText } from "../base/sorted.ts";

import { paint, printable, renderTable, truncated, type Column, type Style, type Tone } from "./render.ts";

/** By what rows are put in order. */
export const SORTS = [
  "traffic",
  "requests",
  "connections",
  "errors",
  "latency",
  "bytes",
  "open",
  "name",
] as const;
export type Sort = (typeof SORTS)[number];

/** What is shown of a report. */
export interface TopChoice {
  readonly replicas: boolean;
  readonly sort: Sort;
}

/** One row. */
interface Row {
  readonly name: string;
  readonly service: string;
  readonly node: string;
  readonly rates: Rates;
  readonly latencyMs: ServiceTraffic["latencyMs"];
  readonly ejected: number;
}

const RATES: readonly Column<Row>[] = [
  { title: "REQ/S", cell: ({ rates }) => countText(rates.requests) },
  { title: "CONN/S", cell: ({ rates }) => countText(rates.connections) },
  { title: "ERR/S", cell: ({ rates }) => toned(countText(rates.errors), rates.errors > 0 ? "bad" : null) },
];
const AMOUNTS: readonly Column<Row>[] = [
  { title: "IN/S", cell: ({ rates }) => bytesText(rates.receivedBytes) },
  { title: "OUT/S", cell: ({ rates }) => bytesText(rates.sentBytes) },
  { title: "OPEN", cell: ({ rates }) => countText(rates.open) },
];
const RETRIES: Column<Row> = {
  title: "RETRY/S",
  cell: ({ rates }) => toned(countText(rates.retries), rates.retries > 0 ? "warn" : null),
  wideOnly: true,
};

const SERVICE_COLUMNS: readonly Column<Row>[] = [
  { title: "SERVICE", cell: ({ name }) => name, shrinks: true },
  ...RATES,
  RETRIES,
  { title: "P50", cell: ({ latencyMs }) => msText(latencyMs?.p50 ?? null) },
  { title: "P95", cell: ({ latencyMs }) => msText(latencyMs?.p95 ?? null), wideOnly: true },
  { title: "P99", cell: ({ latencyMs }) => msText(latencyMs?.p99 ?? null) },
  ...AMOUNTS,
  { title: "KERNEL/S", cell: ({ rates }) => countText(rates.kernelConnections), wideOnly: true },
  {
    title: "EJECTED",
    cell: ({ ejected }) => toned(String(ejected), ejected > 0 ? "warn" : null),
    wideOnly: true,
  },
];

const REPLICA_COLUMNS: readonly Column<Row>[] = [
  { title: "REPLICA", cell: ({ name }) => name, shrinks: true },
  { title: "NODE", cell: ({ node }) => node, shrinks: true },
  { title: "SERVICE", cell: ({ service }) => service, wideOnly: true, shrinks: true },
  ...RATES,
  RETRIES,
  ...AMOUNTS,
];

/** The names of what has traffic, in order. */
export function topNames(report: TrafficReport, choice: TopChoice): readonly string[] {
  return rowsOf(report, choice).map(({ name }) => name);
}

/** Totals and a table; ends in a line break. */
export function topTable(report: TrafficReport, choice: TopChoice, style: Style): string {
  const rows = rowsOf(report, choice);
  const what = choice.replicas ? "replica" : "service";
  const none = `${paint(`no ${what} has traffic`, "dim", style)}\n`;
  const columns = choice.replicas ? REPLICA_COLUMNS : SERVICE_COLUMNS;
  return `${headText(report, style)}\n${rows.length === 0 ? none : renderTable(columns, rows, style)}`;
}

/** The title of what `topRows` gives. */
export function topRowsHead({ replicas }: TopChoice): string {
  return rowText(["TIME", replicas ? "REPLICA" : "SERVICE", ...TOLD.map(([title]) => title)]);
}

/** A row for all and one for each service or replica, each beginning with the time (UTC). */
export function topRows(report: TrafficReport, choice: TopChoice): string {
  const time = timeText(report.atMs);
  const { total: rates, latencyMs } = report;
  const total: Row = { name: "total", service: "", node: "", rates, latencyMs, ejected: 0 };
  const rows = [total, ...rowsOf(report, choice)];
  return rows.map((row) => rowText([time, row.name, ...TOLD.map(([, cell]) => cell(row))])).join("");
}

const TOLD: readonly (readonly [string, (row: Row) => string])[] = [
  ["REQ/S", ({ rates }) => countText(rates.requests)],
  ["CONN/S", ({ rates }) => countText(rates.connections)],
  ["ERR/S", ({ rates }) => countText(rates.errors)],
  ["RETRY/S", ({ rates }) => countText(rates.retries)],
  ["P50", ({ latencyMs }) => msText(latencyMs?.p50 ?? null)],
  ["P99", ({ latencyMs }) => msText(latencyMs?.p99 ?? null)],
  ["IN/S", ({ rates }) => bytesText(rates.receivedBytes)],
  ["OUT/S", ({ rates }) => bytesText(rates.sentBytes)],
  ["OPEN", ({ rates }) => countText(rates.open)],
];

/** A time of day is as wide as the first column, and most names fit into the second. */
function rowText([time = "", name = "", ...numbers]: readonly string[]): string {
  const cells = numbers.map((text) => (text === "" ? "-" : text).padStart(8)).join("");
  return `${time.padEnd(10)}${printable(name).padEnd(28)}${cells}\n`;
}

function headText({ scope, hosts, silent, total, latencyMs, dns }: TrafficReport, style: Style): string {
  const who = scope === "host" ? `this host (${hosts.join(", ")})` : `${hosts.length} hosts`;
  const took = latencyMs === null ? "" : `  p50 ${msText(latencyMs.p50)}  p99 ${msText(latencyMs.p99)}`;
  const codes = Object.entries(dns.byCode).toSorted(([, one], [, other]) => other - one);
  const byCode = codes.map(([code, rate]) => `${code} ${countText(rate)}`).join("  ");
  const lines: (readonly [string, string, Tone | null])[] = [
    [
      "traffic",
      `${who}  ${countText(total.requests)} req/s  ${countText(total.connections)} conn/s  ` +
        `${countText(total.errors)} err/s${took}`,
      total.errors > 0 ? "warn" : null,
    ],
    [
      "bytes",
      `in ${bytesText(total.receivedBytes)}/s  out ${bytesText(total.sentBytes)}/s  ` +
        `open ${countText(total.open)}`,
      null,
    ],
    ["dns", `${countText(dns.queries)} queries/s  ${byCode}`.trimEnd(), null],
  ];
  if (silent.length > 0) lines.push(["silent", silent.join(", "), "bad"]);
  return lines.map((line) => headLine(line, style)).join("");
}

function headLine([label, text, tone]: readonly [string, string, Tone | null], style: Style): string {
  const width = style.columnsMax === null ? Infinity : style.columnsMax - LABEL_WIDTH;
  const shown = truncated(printable(text), width);
  const painted = tone === null ? shown : paint(shown, tone, style);
  return `${paint(label.padEnd(LABEL_WIDTH), "dim", style)}${painted}\n`;
}

const LABEL_WIDTH = 9;

function rowsOf(report: TrafficReport, { replicas, sort }: TopChoice): readonly Row[] {
  const rows = replicas ? report.replicas.map(rowOfReplica) : report.services.map(rowOfService);
  if (sort === "traffic") return rows;
  if (sort === "name") return rows.toSorted((one, other) => compareText(one.name, other.name));
  return rows.toSorted((one, other) => valueOf(other, sort) - valueOf(one, sort));
}

function rowOfService({ key, rates, latencyMs, ejected }: ServiceTraffic): Row {
  return { name: key, service: key, node: "", rates, latencyMs, ejected };
}

function rowOfReplica({ name, service, node, rates }: ReplicaTraffic): Row {
  return { name, service, node, rates, latencyMs: null, ejected: 0 };
}

function valueOf({ rates, latencyMs }: Row, sort: Exclude<Sort, "traffic" | "name">): number {
  switch (sort) {
    case "latency":
      return latencyMs?.p99 ?? -1;
    case "bytes":
      return rates.receivedBytes + rates.sentBytes;
    case "requests":
    case "connections":
    case "errors":
    case "open":
      return rates[sort];
  }
}

/** `0`, `0.4`, `12`, `1.2k`, `34k`, `5.6M`. */
function countText(count: number): string {
  if (count > 0 && count < 9.95) return trimmed(Math.max(0.1, count).toFixed(1));
  return scaled(count, 1000);
}

function bytesText(bytes: number): string {
  return scaled(bytes, 1024);
}

function scaled(amount: number, step: number): string {
  let value = amount;
  for (const unit of ["", "k", "M", "G", "T"]) {
    const isShort = unit !== "" && value < 9.95;
    if (value < step - 0.5) return `${isShort ? trimmed(value.toFixed(1)) : Math.round(value)}${unit}`;
    value /= step;
  }
  return `${Math.round(value)}P`;
}

/** `0.4ms`, `12ms`, `1.2s`; empty for none. */
function msText(ms: number | null): string {
  if (ms === null) return "";
  if (ms < 9.95) return `${ms.toFixed(ms < 0.995 ? 2 : 1)}ms`;
  return ms < 999.5 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(1)}s`;
}

function trimmed(text: string): string {
  return text.replace(/\.0$/, "");
}

function toned(text: string, tone: Tone | null): string | { readonly text: string; readonly tone: Tone } {
  return tone === null ? text : { text, tone };
}

function timeText(atMs: number): string {
  const date = new Date(atMs);
  return Number.isNaN(date.getTime()) ? "-" : date.toISOString().slice(11, 19);
}
