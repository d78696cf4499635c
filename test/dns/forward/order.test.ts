// Order: who is asked first, by what was seen of each upstream.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { UpstreamOrder } from "../../../src/dns/forward/order.ts";

/** Longer than a silent upstream waits for its next chance. */
const LATER_MS = 60_000;

/** It misses several queries running, and what every server knows, too. */
function silence(order: UpstreamOrder, at: number, nowMs = 0): void {
  for (let turn = 0; turn < 3; turn += 1) order.missed(at);
  order.confirmed(at, nowMs);
}

test("order: as configured while all answer, whatever single queries they miss", () => {
  const order = new UpstreamOrder(3);
  assert.deepEqual(order.turns(0), [0, 1, 2]);
  order.missed(0);
  order.missed(0);
  order.spoke(0);
  order.missed(0);
  assert.deepEqual(order.turns(0), [0, 1, 2]);
  assert.deepEqual(order.states, ["alive", "unknown", "unknown"]);
});

test("order: one that misses several running is asked last, and first again once it has spoken", () => {
  const order = new UpstreamOrder(3);
  silence(order, 0);
  assert.deepEqual(order.turns(1), [1, 2, 0]);
  assert.deepEqual(order.states, ["silent", "unknown", "unknown"]);
  order.spoke(0);
  assert.deepEqual(order.turns(2), [0, 1, 2]);
});

test("order: one that is slow for somebody's names, however many, keeps its place while it answers others", () => {
  const order = new UpstreamOrder(2);
  for (let turn = 0; turn < 100; turn += 1) order.missed(0);
  assert.equal(order.isSuspect(0), true);
  assert.deepEqual(order.turns(0), [0, 1]);
  order.spoke(0);
  assert.equal(order.isSuspect(0), false);
  order.confirmed(0, 0);
  assert.deepEqual(order.states, ["alive", "unknown"], "what it said meanwhile counts");
});

test("order: nothing is known of one that has not spoken, and it is asked all the same", () => {
  const order = new UpstreamOrder(2);
  order.missed(0);
  assert.deepEqual(order.states, ["unknown", "unknown"]);
  assert.deepEqual(order.turns(0), [0, 1]);
  order.spoke(0);
  assert.deepEqual(order.states, ["alive", "unknown"]);
});

test("order: a silent one gets its old place for one query at a time, until the outcome is known", () => {
  const order = new UpstreamOrder(2);
  silence(order, 0);
  assert.deepEqual(order.turns(LATER_MS), [0, 1]);
  assert.deepEqual(order.turns(LATER_MS), [1, 0]);
  order.missed(0);
  assert.deepEqual(order.turns(LATER_MS + 1), [1, 0]);
  assert.deepEqual(order.turns(2 * LATER_MS), [0, 1]);
});

test("order: a loop is not asked, however silent the others are, until it is none any more", () => {
  const order = new UpstreamOrder(2);
  order.setLoop(1, true);
  silence(order, 0);
  assert.deepEqual(order.turns(1), [0]);
  order.setLoop(0, true);
  assert.deepEqual(order.turns(LATER_MS), []);
  order.setLoop(1, false);
  assert.deepEqual(order.turns(LATER_MS), [1]);
});

test("order: whatever happens, every upstream that is no loop is asked, each once", () => {
  const happening = fc.record({
    at: fc.integer({ min: 0, max: 4 }),
    what: fc.constantFrom("missed", "confirmed", "spoke", "loop", "no loop"),
    afterMs: fc.nat(20_000),
  });
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 60 }), (happenings) => {
      const order = new UpstreamOrder(4);
      const loops = new Set<number>();
      let nowMs = 0;
      for (const { at, what, afterMs } of happenings) {
        nowMs += afterMs;
        if (what === "missed") order.missed(at);
        if (what === "confirmed") order.confirmed(at, nowMs);
        if (what === "spoke") order.spoke(at);
        if (what === "loop" || what === "no loop") order.setLoop(at, what === "loop");
        if (what === "loop") loops.add(at);
        if (what === "no loop") loops.delete(at);
        const expected = [0, 1, 2, 3].filter((one) => !loops.has(one));
        assert.deepEqual(
          order.turns(nowMs).toSorted((one, other) => one - other),
          expected,
        );
      }
    }),
  );
});
