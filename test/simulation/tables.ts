/**
 * Tables: how fast news spreads, line by line beside what moby published for its NetworkDB.
 *
 * Theirs are of 2026-08 (moby 2eb08ddf13, convergence_test.go), in virtual time as ours: a floor without round trips,
 * where ours has 1 to 5 ms under way. They give 200 ms at 2 to 3 nodes and 800 ms at 25 for the quiet perturbations
 * together, three figures under churn, and one tail of 58.2 s for a write in the same breath as a join at 10 nodes.
 */

import type { Options, ScenarioName } from "./options.ts";
import { commandOf } from "./options.ts";
import { ms, renderTable } from "./report.ts";
import { runScenario } from "./play.ts";
import { Run, type Result } from "./run.ts";

/** The sizes that moby published. */
export const MOBY_SIZES: readonly number[] = [2, 3, 5, 10, 25];

const PERTURBATIONS: readonly ScenarioName[] = [
  "create",
  "update",
  "delete",
  "join",
  "leave",
  "write-after-join",
  "join-populated",
  "churn",
];

/** What else a size is measured by. */
const OTHERS: readonly ScenarioName[] = ["idle", "crash", "silent", "partition"];

/** Seeds of each cell: small clusters cost little, so they are looked at more often. */
function seedsFor(nodes: number): number {
  if (nodes <= 10) return 5;
  return nodes <= 25 ? 3 : 1;
}

/** What moby published for a perturbation at a size. */
function theirs(scenario: ScenarioName, nodes: number): string {
  if (scenario === "churn") {
    if (nodes === 10) return "p50 400 ms";
    return nodes === 25 ? "p50 1400 ms, p90 11 s" : "";
  }
  if (scenario === "write-after-join" && nodes === 10) return "max 58.2 s";
  if (nodes <= 3) return "200 ms";
  return nodes === 25 ? "800 ms" : "";
}

/** Above this many nodes all is measured in one cluster, one after the other: to bring it up costs most. */
const ALONE_UP_TO = 50;

/** What a table found. */
export interface Tables {
  readonly text: string;
  readonly results: readonly Result[];
  readonly broken: readonly string[];
}

/** Runs every perturbation at every size. */
export function runTables(
  sizes: readonly number[],
  options: Options,
  world: { readonly clock: () => number; readonly onProgress: (text: string) => void },
): Tables {
  const results: Result[] = [];
  const broken: string[] = [];
  let shared: Run | null = null;
  const measure = (scenario: ScenarioName, nodes: number): Result[] => {
    world.onProgress(`${scenario} at ${nodes}`);
    return Array.from({ length: seedsFor(nodes) }, (_, at) => {
      const own = { ...options, scenario, nodes, seed: options.seed + at };
      const run = shared ?? new Run(own);
      if (nodes > ALONE_UP_TO) shared = run;
      run.onProgress = world.onProgress;
      run.measureAnew();
      const result = runScenario(scenario, run, world.clock);
      if (result.violations.length > 0) shared = null;
      broken.push(...result.violations.map((text) => `${text}\nseed ${own.seed}; again: ${commandOf(own)}`));
      results.push(result);
      return result;
    });
  };
  const news = PERTURBATIONS.flatMap((scenario) => sizes.map((nodes) => newsRow(scenario, nodes, measure)));
  const cost = sizes.map((nodes) => costRow(nodes, measure));
  const text = [
    "From a change until every running node's view shows it (moby: NetworkDB, as published):",
    renderTable([["perturbation", "nodes", "p50", "p90", "p99", "max", "copies", "moby"], ...news]),
    "",
    "What a node sends when nothing happens, and failures until all see them (medians; heal: the longest):",
    renderTable([
      [
        "nodes",
        "bytes/s",
        "messages/s",
        "crash: dead",
        "cut off: doubted",
        "dead",
        "back",
        "halves heal",
        "false deaths",
      ],
      ...cost,
    ]),
  ];
  return { text: text.join("\n"), results, broken };
}

type Measure = (scenario: ScenarioName, nodes: number) => Result[];

function newsRow(scenario: ScenarioName, nodes: number, measure: Measure): string[] {
  const results = measure(scenario, nodes);
  const of = (pick: (result: Result) => number | null): string => ms(median(results.map(pick)));
  const greatest = Math.max(...results.map(({ convergenceMs }) => convergenceMs.max ?? 0));
  const copies = median(results.map(({ copiesPerChange }) => copiesPerChange));
  return [
    scenario,
    String(nodes),
    of(({ convergenceMs }) => convergenceMs.p50),
    of(({ convergenceMs }) => convergenceMs.p90),
    of(({ convergenceMs }) => convergenceMs.p99),
    ms(greatest),
    copies === null ? "-" : copies.toFixed(2),
    theirs(scenario, nodes),
  ];
}

function costRow(nodes: number, measure: Measure): string[] {
  const [idle = [], crash = [], silent = [], halves = []] = OTHERS.map((scenario) =>
    measure(scenario, nodes),
  );
  const number = (values: readonly (number | null)[]): string => median(values)?.toFixed(1) ?? "-";
  const longest = (results: readonly Result[]): string =>
    ms(Math.max(...results.map(({ healMs }) => healMs ?? 0)));
  const all = [...idle, ...crash, ...silent, ...halves];
  return [
    String(nodes),
    number(idle.map(({ bytesPerNodePerSecond }) => bytesPerNodePerSecond)),
    number(idle.map(({ messagesPerNodePerSecond }) => messagesPerNodePerSecond)),
    ms(median(crash.map(({ detectionMs }) => detectionMs.p50))),
    ms(median(silent.map(({ doubtedMs }) => doubtedMs.p50))),
    ms(median(silent.map(({ detectionMs }) => detectionMs.p50))),
    longest(silent),
    longest(halves),
    String(all.reduce((sum, { falseDeaths }) => sum + falseDeaths, 0)),
  ];
}

function median(values: readonly (number | null)[]): number | null {
  const sorted = values.filter((value) => value !== null).toSorted((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}
