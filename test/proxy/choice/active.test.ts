// Active: what upstreams carry, and who is told when one is gone.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Active } from "../../../src/proxy/choice/active.ts";
import type { Pool, Upstream } from "../../../src/proxy/routes.ts";

import { pool, upstream } from "../fixtures.ts";

const A = upstream("a", 1);

/** Uses an upstream; how often its user was told that it is gone. */
function used(active: Active, by: Upstream): { count: number } {
  const told = { count: 0 };
  active.use(by, () => (told.count += 1));
  return told;
}

function resting(...upstreams: readonly Upstream[]): Pool {
  return { ...pool(), resting: upstreams };
}

test("active: uses count until they are released, once each", () => {
  const active = new Active();
  const load = active.loadOf(A);
  const uses = [1, 2].map(() => active.use(A, () => undefined));
  assert.equal(load.count, 2);
  for (const use of [...uses, ...uses]) active.release(use);
  assert.equal(load.count, 0);
});

test("active: when an upstream last answered is known of all its uses, and of one life only", () => {
  const active = new Active();
  const [use, other] = [1, 2].map(() => active.use(A, () => undefined));
  assert.ok(use !== undefined && other !== undefined);
  active.answered(use, 7);
  active.release(use);
  assert.equal(other.load.answeredAtMs, 7);
  assert.equal(active.loadOf({ ...A, address: "127.0.0.9" }).answeredAtMs, -Infinity);
});

test("active: equal upstreams of two tables are one, another address is another", () => {
  const active = new Active();
  active.use(A, () => undefined);
  assert.equal(active.loadOf({ ...A, weight: 7, sinceMs: 99 }).count, 1);
  assert.equal(active.loadOf({ ...A, address: "127.0.0.9" }).count, 0);
});

test("keepOnly: users of an upstream that left are told once, those of resting and draining ones are not", () => {
  const active = new Active();
  const [gone, rests, drains] = [A, upstream("b", 1), upstream("c", 1, { drainUntilMs: 10_000 })];
  const told = [gone, rests, drains].map((one) => used(active, one));
  const pools = [pool([], [drains]), resting(rests)];
  active.keepOnly(pools, 0);
  active.keepOnly(pools, 400);
  active.tick(499);
  assert.deepEqual(
    told.map(({ count }) => count),
    [0, 0, 0],
    "its last answers may be on their way",
  );
  active.tick(500);
  active.tick(9);
  assert.deepEqual(
    told.map(({ count }) => count),
    [1, 0, 0],
  );
  assert.equal(active.loadOf(gone).count, 0);
});

test("keepOnly: a container that came back at another address has none of its old connections", () => {
  const active = new Active();
  const told = used(active, A);
  active.keepOnly([pool([{ ...A, address: "127.0.0.9" }])], 0);
  active.tick(500);
  assert.equal(told.count, 1);
});

test("keepOnly: who takes another upstream when told is not told of that one", () => {
  const active = new Active();
  const other = upstream("b", 1);
  let told = 0;
  active.use(A, () => active.use(other, () => (told += 1)));
  active.keepOnly([pool([other])], 0);
  active.tick(500);
  assert.equal(active.loadOf(other).count, 1);
  assert.equal(told, 0);
});

test("keepOnly: an upstream of a table before the last one may still be used, and is told", () => {
  const active = new Active();
  active.loadOf(A);
  active.keepOnly([pool()], 0);
  const told = used(active, A);
  active.keepOnly([pool()], 1000);
  active.tick(1500);
  assert.equal(told.count, 1);
});

test("keepOnly: one that is back within a moment keeps what it has", () => {
  const active = new Active();
  const told = used(active, A);
  active.keepOnly([pool()], 0);
  active.keepOnly([pool([A])], 100);
  active.tick(10_000);
  assert.equal(told.count, 0);
  assert.equal(active.loadOf(A).count, 1);
});

test("tick: when the time to drain is over users are told, and new ones are let be", () => {
  const active = new Active();
  const drains = upstream("a", 1, { drainUntilMs: 1000 });
  const pools = [pool([], [drains])];
  const early = used(active, drains);
  active.keepOnly(pools, 0);
  active.tick(999);
  assert.equal(early.count, 0);
  active.tick(1000);
  assert.equal(early.count, 1);
  const late = used(active, drains);
  active.keepOnly(pools, 0);
  active.tick(1050);
  assert.equal(late.count, 0, "there was nobody else");
});

test("tick: one that is well again and drains once more is cut once more", () => {
  const active = new Active();
  const draining = [pool([], [upstream("a", 1, { drainUntilMs: 1000 })])];
  active.keepOnly(draining, 0);
  active.tick(1000);
  active.keepOnly([pool([A])], 0);
  const told = used(active, A);
  active.keepOnly(draining, 0);
  active.tick(1001);
  assert.equal(told.count, 1);
});

test("active: bytes are counted when a use ends or somebody looks, once, for upstream and service", () => {
  const sums = { received: { count: 0 }, sent: { count: 0 } };
  const active = new Active(() => sums);
  const meter = { receivedBytes: 100, sentBytes: 0 };
  const use = active.use(A, () => undefined, meter);
  assert.deepEqual(carriedBy(active), [0, 0, 1], "what it shows already was carried by others");
  Object.assign(meter, { receivedBytes: 150, sentBytes: 7 });
  assert.deepEqual(carriedBy(active), [50, 7, 1]);
  assert.deepEqual(carriedBy(active), [50, 7, 1]);
  Object.assign(meter, { receivedBytes: 160, sentBytes: 9 });
  active.release(use);
  active.release(use);
  assert.deepEqual(carriedBy(active), [60, 9, 0]);
  assert.deepEqual([sums.received.count, sums.sent.count], [60, 9]);
});

test("active: what an upstream was given is forgotten with it, and its service's bytes stay", () => {
  const sums = { received: { count: 0 }, sent: { count: 0 } };
  const active = new Active(() => sums);
  active.use(A, () => undefined, { receivedBytes: 0, sentBytes: 0 });
  const meter = { receivedBytes: 0, sentBytes: 0 };
  active.use(A, () => undefined, meter);
  active.keepOnly([], 0);
  Object.assign(meter, { sentBytes: 30 });
  active.tick(60_000);
  assert.deepEqual(active.carried(), []);
  assert.equal(sums.sent.count, 30);
});

/** Bytes from and to clients, and what is open, of the only upstream. */
function carriedBy(active: Active): readonly number[] {
  return active.carried().flatMap(({ receivedBytes, sentBytes, open }) => [receivedBytes, sentBytes, open]);
}
