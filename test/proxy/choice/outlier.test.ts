// Outlier: how long a failing upstream is left alone.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../../src/model/limits.ts";
import { Ejections } from "../../../src/proxy/choice/outlier.ts";

/** Fails an upstream each time its ejection expires; how long each ejection was. */
function durations(ejections: Ejections, count: number): readonly number[] {
  let nowMs = 0;
  return Array.from({ length: count }, () => {
    ejections.chosen("a", nowMs);
    ejections.failed("a", nowMs);
    const untilMs = ejections.current(nowMs)[0]?.untilMs ?? nowMs;
    const lasted = untilMs - nowMs;
    nowMs = untilMs;
    return lasted;
  });
}

test("failed: ejects for a second, doubling with each failed trial up to thirty seconds", () => {
  assert.deepEqual(durations(new Ejections(), 7), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

test("failed: requests that fail together count as one", () => {
  const ejections = new Ejections();
  assert.equal(ejections.failed("a", 0), true);
  assert.equal(ejections.failed("a", 1), false);
  assert.equal(ejections.isEjected("a", 999), true);
  assert.equal(ejections.isEjected("a", 1000), false);
});

test("failed: a failure long after the last one starts again at a second", () => {
  const ejections = new Ejections();
  durations(ejections, 4);
  ejections.failed("a", 1_000_000);
  assert.equal(ejections.isEjected("a", 1_001_000), false);
});

test("succeeded: clears the ejection and its doubling", () => {
  const ejections = new Ejections();
  durations(ejections, 3);
  ejections.succeeded("a");
  assert.equal(ejections.isEjected("a", 7001), false);
  assert.deepEqual(durations(ejections, 1), [1000]);
});

test("chosen: after an ejection one request tries, and others stay away until it has ended", () => {
  const ejections = new Ejections();
  ejections.failed("a", 0);
  ejections.chosen("a", 1000);
  assert.equal(ejections.isEjected("a", 1001), true);
  ejections.succeeded("a");
  assert.equal(ejections.isEjected("a", 1002), false);
});

test("chosen: a trial of which nothing is heard does not keep others away for ever", () => {
  const ejections = new Ejections();
  ejections.failed("a", 0);
  ejections.chosen("a", 1000);
  assert.equal(ejections.isEjected("a", 2000), false);
});

test("chosen: means nothing for an upstream that is ejected all the same, or was never", () => {
  const ejections = new Ejections();
  ejections.chosen("b", 0);
  assert.equal(ejections.isEjected("b", 0), false);
  ejections.failed("a", 0);
  ejections.chosen("a", 500);
  assert.equal(ejections.isEjected("a", 1000), false);
});

test("keepOnly: forgets upstreams that have left", () => {
  const ejections = new Ejections();
  ejections.failed("a", 0);
  ejections.failed("b", 0);
  ejections.keepOnly(new Set(["b"]));
  assert.deepEqual(ejections.current(1), [{ id: "b", untilMs: 1000 }]);
});

test("failed: beyond the bound the oldest ejection is forgotten", () => {
  const ejections = new Ejections();
  for (let at = 0; at <= LIMITS.ejectionsMax; at += 1) ejections.failed(`u${at}`, 0);
  assert.equal(ejections.current(1).length, LIMITS.ejectionsMax);
  assert.equal(ejections.isEjected("u0", 1), false);
});

test("isEjected: no upstream is left alone for more than thirty seconds without a new failure", () => {
  const happening = fc.tuple(
    fc.constantFrom("chosen", "failed", "succeeded"),
    fc.integer({ min: 0, max: 40_000 }),
  );
  fc.assert(
    fc.property(fc.array(happening), (happenings) => {
      const ejections = new Ejections();
      let nowMs = 0;
      for (const [what, waitMs] of happenings) {
        nowMs += waitMs;
        if (what === "succeeded") ejections.succeeded("a");
        else if (what === "chosen") ejections.chosen("a", nowMs);
        else ejections.failed("a", nowMs);
      }
      assert.equal(ejections.isEjected("a", nowMs + 30_000), false);
    }),
  );
});
