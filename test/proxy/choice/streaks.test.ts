// Streaks: bad answers in a row.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LIMITS } from "../../../src/model/limits.ts";
import { Streaks } from "../../../src/proxy/choice/streaks.ts";

test("streaks: bad answers in a row are counted for each upstream by itself, and a good one ends them", () => {
  const streaks = new Streaks();
  assert.deepEqual([streaks.bad("a"), streaks.bad("a"), streaks.bad("b")], [1, 2, 1]);
  streaks.end("a");
  assert.deepEqual([streaks.countOf("a"), streaks.countOf("b"), streaks.countOf("c")], [0, 1, 0]);
  assert.equal(streaks.bad("a"), 1);
});

test("streaks: upstreams that left are forgotten", () => {
  const streaks = new Streaks();
  streaks.bad("a");
  streaks.bad("b");
  streaks.keepOnly((id) => id === "b");
  assert.deepEqual([streaks.countOf("a"), streaks.countOf("b")], [0, 1]);
});

test("streaks: beyond the bound whoever failed longest ago is forgotten", () => {
  const streaks = new Streaks();
  for (let at = 0; at < LIMITS.ejectionsMax; at += 1) streaks.bad(`u${at}`);
  streaks.bad("u0");
  streaks.bad("new");
  assert.deepEqual([streaks.countOf("u0"), streaks.countOf("u1"), streaks.countOf("new")], [2, 0, 1]);
});
