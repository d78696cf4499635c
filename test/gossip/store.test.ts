// Logs are applied in order without gaps, only their owner writes them, and what was deleted stays deleted.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { missing } from "../../src/gossip/delta.ts";
import type { Delta, Write } from "../../src/gossip/message.ts";
import type { Store } from "../../src/gossip/store.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { CERTIFICATE_KEY } from "../../src/model/seal.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { applyTo, sealed, storeOf, writesOf } from "../support/sealed.ts";

const [A, B, C] = [idOf("a"), idOf("b"), idOf("c")];
const HOUR_MS = 3_600_000;

function write(store: Store, changes: Readonly<Record<string, string | null>>, nowMs = 0): boolean {
  return store.write(new Map(Object.entries(changes)), nowMs).changed;
}

/** One full exchange from one store to another: all frames, in order. */
function exchange(from: Store, to: Store, nowMs = 0): string[] {
  const lacking = { digest: to.digest(), scope: { kind: "all" }, recipient: null } as const;
  return [...missing(from, lacking)].flat().map((delta) => applyTo(to, delta, nowMs));
}

function live(store: Store, owner: string): Record<string, string> {
  const entries = [...(store.logOf(owner)?.entryByKey ?? [])];
  const published = entries.filter(([key]) => key !== CERTIFICATE_KEY);
  return Object.fromEntries(published.flatMap(([key, { body }]) => (body === null ? [] : [[key, body]])));
}

/** A delta as `a` seals it, unless another owner is named; `before` as in `sealed`. */
function deltaOf(part: Partial<Omit<Delta, "seal">>, before?: readonly Write[]): Delta {
  return sealed({ owner: A, incarnation: 1, floor: 0, from: 0, to: 0, writes: [], ...part }, before);
}

const writes = (from: number, to: number, owner = A): Write[] => writesOf(owner, from, to);

test("store: each write takes the owner's next version, after the certificate; one without effect takes none", () => {
  const store = storeOf(A, 1);
  assert.equal(write(store, { x: "1", y: "1" }), true);
  assert.equal(store.logOf(A)?.version, 3);
  assert.equal([...(store.logOf(A)?.entryByKey.keys() ?? [])][0], CERTIFICATE_KEY);
  assert.equal(write(store, { x: "1", z: null }), false);
  assert.equal(write(store, { x: null }), true);
  assert.equal(write(store, { x: null }), false);
  assert.equal(store.logOf(A)?.version, 4);
  assert.deepEqual(live(store, A), { y: "1" });
});

test("store: entries stand in ascending order of version, whatever is written again", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 4 }), fc.option(fc.nat({ max: 2 })))), (steps) => {
      const store = storeOf(A, 1);
      for (const [key, body] of steps) write(store, { [`k${key}`]: body === null ? null : `${body}` });
      const versions = Array.from(store.logOf(A)?.entryByKey.values() ?? [], ({ version }) => version);
      assert.ok(versions.every((version, index) => index === 0 || version > (versions[index - 1] ?? 0)));
      assert.equal(store.logOf(A)?.version ?? 0, versions.at(-1) ?? 0);
    }),
  );
});

test("store: after an exchange a holder has what the owner has, deletions included", () => {
  const step = fc.tuple(fc.nat({ max: 5 }), fc.option(fc.string({ maxLength: 3 })), fc.boolean());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const [owner, holder] = [storeOf(A, 1), storeOf(B, 1)];
      write(owner, { node: "me" });
      for (const [key, body, exchanges] of steps) {
        write(owner, { [`k${key}`]: body });
        if (exchanges) exchange(owner, holder);
      }
      exchange(owner, holder);
      assert.deepEqual(holder.logOf(A)?.entryByKey, owner.logOf(A)?.entryByKey);
      assert.deepEqual(exchange(owner, holder), [], "nothing is lacking any more");
    }),
  );
});

test("store: nobody but the node itself writes its own log, whatever incarnation he claims", () => {
  const store = storeOf(A, 5);
  write(store, { x: "mine" });
  const outcomes = [0, 5, 6, Number.MAX_SAFE_INTEGER].map((incarnation) => {
    const delta = deltaOf({ incarnation, to: 9, writes: writes(0, 9) });
    const seals = cheapSeals(B);
    const seal = seals.seal({ owner: A, incarnation, version: 9 }, seals.emptySum());
    return applyTo(store, { ...delta, seal });
  });
  assert.deepEqual(outcomes, ["known", "forged", "forged", "refused"]);
  assert.deepEqual(live(store, A), { x: "mine" });
  assert.equal(store.logOf(A)?.incarnation, 5);
});

test("store: a later state of the own log, under its own seal, shows that the data dir is an old copy", () => {
  for (const incarnation of [5, 7]) {
    const store = storeOf(A, 5);
    write(store, { x: "mine" });
    const later = deltaOf({ incarnation, to: 9, writes: writes(0, 9) });
    assert.deepEqual(store.apply(later, 1, 0), { kind: "outranked", incarnation });
    assert.deepEqual(live(store, A), { x: "mine" }, "it is for replication to act on it");
  }
});

test("store: a delta that starts past what is held is a gap and changes nothing", () => {
  const store = storeOf(B, 1);
  assert.equal(applyTo(store, deltaOf({ from: 2, to: 3, writes: writes(2, 3) }), 0), "gap");
  assert.equal(store.logOf(A), undefined);
  assert.equal(applyTo(store, deltaOf({ to: 2, writes: writes(0, 2) }), 0), "applied");
  assert.equal(applyTo(store, deltaOf({ from: 3, to: 4, writes: writes(3, 4) }), 0), "gap");
  assert.equal(store.logOf(A)?.version, 2);
  assert.equal(applyTo(store, deltaOf({ from: 1, to: 4, writes: writes(1, 4) }), 0), "applied");
  assert.deepEqual(Object.keys(live(store, A)), ["k2", "k3", "k4"]);
});

test("store: what is known already changes nothing, not even its sum", () => {
  const store = storeOf(B, 1);
  applyTo(store, deltaOf({ to: 3, writes: writes(0, 3) }), 0);
  const sum = store.sums.whole;
  const stale = [{ key: "k2", version: 2, body: "older news" }];
  assert.equal(applyTo(store, deltaOf({ to: 3, writes: stale }), 0), "known");
  assert.equal(applyTo(store, deltaOf({ incarnation: 0, to: 9, writes: writes(0, 9) }), 0), "known");
  assert.equal(store.sums.whole, sum);
  assert.equal(live(store, A)["k2"], "x");
});

test("store: acceptance of a write never depends on another: any split of a log arrives whole", () => {
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 19 }), { maxLength: 8 });
  fc.assert(
    fc.property(cuts, (cuts) => {
      const store = storeOf(B, 1);
      const bounds = [0, ...cuts.toSorted((one, other) => one - other), 20];
      bounds.slice(1).forEach((to, index) => {
        const from = bounds[index] ?? 0;
        assert.equal(applyTo(store, deltaOf({ from, to, writes: writes(from, to) }), 0), "applied");
      });
      assert.equal(Object.keys(live(store, A)).length, 19);
    }),
  );
});

test("store: a higher incarnation replaces the log, and never mixes with the earlier one", () => {
  const store = storeOf(B, 1);
  applyTo(store, deltaOf({ to: 5, writes: writes(0, 5) }), 0);
  assert.equal(applyTo(store, deltaOf({ incarnation: 2, from: 1, to: 2, writes: writes(1, 2) }), 0), "gap");
  assert.equal(Object.keys(live(store, A)).length, 4);
  const writesNow = [{ key: "new", version: 2, body: "y" }];
  assert.equal(applyTo(store, deltaOf({ incarnation: 2, to: 2, writes: writesNow }), 0), "applied");
  assert.deepEqual(live(store, A), { new: "y" });
  assert.equal(applyTo(store, deltaOf({ to: 9, writes: writes(0, 9) }), 0), "known");
});

test("store: raised, the own log starts anew with the same live entries and no tombstone", () => {
  const store = storeOf(A, 1);
  write(store, { x: "1", y: "1", z: "1" });
  write(store, { y: null });
  store.raise(7);
  assert.deepEqual(live(store, A), { x: "1", z: "1" });
  assert.deepEqual([store.logOf(A)?.incarnation, store.logOf(A)?.version], [7, 3]);
  assert.throws(() => store.raise(7), { name: "AssertionFailed" });
});

test("store: a tombstone is kept two hours; then the floor says that deletions may be missing", () => {
  const store = storeOf(A, 1);
  write(store, { x: "1", y: "1" }, 0);
  write(store, { x: null }, 1000);
  store.collect(2 * HOUR_MS);
  assert.equal(store.logOf(A)?.entryByKey.get("x")?.body, null);
  assert.equal(store.logOf(A)?.floor, 0);
  store.collect(2 * HOUR_MS + 1000);
  assert.equal(store.logOf(A)?.entryByKey.has("x"), false);
  assert.equal(store.logOf(A)?.floor, 4);
  assert.equal(store.logOf(A)?.version, 4);
});

test("store: a key written again over its tombstone is not collected", () => {
  const store = storeOf(A, 1);
  write(store, { x: "1" }, 0);
  write(store, { x: null }, 0);
  write(store, { x: "2" }, HOUR_MS);
  store.collect(3 * HOUR_MS);
  assert.deepEqual(live(store, A), { x: "2" });
  assert.equal(store.logOf(A)?.floor, 0);
});

test("store: a holder that was away while deletions were collected takes the log whole", () => {
  const [owner, away] = [storeOf(A, 1), storeOf(B, 1)];
  write(owner, { x: "1", y: "1" });
  exchange(owner, away);
  write(owner, { x: null, z: "1" });
  owner.collect(3 * HOUR_MS);
  assert.deepEqual(exchange(owner, away, 3 * HOUR_MS), ["applied"]);
  assert.deepEqual(live(away, A), { y: "1", z: "1" });
  assert.equal(away.logOf(A)?.floor, owner.logOf(A)?.floor);
});

test("store: a log too big for one frame is taken whole by a holder below its floor, part by part", () => {
  const [owner, away] = [storeOf(A, 1), storeOf(B, 1)];
  write(owner, { doomed: "1" });
  exchange(owner, away);
  const big = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`k${index}`, "x".repeat(30_000)]));
  write(owner, big);
  // The floor ends up above the versions that the first parts carry.
  write(owner, { doomed: null });
  owner.collect(3 * HOUR_MS);
  const outcomes = exchange(owner, away, 3 * HOUR_MS);
  assert.ok(outcomes.length > 3, "several frames");
  assert.equal(outcomes.at(-1), "applied");
  assert.deepEqual(new Set(outcomes.slice(0, -1)), new Set(["staged"]));
  assert.deepEqual(live(away, A), live(owner, A));
  assert.deepEqual(exchange(owner, away), []);
});

test("store: on its way through the parts of a log a holder takes nothing from a peer who missed deletions", () => {
  const [owner, away, stale] = [storeOf(A, 1), storeOf(B, 1), storeOf(C, 1)];
  const big = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`k${index}`, "x".repeat(30_000)]));
  write(owner, { ...big, doomed: "1" });
  exchange(owner, stale);
  write(owner, { late: "1" });
  write(owner, { doomed: null, late: null });
  owner.collect(3 * HOUR_MS);
  const lacking = { digest: away.digest(), scope: { kind: "all" }, recipient: null } as const;
  const [first, ...rest] = missing(owner, lacking);
  for (const delta of first ?? []) applyTo(away, delta, 0);
  exchange(stale, away);
  for (const delta of rest.flat()) applyTo(away, delta, 0);
  exchange(owner, away);
  exchange(stale, away);
  assert.deepEqual(live(away, A), live(owner, A));
});

test("store: a deletion never comes back, whoever exchanges with whom, whenever tombstones are collected", () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("write"),
        key: fc.nat({ max: 3 }),
        body: fc.option(fc.nat()),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("exchange"),
        from: fc.nat({ max: 2 }),
        to: fc.nat({ max: 2 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait"), hours: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("raise") }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const stores = [storeOf(A, 1), storeOf(B, 1), storeOf(C, 1)];
      const owner = stores[0];
      assert.ok(owner !== undefined);
      // A log with nothing in it is not told to holders of an earlier life; every owner has its node record.
      write(owner, { node: "me" });
      let nowMs = 0;
      for (const one of steps) {
        if (one.kind === "write")
          write(owner, { [`k${one.key}`]: one.body === null ? null : `${one.body}` }, nowMs);
        if (one.kind === "raise") owner.raise((owner.logOf(A)?.incarnation ?? 0) + 1);
        if (one.kind === "wait") {
          nowMs += one.hours * HOUR_MS;
          for (const store of stores) store.collect(nowMs);
        }
        const [from, to] = one.kind === "exchange" ? [stores[one.from], stores[one.to]] : [];
        if (from !== undefined && to !== undefined && from !== to) exchange(from, to, nowMs);
      }
      for (const store of stores.slice(1)) {
        exchange(owner, store, nowMs);
        assert.deepEqual(live(store, A), live(owner, A));
      }
      for (const store of stores.slice(1)) for (const from of stores.slice(1)) exchange(from, store, nowMs);
      for (const store of stores.slice(1)) assert.deepEqual(live(store, A), live(owner, A));
    }),
    { numRuns: 300 },
  );
});

test("store: forgetting oneself, or a stranger, does nothing", () => {
  const store = storeOf(A, 1);
  write(store, { x: "1" });
  store.forget(A);
  store.forget(B);
  assert.deepEqual(live(store, A), { x: "1" });
});

test("store: owners past the bound are refused; those that are held go on", () => {
  const store = storeOf(A, 1);
  for (let index = 1; index < LIMITS.ownersMax; index += 1)
    assert.equal(
      applyTo(store, deltaOf({ owner: `owner${index}`, to: 1, writes: writes(0, 1, `owner${index}`) }), 0),
      "applied",
    );
  assert.equal(applyTo(store, deltaOf({ owner: B, to: 1, writes: writes(0, 1, B) }), 0), "refused");
  assert.equal(store.logs.size, LIMITS.ownersMax);
  assert.equal(
    applyTo(store, deltaOf({ owner: "owner1", incarnation: 2, to: 1, writes: writes(0, 1, "owner1") }), 0),
    "applied",
  );
});

test("store: an own record that no peer could take is not written; its neighbours are", () => {
  const store = storeOf(A, 1);
  write(store, { big: "x".repeat(LIMITS.recordBytes + 1), small: "x", edge: "x".repeat(LIMITS.recordBytes) });
  assert.deepEqual(Object.keys(live(store, A)), ["small", "edge"]);
});

test("store: covers a digest when all of it but the own log is held, at that version or later", () => {
  const store = storeOf(A, 1);
  applyTo(store, deltaOf({ owner: B, incarnation: 2, to: 5, writes: writes(0, 5, B) }), 0);
  const head = { deadAt: null };
  const holds = (incarnation: number, version: number) =>
    store.covers([{ owner: B, incarnation, version, ...head }]);
  assert.ok(holds(2, 5) && holds(2, 4) && holds(1, 99));
  assert.ok(!holds(2, 6) && !holds(3, 1));
  assert.ok(store.covers([{ owner: A, incarnation: 99, version: 99, ...head }]) && store.covers([]));
  assert.ok(!store.covers([{ owner: C, incarnation: 1, version: 1, ...head }]));
});

test("store: an owner that has not written anything yet is nothing that could be lacking", () => {
  const store = storeOf(A, 1);
  assert.ok(store.covers([{ owner: C, incarnation: 7, version: 0, deadAt: null }]));
  assert.equal(applyTo(store, deltaOf({ owner: C, incarnation: 7 }), 0), "known");
  assert.equal(store.logOf(C), undefined);
});
