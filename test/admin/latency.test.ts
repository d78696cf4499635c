// Latency: percentiles from buckets, as near to the truth as a bucket is wide.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { addBuckets, latencyOf } from "../../src/admin/latency.ts";

const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1];

function bucketsOf(seconds: readonly number[]): readonly number[] {
  const buckets = Array.from({ length: BOUNDS.length + 1 }, () => 0);
  for (const value of seconds) {
    const at = BOUNDS.findIndex((bound) => value <= bound);
    const index = at === -1 ? BOUNDS.length : at;
    buckets[index] = (buckets[index] ?? 0) + 1;
  }
  return buckets;
}

test("latencyOf: a percentile lies in the bucket that the true one is in, or at its end", () => {
  const times = fc.array(fc.double({ min: 0.00001, max: 0.99, noNaN: true }), {
    minLength: 1,
    maxLength: 200,
  });
  fc.assert(
    fc.property(times, (seconds) => {
      const told = latencyOf(bucketsOf(seconds), BOUNDS);
      assert.ok(told !== null);
      const sorted = seconds.toSorted((one, other) => one - other);
      for (const [share, ms] of [
        [0.5, told.p50],
        [0.95, told.p95],
        [0.99, told.p99],
      ] as const) {
        const truth = sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
        const upper = BOUNDS.find((bound) => truth <= bound) ?? 0;
        const lower = BOUNDS[BOUNDS.indexOf(upper) - 1] ?? 0;
        assert.ok(ms >= lower * 1000 - 0.001 && ms <= upper * 1000 + 0.001, `${ms} ms for ${truth} s`);
      }
      assert.ok(told.p50 <= told.p95 && told.p95 <= told.p99);
    }),
  );
});

test("latencyOf: within a bucket by the share of it, above the last bound that bound, of nothing null", () => {
  assert.deepEqual(latencyOf([0, 100], [0.001, 0.003]), { p50: 2, p95: 2.9, p99: 2.98 });
  assert.deepEqual(latencyOf([0, 0, 5], [0.001, 0.003]), { p50: 3, p95: 3, p99: 3 });
  assert.equal(latencyOf([0, 0], [0.001]), null);
  assert.equal(latencyOf([], [0.001]), null);
});

test("addBuckets: what was told without its zeros adds up as with them", () => {
  assert.deepEqual(addBuckets([1, 2], [1, 0, 3]), [2, 2, 3]);
  assert.deepEqual(addBuckets([], [4]), [4]);
});
