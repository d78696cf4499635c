// Planned: parts with their plans, and the order in which they are taken away.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { failureText, planned, removalsOf, type PlannedPart } from "../../src/kernel/planned.ts";

import { givenOf } from "./pictures.ts";

const FINE = { changes: 1, problems: [] };

function fake(name: PlannedPart["name"], removed: string[]): PlannedPart {
  return planned(name, ({ pool }) => pool, {
    apply: async (pool) => ({ changes: 1, problems: [pool] }),
    repair: async () => FINE,
    async remove() {
      removed.push(name);
      return { changes: 1, problems: [`${name} is in use`] };
    },
  });
}

test("planned: a part is applied as it is planned", async () => {
  const given = givenOf({});
  const { problems } = await fake("links", []).apply(given, { mayRemove: true });
  assert.deepEqual(problems, [given.pool]);
});

test("planned: nothing is broken, and both families pass, unless the part says otherwise", () => {
  const part = fake("links", []);
  assert.deepEqual([part.broken.size, part.passes], [0, { v4: true, v6: true }]);
});

test("planned: what was made last is taken away first, and says what is left", async () => {
  const removed: string[] = [];
  const removals = removalsOf([fake("guard", removed), fake("links", removed), fake("rules", removed)]);
  const left: string[] = [];
  for (const { remove } of removals) left.push(...(await remove()));
  assert.deepEqual(removed, ["rules", "links", "guard"]);
  assert.deepEqual(left, ["rules is in use", "links is in use", "guard is in use"]);
});

test("planned: a failure names what could not be changed", () => {
  const text = failureText("accept", new Failure("timeout", "iptables took too long"));
  assert.equal(text, "the rule for Docker's firewall cannot be changed: iptables took too long");
});
