// Group: turns that go on across tables, and shares that rise with age.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../../src/base/random.ts";
import { Active } from "../../../src/proxy/choice/active.ts";
import { Group } from "../../../src/proxy/choice/group.ts";

import { upstream } from "../fixtures.ts";

function group(ids: readonly string[], before: Group | null = null): Group {
  return new Group(
    ids.map((id) => upstream(id, 1)),
    before,
    seededRandom(1),
  );
}

test("group: members that stay keep their turns, whoever joins or leaves around them", () => {
  const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 12 });
  fc.assert(
    fc.property(ids, ids, (old, now) => {
      const [before, next] = [old.toSorted(), now.toSorted()];
      const one = group(before);
      const other = group(next, one);
      for (const [at, id] of next.entries()) {
        const was = before.indexOf(id);
        if (was !== -1) assert.equal(other.turnOf(at), one.turnOf(was), id);
      }
    }),
  );
});

test("group: whoever joins comes within one round of whoever was served last", () => {
  const before = group(["a", "b"]);
  for (let turn = 0; turn < 100; turn += 1) before.served(turn % 2);
  const floor = Math.min(before.turnOf(0), before.turnOf(1));
  const joined = group(["a", "b", "c"], before).turnOf(2);
  assert.ok(joined > floor - 1 && joined < floor + 1, `${joined} beside ${floor}`);
});

test("group: shares are even where weights are equal and nobody is new", () => {
  const [old, young] = [upstream("a", 1), upstream("b", 1, { sinceMs: 5000 })];
  const one = new Group([old, young], null, () => 0);
  assert.equal(one.isEven, true);
  one.weigh(5000, 1000);
  assert.deepEqual([one.isEven, ...one.weights], [false, 1, 0.1]);
  one.weigh(6000, 1000);
  assert.deepEqual([one.isEven, ...one.weights], [true, 1, 1]);
  assert.equal(new Group([old, upstream("b", 1, { weight: 2 })], null, () => 0).isEven, false);
});

test("group: whoever has grown most has its full share, also where all are new", () => {
  const members = [upstream("a", 1, { sinceMs: 4500 }), upstream("b", 1, { sinceMs: 5000 })];
  const one = new Group(members, null, () => 0);
  one.weigh(5000, 1000);
  const [most = 0, least = 0] = one.weights;
  assert.deepEqual([most, least.toFixed(3)], [1, (0.1 / 0.55).toFixed(3)]);
});

test("group: loads are those of the upstreams, always up to date", () => {
  const active = new Active();
  const one = group(["a", "b"]);
  const loads = one.loadsIn(active);
  active.use(upstream("b", 1), () => undefined);
  assert.deepEqual(
    loads.map(({ count }) => count),
    [0, 1],
  );
});
