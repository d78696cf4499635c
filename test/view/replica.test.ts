// One record and the verdict on its owner make one replica, and the same ones make the same object.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Replica } from "../../src/model/view.ts";
import { replicaOf, type Circumstances, type Copy } from "../../src/view/replica.ts";

import { member } from "./cluster.ts";
import { DEFAULT_DELIVERY } from "../../src/model/service.ts";

const copy: Copy = {
  id: "web-1",
  name: "web-1",
  slot: null,
  address: "10.0.0.1",
  reach: "direct",
  ports: [],
  weight: 1,
  delivery: DEFAULT_DELIVERY,
  state: "ready",
  drainApplied: false,
  drainPending: [],
};
const circumstances: Circumstances = {
  reason: "probe: passed",
  owner: member("b"),
  observer: "a",
  last: null,
  nowMs: 1000,
};

function shown(part: Partial<Copy> = {}, more: Partial<Circumstances> = {}): Replica {
  return replicaOf({ ...copy, ...part }, { ...circumstances, ...more });
}

test("replica: it says what its record says, where it runs, and how its owner's state rules on it", () => {
  const { node, nodeName, local, tier, keepsConnections, reason, saidBy, sinceMs, ...rest } = shown();
  assert.deepEqual(rest, copy);
  assert.deepEqual([node, nodeName, local], [member("b").id, "b", false]);
  assert.deepEqual([tier, reason, saidBy, sinceMs], ["eligible", "probe: passed", "b", 1000]);
  const dead = shown({}, { owner: member("b", { state: "dead" }) });
  assert.deepEqual([dead.tier, dead.reason, dead.saidBy], ["never", "node b is dead", "a"]);
  assert.deepEqual([keepsConnections, dead.keepsConnections], [true, false]);
});

test("replica: the same object as the last time, unless something about it is otherwise", () => {
  const last = shown();
  assert.equal(shown({}, { last, nowMs: 5000 }), last);
  const differences: Partial<Copy>[] = [
    { address: "10.0.0.2" },
    { address6: "fd12::2" },
    { weight: 2 },
    { drainApplied: true },
    { drainPending: ["c"] },
    { ports: [] },
    { slot: 1 },
    { reach: "stream" },
    { name: "web-one" },
    { delivery: { ...DEFAULT_DELIVERY, drainMs: 1 } },
  ];
  for (const difference of differences) assert.notEqual(shown(difference, { last }), last);
  assert.notEqual(shown({}, { last, owner: member("b", { name: "bee" }) }), last);
  assert.notEqual(shown({}, { last, reason: "probe: 200" }), last);
});

test("replica: it keeps since when it is in its tier through other changes, and starts anew with the tier", () => {
  const last = shown();
  assert.equal(shown({ weight: 5 }, { last, nowMs: 5000 }).sinceMs, 1000);
  assert.equal(shown({ state: "unready" }, { last, nowMs: 5000 }).sinceMs, 5000);
});
