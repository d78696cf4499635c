// Lanes: turns are taken in the event loop, one frame a link a turn, and what is received is not sent on.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openLanes, type Lane } from "../../src/mesh/lanes.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { until } from "../support/wait.ts";

const nobody = { release: () => undefined, admit: () => undefined, evict: () => undefined };

test("lanes: nothing happens in the turn in which it is told, and then in the order of turns.ts", async () => {
  const lanes = openLanes();
  const done: string[] = [];
  const enter = (name: string): Lane =>
    lanes.enter({
      release: () => done.push(`release ${name}`),
      admit: () => done.push(`admit ${name}`),
      evict: () => undefined,
    });
  const [one, other, third] = [enter("one"), enter("other"), enter("third")];
  one.ready(LIMITS.frameBytes);
  other.ready(10);
  third.wants(LIMITS.frameBytes);
  assert.deepEqual(done, []);
  await until(() => done.length === 3);
  assert.deepEqual(done, ["admit third", "release other", "release one"]);
  assert.deepEqual(lanes.counts, { links: 3, large: 1, unsentBytes: 0 });
  for (const lane of [one, other, third]) lane.leave();
  assert.deepEqual(lanes.counts, { links: 0, large: 0, unsentBytes: 0 });
});

test("lanes: a link that another one's frame ended is not asked for its own", async () => {
  const lanes = openLanes();
  const done: string[] = [];
  const first = lanes.enter({
    ...nobody,
    release() {
      done.push("first");
      second.leave();
    },
  });
  const second = lanes.enter({ ...nobody, release: () => done.push("second") });
  const third = lanes.enter({ ...nobody, release: () => done.push("third") });
  for (const lane of [first, second, third]) lane.ready(10);
  await until(() => done.length === 2);
  assert.deepEqual(done, ["first", "third"]);
});

test("lanes: what one may not send counts for nothing, and a link that is gone sends nothing", () => {
  const lanes = openLanes();
  const lane = lanes.enter(nobody);
  const frame = new Uint8Array(LIMITS.frameBytes);
  while (lane.queue(frame, "skip") === "send");
  assert.ok(lane.unsentBytes <= LIMITS.linkBufferedBytes + frame.length);
  lane.taken(frame.length);
  assert.equal(lane.queue(frame, "skip"), "send");
  assert.equal(lanes.counts.unsentBytes, lane.unsentBytes);
  lane.leave();
  lane.leave();
  lane.taken(frame.length);
  assert.equal(lane.queue(frame, "queue"), "end");
  assert.equal(lanes.counts.unsentBytes, 0);
});

test("lanes: a received frame, whose memory is about to go, cannot be sent on", () => {
  const lane = openLanes().enter(nobody);
  lane.handle(new Uint8Array(10), (frame) => {
    assert.throws(() => lane.queue(frame.subarray(2), "queue"), /copied before any of it is sent/);
    assert.equal(lane.queue(frame.slice(2), "queue"), "send");
  });
});
