// A suspicion is short where many agree, long where one node stands alone, and longer on a node that is slow itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { lastsMs, suspicionMs, suspicionRange } from "../../src/gossip/suspicion.ts";

const sizes = fc.integer({ min: 1, max: 6000 });
const scores = fc.integer({ min: 0, max: 7 });

test("suspicion: a second at least up to 24 members, three at 1,000, and at most six times that", () => {
  const leastMs = (count: number): number => suspicionRange(count).leastMs;
  assert.deepEqual([3, 4, 24].map(leastMs), [1000, 1000, 1000]);
  assert.equal(Math.round(leastMs(1000)), 3000);
  fc.assert(
    fc.property(sizes, (count) => {
      const range = suspicionRange(count);
      assert.ok(range.leastMs >= 1000 && range.leastMs < 4000);
      assert.equal(range.mostMs, 6 * range.leastMs);
    }),
  );
});

test("suspicion: it never lasts shorter in a larger cluster of three members or more", () => {
  fc.assert(
    fc.property(fc.integer({ min: 3, max: 6000 }), (count) => {
      assert.ok(suspicionRange(count + 1).leastMs >= suspicionRange(count).leastMs);
    }),
  );
});

test("suspicion: where nobody can confirm, it lasts its least; two members alone wait two seconds", () => {
  assert.equal(suspicionMs(suspicionRange(1), 0, 0), 2000);
  assert.equal(suspicionMs(suspicionRange(2), 0, 0), 2000);
  assert.equal(suspicionMs(suspicionRange(3), 0, 0), 1000);
});

test("suspicion: one accuser alone takes the longest, two confirmations bring it down to the least", () => {
  fc.assert(
    fc.property(fc.integer({ min: 4, max: 6000 }), (count) => {
      const range = suspicionRange(count);
      assert.equal(suspicionMs(range, 0, 0), range.mostMs);
      assert.equal(suspicionMs(range, 2, 0), range.leastMs);
      const saved = range.mostMs - suspicionMs(range, 1, 0);
      assert.ok(saved > (range.mostMs - range.leastMs) / 2, "the first confirmation counts most");
    }),
  );
});

test("suspicion: a further confirmation never makes it longer, and it stays within its bounds", () => {
  fc.assert(
    fc.property(sizes, fc.nat(20), scores, (count, confirmations, score) => {
      const range = suspicionRange(count);
      const lastsMs = suspicionMs(range, confirmations, score);
      assert.ok(suspicionMs(range, confirmations + 1, score) <= lastsMs);
      assert.ok(lastsMs >= range.leastMs * (1 + score) && lastsMs <= range.mostMs * (1 + score));
    }),
  );
});

test("suspicion: a node that is slow itself waits in proportion to its score", () => {
  fc.assert(
    fc.property(sizes, fc.nat(3), scores, (count, confirmations, score) => {
      const range = suspicionRange(count);
      const wellMs = suspicionMs(range, confirmations, 0);
      assert.equal(suspicionMs(range, confirmations, score), wellMs * (1 + score));
    }),
  );
});

test("suspicion: of four or five, a half that stands together waits for no more words than it has", () => {
  for (const [members, well] of [
    [4, 2],
    [5, 2],
    [6, 3],
    [24, 12],
  ] as const) {
    const range = suspicionRange(members, well);
    const others = Math.min(well - 1, 2);
    assert.equal(suspicionMs(range, others, 0), range.leastMs, `${well} of ${members}`);
    assert.equal(suspicionMs(range, 0, 0), range.mostMs, `one alone of ${members}`);
  }
});

test("suspicion: who doubts more than half of all waits as long as if it stood alone", () => {
  for (const [members, well] of [
    [4, 1],
    [6, 2],
    [24, 1],
  ] as const)
    assert.deepEqual(suspicionRange(members, well), suspicionRange(members), `${well} of ${members}`);
});

test("suspicion: it is judged by the size at which it began, and 300 ms longer by who doubts itself", () => {
  const suspicion = { members: 3, accusers: new Set(["a"]) };
  const judge = { presentCount: 2, wellCount: 1, healthScore: 0, doubtsItself: false };
  assert.equal(lastsMs(suspicion, judge), 1000);
  assert.equal(lastsMs({ ...suspicion, members: 2 }, judge), 2000);
  assert.equal(lastsMs(suspicion, { ...judge, doubtsItself: true }), 1300);
  assert.equal(lastsMs(suspicion, { ...judge, healthScore: 2, doubtsItself: true }), 3300);
  fc.assert(
    fc.property(sizes, sizes, scores, (members, presentCount, healthScore) => {
      const of = (began: number): number =>
        lastsMs(
          { ...suspicion, members: began },
          { ...judge, presentCount, wellCount: presentCount, healthScore },
        );
      if (presentCount >= 3) assert.ok(of(presentCount + members) >= of(presentCount));
    }),
  );
});
