// A store that is flooded with owners, keys, bodies and versions stays within its bounds and can still be written.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";

import { floodFuzzer } from "./flood.ts";
import { renderFailed, runCases, type Outcomes } from "./fuzzer.ts";

const CASES = 16;

for (const seed of [1, randomInt(2 ** 32)]) {
  test(`flood: ${CASES} floods are held off at the bounds (seed ${seed})`, () => {
    const outcomes: Outcomes = new Map();
    const failed = runCases(floodFuzzer(), seed, { goesOn: (index) => index < CASES, outcomes });
    assert.ok(failed === null, failed === null ? "" : renderFailed(failed));
    assert.ok(outcomes.size >= 2, [...outcomes.keys()].join(" "));
  });
}
