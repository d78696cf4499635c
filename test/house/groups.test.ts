// Groups: which files run together, and that no hole looks like a success.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  GROUPS,
  groupOf,
  renderTallies,
  select,
  succeeded,
  tally,
  WITHIN,
  wavesOf,
  type Group,
  type Outcome,
} from "./groups.ts";

const PATHS = ["test/dns/a.test.ts", "test/cluster/b.test.ts", "test/lab/c.test.ts", "test/lab/c.ts"];
const FILE = "test/dns/a.test.ts";

function group(name: Group["name"]): Group {
  const found = GROUPS.find((one) => one.name === name);
  assert.ok(found);
  return found;
}

function outcome(changes: Partial<Outcome> = {}): Outcome {
  return { name: "a: works", file: FILE, kind: "test", failure: null, skipped: null, ...changes };
}

test("wavesOf: side by side only cluster and lab run at once, after the units; else one after the other", () => {
  const names = (sideBySide: boolean): readonly string[] =>
    wavesOf(GROUPS, sideBySide).map((wave) => wave.map(({ name }) => name).join("+"));
  assert.deepEqual(names(false), ["unit", "cluster", "lab"]);
  assert.deepEqual(names(true), ["unit", "cluster+lab"]);
  assert.deepEqual(wavesOf([group("unit")], true), [[group("unit")]]);
});

test("groupOf: the folder decides, and everything else is unit", () => {
  assert.deepEqual(PATHS.slice(0, 3).map(groupOf), ["unit", "cluster", "lab"]);
  assert.equal(groupOf("test/labels/a.test.ts"), "unit");
});

test("select: takes test files of the group, by words and by group", () => {
  const all = { words: [], group: null };
  assert.deepEqual(select(PATHS, group("lab"), all), ["test/lab/c.test.ts"]);
  assert.deepEqual(select(PATHS, group("unit"), { ...all, words: ["proxy", "dns"] }), [FILE]);
  assert.deepEqual(select(PATHS, group("unit"), { ...all, words: ["proxy"] }), []);
  assert.deepEqual(select(PATHS, group("unit"), { ...all, group: "lab" }), []);
});

test("tally: counts tests, not suites, and sums skips by their reason", () => {
  const outcomes = [
    outcome(),
    outcome({ failure: "broke" }),
    outcome({ kind: "suite" }),
    outcome({ skipped: "no root" }),
    outcome({ skipped: "no root" }),
  ];
  const one = tally(group("unit"), [FILE], outcomes, 1);
  assert.deepEqual([one.passed, one.failed, [...one.countByReason]], [1, 1, [["no root", 2]]]);
  assert.deepEqual(one.faults, []);
  assert.equal(succeeded([one]), false);
});

test("tally: a file that holds no test is a fault, though node calls it passed", () => {
  const one = tally(
    group("unit"),
    [FILE, "test/b.test.ts"],
    [outcome(), outcome({ file: "test/b.test.ts", name: "test/b.test.ts" })],
    1,
  );
  assert.deepEqual([one.passed, one.faults], [1, ["test/b.test.ts holds no test"]]);
  assert.equal(succeeded([one]), false);
});

test("tally: a file that cannot be loaded is a failed test", () => {
  const one = tally(group("unit"), [FILE], [outcome({ name: FILE, failure: "broke" })], 1);
  assert.deepEqual([one.failed, one.faults], [1, []]);
});

test("tally: a group that ran nothing is a fault, except a lab that says why", () => {
  const skipped = [outcome({ skipped: "no root" })];
  assert.equal(tally(group("cluster"), [FILE], skipped, 1).faults.length, 1);
  assert.deepEqual(tally(group("lab"), [FILE], skipped, 1).faults, []);
  assert.deepEqual(tally(group("lab"), [FILE], [], 1).faults, [
    `${FILE} holds no test`,
    "no test of the group lab ran",
  ]);
  assert.deepEqual(tally(group("lab"), [FILE], [outcome({ skipped: "" })], 1).faults, [
    "1 skipped without a reason",
  ]);
});

test("succeeded: a group without files is no fault, no file at all is", () => {
  const empty = tally(group("lab"), [], [], 0);
  assert.equal(succeeded([tally(group("unit"), [FILE], [outcome()], 1), empty]), true);
  assert.equal(succeeded([empty]), false);
});

test("renderTallies: what failed is told once more, in short; not those in which only another failed", () => {
  const failures = [
    outcome({ name: "outer", failure: WITHIN }),
    outcome({ name: "inner", failure: "h1\n  + actual\n\n  - expected" }),
    outcome({ name: "long", failure: "x".repeat(1000) }),
  ];
  const [, , ...lines] = renderTallies([tally(group("unit"), [FILE], failures, 1)]).split("\n");
  assert.deepEqual(lines, [
    "unit: FAILED: test/dns/a.test.ts: inner: h1 | + actual | - expected",
    `unit: FAILED: test/dns/a.test.ts: long: ${"x".repeat(400)}...`,
  ]);
});

test("renderTallies: a table, then reasons, faults and groups without files", () => {
  const unit = tally(
    group("unit"),
    [FILE, "test/b.test.ts"],
    [outcome(), outcome({ skipped: "no root" })],
    1.26,
  );
  assert.equal(
    renderTallies([unit, tally(group("lab"), [], [], 0)]),
    `group  files  tests  passed  failed  skipped  seconds
unit       2      2       1       0        1      1.3
lab        0      0       0       0        0      0.0
unit: 1 skipped: no root
unit: FAULT: test/b.test.ts holds no test
lab: no test files (real Docker hosts in namespaces)`,
  );
});
