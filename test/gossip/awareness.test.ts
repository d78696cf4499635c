// A node that is slow itself becomes slower to judge others, recovers with their answers, and notices that it slept.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Awareness, PAUSE_MS } from "../../src/gossip/awareness.ts";

const EVERY_MS = 100;

/** Ticks at these times, entering each time as gossip does. */
function tickedAt(...timesMs: readonly number[]): Awareness {
  const awareness = new Awareness();
  for (const nowMs of timesMs) {
    awareness.entered(nowMs);
    awareness.ticked(nowMs, EVERY_MS);
  }
  return awareness;
}

test("awareness: timers in time leave a node well", () => {
  const times = Array.from({ length: 100 }, (_, at) => at * (EVERY_MS + 20));
  const awareness = tickedAt(...times);
  assert.equal(awareness.score, 0);
  assert.equal(awareness.stretch(500), 500);
});

test("awareness: a late timer raises the score by one, a very late one by two, and seven is the end", () => {
  assert.equal(tickedAt(0, 200).score, 0);
  assert.equal(tickedAt(0, 201).score, 1);
  assert.equal(tickedAt(0, 600).score, 1);
  assert.equal(tickedAt(0, 601).score, 2);
  const starved = tickedAt(0, 1000, 2000, 3000, 4000, 5000);
  assert.equal(starved.score, 7);
  assert.equal(starved.stretch(500), 4000);
});

test("awareness: a slow event loop holds the score up, however often it is told", () => {
  const awareness = new Awareness();
  awareness.delayed(100);
  assert.equal(awareness.score, 0);
  for (let told = 0; told < 10; told += 1) awareness.delayed(150);
  assert.equal(awareness.score, 1);
  for (let told = 0; told < 10; told += 1) awareness.delayed(700);
  assert.equal(awareness.score, 2);
});

test("awareness: silence from members asked for help raises the score each time", () => {
  const awareness = new Awareness();
  awareness.missedNack();
  awareness.missedNack();
  assert.equal(awareness.score, 2);
});

test("awareness: however many answers come, the score sinks by one each half second", () => {
  const awareness = tickedAt(0, 1000, 2000);
  assert.equal(awareness.score, 4);
  const seen: number[] = [];
  for (let nowMs = 2000; nowMs <= 4500; nowMs += 10) {
    awareness.entered(nowMs);
    awareness.succeeded();
    if (nowMs % 500 === 0) seen.push(awareness.score);
  }
  assert.deepEqual(seen, [4, 3, 2, 1, 0, 0]);
});

test("awareness: without answers the score stays, however much time passes", () => {
  const awareness = tickedAt(0, 1000);
  for (let nowMs = 1000; nowMs < 100_000; nowMs += EVERY_MS) {
    awareness.entered(nowMs);
    awareness.ticked(nowMs, EVERY_MS);
  }
  assert.equal(awareness.score, 2);
});

test("awareness: a gap longer than the pause is told once, and the first entry is none", () => {
  const awareness = new Awareness();
  assert.equal(awareness.entered(5_000_000), false);
  assert.equal(awareness.entered(5_000_000 + PAUSE_MS), false);
  assert.equal(awareness.entered(5_000_001 + 2 * PAUSE_MS), true);
  assert.equal(awareness.entered(5_000_001 + 2 * PAUSE_MS), false);
});

test("awareness: a clock that goes backwards is no pause, and stops nothing", () => {
  const awareness = tickedAt(1_000_000, 1_001_000);
  assert.equal(awareness.score, 2);
  assert.equal(awareness.entered(10), false);
  awareness.ticked(10, EVERY_MS);
  assert.equal(awareness.score, 2);
  assert.equal(awareness.entered(510), false);
  awareness.succeeded();
  assert.equal(awareness.score, 1);
  assert.equal(awareness.entered(511 + PAUSE_MS), true);
});

test("awareness: whatever happens in whatever order, the score stays between 0 and 7", () => {
  const steps = fc.array(fc.tuple(fc.nat(4), fc.integer({ min: -3000, max: 3000 })), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (taken) => {
      const awareness = new Awareness();
      let nowMs = 100_000;
      awareness.entered(nowMs);
      for (const [kind, byMs] of taken) {
        nowMs += byMs;
        assert.equal(awareness.entered(nowMs), byMs > PAUSE_MS);
        const before = awareness.score;
        if (kind === 0) awareness.ticked(nowMs, EVERY_MS);
        else if (kind === 1) awareness.delayed(byMs);
        else if (kind === 2) awareness.missedNack();
        else awareness.succeeded();
        assert.ok(awareness.score >= 0 && awareness.score <= 7);
        assert.ok(kind > 2 ? awareness.score <= before : awareness.score >= before);
        assert.equal(awareness.stretch(250), 250 * (1 + awareness.score));
      }
    }),
  );
});

/** For how long a node that enters ten times a second from `sinceMs` on doubts itself, or waits. */
function lastsMs(awareness: Awareness, sinceMs: number, of: "doubtsItself" | "waits"): number {
  for (let nowMs = sinceMs; nowMs < sinceMs + 60_000; nowMs += EVERY_MS) {
    awareness.entered(nowMs);
    if (!awareness[of]) return nowMs - sinceMs;
  }
  return Number.POSITIVE_INFINITY;
}

test("awareness: who slept, or misses many at once, doubts itself for five seconds", () => {
  const well = tickedAt(0, 100, 200);
  assert.equal(well.doubtsItself, false);
  well.missedMany();
  assert.equal(lastsMs(well, 200, "doubtsItself"), 5000);
  const sleeper = tickedAt(0);
  sleeper.entered(PAUSE_MS + 1);
  assert.equal(lastsMs(sleeper, PAUSE_MS + 1, "doubtsItself"), 5000);
});

test("awareness: who is in poor health doubts itself for as long as that lasts; one late timer is nothing", () => {
  assert.equal(tickedAt(0, 300).doubtsItself, false);
  const poor = tickedAt(0, 800);
  assert.equal(lastsMs(poor, 800, "doubtsItself"), Number.POSITIVE_INFINITY, "nobody has answered");
  poor.succeeded();
  assert.equal(poor.score, 1);
  assert.equal(poor.doubtsItself, false);
});

test("awareness: in doubt it waits for an answer to a fresh ping, or 400 ms, and no second time in that doubt", () => {
  const waits = tickedAt(0, 100, 200);
  assert.equal(waits.waits, false);
  assert.equal(waits.takeAlarm(), false);
  waits.missedMany();
  assert.deepEqual([waits.takeAlarm(), waits.takeAlarm()], [true, false], "told once");
  waits.answered(199);
  assert.ok(waits.waits, "an answer to an older ping proves nothing");
  assert.equal(lastsMs(waits, 200, "waits"), 400);
  waits.missedMany();
  assert.equal(waits.waits, false, "others may really be gone");
  assert.equal(waits.takeAlarm(), false);
  waits.entered(5200);
  waits.missedMany();
  assert.ok(waits.waits && waits.takeAlarm());
  waits.answered(5200);
  assert.equal(waits.waits, false);
});

test("awareness: a clock that goes backwards does not make it wait or doubt for ever", () => {
  const awareness = tickedAt(1_000_000);
  awareness.missedMany();
  awareness.entered(10);
  assert.equal(awareness.waits, false);
  awareness.missedMany();
  assert.equal(lastsMs(awareness, 10, "waits"), 400);
  assert.equal(lastsMs(awareness, 410, "doubtsItself"), 4600);
});
