// A member that flaps waits longer each time, one that returns after a partition does not, and calm is rewarded.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Damping } from "../../src/gossip/damping.ts";
import { LIMITS } from "../../src/model/limits.ts";

/** The waits, in ms, of a member that returns at these times; 0 for none. */
function waits(damping: Damping, ...timesMs: readonly number[]): number[] {
  return timesMs.map((nowMs) => (damping.flapped("a", nowMs) ?? nowMs) - nowMs);
}

test("damping: the first two returns are free, then each waits twice as long, up to 30 s", () => {
  const times = Array.from({ length: 10 }, (_, at) => at * 500);
  const expected = [0, 0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
  assert.deepEqual(waits(new Damping(), ...times), expected);
});

test("damping: a member that returns once a minute or less often never waits", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 60_000, max: 10_000_000 }), { maxLength: 50 }), (gaps) => {
      let nowMs = 0;
      const times = gaps.map((gapMs) => (nowMs += gapMs));
      assert.ok(waits(new Damping(), ...times).every((waitMs) => waitMs === 0));
    }),
  );
});

test("damping: the worst record is forgotten after four minutes of calm, not after three", () => {
  const often = Array.from({ length: 50 }, (_, at) => at);
  const [again, thrice] = [49 + 240_000, 49 + 180_000];
  assert.deepEqual(waits(new Damping(), ...often, again, again).slice(-2), [0, 0]);
  assert.deepEqual(waits(new Damping(), ...often, thrice, thrice).slice(-2), [0, 1000]);
});

test("damping: a wait is at most 30 s, and never shorter for one more return before", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 120_000 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(gaps, fc.nat(120_000), (between, extraMs) => {
      let nowMs = extraMs;
      const times = between.map((gapMs) => (nowMs += gapMs));
      const plain = waits(new Damping(), ...times);
      const extra = waits(new Damping(), 0, ...times).slice(1);
      for (const [at, waitMs] of plain.entries()) {
        assert.ok(waitMs >= 0 && waitMs <= 30_000);
        assert.ok((extra[at] ?? 0) >= waitMs);
      }
    }),
  );
});

test("damping: one member's flapping costs another nothing", () => {
  const damping = new Damping();
  for (let at = 0; at < 20; at += 1) damping.flapped("a", at);
  assert.equal(damping.flapped("b", 20), null);
});

test("damping: a member that was removed starts anew", () => {
  const damping = new Damping();
  waits(damping, 0, 0, 0, 0);
  damping.forget("a");
  damping.forget("unknown");
  assert.deepEqual(waits(damping, 0, 0), [0, 0]);
});

test("damping: a clock that goes backwards neither forgives nor adds", () => {
  assert.deepEqual(waits(new Damping(), 1_000_000, 10, 20, 30), [0, 0, 1000, 2000]);
});

test("damping: what has decayed is dropped, and no more members are remembered than the limit", () => {
  const damping = new Damping();
  for (let at = 0; at < LIMITS.ownersMax + 500; at += 1) {
    damping.flapped(`m${at}`, at);
    assert.ok(damping.count <= LIMITS.ownersMax);
  }
  damping.flapped("late", 1_000_000);
  assert.equal(damping.count, 1);
});

test("damping: an excuse holds for one return, and for nobody else's", () => {
  const damping = new Damping();
  damping.excuse("a");
  damping.excuse("a");
  assert.equal(damping.takeExcuse("b"), false);
  assert.deepEqual([damping.takeExcuse("a"), damping.takeExcuse("a")], [true, false]);
  damping.excuse("a");
  damping.forget("a");
  assert.equal(damping.takeExcuse("a"), false);
});
