// Deadlines: moments that move, and one tick that looks at them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Deadlines } from "../../src/proxy/deadlines.ts";

test("tick: calls what has passed, and only that", () => {
  const deadlines = new Deadlines();
  const passed: string[] = [];
  deadlines.add(10, () => passed.push("early"));
  deadlines.add(20, () => passed.push("late"));
  deadlines.tick(9);
  deadlines.tick(10);
  assert.deepEqual(passed, ["early"]);
});

test("tick: a deadline that was moved passes at its new time, and one that was removed never", () => {
  const deadlines = new Deadlines();
  const passed: string[] = [];
  const moved = deadlines.add(10, () => passed.push("moved"));
  const removed = deadlines.add(10, () => passed.push("removed"));
  moved.atMs = 30;
  deadlines.remove(removed);
  deadlines.remove(removed);
  deadlines.tick(20);
  assert.deepEqual(passed, []);
  deadlines.tick(30);
  assert.deepEqual(passed, ["moved"]);
});

test("tick: a deadline may remove itself and others while it passes", () => {
  const deadlines = new Deadlines();
  const passed: string[] = [];
  const first = deadlines.add(10, () => {
    passed.push("first");
    deadlines.remove(first);
    deadlines.remove(second);
  });
  const second = deadlines.add(10, () => passed.push("second"));
  deadlines.tick(10);
  deadlines.tick(11);
  assert.deepEqual(passed, ["first"]);
  assert.equal(deadlines.size, 0);
});
