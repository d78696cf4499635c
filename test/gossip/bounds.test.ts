// A log is held within bounds that its owner keeps to as well, and deletions never stand in the way of what is alive.

import assert from "node:assert/strict";
import { test } from "node:test";

import { hasRoomFor, isLifeAlone, isPastBounds, keepWithinBounds } from "../../src/gossip/bounds.ts";
import { emptyLog, put, type HeldLog } from "../../src/gossip/held.ts";
import { LIFE_KEY, renderLife } from "../../src/gossip/life.ts";
import type { Write } from "../../src/gossip/message.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { applyTo, sealed, storeOf, writesOf } from "../support/sealed.ts";

const [A, B] = [idOf("a"), idOf("b")];
const LIFE = renderLife({ refutation: 2, said: "alive", forMs: 0 });

function logWith(count: number, body: string | null): HeldLog {
  const log = emptyLog(A, 1, cheapSeals(A).emptySum());
  for (let version = 1; version <= count; version += 1) put(log, `k${version}`, { version, body }, 0);
  return log;
}

test("bounds: an owner leaves a little of its log free, for its certificate and its word on its own life", () => {
  const full = logWith(LIMITS.entriesPerOwner - LIMITS.ownerReservedEntries, "x");
  assert.equal(hasRoomFor(full, "one more", "x"), false);
  assert.equal(hasRoomFor(full, "k7", "changed"), true, "what is there may change");
  assert.equal(hasRoomFor(full, "k7", null), true);
  assert.equal(hasRoomFor(full, LIFE_KEY, LIFE), true);
  const large = logWith(510, "x".repeat(LIMITS.recordBytes));
  assert.equal(hasRoomFor(large, "one more", "x".repeat(LIMITS.recordBytes)), false);
});

test("bounds: no key or body is written that peers would refuse the frame for", () => {
  const log = logWith(1, "x");
  assert.equal(hasRoomFor(log, "k".repeat(LIMITS.recordKeyBytes), "x".repeat(LIMITS.recordBytes)), true);
  assert.equal(hasRoomFor(log, "k".repeat(LIMITS.recordKeyBytes + 1), "x"), false);
  assert.equal(hasRoomFor(log, "k", "x".repeat(LIMITS.recordBytes + 1)), false);
});

test("bounds: deletions take no room from what is alive: the oldest are forgotten first", () => {
  const log = logWith(LIMITS.entriesPerOwner, null);
  assert.equal(hasRoomFor(log, "alive", "x"), true);
  put(log, "alive", { version: LIMITS.entriesPerOwner + 1, body: "x" }, 0);
  assert.ok(isPastBounds(log.sizeBytes, log.entryByKey.size));
  keepWithinBounds(log);
  assert.ok(!isPastBounds(log.sizeBytes, log.entryByKey.size));
  assert.equal(log.floor, 1);
  assert.ok(log.entryByKey.has("alive") && log.entryByKey.has("k2") && !log.entryByKey.has("k1"));
});

test("bounds: an owner that writes more than its log holds publishes what fits, and the rest is told", () => {
  const [owner, holder] = [storeOf(A), storeOf(B)];
  const many = Array.from({ length: LIMITS.entriesPerOwner + 5 }, (_, index) => [`k${index}`, "x"] as const);
  const { changed, leftOut } = owner.write(new Map(many), 0);
  assert.ok(changed && leftOut.length > 5 && leftOut.includes(`k${LIMITS.entriesPerOwner}`));
  const { entryByKey, incarnation, floor, version: to } = owner.logOf(A) ?? assert.fail();
  const writes = Array.from(entryByKey, ([key, entry]) => ({ key, ...entry }));
  const whole = { owner: A, incarnation, floor, from: 0, to, writes, seal: owner.sealOf(A) };
  assert.equal(applyTo(holder, whole), "applied", "and others take it");
});

test("bounds: a change that makes a log too large is refused whole, and told why; a smaller one is taken", () => {
  const store = storeOf(B);
  const many = LIMITS.entriesPerOwner;
  const kept = writesOf(A, 0, many);
  const head = { owner: A, incarnation: 1, floor: 0 };
  assert.equal(applyTo(store, sealed({ ...head, from: 0, to: many, writes: kept })), "applied");
  const more = sealed({ ...head, from: many, to: many + 2, writes: writesOf(A, many, many + 2) }, kept);
  const refused = store.apply(more, 1, 0);
  assert.ok(refused.kind === "refused");
  assert.match(refused.why, /40000 entries/);
  assert.equal(store.logOf(A)?.version, many);
  const swap: Write[] = [
    { key: "k2", version: many + 1, body: null },
    { key: "new", version: many + 2, body: "x" },
  ];
  assert.equal(applyTo(store, sealed({ ...head, from: many, to: many + 2, writes: swap }, kept)), "applied");
});

test("bounds: where the memory for logs is full, deletions and words on a life are taken all the same", () => {
  const store = storeOf(B);
  const body = "x".repeat(LIMITS.recordBytes);
  const bodies = (owner: string, count: number): Write[] =>
    writesOf(owner, 0, count).map((write) => (write.version === 1 ? write : { ...write, body }));
  const fill = (owner: string, count: number): string => {
    const head = { owner, incarnation: 1, floor: 0, from: 0, to: count };
    return applyTo(store, sealed({ ...head, writes: bodies(owner, count) }));
  };
  const owners = Array.from({ length: 9 }, (_, index) => idOf(`owner ${index}`));
  const outcomes = owners.map((owner) => fill(owner, 460));
  assert.deepEqual([outcomes[0], outcomes.at(-2), outcomes.at(-1)], ["applied", "applied", "refused"]);
  assert.equal(fill(owners.at(-1) ?? "", 400), "applied", "what is smaller still fits");
  const [owner = ""] = owners;
  const next = (...writes: readonly Omit<Write, "version">[]): string => {
    const numbered = writes.map((write, index) => ({ ...write, version: 461 + index }));
    const head = { owner, incarnation: 1, floor: 0, from: 460, to: 460 + writes.length };
    return applyTo(store, sealed({ ...head, writes: numbered }, bodies(owner, 460)));
  };
  const large = Array.from({ length: 20 }, (_, index) => ({ key: `large ${index}`, body }));
  assert.equal(next(...large), "refused");
  assert.equal(next({ key: "k2", body: null }, { key: "k3", body: "short" }), "applied");
  assert.ok(isLifeAlone(new Map([[LIFE_KEY, { body: LIFE }]])));
  assert.ok(!isLifeAlone(new Map([[LIFE_KEY, { body: "x".repeat(201) }]])));
});
