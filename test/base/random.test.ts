// One seed, one sequence; choices stay in their bounds and are not lopsided.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { below, pick, sampled, seededRandom, shuffled } from "../../src/base/random.ts";

test("random: equal seeds give equal sequences, all in [0, 1)", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const [one, other] = [seededRandom(seed), seededRandom(seed)];
      for (let drawn = 0; drawn < 50; drawn += 1) {
        const number = one();
        assert.ok(number >= 0 && number < 1);
        assert.equal(number, other());
      }
    }),
  );
});

test("random: is Mulberry32, so a recorded seed replays on every version", () => {
  const random = seededRandom(42);
  assert.deepEqual(
    [random(), random(), random()].map((number) => Math.floor(number * 2 ** 32)),
    [2_581_720_956, 1_925_393_290, 3_661_312_704],
  );
});

test("random: below stays below its bound, and pick takes an element or undefined from nothing", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 1000 }), (seed, bound) => {
      const random = seededRandom(seed);
      const drawn = below(random, bound);
      assert.ok(Number.isInteger(drawn) && drawn >= 0 && drawn < bound);
      const items = Array.from({ length: bound }, (_, index) => index);
      assert.ok(items.includes(pick(random, items) ?? -1));
    }),
    { numRuns: 50 },
  );
  assert.equal(pick(seededRandom(1), []), undefined);
});

test("random: a shuffle keeps every element and leaves its argument alone", () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.integer()), (seed, items) => {
      const before = [...items];
      const copy = shuffled(seededRandom(seed), items);
      assert.deepEqual(items, before);
      assert.deepEqual(copy.toSorted(ascending), items.toSorted(ascending));
    }),
  );
});

test("random: every element comes first about equally often", () => {
  const random = seededRandom(7);
  const counts = [0, 0, 0, 0];
  for (let round = 0; round < 4000; round += 1) {
    const first = shuffled(random, [0, 1, 2, 3])[0] ?? 0;
    counts[first] = (counts[first] ?? 0) + 1;
  }
  for (const count of counts) assert.ok(count > 850 && count < 1150, counts.join(" "));
});

test("random: a sample is some of the list, each element at most once and equally often; the list stays", () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.integer()), fc.nat(20), (seed, items, countMax) => {
      const before = [...items];
      const sample = sampled(seededRandom(seed), items, countMax);
      assert.deepEqual(items, before);
      assert.equal(sample.length, Math.min(countMax, items.length));
      const left = [...items];
      for (const item of sample) assert.notEqual(left.splice(left.indexOf(item), 1).length, 0);
      if (countMax >= items.length) assert.deepEqual(sample.toSorted(ascending), items.toSorted(ascending));
    }),
  );
  const random = seededRandom(7);
  const counts = [0, 0, 0, 0];
  for (let round = 0; round < 4000; round += 1) {
    for (const item of sampled(random, [0, 1, 2, 3], 2)) counts[item] = (counts[item] ?? 0) + 1;
  }
  for (const count of counts) assert.ok(count > 1850 && count < 2150, counts.join(" "));
});

function ascending(one: number, other: number): number {
  return one - other;
}
