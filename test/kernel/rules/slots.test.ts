// Slots: shares are exact, turns are spread, and few clients move.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { BUCKETS, bucketsOf, inTurn, sharesOf, SLOTS_MAX } from "../../../src/kernel/rules/slots.ts";

const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 40 });

function weighted(list: readonly number[]): readonly { readonly id: string; readonly weight: number }[] {
  return list.map((weight, at) => ({ id: `r${at}`, weight }));
}

test("sharesOf: equal weights are a slot each; 3 to 1 stays 3 to 1; a common factor goes", () => {
  assert.deepEqual(sharesOf(weighted([5, 5, 5]), []), { healthy: [1, 1, 1], doubtful: 0 });
  assert.deepEqual(sharesOf(weighted([30, 10]), weighted([20])), { healthy: [3, 1], doubtful: 2 });
});

test("sharesOf: there are never more slots than upstreams or the bound, and nobody is left out", () => {
  fc.assert(
    fc.property(weights, weights, (healthy, doubtful) => {
      const shares = sharesOf(weighted(healthy), weighted(doubtful));
      const total = shares.healthy.reduce((sum, share) => sum + share, shares.doubtful);
      assert.ok(
        total <= Math.max(SLOTS_MAX, healthy.length + doubtful.length) + healthy.length + doubtful.length,
      );
      assert.ok(shares.healthy.every((share) => share >= 1));
    }),
  );
});

test("inTurn: everybody has its share, wherever the order begins", () => {
  fc.assert(
    fc.property(weights, fc.nat(), (shares, first) => {
      const turns = inTurn(shares, first);
      const counts = shares.map((_, at) => turns.filter((turn) => turn === at).length);
      assert.deepEqual(counts, shares);
    }),
  );
});

test("inTurn: a heavy one does not get all its turns in a row", () => {
  const turns = inTurn([4, 2, 2], 0).join("");
  assert.ok(!(turns + turns).includes("000"), turns);
});

test("bucketsOf: when an upstream leaves only its own clients move", () => {
  fc.assert(
    fc.property(weights, fc.nat(), (list, chosen) => {
      const all = weighted([...list, 7]);
      const gone = all[chosen % all.length];
      const rest = all.filter((upstream) => upstream !== gone);
      const before = bucketsOf(all).map((at) => all[at]?.id);
      const after = bucketsOf(rest).map((at) => rest[at]?.id);
      for (let bucket = 0; bucket < BUCKETS; bucket += 1)
        if (before[bucket] !== gone?.id && isEven(all) === isEven(rest))
          assert.equal(after[bucket], before[bucket]);
    }),
    { numRuns: 50 },
  );
});

function isEven(list: readonly { readonly weight: number }[]): boolean {
  return list.every(({ weight }) => weight === list[0]?.weight);
}

test("bucketsOf: each of three has about a third", () => {
  const counts = [0, 0, 0];
  for (const at of bucketsOf(weighted([1, 1, 1]))) counts[at] = (counts[at] ?? 0) + 1;
  for (const count of counts) assert.ok(count > 60 && count < 110, String(counts));
});
