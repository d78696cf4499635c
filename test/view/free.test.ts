// Which number of a range is taken next: a candidate, else any that is free, else the one that was let go first.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { chooseFree } from "../../src/view/free.ts";

const nothingTaken = { isTaken: () => false, releasedAtMs: () => null };

test("free: the first candidate that is neither taken nor just let go", () => {
  const candidate = (index: number) => [7, 3, 5][index] ?? 0;
  assert.equal(chooseFree({ size: 10, candidate, ...nothingTaken }), 7);
  assert.equal(chooseFree({ size: 10, candidate, ...nothingTaken, isTaken: (number) => number === 7 }), 3);
  const releasedAtMs = (number: number) => (number === 7 ? 1 : null);
  assert.equal(chooseFree({ size: 10, candidate, ...nothingTaken, releasedAtMs }), 3);
});

test("free: an empty range has nothing to give", () => {
  assert.equal(chooseFree({ size: 0, candidate: () => 0, ...nothingTaken }), null);
});

test("free: never a taken number; one that was let go only where none is free, and then the first let go", () => {
  const number = fc.constantFrom<"taken" | "free" | number>("taken", "free", 10, 20, 30);
  fc.assert(
    fc.property(fc.array(number, { minLength: 1, maxLength: 40 }), fc.nat(), (numbers, seed) => {
      const size = numbers.length;
      const chosen = chooseFree({
        size,
        // Candidates that leave most of the range out.
        candidate: (index) => (seed + (index % 3)) % size,
        isTaken: (at) => numbers[at] === "taken",
        releasedAtMs: (at) => {
          const state = numbers[at];
          return typeof state === "number" ? state : null;
        },
      });
      const released = numbers.filter((state) => typeof state === "number");
      if (numbers.includes("free")) assert.equal(numbers[chosen ?? -1], "free");
      else if (released.length > 0) assert.equal(numbers[chosen ?? -1], Math.min(...released));
      else assert.equal(chosen, null);
    }),
  );
});
