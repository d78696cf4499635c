// What a peer lacks: all of it, in frames a link can carry, the furthest behind first.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { encode } from "../../src/gossip/codec.ts";
import { missing, type Lacking } from "../../src/gossip/delta.ts";
import type { Delta, Digest, Head } from "../../src/gossip/message.ts";
import type { Store } from "../../src/gossip/store.ts";
import { partOf } from "../../src/gossip/sums.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { idOf } from "../support/gossip-network.ts";
import { headOf } from "../support/gossip-node.ts";
import { applyTo, storeOf } from "../support/sealed.ts";

const ME = idOf("me");
const YOU = idOf("you");

/** Who holds this and speaks of all owners. */
function lacking(digest: Digest, part: Partial<Lacking> = {}): Lacking {
  return { digest, scope: { kind: "all" }, recipient: null, ...part };
}

function framesOf(store: Store, lacks: Lacking = lacking([])): Delta[][] {
  return [...missing(store, lacks)];
}

/** A store that holds logs of several owners: each is a list of body sizes, a negative one deletes its key again. */
function holding(logs: readonly (readonly number[])[], fill = "x"): Store {
  const store = storeOf(ME, 1);
  store.write(new Map([["node", "me"]]), 0);
  logs.forEach((sizes, index) => {
    const owner = storeOf(idOf(`owner ${index}`), 1);
    sizes.forEach((size, key) => owner.write(new Map([[`k${key}`, fill.repeat(Math.abs(size))]]), 0));
    sizes.forEach((size, key) => size < 0 && owner.write(new Map([[`k${key}`, null]]), 0));
    for (const delta of framesOf(owner).flat()) applyTo(store, delta, 0);
  });
  return store;
}

/** How far a store's owners are held by who lacks this. */
function head(owner: number | string, part: Partial<Head>): Head {
  return headOf(typeof owner === "number" ? `owner ${owner}` : owner, part);
}

const logs = fc.array(fc.array(fc.integer({ min: -20_000, max: 30_000 }), { minLength: 1, maxLength: 20 }), {
  maxLength: 6,
});

test("delta: applying every frame in order brings a holder of nothing level", () => {
  fc.assert(
    fc.property(logs, (logs) => {
      const [from, to] = [holding(logs), storeOf(YOU, 1)];
      for (const delta of framesOf(from, lacking(to.digest(), { recipient: YOU })).flat())
        assert.equal(applyTo(to, delta, 0), "applied");
      for (const [owner, { version, entryByKey }] of from.logs) {
        assert.equal(to.logOf(owner)?.version, version);
        assert.deepEqual(to.logOf(owner)?.entryByKey, entryByKey);
      }
      assert.deepEqual(framesOf(from, lacking(to.digest(), { recipient: YOU })), []);
    }),
    { numRuns: 60 },
  );
});

test("delta: every frame is within the bound of a frame, whatever characters its bodies are of", () => {
  const fill = fc.constantFrom("x", '"', "\\", "\u0000", "\ud800", "€", "𝄞");
  fc.assert(
    fc.property(logs, fill, (logs, fill) => {
      const sizes = logs.map((sizes) => sizes.map((size) => Math.trunc(size / fill.length)));
      for (const deltas of framesOf(holding(sizes, fill))) {
        const { byteLength } = encode({ kind: "delta", deltas, until: 0, acknowledge: true });
        assert.ok(byteLength <= LIMITS.deltaBytes + 3 * LIMITS.recordBytes, `${byteLength} bytes`);
        assert.ok(byteLength <= LIMITS.frameBytes);
      }
    }),
    { numRuns: 60 },
  );
});

test("delta: frames are made one by one: what is not taken is not cut", () => {
  const store = holding(Array.from({ length: 10 }, () => Array.from({ length: 10 }, () => 30_000)));
  const frames = missing(store, lacking([]));
  const first = frames.next();
  assert.ok(first.done !== true && first.value.length < 10);
  frames.return(undefined);
  assert.ok(framesOf(store).length > 10);
});

test("delta: many small logs share frames, and a frame of heads alone is bounded too", () => {
  const frames = framesOf(holding(Array.from({ length: 2000 }, () => [1])));
  assert.ok(frames.length < 5, `${frames.length} frames`);
  for (const deltas of frames) {
    const { byteLength } = encode({ kind: "delta", deltas, until: null, acknowledge: false });
    assert.ok(byteLength <= LIMITS.deltaBytes + 1024);
  }
});

test("delta: a log is cut at a version boundary, and each part begins where the last one ended", () => {
  const store = holding([Array.from({ length: 30 }, () => 30_000)]);
  const deltas = framesOf(store)
    .flat()
    .filter(({ owner }) => owner !== ME);
  assert.ok(deltas.length > 3);
  deltas.forEach((delta, index) => {
    assert.equal(delta.from, index === 0 ? 0 : deltas[index - 1]?.to);
    assert.equal(delta.writes.at(-1)?.version, delta.to);
  });
  assert.equal(deltas.at(-1)?.to, 31);
  deltas.forEach(({ seal }, index) => assert.equal(seal !== null, index === deltas.length - 1));
});

test("delta: the owner on which the peer is furthest behind comes first", () => {
  const owners = framesOf(
    holding([
      [1, 1],
      [1, 1, 1, 1, 1, 1],
      [1, 1, 1],
    ]),
  )
    .flat()
    .map(({ owner }) => owner);
  assert.deepEqual(owners, [idOf("owner 1"), idOf("owner 2"), idOf("owner 0"), ME]);
});

test("delta: a peer gets only what it lacks, and never its own log", () => {
  const store = holding([[1, 1, 1], [1]]);
  const held = [head(0, { version: 3 }), head(1, { version: 2 }), head("me", { version: 2 })];
  assert.deepEqual(
    framesOf(store, lacking(held, { recipient: YOU }))
      .flat()
      .map(({ owner, from, to }) => ({ owner, from, to })),
    [{ owner: idOf("owner 0"), from: 3, to: 4 }],
  );
  const owners = framesOf(store, lacking([], { recipient: idOf("owner 0") }))
    .flat()
    .map(({ owner }) => owner);
  assert.deepEqual(owners.toSorted(), [idOf("owner 1"), ME].toSorted());
});

test("delta: of owners a digest does not speak of nothing is sent", () => {
  const store = holding([[1], [1], [1], [1]]);
  const owned = (lacks: Lacking): string[] =>
    framesOf(store, lacks)
      .flat()
      .map(({ owner }) => owner)
      .toSorted();
  const listed = [head(2, { incarnation: 0 }), head("stranger", {})];
  assert.deepEqual(owned(lacking(listed, { scope: { kind: "listed" } })), [idOf("owner 2")]);
  assert.deepEqual(owned(lacking([], { scope: { kind: "listed" } })), []);
  assert.deepEqual(owned(lacking([], { scope: { kind: "parts", parts: [] } })), []);
  const part = partOf(idOf("owner 1"));
  const expected = [...store.logs.keys()].filter((owner) => partOf(owner) === part).toSorted();
  assert.deepEqual(owned(lacking([], { scope: { kind: "parts", parts: [part] } })), expected);
  const level = [head(1, { version: 2 })];
  const others = expected.filter((owner) => owner !== idOf("owner 1"));
  assert.deepEqual(owned(lacking(level, { scope: { kind: "parts", parts: [part] } })), others);
});

test("delta: a peer that knows a higher incarnation, or a later version, lacks nothing", () => {
  const store = holding([[1, 1]]);
  const digest = (incarnation: number, version: number) => [
    head(0, { incarnation, version }),
    head("me", { version: 2 }),
  ];
  assert.deepEqual(framesOf(store, lacking(digest(2, 0))), []);
  assert.deepEqual(framesOf(store, lacking(digest(1, 5))), []);
  assert.equal(framesOf(store, lacking(digest(1, 1))).flat()[0]?.from, 1);
});

test("delta: who stands below the floor, or in an earlier life, gets the log whole", () => {
  const owner = storeOf(ME, 2);
  owner.write(new Map(["k1", "k2", "k3"].map((key) => [key, "x"])), 0);
  owner.write(new Map([["k1", null]]), 0);
  owner.collect(3 * 3_600_000);
  const fromOf = (incarnation: number, version: number): number | undefined =>
    framesOf(owner, lacking([head("me", { incarnation, version })])).flat()[0]?.from;
  assert.equal(owner.logOf(ME)?.floor, 5);
  assert.deepEqual([fromOf(2, 4), fromOf(2, 2), fromOf(1, 99), fromOf(0, 0)], [0, 0, 0, 0]);
  owner.write(new Map([["k4", "x"]]), 0);
  assert.deepEqual([fromOf(2, 5), fromOf(2, 4)], [5, 0]);
});

test("delta: a new life that has written nothing is told to nobody, and so replaces no earlier life", () => {
  const store = storeOf(ME, 7);
  assert.deepEqual(framesOf(store), []);
  assert.deepEqual(framesOf(store, lacking([head("me", { incarnation: 6, version: 3 })])), []);
  store.write(new Map([["x", "new"]]), 0);
  const [delta] = framesOf(store, lacking([head("me", { incarnation: 6, version: 3 })])).flat();
  assert.deepEqual([delta?.incarnation, delta?.from, delta?.to], [7, 0, 2]);
});
