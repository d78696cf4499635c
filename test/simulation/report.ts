/**
 * Report: what a run found, as text for people and as one JSON object for programs.
 */

import type { Percentiles } from "./measure.ts";
import { commandOf, type Options } from "./options.ts";
import type { Result } from "./run.ts";

/** The object of `--json`, on one line. */
export function renderJson(result: Result): string {
  const { remarks, doubtedMs, messagesPerNodePerSecond, ...contract } = result;
  return JSON.stringify({ ...contract, doubtedMs, messagesPerNodePerSecond, remarks });
}

/** A run as text: one line a figure, then what was broken and how to see it again. */
export function renderResult(result: Result, options: Options): string {
  const { nodes, scenario, seed, wallMs, virtualMs } = result;
  const speed = wallMs > 0 ? `, ${(virtualMs / wallMs).toFixed(1)} times real time` : "";
  const lines = [
    `${scenario}: ${nodes} nodes, seed ${seed}`,
    ...times("convergence", result.convergenceMs),
    ...times("doubted by all after", result.doubtedMs),
    ...times("seen dead by all after", result.detectionMs),
    ...figure("agreed again after", result.healMs, "ms"),
    ...figure("copies per change and node", result.copiesPerChange, ""),
    ...figure("sent by a node", result.bytesPerNodePerSecond, "bytes a second"),
    ...figure("sent by a node", result.messagesPerNodePerSecond, "messages a second"),
    ...figure("given up though they lived", result.falseDeaths, ""),
    ...result.remarks.map((remark) => `  ${remark}`),
    `  ${(virtualMs / 1000).toFixed(1)} s of virtual time in ${(wallMs / 1000).toFixed(1)} s${speed}`,
    ...result.violations.flatMap((text) => [`BROKEN: ${text}`, `seed ${seed}; again: ${commandOf(options)}`]),
  ];
  return lines.join("\n");
}

function times(what: string, { p50, p90, p99, max }: Percentiles): string[] {
  if (p50 === null) return [];
  return [`  ${what.padEnd(28)} p50 ${ms(p50)}, p90 ${ms(p90)}, p99 ${ms(p99)}, max ${ms(max)}`];
}

function figure(what: string, value: number | null, unit: string): string[] {
  return value === null ? [] : [`  ${what.padEnd(28)} ${value} ${unit}`.trimEnd()];
}

/** A time as text: `4.2 ms`, `12.3 s`; a dash for none. */
export function ms(value: number | null): string {
  if (value === null) return "-";
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ms`;
}

/** Rows under a head, each column as wide as its widest cell; the first one to the left, all others to the right. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd();
  return rows.map(line).join("\n");
}
