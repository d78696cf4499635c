// What a store remembers of the dead and the forgotten, and the sums by which two stores are compared.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { missing } from "../../src/gossip/delta.ts";
import { FORGOTTEN_AT, type Scope } from "../../src/gossip/message.ts";
import type { Store } from "../../src/gossip/store.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { idOf } from "../support/gossip-network.ts";
import { CERTIFICATE_KEY } from "../../src/model/seal.ts";
import { deltaOf } from "../support/gossip-node.ts";
import { applyTo, sealed, storeOf } from "../support/sealed.ts";

const [A, B, C] = [idOf("a"), idOf("b"), idOf("c")];
const ALL: Scope = { kind: "all" };

function write(store: Store, changes: Readonly<Record<string, string | null>>): void {
  store.write(new Map(Object.entries(changes)), 0);
}

/** All that one store has and the other says it lacks. @returns what became of each delta */
function exchange(from: Store, to: Store, scope: Scope = ALL): string[] {
  const digest = scope.kind === "listed" ? to.headsOf([A]) : to.digest();
  return [...missing(from, { digest, scope, recipient: null })].flat().map((delta) => applyTo(to, delta, 0));
}

function live(store: Store, owner: string): Record<string, string> {
  const entries = [...(store.logOf(owner)?.entryByKey ?? [])];
  const published = entries.filter(([key]) => key !== CERTIFICATE_KEY);
  return Object.fromEntries(published.flatMap(([key, { body }]) => (body === null ? [] : [[key, body]])));
}

/** An owner with a log, and two holders of it. */
function threeStores(): { owner: Store; holder: Store; late: Store } {
  const [owner, holder, late] = [storeOf(A, 3), storeOf(B, 1), storeOf(C, 1)];
  write(owner, { x: "1", y: "1" });
  for (const store of [holder, late]) exchange(owner, store);
  return { owner, holder, late };
}

test("store: sums are equal exactly when digests are, in whatever order owners came", () => {
  const [one, other] = [storeOf(A, 1), storeOf(A, 1)];
  const deltas = [deltaOf("b", 2), deltaOf("c", 2)];
  for (const delta of deltas) applyTo(one, delta, 0);
  assert.notEqual(one.sums.whole, other.sums.whole);
  for (const delta of deltas.toReversed()) applyTo(other, delta, 0);
  assert.equal(one.sums.whole, other.sums.whole);
  assert.deepEqual([...one.sums.parts], [...other.sums.parts]);
  write(one, { x: "1" });
  assert.notEqual(one.sums.whole, other.sums.whole);
  write(other, { x: "another body: sums tell versions, and one version has one body" });
  assert.equal(one.sums.whole, other.sums.whole);
});

test("store: by whatever way two stores came to hold the same, their sums are the same", () => {
  const step = fc.record({
    kind: fc.constantFrom("write", "dead", "alive", "forget", "exchange", "raise", "collect"),
    owner: fc.constantFrom("b", "c", "d"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const owners = new Map(["b", "c", "d"].map((name) => [name, storeOf(idOf(name), 1)]));
      const store = storeOf(A, 1);
      for (const { kind, owner: name } of steps) {
        const owner = owners.get(name);
        const log = owner?.logOf(idOf(name));
        assert.ok(owner !== undefined && log !== undefined);
        if (kind === "write") write(owner, { [`k${log.version % 3}`]: `${log.version}` });
        if (kind === "raise") owner.raise(log.incarnation + 1);
        if (kind === "exchange") exchange(owner, store);
        if (kind === "collect") store.collect(0);
        if (kind === "forget") store.forget(idOf(name));
        if (kind === "dead" || kind === "alive")
          store.setDead(idOf(name), log.incarnation, kind === "dead" ? 0 : null);
      }
      const rebuilt = storeOf(A, 1);
      for (const { owner, incarnation, version, deadAt } of store.digest()) {
        if (owner === A || version === 0 || deadAt === FORGOTTEN_AT) continue;
        const writes = version > 1 ? [{ key: "any", version, body: "any" }] : [];
        applyTo(rebuilt, sealed({ owner, incarnation, floor: 0, from: 0, to: version, writes }));
        rebuilt.setDead(owner, incarnation, deadAt);
      }
      assert.equal(store.sums.whole, rebuilt.sums.whole);
      assert.deepEqual([...store.sums.parts], [...rebuilt.sums.parts]);
    }),
    { numRuns: 200 },
  );
});

test("store: that an owner is given up changes the sums, is told in the digest, and is of one incarnation", () => {
  const { holder, late } = threeStores();
  late.setDead(A, 3, 2);
  assert.equal(late.digest().find(({ owner }) => owner === A)?.deadAt, 2);
  const sum = late.sums.whole;
  late.setDead(A, 3, 2);
  late.setDead(A, 2, null);
  late.setDead(idOf("stranger"), 1, 0);
  assert.equal(late.sums.whole, sum, "said again, or of another life, it changes nothing");
  late.setDead(A, 3, null);
  assert.equal(late.digest().find(({ owner }) => owner === A)?.deadAt, null);
  assert.notEqual(late.sums.whole, sum);
  assert.deepEqual(live(holder, A), { x: "1", y: "1" }, "a dead owner's entries stay");
});

test("store: a higher incarnation is not given up because an earlier one was", () => {
  const { owner, holder } = threeStores();
  holder.setDead(A, 3, 0);
  owner.raise(4);
  exchange(owner, holder);
  assert.equal(holder.digest().find(({ owner }) => owner === A)?.deadAt, null);
});

test("store: a forgotten owner leaves its head without entries, so that nobody brings it back", () => {
  const { holder, late } = threeStores();
  holder.forget(A);
  assert.deepEqual(live(holder, A), {});
  const head = holder.digest().find(({ owner }) => owner === A);
  assert.equal(head?.deadAt, FORGOTTEN_AT, "who has not forgotten yet sends nothing of it");
  exchange(late, holder);
  exchange(late, holder, { kind: "listed" });
  assert.deepEqual(live(holder, A), {}, "what was forgotten stays so");
  assert.deepEqual(exchange(holder, late), [], "and is not taken from others");
  assert.deepEqual(live(late, A), { x: "1", y: "1" });
});

test("store: news of the owner itself brings a forgotten log back whole", () => {
  const { owner, holder } = threeStores();
  holder.forget(A);
  write(owner, { z: "1" });
  assert.deepEqual(exchange(owner, holder), ["gap"], "what came before is lacking as well");
  assert.deepEqual(exchange(owner, holder, { kind: "listed" }), ["applied"]);
  assert.deepEqual(live(holder, A), { x: "1", y: "1", z: "1" });
});

test("store: a higher incarnation brings a forgotten owner back at once", () => {
  const { owner, holder } = threeStores();
  holder.forget(A);
  owner.raise(4);
  exchange(owner, holder);
  assert.deepEqual(live(holder, A), { x: "1", y: "1" });
});

test("store: a forgotten log that is too big for one frame comes back all the same when there is news in it", () => {
  const [owner, holder] = [storeOf(A, 3), storeOf(B, 1)];
  write(owner, Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`k${at}`, "x".repeat(30_000)])));
  exchange(owner, holder);
  holder.forget(A);
  write(owner, { news: "1" });
  // As peers do: a gap is answered with a request for what is listed, as often as it takes.
  for (let round = 0; round < 5; round += 1) exchange(owner, holder, { kind: "listed" });
  assert.deepEqual(live(holder, A), live(owner, A));
});

test("store: an owner that is held no more, or forgotten, stands at 0 in what is asked for", () => {
  const { holder } = threeStores();
  assert.deepEqual(holder.headsOf([A, idOf("stranger")]), [
    { owner: A, incarnation: 3, version: 3, deadAt: null },
    { owner: idOf("stranger"), incarnation: 0, version: 0, deadAt: null },
  ]);
  holder.forget(A);
  assert.equal(holder.headsOf([A])[0]?.version, 0);
});

test("store: where owners are too many, the shells of the forgotten make room first", () => {
  const store = storeOf(A, 1);
  for (let index = 1; index < LIMITS.ownersMax; index += 1) applyTo(store, deltaOf(`owner ${index}`, 1), 0);
  assert.equal(applyTo(store, deltaOf("late", 1), 0), "refused");
  store.forget(idOf("owner 7"));
  assert.equal(applyTo(store, deltaOf("late", 1), 0), "applied");
  assert.equal(store.logOf(idOf("owner 7")), undefined);
  assert.equal(store.logs.size, LIMITS.ownersMax);
  const rebuilt = storeOf(A, 1);
  const head = { incarnation: 1, floor: 0, from: 0, to: 1, writes: [] };
  for (const { owner } of store.digest()) if (owner !== A) applyTo(rebuilt, sealed({ ...head, owner }));
  assert.equal(store.sums.whole, rebuilt.sums.whole);
});
