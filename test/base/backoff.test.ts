// Waits between attempts double up to their cap and are spread over their upper half.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { backoffMs } from "../../src/base/backoff.ts";
import { seededRandom } from "../../src/base/random.ts";

const range = fc
  .record({ firstMs: fc.integer({ min: 1, max: 5000 }), factor: fc.integer({ min: 1, max: 1000 }) })
  .map(({ firstMs, factor }) => ({ firstMs, longestMs: firstMs * factor }));

test("backoff: every wait lies between half of the doubled wait and that wait, and never past the cap", () => {
  fc.assert(
    fc.property(range, fc.nat({ max: 2000 }), fc.integer(), (waits, attempt, seed) => {
      const waitMs = backoffMs(waits, attempt, seededRandom(seed));
      const doubledMs = Math.min(waits.longestMs, waits.firstMs * 2 ** attempt);
      assert.ok(waitMs >= doubledMs / 2 && waitMs <= doubledMs, `${waitMs} of ${doubledMs}`);
    }),
  );
});

test("backoff: with the same luck a later attempt never waits less", () => {
  fc.assert(
    fc.property(range, fc.nat({ max: 60 }), fc.integer(), (waits, attempt, seed) => {
      const now = backoffMs(waits, attempt, seededRandom(seed));
      assert.ok(backoffMs(waits, attempt + 1, seededRandom(seed)) >= now);
    }),
  );
});

test("backoff: two hosts that failed together do not come back together", () => {
  const waits = { firstMs: 500, longestMs: 30_000 };
  const spread = new Set(Array.from({ length: 50 }, (_, seed) => backoffMs(waits, 3, seededRandom(seed))));
  assert.ok(spread.size > 40);
});
