// Two clocks: one that never jumps, and one that people set.

import assert from "node:assert/strict";
import test from "node:test";

import { nowMs, wallMs } from "../../src/runtime/clock.ts";

test("clock: when the system's time is set the time of day follows, and what deadlines run by does not jump", (t) => {
  const before = { now: nowMs(), wall: wallMs() };
  t.mock.timers.enable({ apis: ["Date"], now: before.wall - 1e10 });
  assert.equal(wallMs(), before.wall - 1e10);
  assert.ok(nowMs() >= before.now);
});
