// Reconcile: which picture reaches the kernel, in which order, and what happens when the kernel says no.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { seededRandom } from "../../src/base/random.ts";
import type { KernelGiven } from "../../src/kernel/given.ts";
import type { Applied } from "../../src/kernel/part.ts";
import type { PlannedPart } from "../../src/kernel/planned.ts";
import {
  openReconciler,
  type Gathered,
  type KernelState,
  type Reconciler,
  type Round,
} from "../../src/kernel/reconcile.ts";
import { openLog } from "../../src/runtime/log.ts";
import { until } from "../support/wait.ts";

import { givenOf, networkOf } from "./pictures.ts";

const FINE: Applied = { changes: 1, problems: [] };
const NOTHING: Applied = { changes: 0, problems: [] };
const PACE = { gatherMs: 5, repairEveryMs: 600_000, again: { firstMs: 5, longestMs: 20 } };
/** So long that nothing is tried again while a test looks. */
const PATIENT = { ...PACE, again: { firstMs: 600_000, longestMs: 600_000 } };

/** A part that notes what it is told, and fails while it is told to. */
class FakePart implements PlannedPart {
  readonly name: PlannedPart["name"];
  readonly calls: string[];
  readonly given: KernelGiven[] = [];
  broken: ReadonlySet<string> = new Set();
  failure: Failure | null = null;
  applied: Applied = FINE;
  passes = { v4: true, v6: true };
  /** What an application waits for. */
  gate: Promise<void> = Promise.resolve();
  repaired: Applied = { changes: 0, problems: [] };
  mayRemove: boolean | null = null;
  /** True where a removal works though it cannot be applied. */
  staysAway = false;

  constructor(name: PlannedPart["name"], calls: string[]) {
    this.name = name;
    this.calls = calls;
  }

  async apply(given: KernelGiven, { mayRemove }: { readonly mayRemove: boolean }): Promise<Applied> {
    this.calls.push(`apply ${this.name}`);
    this.given.push(given);
    this.mayRemove = mayRemove;
    await this.gate;
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
    if (this.failure !== null && !this.staysAway) throw this.failure;
    return FINE;
  }
}

interface Bench {
  readonly reconciler: Reconciler;
  readonly calls: string[];
  readonly guard: FakePart;
  readonly accept: FakePart;
  readonly wireguard: FakePart;
  readonly links: FakePart;
  readonly rules: FakePart;
  readonly states: KernelState[];
  readonly repairs: string[];
  readonly rounds: Round[];
  /** What is gathered from now on; null while nothing may be done. */
  gathered: Gathered | null;
}

interface Wanted {
  readonly pace?: Partial<typeof PATIENT & { behindMs: number; closeMs: number }>;
  /** Links and rules alone, unless told. */
  readonly all?: boolean;
  readonly encrypted?: boolean;
}

function open(t: TestContext, { pace = {}, all = false, encrypted = false }: Wanted = {}): Bench {
  const calls: string[] = [];
  const [guard, accept, wireguard, links, rules] = [
    new FakePart("guard", calls),
    new FakePart("accept", calls),
    new FakePart("wireguard", calls),
    new FakePart("links", calls),
    new FakePart("rules", calls),
  ];
  const states: KernelState[] = [];
  const repairs: string[] = [];
  const rounds: Round[] = [];
  const networks = [{ ...networkOf("app"), encrypted }];
  const overlay = { address: "192.0.2.1", device: "eth0", mtu: 1500, encrypts: true };
  const gathered: Gathered = { given: givenOf({ networks, overlay }), mayRemove: true };
  const reconciler = openReconciler({
    parts: all ? [guard, accept, wireguard, links, rules] : [links, rules],
    gather: () => bench.gathered,
    log: openLog({ level: "error", format: "text" }),
    random: seededRandom(1),
    onState: (state) => states.push(state),
    onApplied: (round) => rounds.push(round),
    onRepaired: (part, count) => repairs.push(`${part} ${count}`),
    pace: { ...PACE, ...pace },
  });
  const parts = { guard, accept, wireguard, links, rules };
  const bench: Bench = { reconciler, calls, ...parts, states, repairs, rounds, gathered };
  t.after(() => reconciler.close());
  return bench;
}

async function applied({ reconciler }: Pick<Bench, "reconciler">): Promise<void> {
  reconciler.note();
  await reconciler.idle();
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

test("reconcile: parts are made in the order in which they lean on each other", async (t) => {
  const bench = open(t, { all: true });
  await applied(bench);
  const names = ["guard", "accept", "wireguard", "links", "rules"];
  assert.deepEqual(
    bench.calls,
    names.map((name) => `apply ${name}`),
  );
});

test("reconcile: a part that fails and waits holds up no other", async (t) => {
  const bench = open(t, { all: true, pace: PATIENT });
  bench.wireguard.failure = new Failure("busy", "UDP port 51820 is held by another");
  await applied(bench);
  bench.calls.length = 0;
  await applied(bench);
  await applied(bench);
  assert.deepEqual(
    bench.calls.filter((call) => call.endsWith("rules")),
    ["apply rules", "apply rules"],
  );
  assert.ok(!bench.calls.includes("apply wireguard"), "it waits by itself");
  assert.match(bench.reconciler.problems.join(), /wireguard cannot be changed: UDP port 51820/);
});

test("reconcile: each part has its own patience", async (t) => {
  const bench = open(t, { all: true });
  await applied(bench);
  bench.wireguard.failure = new Failure("busy", "UDP port 51820 is held by another");
  await applied(bench);
  await until(() => bench.calls.filter((call) => call === "apply wireguard").length > 4);
  bench.rules.failure = new Failure("timeout", "nft took longer than 5000 ms and was killed");
  await applied(bench);
  assert.equal(bench.reconciler.state.mode, "kernel");
});

test("reconcile: the mode is the kernel again once rules work, whatever else fails", async (t) => {
  const bench = open(t, { all: true });
  await applied(bench);
  bench.wireguard.failure = new Failure("busy", "UDP port 51820 is held by another");
  bench.rules.failure = new Failure("not-found", 'program "nft" is not installed');
  bench.reconciler.note();
  await until(() => bench.reconciler.state.mode === "proxy");
  bench.rules.failure = null;
  await until(() => bench.reconciler.state.mode === "kernel");
  assert.equal(bench.reconciler.state.reason, "");
  assert.match(bench.reconciler.problems.join(), /wireguard cannot be changed/);
});

test("reconcile: while rules of before cannot be taken away, what they lead over goes on", async (t) => {
  const bench = open(t);
  await applied(bench);
  bench.rules.failure = new Failure("not-found", 'program "nft" is not installed');
  bench.reconciler.note();
  await until(() => bench.reconciler.state.mode === "proxy");
  const app = networkOf("app");
  const blue = { ...networkOf("blue"), vni: 4101 };
  bench.gathered = { given: givenOf({ networks: [app, blue] }), mayRemove: true };
  await until(() => bench.links.given.at(-1)?.view.networks.length === 2);
  await until(() => bench.rules.given.at(-1)?.view.networks.length === 2);
  assert.deepEqual([...(bench.reconciler.state.carried ?? [])], ["app"], "of later ones they know nothing");
  assert.equal(bench.reconciler.state.hasRules, true);
});

test("reconcile: where the proxy carries all, no network is carried, and what is lost is told", async (t) => {
  const bench = open(t);
  await applied(bench);
  bench.rules.staysAway = true;
  bench.rules.failure = new Failure("not-found", 'program "nft" is not installed');
  bench.reconciler.note();
  await until(() => bench.reconciler.state.mode === "proxy");
  assert.equal(bench.reconciler.state.carried?.size, 0);
  assert.match(bench.reconciler.state.reason, /containers of overlay networks reach no outside address/);
});

test("reconcile: rules that could not be taken away are tried to be taken away again", async (t) => {
  const bench = open(t);
  await applied(bench);
  bench.rules.failure = new Failure("timeout", "nft took longer than 5000 ms and was killed");
  bench.reconciler.note();
  await until(() => bench.calls.filter((call) => call === "remove rules").length > 2);
  assert.match(bench.reconciler.state.reason, /rules of before may be left/);
});

test("reconcile: one slow program takes no network away whose links stand", async (t) => {
  const bench = open(t, { pace: PATIENT });
  await applied(bench);
  bench.links.failure = new Failure("timeout", "ip took longer than 5000 ms and was killed");
  await applied(bench);
  assert.deepEqual([...(bench.rules.given.at(-1)?.broken ?? [])], []);
  assert.equal(bench.reconciler.state.carried?.has("app"), true);
});

test("reconcile: no tunnel is made before what guards encrypted ones has stood", async (t) => {
  const bench = open(t, { all: true, encrypted: true });
  bench.guard.failure = new Failure("timeout", "nft took longer than 5000 ms and was killed");
  await applied(bench);
  assert.ok(!bench.calls.includes("apply links") && !bench.calls.includes("apply wireguard"));
  assert.equal(bench.reconciler.state.carried?.size, 0);
  bench.guard.failure = null;
  await until(() => bench.reconciler.state.carried?.has("app") === true);
  assert.ok(bench.calls.includes("apply wireguard"));
});

test("reconcile: where Docker's firewall lets nothing pass, rules are told that nothing is forwarded", async (t) => {
  const bench = open(t, { all: true });
  bench.accept.passes = { v4: false, v6: true };
  await applied(bench);
  assert.deepEqual(bench.rules.given[0]?.forwards, { v4: false, v6: true });
  assert.equal(bench.reconciler.state.carried?.size, 0);
});

test("reconcile: a round tells how many things it changed", async (t) => {
  const bench = open(t);
  await applied(bench);
  [bench.links.applied, bench.rules.applied] = [NOTHING, NOTHING];
  await applied(bench);
  assert.deepEqual(
    bench.rounds.map(({ changes }) => changes),
    [2, 0],
  );
});

test("reconcile: who waits for what was noted waits for the rules of it", async (t) => {
  const bench = open(t);
  await applied(bench);
  assert.equal(bench.reconciler.isBehind, false);
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.rules.gate = promise;
  bench.reconciler.note();
  let isThere = false;
  const waiting = bench.reconciler.caughtUp().then(() => (isThere = true));
  await until(() => bench.calls.filter((call) => call === "apply rules").length === 2);
  assert.deepEqual([bench.reconciler.isBehind, isThere], [true, false]);
  resolve();
  await waiting;
  assert.equal(bench.reconciler.isBehind, false);
});

test("reconcile: rules that fail are waited for, but not for ever", async (t) => {
  const bench = open(t, { pace: { ...PATIENT, behindMs: 50 } });
  await applied(bench);
  bench.rules.failure = new Failure("timeout", "nft took longer than 5000 ms and was killed");
  await applied(bench);
  await bench.reconciler.caughtUp();
  await until(() => !bench.reconciler.isBehind);
  assert.equal(bench.reconciler.state.mode, "kernel", "it was let go by the deadline alone");
});

test("reconcile: a program that hangs does not hold up the end", async (t) => {
  const bench = open(t, { pace: { closeMs: 20 } });
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.rules.gate = promise;
  bench.reconciler.note();
  await until(() => bench.calls.includes("apply rules"));
  await bench.reconciler.close();
  resolve();
  await bench.reconciler.idle();
  bench.reconciler.note();
  assert.equal(bench.reconciler.isBehind, false);
});
