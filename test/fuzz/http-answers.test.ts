// What proxies HTTP, against some hundred hostile answers of upstreams, the same each time and some new each time.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";

import { seededRandom } from "../../src/base/random.ts";

import { renderFailed, runLateCases, type Outcomes } from "./fuzzer.ts";
import { answerFuzzer, hostileAnswer } from "./http-answers.ts";

const CASES = 800;

for (const seed of [1, randomInt(2 ** 32)]) {
  test(`answers: ${CASES} hostile ones have one reading each, or none (seed ${seed})`, async (t) => {
    const fuzzer = await answerFuzzer().open();
    t.after(() => fuzzer.close());
    const outcomes: Outcomes = new Map();
    const goesOn = (index: number): boolean => index < CASES;
    const failed = await runLateCases({ name: "answers", fuzzer }, seed, { goesOn, outcomes });
    assert.ok(failed === null, failed === null ? "" : renderFailed(failed));
    for (const outcome of ["passed", "cut", "refused by both"])
      assert.ok((outcomes.get(outcome) ?? 0) > CASES / 20, `${outcome}: ${outcomes.get(outcome)}`);
  });
}

test("answers: the same seed makes the same answers", () => {
  const some = (): string[] =>
    Array.from({ length: 100 }, (_, seed) => hostileAnswer(seededRandom(seed)).toString("latin1"));
  assert.deepEqual(some(), some());
});
