// The queue: soonest first, and what was decided first of what happens at once.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { EventQueue, type Timed } from "./queue.ts";

test("queue: the soonest comes first, and of one moment the first pushed, whatever is popped in between", () => {
  const step = fc.option(fc.integer({ min: 0, max: 20 }), { nil: null, freq: 3 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const queue = new EventQueue<Timed>();
      const model: Timed[] = [];
      for (const atMs of steps) {
        if (atMs !== null) {
          const event = { atMs, order: 0 };
          queue.push(event);
          model.push(event);
          continue;
        }
        model.sort((one, other) => one.atMs - other.atMs || one.order - other.order);
        assert.equal(queue.first, model[0]);
        assert.equal(queue.pop(), model.shift());
        assert.equal(queue.size, model.length);
      }
    }),
  );
});
