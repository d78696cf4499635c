// Changes: from any table to any other, whole, and nothing said of what is the same.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { diffRules, renderRemoval, renderRules, withoutServices } from "../../../src/kernel/rules/changes.ts";
import { planRules } from "../../../src/kernel/rules/plan.ts";
import type { Ruleset } from "../../../src/kernel/rules/ruleset.ts";

import { FakeRules } from "./fake.ts";
import { given, member, network, onOverlay, replica, service } from "./fixtures.ts";

const ALL = { mayRemove: true } as const;

const rulesets = fc
  .record({
    services: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom("a", "b", "c"),
        vip: fc.integer({ min: 1, max: 3 }),
        last: fc.integer({ min: 2, max: 4 }),
        isOn: fc.boolean(),
      }),
      { selector: ({ name }) => name },
    ),
    networks: fc.subarray(["app", "vault"]),
    ejected: fc.subarray(["a:8080", "r1-2:8080"]),
  })
  .map(({ services, networks, ejected }): Ruleset => {
    const made = services.map(({ name, vip, last, isOn }) =>
      service(name, {
        vip: `10.96.0.${vip}`,
        network: isOn ? "app" : "default",
        replicas: [isOn ? onOverlay(1, last) : replica(name), replica("z", { address: "172.17.0.9" })],
      }),
    );
    const scene = {
      services: made,
      networks: networks.map((name, at) => network(name, { second: 160 + at })),
    };
    return planRules(given(scene, { ejected: new Set(ejected) }), 0);
  });

test("diffRules: a kernel that takes the script holds what was planned, from whatever it held", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(rulesets, { minLength: 1, maxLength: 4 }), async (steps) => {
      const kernel = new FakeRules();
      for (const desired of steps) {
        const change = diffRules(await kernel.list(), desired, ALL);
        assert.equal(await kernel.apply(change.script), null, change.script);
        const there = await kernel.list();
        assert.deepEqual(there?.chains, change.after.chains);
        assert.deepEqual(diffRules(there, desired, ALL).script, "");
        const fresh = new FakeRules();
        assert.equal(await fresh.apply(renderRules(desired)), null);
        assert.deepEqual(await fresh.list().then(sorted), await kernel.list().then(sorted));
      }
    }),
    { numRuns: 60 },
  );
});

function sorted(state: Awaited<ReturnType<FakeRules["list"]>>): unknown {
  const byKey = <T>(map: ReadonlyMap<string, T> | undefined): readonly (readonly [string, T])[] =>
    [...(map ?? [])].sort(([one], [other]) => (one < other ? -1 : 1));
  return [byKey(state?.chains), byKey(state?.sets).map(([name, elements]) => [name, byKey(elements)])];
}

test("diffRules: while not all is known nothing is deleted or flushed", async () => {
  await fc.assert(
    fc.asyncProperty(rulesets, rulesets, async (before, desired) => {
      const kernel = new FakeRules();
      await kernel.apply(renderRules(before));
      const { script } = diffRules(await kernel.list(), desired, { mayRemove: false });
      assert.doesNotMatch(script, /^(?:delete|flush) /m);
      assert.equal(await kernel.apply(script), null);
    }),
    { numRuns: 60 },
  );
});

test("withoutServices: the chains of those that are left go, and what led to them", () => {
  const services = ["a", "b"].map((name, at) =>
    service(name, { vip: `10.96.0.${at + 1}`, replicas: [replica(name)] }),
  );
  const rest = withoutServices(planRules(given({ services }), 0), new Set(["default/a"]));
  assert.equal(rest.chains.has("all-default/a/80-tcp"), false);
  assert.deepEqual([...(rest.sets.get("vips")?.keys() ?? [])], ["10.96.0.2 . 6 . 80"]);
});

test("renderRemoval: takes the table away, there or not", async () => {
  const kernel = new FakeRules();
  assert.equal(await kernel.apply(renderRemoval()), null);
  await kernel.apply(renderRules(planRules(given({}), 0)));
  assert.equal(await kernel.apply(renderRemoval()), null);
  assert.equal(await kernel.list(), null);
});

test("diffRules: while nothing may go, a range that shares addresses with one that stays is left out", async () => {
  const slicesOf = (bits: number): Ruleset => {
    const app = network("app");
    const slices = app.slices.map((slice) => ({
      ...slice,
      prefix: slice.prefix.replace("/24", `/${bits}`),
      prefix6: `fd12:0:0:10a0:${slice.index}::/${bits + 56}`,
    }));
    const members = [member(1), member(2, { host: "2001:db8::2" }), member(3)];
    const scene = { networks: [{ ...app, slices }], members };
    const bridges = given({ networks: [app] }).bridges.map((bridge) => ({
      ...bridge,
      prefix: slices[0]?.prefix ?? "",
    }));
    return planRules(given(scene, { bridges }), 0);
  };
  const kernel = new FakeRules();
  await kernel.apply(renderRules(slicesOf(24)));
  const before = await kernel.list();
  assert.deepEqual([before?.sets.get("homes")?.size, before?.sets.get("homes6")?.size], [2, 1]);
  const { script, after } = diffRules(before, slicesOf(25), { mayRemove: false });
  assert.doesNotMatch(script, /element inet skein homes/);
  assert.deepEqual(after.sets.get("homes"), before?.sets.get("homes"));
  assert.match(diffRules(before, slicesOf(25), ALL).script, /add element inet skein homes6? .*\/25/);
});
