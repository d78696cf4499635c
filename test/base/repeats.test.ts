// What is the same is said once a period, and there is a bound on all that is said.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Repeats } from "../../src/base/repeats.ts";

test("repeats: the same thing is new once a period, other things are not held back by it", () => {
  const repeats = new Repeats(1000, 10);
  assert.equal(repeats.isNew("refused", 0), true);
  assert.equal(repeats.isNew("refused", 999), false);
  assert.equal(repeats.isNew("another", 999), true);
  assert.equal(repeats.isNew("refused", 1000), true);
  assert.equal(repeats.isNew("refused", 1999), false);
  assert.equal(repeats.isNew("another", 1999), true);
});

test("repeats: whatever comes, no more than so many things are new in any period", () => {
  const step = fc.record({ key: fc.nat({ max: 20 }).map(String), afterMs: fc.nat({ max: 400 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const repeats = new Repeats(1000, 5);
      const said: { key: string; atMs: number }[] = [];
      let nowMs = 0;
      for (const { key, afterMs } of steps) {
        nowMs += afterMs;
        if (repeats.isNew(key, nowMs)) said.push({ key, atMs: nowMs });
        const lately = said.filter(({ atMs }) => nowMs - atMs < 1000);
        assert.ok(lately.length <= 5);
        assert.equal(new Set(lately.map((one) => one.key)).size, lately.length);
      }
    }),
  );
});
