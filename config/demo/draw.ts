/**
 * Draw: what the demo shows while it works, and its closing table.
 *
 * On a terminal a line is redrawn in place; in a pipe or a log each step is one line, without escape codes.
 *
 * Touches: standard output.
 */

const SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
const REDRAW_MS = 100;

const isLive = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;

/** Writes a line of narration. */
export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Shows that `text` is going on, until `work` settles; then one line with what came of it. */
export async function during<T>(text: string, work: Promise<T>, outcome: (value: T) => string): Promise<T> {
  const startMs = performance.now();
  let frame = 0;
  const draw = (): void => {
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    frame += 1;
    process.stdout.write(`\r\x1b[2K  ${SPINNER.charAt(frame % SPINNER.length)} ${text} ${seconds} s`);
  };
  const timer = isLive ? setInterval(draw, REDRAW_MS) : null;
  try {
    const value = await work;
    process.stdout.write(`${isLive ? "\r\x1b[2K" : ""}  ✓ ${text}: ${outcome(value)}\n`);
    return value;
  } catch (thrown) {
    process.stdout.write(`${isLive ? "\r\x1b[2K" : ""}  ✗ ${text}\n`);
    throw thrown;
  } finally {
    if (timer !== null) clearInterval(timer);
  }
}

/** A bar per name, for counts. */
export function bars(countByName: ReadonlyMap<string, number>): string {
  const names = [...countByName.keys()].sort();
  const most = Math.max(1, ...countByName.values());
  return names
    .map((name) => {
      const count = countByName.get(name) ?? 0;
      return `      ${name.padEnd(8)} ${"█".repeat(Math.max(1, Math.round((count / most) * 24)))} ${count}`;
    })
    .join("\n");
}

/** One line of the closing table. */
export interface Finding {
  readonly what: string;
  readonly expected: string;
  readonly seen: string;
  readonly holds: boolean;
}

/** The closing table. */
export function table(findings: readonly Finding[]): string {
  const rows = [
    ["", "what", "expected", "seen"],
    ...findings.map(({ what, expected, seen, holds }) => [holds ? "✓" : "✗", what, expected, seen]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const rule = "─".repeat(Math.max(...lines.map((line) => line.length)));
  return [rule, lines[0], rule, ...lines.slice(1), rule].join("\n");
}
