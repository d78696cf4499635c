// What may still be sent: every link has a bound, all have one together, and who reads is not made to suffer.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Backlog } from "../../src/mesh/backlog.ts";
import { LIMITS } from "../../src/model/limits.ts";

const FRAME = 256 * 1024;

test("backlog: a link behind gets no pushes past one bound and is to end past the other", () => {
  const backlog = new Backlog();
  let pushed = 0;
  while (backlog.add(1, FRAME, "skip") === "send") pushed += FRAME;
  assert.equal(backlog.add(1, FRAME, "skip"), "skip");
  assert.equal(pushed, LIMITS.linkBufferedBytes + FRAME);
  while (backlog.add(1, FRAME, "queue") === "send") pushed += FRAME;
  assert.equal(backlog.add(1, FRAME, "queue"), "end");
  assert.ok(pushed <= LIMITS.linkOverfullBytes + FRAME);
});

test("backlog: what the system took makes room again, and so does a link that is gone", () => {
  const backlog = new Backlog();
  while (backlog.add(1, FRAME, "skip") === "send");
  while (backlog.bytesOf(1) > LIMITS.linkBufferedBytes) backlog.taken(1, FRAME);
  assert.equal(backlog.add(1, FRAME, "skip"), "send");
  backlog.leave(1);
  assert.deepEqual([backlog.bytesOf(1), backlog.allBytes], [0, 0]);
  backlog.taken(1, FRAME);
  assert.equal(backlog.allBytes, 0);
});

test("backlog: however many links do not read, all together stay bounded, and one that reads always sends", () => {
  const step = fc.record({
    id: fc.nat({ max: 40 }),
    bytes: fc.integer({ min: 1, max: LIMITS.frameBytes }),
    whenBehind: fc.constantFrom("skip" as const, "queue" as const),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 50, maxLength: 400 }), (steps) => {
      const backlog = new Backlog();
      for (const { id, bytes, whenBehind } of steps) {
        if (backlog.add(id, bytes, whenBehind) === "end") backlog.leave(id);
        const reader = 1000;
        assert.equal(backlog.add(reader, bytes, "skip"), "send");
        backlog.taken(reader, bytes);
      }
      // Past the bound a link with nothing unsent still gets one frame.
      assert.ok(backlog.allBytes <= LIMITS.linksOverfullBytes + 41 * LIMITS.frameBytes);
      const sum = Array.from({ length: 41 }, (_, id) => backlog.bytesOf(id)).reduce(
        (all, one) => all + one,
        0,
      );
      assert.equal(backlog.allBytes, sum);
    }),
  );
});

test("backlog: when all is full, who has more than its part gives way, and who has less may go on", () => {
  const backlog = new Backlog();
  // Three links with nearly all there is, a fourth with a little.
  backlog.add(4, 1000, "skip");
  for (const id of [1, 2, 3]) for (let count = 0; count < 15; count += 1) backlog.add(id, FRAME, "skip");
  while (backlog.allBytes < LIMITS.linksBufferedBytes) if (backlog.add(1, FRAME, "queue") !== "send") break;
  assert.equal(backlog.add(1, FRAME, "skip"), "skip");
  assert.equal(backlog.add(4, FRAME, "skip"), "send");
});
