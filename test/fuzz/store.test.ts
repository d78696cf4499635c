// The store against forged, late and repeated deltas and digests, the same each time and some that are new each time.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";

import { storeOf } from "../support/sealed.ts";

import { Author } from "./author.ts";
import { renderFailed, runCases, type Outcomes } from "./fuzzer.ts";
import { applyChecked, numberedId } from "./holdings.ts";
import { storeFuzzer } from "./store.ts";

const CASES = 300;

for (const seed of [1, 0x51ce_0000, randomInt(2 ** 32)]) {
  test(`store: ${CASES} clusters of liars write no log but that they name, and none goes back (seed ${seed})`, () => {
    const outcomes: Outcomes = new Map();
    const failed = runCases(storeFuzzer(), seed, { goesOn: (index) => index < CASES, outcomes });
    assert.ok(failed === null, failed === null ? "" : renderFailed(failed));
    assert.ok((outcomes.get("applied some") ?? 0) > CASES / 2);
  });
}

test("store: what a delta does to another log than its own, or to a log from which it does not go on, is found", () => {
  const [self, owner] = [numberedId(0), numberedId(1)];
  const delta = new Author(owner).delta([["k", "b"]]);
  const at = { link: 1, nowMs: 0 };
  assert.equal(applyChecked(storeOf(self), delta, at).kind, "applied");
  const meddling = storeOf(self);
  const apply = meddling.apply.bind(meddling);
  meddling.apply = (delta, link, nowMs) => {
    meddling.write(new Map([["k", "meddled"]]), nowMs);
    return apply(delta, link, nowMs);
  };
  assert.throws(() => applyChecked(meddling, delta, at), {
    message: `the log of ${self} changed, by a delta of ${owner}: applied`,
  });
  const careless = storeOf(self);
  careless.apply = () => ({ kind: "applied", parts: [delta] });
  assert.throws(() => applyChecked(careless, delta, at), { message: "the log is not at the delta's end" });
});
