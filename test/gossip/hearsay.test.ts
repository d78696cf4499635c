// A death that is only read is first told to the dead, and believed when he keeps silent though it is told on.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Hearsay } from "../../src/gossip/hearsay.ts";
import type { Rumor } from "../../src/gossip/message.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { idOf } from "../support/gossip-network.ts";

function deathOf(name: string, part: Partial<Rumor> = {}): Rumor {
  return { kind: "dead", subject: idOf(name), incarnation: 1, refutation: 0, by: idOf("peer"), ...part };
}

/** Reads a death every so often, up to a time. @returns when it was believed; null when it was not */
function readUntil(
  hearsay: Hearsay,
  rumor: Rumor,
  { everyMs, untilMs }: { everyMs: number; untilMs: number },
) {
  for (let nowMs = 0; nowMs <= untilMs; nowMs += everyMs) if (hearsay.read(rumor, nowMs)) return nowMs;
  return null;
}

test("hearsay: a death that peers tell for four seconds is believed, not sooner", () => {
  assert.equal(readUntil(new Hearsay(), deathOf("a"), { everyMs: 500, untilMs: 60_000 }), 4000);
});

test("hearsay: a death that is told once and never again is not believed, however late", () => {
  const hearsay = new Hearsay();
  assert.equal(hearsay.read(deathOf("a"), 0), false);
  assert.equal(hearsay.read(deathOf("a"), 30_000), false, "that is told anew");
  assert.equal(hearsay.read(deathOf("a"), 34_000), true);
});

test("hearsay: a death of another life begins anew", () => {
  const hearsay = new Hearsay();
  hearsay.read(deathOf("a"), 0);
  hearsay.read(deathOf("a", { refutation: 1 }), 3000);
  assert.equal(hearsay.read(deathOf("a", { refutation: 1 }), 4500), false);
  hearsay.read(deathOf("a", { refutation: 1, incarnation: 2 }), 5000);
  assert.equal(hearsay.read(deathOf("a", { refutation: 1, incarnation: 2 }), 7500), false);
  assert.equal(hearsay.read(deathOf("a", { refutation: 1, incarnation: 2 }), 9000), true);
});

test("hearsay: the dead are told once, after a moment in which they may have heard for themselves", () => {
  const hearsay = new Hearsay();
  const rumor = deathOf("a");
  hearsay.read(rumor, 0);
  assert.deepEqual(hearsay.toWarn(299), []);
  hearsay.read(rumor, 250);
  assert.deepEqual(hearsay.toWarn(300), [rumor]);
  assert.deepEqual(hearsay.toWarn(400), []);
});

test("hearsay: who has answered is neither told nor believed dead", () => {
  const hearsay = new Hearsay();
  hearsay.read(deathOf("a"), 0);
  hearsay.over(idOf("a"));
  hearsay.over(idOf("stranger"));
  assert.deepEqual(hearsay.toWarn(1000), []);
  assert.equal(hearsay.read(deathOf("a"), 5000), false);
});

test("hearsay: after a great partition the dead are told some at a time, and all of them in the end", () => {
  const hearsay = new Hearsay();
  for (let index = 0; index < 500; index += 1) hearsay.read(deathOf(`n${index}`), 0);
  const told = new Set<string>();
  for (let nowMs = 300; nowMs < 3000; nowMs += 50) {
    const due = hearsay.toWarn(nowMs);
    assert.ok(due.length <= 16);
    for (const { subject } of due) told.add(subject);
  }
  assert.equal(told.size, 500);
});

test("hearsay: what is not told on is forgotten, and what strangers make up is bounded", () => {
  const hearsay = new Hearsay();
  for (let index = 0; index < LIMITS.ownersMax; index += 1) hearsay.read(deathOf(`n${index}`), 0);
  for (let nowMs = 100; nowMs < 1000; nowMs += 100)
    assert.equal(hearsay.read(deathOf("late"), nowMs), false, "there is no room");
  for (let nowMs = 300; nowMs < 40_000; nowMs += 50) hearsay.toWarn(nowMs);
  hearsay.read(deathOf("late"), 40_000);
  assert.equal(hearsay.read(deathOf("late"), 44_000), true);
});

test("hearsay: the death of a node that is not known yet is kept until its log comes, and told once", () => {
  const hearsay = new Hearsay();
  hearsay.bury(deathOf("a"));
  hearsay.bury(deathOf("a", { refutation: 2 }));
  assert.deepEqual(hearsay.buried(idOf("a")), deathOf("a", { refutation: 2 }), "the last that was told");
  assert.equal(hearsay.buried(idOf("a")), undefined);
  for (let index = 0; index < LIMITS.ownersMax + 9; index += 1) hearsay.bury(deathOf(`n${index}`));
  assert.equal(hearsay.buried(idOf("n0")), undefined, "the oldest make room");
  const newest = `n${LIMITS.ownersMax + 8}`;
  assert.deepEqual(hearsay.buried(idOf(newest)), deathOf(newest), "and keep no later one out");
});
