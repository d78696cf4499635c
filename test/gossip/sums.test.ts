// Sums say what is held, not how it came to be: equal holdings have equal sums, and a change shows.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { DIGEST_PARTS, type Head } from "../../src/gossip/message.ts";
import { partOf, Sums, termOf } from "../../src/gossip/sums.ts";
import { nodeId } from "../support/messages.ts";

const number = fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 2 ** 31 - 1 }), fc.maxSafeNat());
const head: fc.Arbitrary<Head> = fc.record({
  owner: nodeId,
  incarnation: number,
  version: number,
  deadAt: fc.option(fc.nat({ max: 5 })),
});
const heads = fc.uniqueArray(head, { selector: ({ owner }) => owner, maxLength: 20 });

/** The sums of a holder of these heads, who came to hold them in this order. */
function sumsOf(heads: readonly Head[]): Sums {
  const sums = new Sums();
  for (const head of heads) sums.replace(head.owner, 0, termOf(head));
  return sums;
}

test("sums: the order in which owners came makes no difference", () => {
  fc.assert(
    fc.property(heads, (heads) => {
      const [one, other] = [sumsOf(heads), sumsOf(heads.toReversed())];
      assert.equal(one.whole, other.whole);
      assert.deepEqual([...one.parts], [...other.parts]);
    }),
  );
});

test("sums: nor does what was held before", () => {
  fc.assert(
    fc.property(heads, fc.array(number, { minLength: 1, maxLength: 5 }), (heads, versions) => {
      const sums = new Sums();
      for (const head of heads) {
        let term = 0;
        for (const version of [...versions, head.version]) {
          const next = termOf({ ...head, version });
          sums.replace(head.owner, term, next);
          term = next;
        }
      }
      assert.equal(sums.whole, sumsOf(heads).whole);
      for (const head of heads) sums.replace(head.owner, termOf(head), 0);
      assert.equal(sums.whole, 0, "nothing is held any more");
      assert.ok(sums.parts.every((sum) => sum === 0));
    }),
  );
});

test("sums: the whole is the sum of its parts, and each can be written as six bytes", () => {
  fc.assert(
    fc.property(heads, (heads) => {
      const sums = sumsOf(heads);
      const total = sums.parts.reduce((total, sum) => (total + sum) % 2 ** 48, 0);
      assert.equal(sums.whole, total);
      for (const sum of [sums.whole, ...sums.parts])
        assert.ok(Number.isInteger(sum) && sum >= 0 && sum < 2 ** 48);
      assert.equal(sums.parts.length, DIGEST_PARTS);
    }),
  );
});

test("sums: any change of a head changes its term: owner, incarnation, version, or that it is dead", () => {
  const change = fc.record({ incarnation: number, version: number, deadAt: fc.option(fc.nat({ max: 5 })) });
  fc.assert(
    fc.property(head, change, (head, change) => {
      const other = { ...head, ...change };
      const isSame =
        other.incarnation === head.incarnation &&
        other.version === head.version &&
        other.deadAt === head.deadAt;
      assert.equal(termOf(head) === termOf(other), isSame);
    }),
    { numRuns: 2000 },
  );
});

test("sums: the terms of heads that hardly differ have nothing in common", () => {
  const terms = new Set<number>();
  const owner = "abcdefghijklmnopqrst";
  for (let incarnation = 1; incarnation <= 40; incarnation += 1) {
    for (let version = 0; version < 500; version += 1) {
      for (const deadAt of [null, 0, 1]) terms.add(termOf({ owner, incarnation, version, deadAt }));
    }
  }
  assert.equal(terms.size, 40 * 500 * 3, "no two of 60,000 have one term");
});

test("sums: two writes by two owners do not cancel each other out", () => {
  const [one, other] = ["aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaab"] as const;
  const at = (owner: string, version: number): Head => ({ owner, incarnation: 1, version, deadAt: null });
  for (let version = 1; version < 200; version += 1) {
    const ahead = sumsOf([at(one, version + 1), at(other, version)]);
    const behind = sumsOf([at(one, version), at(other, version + 1)]);
    assert.notEqual(ahead.whole, behind.whole);
  }
});

test("sums: an owner's part is the same for everybody, and parts are used evenly", () => {
  const counts = Array.from({ length: DIGEST_PARTS }, () => 0);
  for (const owner of fc.sample(nodeId, { seed: 7, numRuns: 6400 })) {
    const part = partOf(owner);
    assert.equal(part, partOf(owner));
    counts[part] = (counts[part] ?? 0) + 1;
  }
  assert.ok(Math.min(...counts) > 40 && Math.max(...counts) < 200, counts.join(" "));
});
