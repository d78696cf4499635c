/**
 * Groups: which test files run together, what a run of them amounts to, and how it is told.
 *
 * Files are split by how much of the machine they need. A hole must not look like a success: a file without a test, a
 * group whose files ran no test, and words that match no file all fail. Only the lab may skip as a whole, since a
 * machine without root or an engine can run none of it; it must say why for each test.
 *
 * Pure. run.ts finds the files, runs them, and prints what is rendered here.
 */

export interface Group {
  readonly name: "unit" | "cluster" | "lab";
  readonly what: string;
  /** How many files run at a time, on a machine with so many cores. */
  readonly concurrency: (cores: number) => number;
  readonly fileTimeoutMs: number;
  readonly maySkipAll: boolean;
}

/**
 * The groups in the order in which they run; those of one wave at the same time.
 *
 * Daemons on loopback and hosts in namespaces wait for most of their time, and together leave half of two cores idle.
 * Units do not wait.
 */
export function wavesOf(groups: readonly Group[], sideBySide: boolean): readonly (readonly Group[])[] {
  const waits = (group: Group): boolean => sideBySide && group.name !== "unit";
  const alone = groups.filter((group) => !waits(group)).map((group) => [group]);
  const together = groups.filter(waits);
  return together.length === 0 ? alone : [...alone, together];
}

export const GROUPS: readonly Group[] = [
  {
    name: "unit",
    what: "house rules, units, simulation",
    concurrency: (cores) => Math.max(1, cores),
    fileTimeoutMs: 300_000,
    maySkipAll: false,
  },
  {
    name: "cluster",
    what: "daemons on loopback",
    // Not all cores: each file runs several daemons, whose deadlines are a few hundred milliseconds.
    concurrency: (cores) => Math.max(1, Math.floor(cores / 2)),
    fileTimeoutMs: 400_000,
    maySkipAll: false,
  },
  {
    name: "lab",
    what: "real Docker hosts in namespaces",
    concurrency: () => 1,
    fileTimeoutMs: 600_000,
    maySkipAll: true,
  },
];

/** The group a test file belongs to; `path` is relative to the project, with forward slashes. */
export function groupOf(path: string): Group["name"] {
  if (path.startsWith("test/cluster/")) return "cluster";
  return path.startsWith("test/lab/") ? "lab" : "unit";
}

export interface Selection {
  /** Only files whose path contains one of these; empty means all. */
  readonly words: readonly string[];
  /** Only this group; null means all. */
  readonly group: string | null;
}

/** The test files to run of one group, sorted. */
export function select(paths: readonly string[], group: Group, selection: Selection): readonly string[] {
  const { words } = selection;
  if (selection.group !== null && selection.group !== group.name) return [];
  return paths
    .filter((path) => path.endsWith(".test.ts") && groupOf(path) === group.name)
    .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
    .toSorted();
}

/** Of a failure that is told in short; a line of it names what was asserted, a few more what was seen. */
const SHORT_LENGTH = 400;

/** The failure of a test in which nothing failed but a test within it. */
export const WITHIN = "";

/** One test as the runner reported it; `suite` holds others and counts for nothing itself. */
export interface Outcome {
  readonly name: string;
  readonly file: string;
  readonly kind: "test" | "suite";
  /** What it failed by, null when it passed. */
  readonly failure: string | null;
  /** The reason, "" for none given, or null when the test ran. */
  readonly skipped: string | null;
}

export interface Tally {
  readonly group: Group;
  readonly files: number;
  readonly passed: number;
  readonly failed: number;
  /** The failed tests, without those that failed by tests within them alone. */
  readonly failures: readonly Outcome[];
  readonly countByReason: ReadonlyMap<string, number>;
  readonly seconds: number;
  /** Why the group failed, beyond failed tests. */
  readonly faults: readonly string[];
}

/**
 * What the outcomes of a group amount to.
 *
 * node:test reports a file that holds no test as one passed test with the file's own name, and a file that cannot be
 * loaded, hangs or exits badly as a failed one. The first is a hole, not a test; the second is a failure as any other.
 */
export function tally(
  group: Group,
  files: readonly string[],
  outcomes: readonly Outcome[],
  seconds: number,
): Tally {
  const tests = outcomes.filter((outcome) => outcome.kind === "test");
  const isFile = (outcome: Outcome): boolean => outcome.failure === null && outcome.name === outcome.file;
  const real = tests.filter((outcome) => !isFile(outcome));
  const ran = real.filter((outcome) => outcome.skipped === null);
  const failed = ran.filter((outcome) => outcome.failure !== null);
  const countByReason = new Map<string, number>();
  for (const { skipped } of real) {
    if (skipped !== null) countByReason.set(skipped, (countByReason.get(skipped) ?? 0) + 1);
  }
  const covered = new Set(real.map((outcome) => outcome.file));
  const holes = files.filter((file) => !covered.has(file)).map((file) => `${file} holds no test`);
  const silent = ran.length === 0 && files.length > 0 && !(group.maySkipAll && real.length > 0);
  const unexplained = countByReason.get("") ?? 0;
  return {
    group,
    files: files.length,
    passed: ran.length - failed.length,
    failed: failed.length,
    failures: failed.filter((outcome) => outcome.failure !== WITHIN),
    countByReason,
    seconds,
    faults: [
      ...holes,
      ...(silent ? [`no test of the group ${group.name} ran`] : []),
      ...(unexplained > 0 ? [`${unexplained} skipped without a reason`] : []),
    ],
  };
}

/** Whether everything that was chosen ran and passed; nothing chosen is no success. */
export function succeeded(tallies: readonly Tally[]): boolean {
  const files = tallies.reduce((sum, one) => sum + one.files, 0);
  return files > 0 && tallies.every((one) => one.failed === 0 && one.faults.length === 0);
}

/** The closing table, with the reasons of skips, the faults and, once more and in short, what failed below it. */
export function renderTallies(tallies: readonly Tally[]): string {
  const rows = [
    ["group", "files", "tests", "passed", "failed", "skipped", "seconds"],
    ...tallies.map((one) => rowOf(one)),
  ];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const table = rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  "),
  );
  return [...table, ...tallies.flatMap(remarks)].join("\n");
}

function rowOf(one: Tally): readonly string[] {
  const skipped = skippedOf(one);
  const numbers = [one.files, one.passed + one.failed + skipped, one.passed, one.failed, skipped];
  return [one.group.name, ...numbers.map(String), one.seconds.toFixed(1)];
}

function skippedOf(one: Tally): number {
  return [...one.countByReason.values()].reduce((sum, count) => sum + count, 0);
}

function remarks(one: Tally): readonly string[] {
  const { name, what } = one.group;
  if (one.files === 0) return [`${name}: no test files (${what})`];
  return [
    ...[...one.countByReason].map(
      ([reason, count]) => `${name}: ${count} skipped: ${reason || "(no reason given)"}`,
    ),
    ...one.faults.map((fault) => `${name}: FAULT: ${fault}`),
    ...one.failures.map(
      (outcome) => `${name}: FAILED: ${outcome.file}: ${outcome.name}: ${shortOf(outcome)}`,
    ),
  ];
}

/** The first lines of a failure, in one. */
function shortOf({ failure }: Outcome): string {
  const line = (failure ?? "")
    .trim()
    .split(/\s*\n\s*/)
    .join(" | ");
  return line.length > SHORT_LENGTH ? `${line.slice(0, SHORT_LENGTH)}...` : line;
}
