// Ring: hosts stand apart, and a link is as well as its worse end.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { frameOf, pairsOf, ringOf } from "../../src/dashboard/ring.ts";

import { link, linksOf } from "./pictures.ts";

test("no two of sixteen hosts stand in the same place, and all within the picture", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), (count) => {
      const places = [...ringOf(Array.from({ length: count }, (_, at) => `host-${at}`)).values()];
      assert.equal(places.length, count);
      for (const [at, a] of places.entries()) {
        assert.ok(Math.abs(a.x) <= 112 && Math.abs(a.y) <= 88);
        for (const b of places.slice(at + 1)) assert.ok(Math.hypot(a.x - b.x, a.y - b.y) > 30);
      }
    }),
  );
});

test("the frame holds every host and its name, and no more", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), (count) => {
      const places = ringOf(Array.from({ length: count }, (_, at) => `host-${at}`));
      const [left = 0, top = 0, width = 0, height = 0] = frameOf(places).split(" ").map(Number);
      const tops = [...places.values()].map(({ y, labelY }) => Math.min(y - 10, labelY - 12));
      const bottoms = [...places.values()].map(({ y, labelY }) => Math.max(y + 10, labelY + 4));
      assert.ok(top <= Math.min(...tops) && top + height >= Math.max(...bottoms));
      assert.ok(Math.min(...tops) - top < 40 && top + height - Math.max(...bottoms) < 40);
      assert.ok(left < -112 && left + width > 112);
    }),
  );
});

test("a link that one end sees as broken is broken, and its time the longer one", () => {
  const links = [
    link("a", "b", { rttMs: 1 }),
    link("b", "a", { state: "broken", rttMs: null }),
    link("c", "a", { rttMs: 2 }),
    link("a", "c", { rttMs: 3 }),
  ];
  assert.deepEqual(pairsOf(links), [
    { a: "id-a", b: "id-c", state: "open", rttMs: 3 },
    { a: "id-a", b: "id-b", state: "broken", rttMs: 1 },
  ]);
});

test("links are of hosts, not of names: two hosts with one name have two links", () => {
  const links = [link("a", "b"), link("a", "b", { toId: "id-c", state: "broken" })];
  assert.equal(pairsOf(links).length, 2);
});

test("each pair is one line", () => {
  assert.equal(pairsOf(linksOf(["a", "b", "c", "d"])).length, 6);
});
