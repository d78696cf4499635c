/**
 * Run: the project's tests by groups, with node's own runner and a table at the end.
 *
 * `node test/run.ts` runs everything; `node test/run.ts dns proxy` the files whose path contains one of the words;
 * `--group unit|cluster|lab` one group. Exit status 0 when all passed, 1 when something failed, 2 for wrong usage.
 *
 * Each file gets a run of its own, and all of a group report to one reporter. Not one run for the group: node's timeout
 * ends a test, but leaves a file whose sockets or timers are still open hanging for ever; a run of one file can be
 * aborted, which kills its process. What node would have counted for the whole group is summed up from the files.
 *
 * Touches: the test folder, child processes, the terminal.
 */

import { once } from "node:events";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative, sep } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { parseArgs } from "node:util";

import {
  GROUPS,
  renderTallies,
  select,
  succeeded,
  tally,
  type Group,
  type Outcome,
  type Selection,
  type Tally,
} from "./house/groups.ts";

const ROOT = join(import.meta.dirname, "..");
const USAGE = "usage: node test/run.ts [--group unit|cluster|lab] [WORD...]";

/** What node counts, in the order in which it tells. */
const COUNTERS = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo"] as const;

type Reporter = InstanceType<typeof spec>;
type Counts = Map<string, number>;

function testFiles(): readonly string[] {
  const entries = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" });
  return entries.map((entry) => join("test", entry).split(sep).join("/"));
}

/** Runs the files of a group, some at a time, into one reporter on stdout. */
async function runGroup(group: Group, files: readonly string[]): Promise<Tally> {
  const startMs = performance.now();
  const outcomes: Outcome[] = [];
  const counts: Counts = new Map(COUNTERS.map((counter) => [counter, 0]));
  const reporter = new spec();
  reporter.pipe(process.stdout, { end: false });
  const waiting = [...files];
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      await runFile(group, file, { outcomes, counts, reporter });
    }
  };
  await Promise.all(Array.from({ length: group.concurrency(availableParallelism()) }, work));
  const elapsedMs = performance.now() - startMs;
  for (const [counter, count] of counts) tell(reporter, `${counter} ${count}`);
  tell(reporter, `duration_ms ${elapsedMs.toFixed(0)}`);
  reporter.end();
  await once(reporter, "end");
  return tally(group, files, outcomes, elapsedMs / 1000);
}

function tell(reporter: Reporter, message: string): void {
  reporter.write({ type: "test:diagnostic", data: { nesting: 0, message, level: "info" } });
}

interface Sinks {
  readonly outcomes: Outcome[];
  readonly counts: Counts;
  readonly reporter: Reporter;
}

async function runFile(group: Group, file: string, { outcomes, counts, reporter }: Sinks): Promise<void> {
  const timeoutMs = group.fileTimeoutMs;
  const signal = AbortSignal.timeout(timeoutMs);
  const events = run({
    cwd: ROOT,
    files: [join(ROOT, file)],
    concurrency: false,
    timeout: timeoutMs,
    signal,
  });
  const held: unknown[] = [];
  for await (const event of events) {
    const { type, data } = event;
    if (type === "test:pass" || type === "test:fail") outcomes.push(outcomeOf(event, file));
    // A count of this file alone would read as one of the group.
    if (type === "test:diagnostic" && addCount(counts, data.message)) continue;
    if (type !== "test:summary") held.push(event);
  }
  // Files that ran side by side are told one after the other.
  for (const event of held) reporter.write(event);
  if (signal.aborted) console.error(`${file}: stopped after ${timeoutMs} ms`);
}

type TestEvent = { readonly type: "test:pass" | "test:fail"; readonly data: TestData };

interface TestData {
  readonly name: string;
  readonly skip?: string | boolean;
  readonly todo?: string | boolean;
  readonly details: { readonly type?: string };
}

function outcomeOf({ type, data }: TestEvent, file: string): Outcome {
  const { skip } = data;
  const skipped = skip === undefined || skip === false ? null : skip === true ? "" : skip;
  const isFile = data.name === file || data.name === join(ROOT, file);
  return {
    name: isFile ? file : data.name,
    file: relative(ROOT, join(ROOT, file)).split(sep).join("/"),
    kind: data.details.type === "suite" ? "suite" : "test",
    // A test marked as still to be done may fail; node holds it so too.
    passed: type === "test:pass" || (data.todo !== undefined && data.todo !== false),
    skipped,
  };
}

/** Adds one of node's closing lines to the sums; false when the message is another. */
function addCount(counts: Counts, message: string): boolean {
  const [, counter = "", count = "0"] = /^([a-z_]+) ([\d.]+)$/.exec(message) ?? [];
  const sum = counts.get(counter);
  if (sum !== undefined) counts.set(counter, sum + Number(count));
  return sum !== undefined || counter === "duration_ms";
}

function parseSelection(): Selection | null {
  try {
    const { values, positionals } = parseArgs({
      options: { group: { type: "string" } },
      allowPositionals: true,
    });
    const { group = null } = values;
    const known = group === null || GROUPS.some((one) => one.name === group);
    return known ? { words: positionals, group } : null;
  } catch {
    // Whatever parseArgs disliked, the usage says what would be right.
    return null;
  }
}

async function main(): Promise<number> {
  const selection = parseSelection();
  if (selection === null) {
    console.error(USAGE);
    return 2;
  }
  const paths = testFiles();
  const chosen = GROUPS.filter((group) => selection.group === null || selection.group === group.name);
  const tallies: Tally[] = [];
  for (const group of chosen) {
    const files = select(paths, group, selection);
    if (files.length > 0) console.log(`\n${group.name}: ${group.what}, ${files.length} files\n`);
    tallies.push(files.length > 0 ? await runGroup(group, files) : tally(group, [], [], 0));
  }
  console.log(`\n${renderTallies(tallies)}`);
  if (tallies.every((one) => one.files === 0)) console.error("no test file was chosen");
  return succeeded(tallies) ? 0 : 1;
}

process.exitCode = await main();
