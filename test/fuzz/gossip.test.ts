// A whole node among liars, the same each time and some that are new each time.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";

import { renderFailed, runCases, type Outcomes } from "./fuzzer.ts";
import { gossipFuzzer } from "./gossip.ts";

const CASES = 100;

for (const seed of [1, 0x51ce_0000, randomInt(2 ** 32)]) {
  test(`gossip: among liars a node goes on and sends nothing that peers refuse (seed ${seed})`, () => {
    const outcomes: Outcomes = new Map();
    const failed = runCases(gossipFuzzer(), seed, { goesOn: (index) => index < CASES, outcomes });
    assert.ok(failed === null, failed === null ? "" : renderFailed(failed));
    assert.ok((outcomes.get("heard much") ?? 0) > CASES / 2);
  });
}
