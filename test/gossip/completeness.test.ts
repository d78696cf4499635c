// A picture is believed once a sure peer's is held, or all have been asked, or after a while; then for good.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Completeness } from "../../src/gossip/completeness.ts";
import { headOf } from "../support/gossip-node.ts";

const exchange = (covered: boolean, triedAll = false) => ({ covers: () => covered, triedAll });

test("completeness: not before the first exchange, and then once and for good", () => {
  const picture = new Completeness(0);
  assert.equal(picture.check(exchange(true), 10), false, "no hello yet");
  picture.greeted([], true);
  assert.equal(picture.check(exchange(false), 20), false);
  assert.equal(picture.check(exchange(true), 30), true);
  assert.equal(picture.check(exchange(true), 40), false, "told once");
  assert.equal(picture.check(exchange(false), 50), false);
  assert.ok(picture.reached);
});

test("completeness: a node that finds nobody at any address it knows believes its picture at once", () => {
  const picture = new Completeness(0);
  assert.equal(picture.check(exchange(false), 10), false);
  assert.equal(picture.check(exchange(false, true), 20), true);
});

test("completeness: where nobody believes his own picture, all that are known must have been heard and held", () => {
  const [one, other] = [[headOf("one")], [headOf("other")]];
  const held = new Set<unknown>();
  const picture = new Completeness(0);
  const check = (triedAll: boolean, nowMs: number) =>
    picture.check({ covers: (digest) => held.has(digest), triedAll }, nowMs);
  picture.greeted(one, false);
  held.add(one);
  assert.equal(check(false, 10), false, "an address has not been tried");
  picture.greeted(other, false);
  assert.equal(check(true, 20), false, "what the other holds is lacking");
  held.add(other);
  assert.equal(check(true, 30), true);
});

test("completeness: one peer that believes its picture is enough, whatever others hold or was not tried", () => {
  const [unsure, sure, later] = [[headOf("unsure")], [headOf("sure")], [headOf("later")]];
  const picture = new Completeness(0);
  picture.greeted(unsure, false);
  picture.greeted(sure, true);
  picture.greeted(later, true);
  const asked: unknown[] = [];
  const covers = (digest: unknown): boolean => asked.push(digest) > 0 && digest === sure;
  assert.equal(picture.check({ covers, triedAll: false }, 10), true);
  assert.deepEqual(asked, [sure], "the first of them is the measure");
});

test("completeness: a peer that never finishes is waited for five seconds", () => {
  const picture = new Completeness(1000);
  picture.greeted([], true);
  for (let nowMs = 1000; nowMs < 6000; nowMs += 50)
    assert.equal(picture.check(exchange(false), nowMs), false);
  assert.equal(picture.check(exchange(false), 6000), true);
});

test("completeness: a pause of this node is no time in which a peer could have finished", () => {
  const picture = new Completeness(0);
  picture.greeted([], true);
  assert.equal(picture.check(exchange(false), 500), false);
  assert.equal(picture.check(exchange(false), 60_000), false);
  for (let nowMs = 60_000; nowMs < 64_500; nowMs += 50)
    assert.equal(picture.check(exchange(false), nowMs), false);
  assert.equal(picture.check(exchange(false), 64_500), true);
});

test("completeness: of peers that are not sure themselves a bounded number is waited for", () => {
  const picture = new Completeness(0);
  for (let index = 0; index < 10_000; index += 1) picture.greeted([headOf(`p${index}`)], false);
  let asked = 0;
  const covers = (): boolean => (asked += 1) > 0;
  assert.equal(picture.check({ covers, triedAll: true }, 10), true);
  assert.ok(asked <= 32, `${asked}`);
});
