// Parts wait for their seal, one log a link, and no peer can make too much of them wait.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Delta } from "../../src/gossip/message.ts";
import { Staging } from "../../src/gossip/staging.ts";
import { LIMITS } from "../../src/model/limits.ts";

function part(owner: string, from: number, to: number, body = "x"): Delta {
  const writes = [{ key: "k", version: to, body }];
  return { owner, incarnation: 1, floor: 0, from, to, writes, seal: null };
}

test("staging: parts that follow each other wait together; past a gap, or of another state, nothing follows", () => {
  const staging = new Staging();
  assert.ok(staging.begin(part("o", 0, 4), 1, 0));
  const staged = staging.before(part("o", 4, 8), 1);
  assert.ok(staged !== undefined && staging.add(staged, part("o", 4, 8), 0));
  assert.equal(staged.to, 8);
  assert.ok(staging.before(part("o", 6, 9), 1) !== undefined, "parts may overlap");
  const others = [
    part("o", 9, 10),
    part("other", 8, 10),
    { ...part("o", 8, 10), incarnation: 2 },
    { ...part("o", 8, 10), floor: 3 },
  ];
  for (const other of others) assert.equal(staging.before(other, 1), undefined);
  assert.equal(staging.before(part("o", 8, 10), 2), undefined, "nor does one of another link");
  staging.add(staged, part("o", 0, 4), 0);
  assert.deepEqual([staged.to, staged.parts.length], [8, 2], "what is there already is not kept twice");
});

test("staging: on one link the parts of one log wait, those of another take their place", () => {
  const staging = new Staging();
  staging.begin(part("o", 0, 4), 1, 0);
  const { sizeBytes } = staging;
  staging.begin(part("p", 0, 4), 1, 0);
  assert.ok(staging.has("p", 1) && !staging.has("o", 1));
  staging.begin(part("o", 0, 4), 2, 0);
  assert.equal(staging.sizeBytes, 2 * sizeBytes);
  staging.dropOwner("p");
  assert.deepEqual([staging.isBusy(1), staging.isBusy(2)], [false, true]);
  staging.drop(2);
  assert.equal(staging.sizeBytes, 0);
});

test("staging: what waits is bounded on each link and in all; the quietest gives way", () => {
  const staging = new Staging();
  const body = "x".repeat(LIMITS.recordBytes);
  const fill = (link: number, nowMs: number, bytes: number): boolean => {
    let isKept = staging.begin(part(`o${link}`, 0, 1), link, nowMs);
    for (let to = 2; isKept && to * LIMITS.recordBytes < bytes; to += 1) {
      const staged = staging.before(part(`o${link}`, to - 1, to), link);
      assert.ok(staged !== undefined);
      isKept = staging.add(staged, part(`o${link}`, to - 1, to, body), nowMs);
    }
    return isKept;
  };
  assert.equal(fill(1, 0, 2 * LIMITS.stagedBytesPerLink), false, "larger than any log may be");
  assert.equal(staging.isBusy(1), false);
  assert.ok(fill(2, 20, 0.9 * LIMITS.stagedBytesPerLink));
  assert.ok(fill(3, 10, 0.9 * LIMITS.stagedBytesPerLink));
  assert.ok(fill(4, 30, 0.9 * LIMITS.stagedBytesPerLink));
  assert.deepEqual(
    [2, 3, 4].map((link) => staging.isBusy(link)),
    [true, false, true],
  );
  assert.ok(staging.sizeBytes <= LIMITS.stagedBytes);
});

test("staging: where parts stay away the peer is asked to go on each 200 ms, and for ten seconds at most", () => {
  const staging = new Staging();
  staging.begin(part("o", 0, 4), 7, 0);
  const asked: number[] = [];
  for (let nowMs = 0; nowMs <= 20_000; nowMs += 50)
    for (const { link, to } of staging.overdue(nowMs)) {
      assert.deepEqual([link, to], [7, 4]);
      asked.push(nowMs);
    }
  assert.equal(asked[0], 200);
  assert.ok(asked.length > 40 && (asked.at(-1) ?? 0) < 10_000);
  assert.equal(staging.isBusy(7), false);
});
