// Reconcile: which picture reaches the kernel, in which order, and what happens when the kernel says no.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { seededRandom } from "../../src/base/random.ts";
import type { KernelGiven } from "../../src/kernel/given.ts";
import type { Applied } from "../../src/kernel/part.ts";
import {
  openReconciler,
  type Gathered,
  type KernelState,
  type PlannedPart,
  type Reconciler,
} from "../../src/kernel/reconcile.ts";
import { openLog } from "../../src/runtime/log.ts";
import { until } from "../support/wait.ts";

import { givenOf, networkOf } from "./pictures.ts";

const FINE: Applied = { changes: 1, problems: [] };
const PACE = { gatherMs: 5, repairEveryMs: 600_000, again: { firstMs: 5, longestMs: 20 } };

/** A part that notes what it is told, and fails while it is told to. */
class FakePart implements PlannedPart {
  readonly name: PlannedPart["name"];
  readonly calls: string[];
  readonly given: KernelGiven[] = [];
  broken: ReadonlySet<string> = new Set();
  failure: Failure | null = null;
  applied: Applied = FINE;
  repaired: Applied = { changes: 0, problems: [] };
  mayRemove: boolean | null = null;

  constructor(name: PlannedPart["name"], calls: string[]) {
    this.name = name;
    this.calls = calls;
  }

  async apply(given: KernelGiven, { mayRemove }: { readonly mayRemove: boolean }): Promise<Applied> {
    this.calls.push(`apply ${this.name}`);
    this.given.push(given);
    this.mayRemove = mayRemove;
    if (this.failure !== null) throw this.failure;
    return this.applied;
  }

  async repair(): Promise<Applied> {
    this.calls.push(`repair ${this.name}`);
    if (this.failure !== null) throw this.failure;
    return this.repaired;
  }

  async remove(): Promise<Applied> {
    this.calls.push(`remove ${this.name}`);
    if (this.failure !== null) throw this.failure;
    return FINE;
  }
}

interface Bench {
  readonly reconciler: Reconciler;
  readonly calls: string[];
  readonly links: FakePart;
  readonly rules: FakePart;
  readonly states: KernelState[];
  readonly repairs: string[];
  /** What is gathered from now on; null while nothing may be done. */
  gathered: Gathered | null;
}

function open(t: TestContext): Bench {
  const calls: string[] = [];
  const links = new FakePart("links", calls);
  const rules = new FakePart("rules", calls);
  const states: KernelState[] = [];
  const repairs: string[] = [];
  const gathered: Gathered = { given: givenOf({ networks: [networkOf("app")] }), mayRemove: true };
  const reconciler = openReconciler({
    parts: [links, rules],
    gather: () => bench.gathered,
    log: openLog({ level: "error", format: "text" }),
    random: seededRandom(1),
    onState: (state) => states.push(state),
    onApplied: () => undefined,
    onRepaired: (part, count) => repairs.push(`${part} ${count}`),
    pace: PACE,
  });
  const bench: Bench = { reconciler, calls, links, rules, states, repairs, gathered };
  t.after(() => reconciler.close());
  return bench;
}

test("reconcile: links are made before rules, and a network whose links are there is carried", async (t) => {
  const { reconciler, calls, states } = open(t);
  reconciler.note();
  await reconciler.idle();
  assert.deepEqual(calls, ["apply links", "apply rules"]);
  assert.deepEqual([...(reconciler.state.carried ?? [])], ["app"]);
  assert.equal(states.length, 1);
});

test("reconcile: many changes within a moment are one, and the newest picture counts", async (t) => {
  const bench = open(t);
  for (let count = 0; count < 100; count += 1) bench.reconciler.note();
  const newest = givenOf({});
  bench.gathered = { given: newest, mayRemove: false };
  await bench.reconciler.idle();
  assert.deepEqual(bench.calls, ["apply links", "apply rules"]);
  assert.equal(bench.links.given[0], newest);
  assert.equal(bench.rules.mayRemove, false);
});

test("reconcile: nothing is touched while the picture is not whole, not even by a repair", async (t) => {
  const bench = open(t);
  const { gathered } = bench;
  bench.gathered = null;
  bench.reconciler.note();
  bench.reconciler.repairSoon();
  await bench.reconciler.idle();
  assert.deepEqual(bench.calls, []);
  bench.gathered = gathered;
  bench.reconciler.note();
  await bench.reconciler.idle();
  assert.deepEqual(bench.calls, ["apply links", "apply rules"]);
});

test("reconcile: a repair reads back each part after applying it, and what it found is told", async (t) => {
  const { reconciler, calls, rules, repairs } = open(t);
  reconciler.note();
  await reconciler.idle();
  rules.repaired = { changes: 2, problems: [] };
  calls.length = 0;
  reconciler.repairSoon();
  await reconciler.idle();
  assert.deepEqual(calls, ["apply links", "repair links", "apply rules", "repair rules"]);
  assert.deepEqual(repairs, ["rules 2"]);
});

test("reconcile: without nft the proxy carries all at once, with the reason, until nft is back", async (t) => {
  const { reconciler, rules, states, calls } = open(t);
  reconciler.note();
  await reconciler.idle();
  rules.failure = new Failure("not-found", 'program "nft" is not installed, or not on the PATH');
  reconciler.note();
  const fallen = await until(() => states.find(({ mode }) => mode === "proxy"));
  assert.match(fallen.reason, /rules cannot be changed: program "nft" is not installed/);
  assert.ok(calls.includes("remove rules"), "rules of before are taken away where they can be");
  rules.failure = null;
  await until(() => reconciler.state.mode === "kernel");
  assert.deepEqual(reconciler.problems, []);
});

test("reconcile: one failure that may pass by itself does not take the rules away", async (t) => {
  const { reconciler, rules, states, calls } = open(t);
  rules.failure = new Failure("timeout", "nft took longer than 5000 ms and was killed");
  reconciler.note();
  await reconciler.idle();
  rules.failure = null;
  await until(() => reconciler.problems.length === 0);
  assert.ok(!calls.includes("remove rules"));
  assert.ok(states.every(({ mode }) => mode === "kernel"));
});

test("reconcile: while links cannot be made their networks are not carried, and rules are told so", async (t) => {
  const { reconciler, links, rules } = open(t);
  links.failure = new Failure("timeout", "ip took longer than 5000 ms and was killed");
  reconciler.note();
  await reconciler.idle();
  assert.deepEqual([...(rules.given[0]?.broken ?? [])], ["app"]);
  assert.equal(reconciler.state.carried?.size, 0);
  assert.equal(reconciler.state.mode, "kernel");
  assert.match(reconciler.problems[0] ?? "", /^links cannot be changed: ip took longer/);
  links.failure = null;
  await until(() => reconciler.state.carried?.has("app") === true);
});

test("reconcile: a network that its part could not make is left out, and its neighbours are carried", async (t) => {
  const { reconciler, links } = open(t);
  links.broken = new Set(["app"]);
  links.applied = { changes: 0, problems: ["device sk-vx4100 cannot be added"] };
  reconciler.note();
  await reconciler.idle();
  assert.equal(reconciler.state.carried?.size, 0);
  assert.deepEqual(reconciler.problems, ["device sk-vx4100 cannot be added"]);
});

test("reconcile: closed, it leaves all as it is and changes nothing any more", async (t) => {
  const { reconciler, calls } = open(t);
  reconciler.note();
  await reconciler.close();
  reconciler.note();
  reconciler.repairSoon();
  await reconciler.idle();
  assert.deepEqual(calls, []);
});

test("reconcile: a removal goes the other way round, and one part that fails does not keep the others", async (t) => {
  const { reconciler, links, rules, calls } = open(t);
  rules.failure = new Failure("not-found", 'program "nft" is not installed');
  const { problems, changes } = await reconciler.remove();
  assert.deepEqual(calls, ["remove rules", "remove links"]);
  assert.deepEqual(problems, ['rules cannot be changed: program "nft" is not installed']);
  assert.equal(changes, links.applied.changes);
});
