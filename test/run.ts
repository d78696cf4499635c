/**
 * Run: the project's tests by groups, with node's own runner and a table at the end.
 *
 * `node test/run.ts` runs everything; `node test/run.ts dns proxy` the files whose path contains one of the words;
 * `--group unit|cluster|lab` one group; `--side-by-side` has cluster and lab run at the same time. Exit status 0 when
 * all passed, 1 when something failed, 2 for wrong usage.
 *
 * Each file gets a run of its own, and all of a group report to one reporter. Not one run for the group: node's timeout
 * ends a test, but leaves a file whose sockets or timers are still open hanging for ever; a run of one file can be
 * aborted, which kills its process. What node would have counted for the whole group is summed up from the files.
 *
 * Touches: the test folder, a folder of its own for the time, child processes, the terminal.
 */

import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { PassThrough } from "node:stream";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { parseArgs } from "node:util";

import {
  GROUPS,
  renderTallies,
  select,
  succeeded,
  tally,
  WITHIN,
  wavesOf,
  type Group,
  type Outcome,
  type Selection,
  type Tally,
} from "./house/groups.ts";

const ROOT = join(import.meta.dirname, "..");
const USAGE = "usage: node test/run.ts [--group unit|cluster|lab] [--side-by-side] [WORD...]";

/** What node counts, in the order in which it tells. */
const COUNTERS = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo"] as const;

/** More than a group tells: what is held must not stop it. */
const HELD_BYTES = 64 * 1024 * 1024;

type Reporter = InstanceType<typeof spec>;
type Counts = Map<string, number>;

function testFiles(): readonly string[] {
  const entries = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" });
  return entries.map((entry) => join("test", entry).split(sep).join("/"));
}

/** Runs the files of a group, some at a time, into one reporter. */
async function runGroup(group: Group, files: readonly string[], out: NodeJS.WritableStream): Promise<Tally> {
  const startMs = performance.now();
  const outcomes: Outcome[] = [];
  const counts: Counts = new Map(COUNTERS.map((counter) => [counter, 0]));
  const reporter = new spec();
  reporter.pipe(out, { end: false });
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

let compiled: string | null = null;

/**
 * Where the files' processes keep what they compiled, until this one ends.
 *
 * Most of them load the same sources: taking the types off and compiling them again is half of what a small file costs.
 */
function compiledFolder(): string {
  if (compiled !== null) return compiled;
  const folder = mkdtempSync(join(tmpdir(), "skein-compiled-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  compiled = folder;
  return folder;
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
    // Hosts of the lab see other folders than we do.
    ...(group.name !== "lab" && { env: { ...process.env, NODE_COMPILE_CACHE: compiledFolder() } }),
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
  readonly details: { readonly type?: string; readonly error?: TestError };
}

/** As node wraps what was thrown. */
type TestError = Error & { readonly failureType?: string; readonly cause?: unknown };

function failureOf({ details: { error } }: TestData): string {
  if (error === undefined) return "no reason told";
  if (error.failureType === "subtestsFailed") return WITHIN;
  const { cause = error } = error;
  const text = cause instanceof Error ? cause.message : String(cause);
  // Without words it would be one that failed by a test within it.
  return text === WITHIN ? "no reason told" : text;
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
    failure:
      type === "test:pass" || (data.todo !== undefined && data.todo !== false) ? null : failureOf(data),
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

/** What is to run, and how. */
interface Wanted extends Selection {
  readonly sideBySide: boolean;
}

function parseSelection(): Wanted | null {
  try {
    const { values, positionals } = parseArgs({
      options: { group: { type: "string" }, "side-by-side": { type: "boolean" } },
      allowPositionals: true,
    });
    const { group = null, "side-by-side": sideBySide = false } = values;
    const known = group === null || GROUPS.some((one) => one.name === group);
    return known ? { words: positionals, group, sideBySide } : null;
  } catch {
    // Whatever parseArgs disliked, the usage says what would be right.
    return null;
  }
}

/** Runs groups at once. The first is told as it goes, and the others whole when all have ended. */
async function runWave(
  wave: readonly Group[],
  paths: readonly string[],
  selection: Selection,
): Promise<readonly Tally[]> {
  const held = wave.slice(1).map(() => new PassThrough({ highWaterMark: HELD_BYTES }));
  const running = wave.map(async (group, index) => {
    const files = select(paths, group, selection);
    if (files.length === 0) return tally(group, [], [], 0);
    const out = held[index - 1] ?? process.stdout;
    out.write(`\n${group.name}: ${group.what}, ${files.length} files\n\n`);
    return await runGroup(group, files, out);
  });
  const tallies = await Promise.all(running);
  for (const stream of held) process.stdout.write((stream.read() as Buffer | null) ?? "");
  return tallies;
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
  for (const wave of wavesOf(chosen, selection.sideBySide)) {
    tallies.push(...(await runWave(wave, paths, selection)));
  }
  console.log(`\n${renderTallies(tallies)}`);
  if (tallies.every((one) => one.files === 0)) console.error("no test file was chosen");
  return succeeded(tallies) ? 0 : 1;
}

process.exitCode = await main();
