/**
 * Top: `skein top`, what passes through the cluster now.
 *
 * On a terminal a picture that is drawn anew each second and whenever the terminal's size changes; anywhere else rows
 * that go one below the other, or a JSON value a line. A daemon that goes away is waited for, as for `events -f`:
 * whoever watches an upgrade wants to see the end of it.
 *
 * Touches: the daemon and stdout, through the session; timers.
 */

import { setTimeout as delay } from "node:timers/promises";

import { Option, type Command } from "commander";

import type { TrafficReport } from "../../admin/contract-live.ts";
import { Failure } from "../../base/failure.ts";
import { print, show, tell, type Act, type Session } from "../context.ts";
import { paint, printable, renderJsonLine, type Style } from "../render.ts";
import { onScreen, type Terminal } from "../screen.ts";
import { SORTS, topNames, topRows, topRowsHead, topTable, type Sort, type TopChoice } from "../top-text.ts";

const EVERY_MS = 1000;
/** How often in a row a daemon may fail to answer before it counts as gone. */
const FAILURES_MAX = 30;

const EXAMPLES = `
Rates are of the last second. Services and replicas without traffic are left out.

Examples:
  skein top
  skein top --replicas --sort errors
  skein top --scope host
  skein top --once
  skein top -o json | jq .total.requests`;

interface TopOptions {
  readonly replicas?: true;
  readonly once?: true;
  readonly scope: TrafficReport["scope"];
  readonly sort: Sort;
}

/** Adds the command. */
export function addTop(program: Command, act: Act): void {
  program
    .command("top")
    .description("live traffic: requests, connections, errors, latency, bytes, names asked for")
    .option("--replicas", "a row for each replica in place of each service")
    .addOption(
      new Option("--scope <scope>", "whose traffic: of this host, or of all of them")
        .choices(["host", "cluster"])
        .default("cluster"),
    )
    .addOption(new Option("--sort <by>", "what comes first").choices(SORTS).default("traffic"))
    .option("--once", "print it once and end")
    .addHelpText("after", EXAMPLES)
    .action(act((session, command) => top(session, command.opts<TopOptions>())));
}

async function top(session: Session, options: TopOptions): Promise<number> {
  const { surroundings } = session;
  const choice: TopChoice = { replicas: options.replicas === true, sort: options.sort };
  const ask = (): Promise<TrafficReport> => session.client.get(`/api/v1/traffic?scope=${options.scope}`);
  // Before the screen is taken: what is wrong from the beginning is told where the user reads on.
  const first = await ask().catch((thrown: unknown) => {
    if (surroundings.interrupted.aborted && options.once !== true) return null;
    throw thrown;
  });
  if (first === null) return 0;
  if (options.once === true) {
    await show(session, {
      value: first,
      table: (style) => topTable(first, choice, style),
      names: topNames(first, choice),
    });
    return 0;
  }
  const { stdout, terminal, env } = surroundings;
  const isTable = session.format === "table" || session.format === "wide";
  const isLive = terminal !== null && isTable && !session.quiet && env["TERM"] !== "dumb";
  const watched = { ask, first, choice };
  if (!isLive) await follow(session, watched);
  else await onScreen(stdout, terminal, (draw) => watch(session, watched, { terminal, draw }));
  return 0;
}

/** What is watched. */
interface Watched {
  readonly ask: () => Promise<TrafficReport>;
  readonly first: TrafficReport;
  readonly choice: TopChoice;
}

/** Draws until the user ends it. */
async function watch(
  session: Session,
  { ask, first, choice }: Watched,
  { terminal, draw }: { readonly terminal: Terminal; readonly draw: (text: string) => void },
): Promise<void> {
  let [report, isStale] = [first, false];
  const redraw = (): void => {
    const style: Style = { ...session.style, columnsMax: terminal.size().columns };
    const stale = isStale ? `${paint("the daemon does not answer; trying again", "bad", style)}\n` : "";
    draw(`${stale}${topTable(report, choice, style)}`);
  };
  const end = terminal.onResized(redraw);
  try {
    redraw();
    for await (const next of reports(session, ask)) {
      isStale = next === null;
      report = next ?? report;
      redraw();
    }
  } finally {
    end();
  }
}

/** Prints row after row until the user ends it. */
async function follow(session: Session, { ask, first, choice }: Watched): Promise<void> {
  const { format, quiet } = session;
  const isTable = (format === "table" || format === "wide") && !quiet;
  if (isTable) await print(session, topRowsHead(choice));
  await print(session, textOf(session, first, choice));
  let isStale = false;
  for await (const report of reports(session, ask)) {
    if (report !== null) await print(session, textOf(session, report, choice));
    else if (!isStale) tell(session, "the daemon does not answer; trying again");
    isStale = report === null;
  }
}

function textOf({ format, quiet, surroundings }: Session, report: TrafficReport, choice: TopChoice): string {
  if (quiet)
    return topNames(report, choice)
      .map((name) => `${printable(name)}\n`)
      .join("");
  switch (format) {
    case "json":
      return `${renderJsonLine(report)}\n`;
    case "yaml":
      return `---\n${surroundings.renderYaml(report)}`;
    case "table":
    case "wide":
      return topRows(report, choice);
  }
}

/** A report each second until the user ends it; null for one that did not come. @throws what keeps on failing */
async function* reports(
  { surroundings: { interrupted } }: Session,
  ask: Watched["ask"],
): AsyncGenerator<TrafficReport | null> {
  for (let failures = 0; ;) {
    // Rejects only when interrupted, and then the loop ends.
    await delay(EVERY_MS, null, { signal: interrupted }).catch(() => null);
    if (interrupted.aborted) return;
    try {
      const report = await ask();
      failures = 0;
      yield report;
    } catch (thrown) {
      if (interrupted.aborted) return;
      failures += 1;
      if (!isOutage(thrown) || failures > FAILURES_MAX) throw thrown;
      yield null;
    }
  }
}

function isOutage(thrown: unknown): boolean {
  return thrown instanceof Failure && (thrown.code === "unreachable" || thrown.code === "timeout");
}
