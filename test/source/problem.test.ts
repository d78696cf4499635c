// Problems: what is told of bad input stays within its bounds.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LIMITS } from "../../src/model/limits.ts";
import { boundProblems, clip, problem } from "../../src/source/problem.ts";

test("problem: subject and text are cut to their bound, and say so by their end", () => {
  const long = problem("s".repeat(1e6), "t".repeat(1e6));
  assert.equal(long.subject.length, LIMITS.problemTextBytes);
  assert.equal(long.text.length, LIMITS.problemTextBytes);
  assert.ok(long.text.endsWith("..."));
  assert.equal(clip("short"), "short");
});

test("problem: of too many the first ones are shown, and how many are not", () => {
  const many = Array.from({ length: 10 }, (_, index) => problem("x", String(index)));
  assert.deepEqual(boundProblems(many, 10), many);
  const few = boundProblems(many, 4);
  assert.deepEqual(
    few.map((one) => one.text),
    ["0", "1", "2", "7 more problems are not shown"],
  );
});
