// Rendezvous: clients are spread as the weights say, and few move when something changes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { clientPlace, evenScore, placeOf, weightedScore } from "../../src/base/rendezvous.ts";

const CLIENTS = Array.from({ length: 20_000 }, (_, at) => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`);

/** Whom each client belongs to. */
function owners(weights: Readonly<Record<string, number>>): readonly string[] {
  const members = Object.entries(weights).map(([id, weight]) => ({ id, weight, place: placeOf(id) }));
  return CLIENTS.map((client) => {
    const at = clientPlace(client);
    const scores = members.map(({ id, weight, place }) => ({ id, score: weightedScore(at, place, weight) }));
    return scores.reduce((best, one) => (one.score > best.score ? one : best)).id;
  });
}

function shareOf(owned: readonly string[], id: string): number {
  return owned.filter((one) => one === id).length / owned.length;
}

test("scores: clients of neighbouring addresses are spread as the weights say", () => {
  const owned = owners({ "web-1:80": 1, "web-2:80": 2, "web-3:80": 1, "web-4:80": 4 });
  const shares = ["web-1:80", "web-2:80", "web-3:80", "web-4:80"].map((id) => shareOf(owned, id));
  for (const [at, expected] of [0.125, 0.25, 0.125, 0.5].entries())
    assert.ok(Math.abs((shares[at] ?? 0) - expected) < 0.015, `${shares[at]} of ${expected}`);
});

test("scores: many upstreams with names that hardly differ get even shares", () => {
  const ids = Array.from({ length: 50 }, (_, at) => `web-${at}:8080`);
  const owned = owners(Object.fromEntries(ids.map((id) => [id, 1])));
  const counts = ids.map((id) => owned.filter((one) => one === id).length);
  // 400 each; the deviation of a fair draw is 20.
  assert.ok(Math.min(...counts) > 300 && Math.max(...counts) < 500, JSON.stringify(counts));
});

test("scores: when an upstream comes it takes clients, and no client moves between the others", () => {
  const before = owners({ a: 1, b: 1, c: 1 });
  const after = owners({ a: 1, b: 1, c: 1, d: 1 });
  const moved = after.filter((id, at) => id !== before[at]);
  assert.deepEqual([...new Set(moved)], ["d"]);
  assert.ok(Math.abs(moved.length / CLIENTS.length - 0.25) < 0.015, `${moved.length} moved`);
});

test("scores: a weight that rises takes clients for that upstream alone", () => {
  const before = owners({ a: 1, b: 1, c: 1 });
  const after = owners({ a: 1, b: 2, c: 1 });
  assert.deepEqual([...new Set(after.filter((id, at) => id !== before[at]))], ["b"]);
});

test("scores: with equal weights both kinds agree on the order", () => {
  const places = Array.from({ length: 50 }, (_, at) => placeOf(`r${at}`));
  for (const client of CLIENTS.slice(0, 50)) {
    const at = clientPlace(client);
    const by = (score: (place: (typeof places)[number]) => number): typeof places =>
      places.toSorted((one, other) => score(one) - score(other));
    assert.deepEqual(
      by((place) => weightedScore(at, place, 3)),
      by((place) => evenScore(at, place)),
    );
  }
});

test("scores: no client's are without end, whatever its hash", () => {
  const place = placeOf("a");
  for (let client = 0; client < 100_000; client += 1) {
    const score = weightedScore(Math.imul(client, 0x9e3779b1), place, 100);
    assert.ok(Number.isFinite(score) && score > 0, `${score}`);
  }
});
