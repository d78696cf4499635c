// What a peer lacks: all of it, in frames a link can carry, the furthest behind first.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { missing } from "../../src/gossip/delta.ts";
import { encode } from "../../src/gossip/message.ts";
import { Store } from "../../src/gossip/store.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { idOf } from "../support/gossip-network.ts";

const ME = idOf("me");

/** A store that holds logs of several owners: each is a list of body sizes, a negative one deletes its key again. */
function holding(logs: readonly (readonly number[])[], fill = "x"): Store {
  const store = new Store(ME, 1);
  logs.forEach((sizes, index) => {
    const owner = new Store(idOf(`owner ${index}`), 1);
    sizes.forEach((size, key) => owner.write(new Map([[`k${key}`, fill.repeat(Math.abs(size))]]), 0));
    sizes.forEach((size, key) => size < 0 && owner.write(new Map([[`k${key}`, null]]), 0));
    for (const delta of missing(owner.logs, [], "").flat()) store.apply(delta, 0);
  });
  return store;
}

const logs = fc.array(fc.array(fc.integer({ min: -20_000, max: 30_000 }), { maxLength: 20 }), {
  maxLength: 6,
});

test("delta: applying every frame in order brings a holder of nothing level", () => {
  fc.assert(
    fc.property(logs, (logs) => {
      const [from, to] = [holding(logs), new Store(idOf("you"), 1)];
      const outcomes = missing(from.logs, to.digest(), idOf("you"))
        .flat()
        .map((delta) => to.apply(delta, 0));
      assert.ok(
        outcomes.every((outcome) => outcome === "applied"),
        outcomes.join(" "),
      );
      for (const [owner, log] of from.logs) assert.deepEqual(to.logOf(owner), log);
      assert.deepEqual(missing(from.logs, to.digest(), idOf("you")), []);
    }),
    { numRuns: 60 },
  );
});

test("delta: every frame is within the bound of a frame, whatever characters its bodies are of", () => {
  const fill = fc.constantFrom("x", '"', "\\", "\u0000", "\ud800", "€", "𝄞");
  fc.assert(
    fc.property(logs, fill, (logs, fill) => {
      const store = holding(
        logs.map((sizes) => sizes.map((size) => Math.trunc(size / fill.length))),
        fill,
      );
      for (const deltas of missing(store.logs, [], "")) {
        const { byteLength } = encode({ kind: "delta", deltas });
        assert.ok(byteLength <= LIMITS.deltaBytes + LIMITS.recordBytes, `${byteLength} bytes`);
      }
    }),
    { numRuns: 60 },
  );
});

test("delta: many small logs share frames, and a frame of heads alone is bounded too", () => {
  const store = holding(Array.from({ length: 2000 }, () => [1]));
  const frames = missing(store.logs, [], "");
  assert.ok(frames.length < 5, `${frames.length} frames`);
  for (const deltas of frames)
    assert.ok(encode({ kind: "delta", deltas }).byteLength <= LIMITS.deltaBytes + 1024);
});

test("delta: a log is cut at a version boundary, and each part begins where the last one ended", () => {
  const store = holding([Array.from({ length: 30 }, () => 30_000)]);
  const deltas = missing(store.logs, [], "")
    .flat()
    .filter(({ owner }) => owner !== ME);
  assert.ok(deltas.length > 3);
  deltas.forEach((delta, index) => {
    assert.equal(delta.from, index === 0 ? 0 : deltas[index - 1]?.to);
    assert.equal(delta.writes.at(-1)?.version, delta.to);
  });
  assert.equal(deltas.at(-1)?.to, 30);
});

test("delta: the owner on which the peer is furthest behind comes first", () => {
  const store = holding([[1], [1, 1, 1, 1, 1, 1], [1, 1, 1]]);
  const owners = missing(store.logs, [], "")
    .flat()
    .map(({ owner }) => owner);
  assert.deepEqual(owners, [idOf("owner 1"), idOf("owner 2"), idOf("owner 0"), ME]);
});

test("delta: a peer gets only what it lacks, and never its own log", () => {
  const store = holding([[1, 1, 1], [1]]);
  const held = [
    { owner: idOf("owner 0"), incarnation: 1, version: 2 },
    { owner: idOf("owner 1"), incarnation: 1, version: 1 },
    { owner: ME, incarnation: 1, version: 0 },
  ];
  const deltas = missing(store.logs, held, idOf("you")).flat();
  assert.deepEqual(
    deltas.map(({ owner, from, to }) => ({ owner, from, to })),
    [{ owner: idOf("owner 0"), from: 2, to: 3 }],
  );
  assert.deepEqual(
    missing(store.logs, [], idOf("owner 0"))
      .flat()
      .map(({ owner }) => owner),
    [idOf("owner 1"), ME],
  );
});

test("delta: a peer that knows a higher incarnation, or a later version, lacks nothing", () => {
  const store = holding([[1, 1]]);
  const digest = (incarnation: number, version: number) => [
    { owner: idOf("owner 0"), incarnation, version },
    { owner: ME, incarnation: 1, version: 0 },
  ];
  assert.deepEqual(missing(store.logs, digest(2, 0), ""), []);
  assert.deepEqual(missing(store.logs, digest(1, 5), ""), []);
});

test("delta: a new life that has written nothing is told to who holds nothing, and replaces no earlier life", () => {
  const store = new Store(ME, 7);
  const stranger = new Store(idOf("stranger"), 1);
  for (const delta of missing(store.logs, stranger.digest(), "").flat()) stranger.apply(delta, 0);
  assert.equal(stranger.logOf(ME)?.incarnation, 7);
  assert.deepEqual(missing(store.logs, stranger.digest(), ""), []);
  const peer = new Store(idOf("you"), 1);
  const before = new Store(ME, 6);
  before.write(new Map([["x", "old"]]), 0);
  for (const delta of missing(before.logs, [], "").flat()) peer.apply(delta, 0);
  assert.deepEqual(missing(store.logs, peer.digest(), ""), []);
  store.write(new Map([["x", "new"]]), 0);
  for (const delta of missing(store.logs, peer.digest(), "").flat()) peer.apply(delta, 0);
  assert.equal(peer.logOf(ME)?.incarnation, 7);
});
