// The reader of TLS clients' first messages against some thousand damaged ones.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";

import { renderFailed, runCases, type Outcomes } from "./fuzzer.ts";
import { helloFuzzer } from "./hellos.ts";

const CASES = 5000;

for (const seed of [1, randomInt(2 ** 32)]) {
  test(`hellos: ${CASES} damaged ones come to one end, whole or in pieces (seed ${seed})`, () => {
    const outcomes: Outcomes = new Map();
    const failed = runCases(helloFuzzer(), seed, { goesOn: (index) => index < CASES, outcomes });
    assert.ok(failed === null, failed === null ? "" : renderFailed(failed));
    // One whose messages are all refused at their first byte would find nothing.
    for (const kind of ["hello", "none", "more"]) assert.ok((outcomes.get(kind) ?? 0) > CASES / 100, kind);
  });
}
