// Loop: which upstream asks us what we ask it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LoopWatch, probeQuery } from "../../../src/dns/forward/loop.ts";
import { decode } from "../fixture.ts";

const MINUTE_MS = 60_000;

test("loop: each upstream is probed soon after the start, then every ten minutes", () => {
  const loops = new LoopWatch(2, 0);
  assert.deepEqual(loops.due(0), []);
  assert.deepEqual(loops.due(1000), [0, 1]);
  loops.probe(0, "abc", 1000);
  assert.deepEqual(loops.due(1000), [1]);
  assert.deepEqual(loops.due(9 * MINUTE_MS), [1]);
  assert.deepEqual(loops.due(11 * MINUTE_MS), [0, 1]);
});

test("loop: a probe that comes back, in any case, names its upstream, which is probed each minute from then on", () => {
  const loops = new LoopWatch(2, 0);
  const first = loops.probe(0, "abc", 0);
  const second = loops.probe(1, "xyz", 0);
  assert.equal(loops.echoed(second.toUpperCase()), 1);
  assert.deepEqual([loops.isLoop(0), loops.isLoop(1)], [false, true]);
  assert.deepEqual(loops.due(MINUTE_MS), [1]);
  assert.equal(loops.echoed(first), 0);
});

test("loop: other names are nobody's echo, near as they are", () => {
  const loops = new LoopWatch(1, 0);
  const name = loops.probe(0, "abc", 0);
  for (const other of ["www.example.com", "skein-loop.example", "abd.skein-loop.example", `x.${name}`, ""]) {
    assert.equal(loops.echoed(other), null, other);
  }
  assert.equal(loops.isLoop(0), false);
});

test("loop: it ends when a probe is replied to that did not come back; silence ends nothing", () => {
  const loops = new LoopWatch(1, 0);
  loops.echoed(loops.probe(0, "abc", 0));
  assert.equal(loops.replied(0), false, "the reply was our own, round the circle");
  assert.equal(loops.isLoop(0), true);
  loops.probe(0, "def", MINUTE_MS);
  assert.equal(loops.isLoop(0), true);
  assert.equal(loops.replied(0), true);
  assert.equal(loops.isLoop(0), false);
  assert.deepEqual(loops.due(3 * MINUTE_MS), []);
});

test("loop: an echo that is late, after the next probe, counts all the same", () => {
  const loops = new LoopWatch(1, 0);
  const late = loops.probe(0, "abc", 0);
  loops.probe(0, "def", MINUTE_MS);
  loops.replied(0);
  assert.equal(loops.echoed(late), 0);
  assert.equal(loops.isLoop(0), true);
});

test("loop: one that has turned silent is probed within a minute", () => {
  const loops = new LoopWatch(1, 0);
  loops.probe(0, "abc", 0);
  loops.suspect(0);
  assert.deepEqual(loops.due(MINUTE_MS), [0]);
  loops.probe(0, "def", MINUTE_MS);
  assert.deepEqual(loops.due(2 * MINUTE_MS), []);
});

test("loop: a probe is a plain recursive query for a TXT record", () => {
  const { questions, flag_rd } = decode(probeQuery("abc.skein-loop.example"));
  assert.deepEqual(questions, [{ name: "abc.skein-loop.example", type: "TXT", class: "IN" }]);
  assert.equal(flag_rd, true);
});
