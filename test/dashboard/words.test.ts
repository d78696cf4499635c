// Words: numbers stay short, and what is not known is never a zero.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { ago, bytes, clock, count, millis, moment, short, until } from "../../src/dashboard/words.ts";

test("short: three digits and a unit of thousands", () => {
  const told = [0, 0.04, 0.44, 9.94, 9.96, 12.4, 999.4, 999.6, 1240, 12_400, 999_600, 3_400_000].map(short);
  assert.deepEqual(told, ["0", "0", "0.4", "9.9", "10", "12", "999", "1k", "1.2k", "12k", "1M", "3.4M"]);
});

test("short: no number is wider than five characters", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 9e14, noNaN: true }), (value) => {
      assert.ok(short(value).length <= 5, short(value));
    }),
  );
});

test("what is not known is a dash, and nothing is a zero", () => {
  assert.deepEqual([short(null), bytes(null), millis(null), short(NaN)], ["–", "–", "–", "–"]);
  assert.deepEqual([short(0), bytes(0), millis(0)], ["0", "0 B", "0 ms"]);
});

test("bytes and times have the unit that keeps them short", () => {
  assert.deepEqual([820, 1200, 34e6].map(bytes), ["820 B", "1.2 kB", "34 MB"]);
  assert.deepEqual([0.04, 0.4, 12, 1200].map(millis), ["0.04 ms", "0.4 ms", "12 ms", "1.2 s"]);
});

test("ago and until: in the largest unit that still tells something", () => {
  const told = [0, 12_000, 240_000, 10_800_000, 180_000_000].map((ms) => ago(0, ms));
  assert.deepEqual(told, ["now", "12 s", "4 min", "3 h", "2 d"]);
  assert.equal(until(240_000, 0), "4 min");
});

test("ago: a clock that is behind is taken for now", () => {
  assert.equal(ago(5000, 0), "now");
});

test("clock and moment: by the clock of whoever looks", () => {
  const atMs = new Date(2026, 10, 21, 14, 3, 7).getTime();
  assert.equal(clock(atMs), "14:03:07");
  assert.equal(moment(atMs), "21 Nov 2026, 14:03:07");
});

test("count: one thing is not many", () => {
  assert.deepEqual(
    [count(1, "host"), count(2, "host"), count(0, "reply", "replies")],
    ["1 host", "2 hosts", "0 replies"],
  );
});
