// Unrest: when a young picture is at rest, so that the kernel may be made to match it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Unrest } from "../../src/daemon/unrest.ts";

const TIMES = { quietMs: 500, longestMs: 3000 };

test("unrest: a picture that does not change for a while is at rest", () => {
  const unrest = new Unrest(TIMES);
  const picture = {};
  unrest.note(picture, 1000);
  unrest.note(picture, 1400);
  assert.equal(unrest.isOver(1499), false);
  assert.equal(unrest.isOver(1500), true);
});

test("unrest: each change begins the wait anew, but not for ever", () => {
  const unrest = new Unrest(TIMES);
  let atMs = 1000;
  for (; atMs < 4000; atMs += 100) {
    unrest.note({}, atMs);
    assert.equal(unrest.isOver(atMs), false, `at ${atMs}`);
  }
  unrest.note({}, atMs);
  assert.equal(unrest.isOver(atMs), true);
});

test("unrest: once at rest, what changes later is no unrest any more", () => {
  const unrest = new Unrest(TIMES);
  unrest.note({}, 1000);
  assert.equal(unrest.isOver(1500), true);
  unrest.note({}, 1600);
  assert.equal(unrest.isOver(1600), true);
});
