// A picture is believed after the first exchange, when nobody is there, or after a grace period, and then for good.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Completeness } from "../../src/gossip/completeness.ts";

const exchange = (covered: boolean, alone = false) => ({ covers: () => covered, alone });

test("completeness: not before the first exchange, and then once and for good", () => {
  const picture = new Completeness(0);
  assert.equal(picture.check(exchange(true), 10), false, "no hello yet");
  picture.greeted([]);
  assert.equal(picture.check(exchange(false), 20), false);
  assert.equal(picture.check(exchange(true), 30), true);
  assert.equal(picture.check(exchange(true), 40), false, "told once");
  assert.equal(picture.check(exchange(false), 50), false);
  assert.ok(picture.reached);
});

test("completeness: a node that finds nobody believes its picture at once", () => {
  const picture = new Completeness(0);
  assert.equal(picture.check(exchange(false, true), 10), true);
});

test("completeness: a peer that never finishes is waited for five seconds", () => {
  const picture = new Completeness(1000);
  picture.greeted([]);
  assert.equal(picture.check(exchange(false), 5999), false);
  assert.equal(picture.check(exchange(false), 6000), true);
});

test("completeness: what the first peer holds is what is awaited, not what later ones hold", () => {
  const picture = new Completeness(0);
  const first = [{ owner: "first", incarnation: 1, version: 1 }];
  picture.greeted(first);
  picture.greeted([{ owner: "second", incarnation: 1, version: 1 }]);
  assert.equal(picture.check({ covers: (digest) => digest === first, alone: false }, 10), true);
});
