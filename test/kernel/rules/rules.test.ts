// Rules: the fake kernel and the real one keep the same promises.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import type { Flows } from "../../../src/kernel/rules/conntrack.ts";
import { openConntrack } from "../../../src/kernel/rules/conntrack.ts";
import { openNft } from "../../../src/kernel/rules/nft.ts";
import { planRules } from "../../../src/kernel/rules/plan.ts";
import { openRules } from "../../../src/kernel/rules/rules.ts";
import type { Service } from "../../../src/model/view.ts";

import { runApart, whyNotApart } from "../../support/apart.ts";
import { CONTRACT, NO_FLOWS } from "./contract.ts";
import { FakeRules } from "./fake.ts";
import { given, replica, service } from "./fixtures.ts";

const ALL = { mayRemove: true } as const;

for (const [sentence, keeps] of Object.entries(CONTRACT)) {
  test(`rules in a fake kernel: ${sentence}`, async () => {
    await keeps(new FakeRules());
  });
}

const skip = await whyNotApart(["nft"]);

test("rules in this kernel: all of the same", { skip, timeout: 60_000 }, async () => {
  await runApart(join(import.meta.dirname, "real.ts"));
});

function plan(services: readonly Service[]): ReturnType<typeof planRules> {
  return planRules(given({ services }), 0);
}

test("rules: the table is read once, not with each change", async () => {
  const kernel = new FakeRules();
  const rules = openRules({ kernel, flows: NO_FLOWS });
  for (const name of ["a", "b", "c"])
    await rules.apply(plan([service(name, { replicas: [replica(name)] })]), ALL);
  assert.equal(kernel.reads, 1);
  assert.equal(kernel.scripts.length, 3);
});

test("rules: flows of an earlier life are swept once, then those of upstreams that go are forgotten", async () => {
  const calls: string[] = [];
  const flows: Flows & { problem: string | null } = {
    ...NO_FLOWS,
    sweep: (kept) => void calls.push(`sweep ${[...kept.keys()].join()}`),
    forget: (before, after) =>
      void calls.push(`forget ${[...before.keys()].filter((key) => !after.has(key)).join()}`),
    problem: null,
  };
  const rules = openRules({ kernel: new FakeRules(), flows });
  const web = service("web", { replicas: [replica("a")] });
  await rules.apply(plan([web]), { mayRemove: false });
  assert.deepEqual(calls, [], "not while not all is known");
  await rules.apply(plan([web]), ALL);
  const last = plan([]);
  assert.deepEqual((await rules.apply(last, ALL)).problems, []);
  assert.deepEqual(calls, ["sweep 172.17.0.2 tcp 8080", "forget 172.17.0.2 tcp 8080"]);
  flows.problem = "no program";
  assert.deepEqual((await rules.apply(last, ALL)).problems, ["no program"], "told when it is known");
});

test("rules: a kernel that refuses what all lean on is a failure, and is tried again as new", async () => {
  const kernel = new FakeRules();
  const apply = kernel.apply.bind(kernel);
  kernel.apply = () => Promise.resolve("No buffer space available");
  const rules = openRules({ kernel, flows: NO_FLOWS });
  const web = plan([service("web", { replicas: [replica("a")] })]);
  await assert.rejects(rules.apply(web, ALL), /^Failure: rules cannot be set: nft says: No buffer space/);
  kernel.apply = apply;
  assert.deepEqual((await rules.apply(web, ALL)).problems, []);
  assert.ok((await kernel.list())?.chains.has("all-default/web/80-tcp"));
});

test("rules: a program that is not there is a failure that names it; without conntrack that is told", async () => {
  const rules = openRules({ kernel: openNft(["nft-that-is-not-there"]), flows: NO_FLOWS });
  await assert.rejects(
    rules.apply(plan([]), ALL),
    (thrown) =>
      thrown instanceof Failure &&
      thrown.code === "not-found" &&
      /nft-that-is-not-there/.test(thrown.message),
  );
  const flows = openConntrack(["conntrack-that-is-not-there"]);
  flows.sweep(new Map());
  await flows.idle();
  assert.match(flows.problem ?? "", /install the program "conntrack"/);
});
