// The store against forged, late and repeated deltas and digests, the same each time and some that are new each time.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";

import { Store } from "../../src/gossip/store.ts";

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
  const delta = {
    owner,
    incarnation: 1,
    floor: 0,
    from: 0,
    to: 2,
    writes: [{ key: "k", version: 2, body: "b" }],
  };
  assert.equal(applyChecked(new Store(self, 1), delta, 0), "applied");
  const meddling = new Store(self, 1);
  const apply = meddling.apply.bind(meddling);
  meddling.apply = (delta, nowMs) => {
    meddling.write(new Map([["k", "meddled"]]), nowMs);
    return apply(delta, nowMs);
  };
  assert.throws(() => applyChecked(meddling, delta, 0), {
    message: `the log of ${self} changed, by a delta of ${owner}: applied`,
  });
  const careless = new Store(self, 1);
  careless.apply = () => "applied";
  assert.throws(() => applyChecked(careless, delta, 0), { message: "the log is not at the delta's end" });
});
