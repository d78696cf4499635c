// Drains that others ask for: of managers, and none that comes too late.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Asks } from "../../src/gossip/asks.ts";
import type { DrainAsk } from "../../src/gossip/message.ts";
import type { Credential } from "../../src/model/credential.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { idOf } from "../support/gossip-network.ts";
import { credentialOf } from "../support/sealed.ts";

const BOSS = credentialOf(idOf("boss"));
const WORKER: Credential = { ...BOSS, role: "worker" };

function ask(version: number, part: Partial<DrainAsk> = {}): DrainAsk {
  const what = { replica: "web-1", draining: true, incarnation: 5, asker: BOSS.id };
  return { owner: idOf("o"), version, signature: null, ...what, ...part };
}

test("asks: a manager's is taken, a worker's is not", () => {
  const asks = new Asks();
  const own = { incarnation: 5, version: 9 };
  assert.match(asks.taken(ask(9), WORKER, own) ?? "", /drain web-1, but is a worker; expected a manager/);
  assert.equal(asks.taken(ask(9), BOSS, own), null);
});

test("asks: one made before the last that was taken comes too late, and so does one of an earlier life", () => {
  const asks = new Asks();
  assert.equal(asks.taken(ask(7), BOSS, { incarnation: 5, version: 7 }), null);
  assert.equal(asks.taken(ask(8, { draining: false }), BOSS, { incarnation: 5, version: 9 }), null);
  assert.match(asks.taken(ask(7), BOSS, { incarnation: 5, version: 9 }) ?? "", /as of 5\.7; expected 5\.8/);
  assert.equal(asks.taken(ask(7, { replica: "web-2" }), BOSS, { incarnation: 5, version: 9 }), null);
  assert.notEqual(asks.taken(ask(9), BOSS, { incarnation: 6, version: 9 }), null);
});

test("asks: a version that nobody has written yet keeps no later ask out", () => {
  const asks = new Asks();
  assert.equal(asks.taken(ask(1_000_000), BOSS, { incarnation: 5, version: 9 }), null);
  assert.equal(asks.taken(ask(9, { draining: false }), BOSS, { incarnation: 5, version: 9 }), null);
});

test("asks: however many replicas are named, what is remembered of them is bounded", () => {
  const asks = new Asks();
  const own = { incarnation: 5, version: 9 };
  for (let index = 0; index <= LIMITS.replicasPerNode; index += 1)
    asks.taken(ask(9, { replica: `replica ${index}` }), BOSS, own);
  assert.equal(asks.taken(ask(1, { replica: "replica 0" }), BOSS, own), null, "the first is forgotten");
  assert.notEqual(asks.taken(ask(1, { replica: "replica 77" }), BOSS, own), null);
});
