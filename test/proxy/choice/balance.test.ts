// Balance: fair turns, and the order in which one request sees its candidates.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../../src/base/random.ts";
import { hasAlternative, Rotation, type Bars } from "../../../src/proxy/choice/balance.ts";
import type { Pool } from "../../../src/proxy/routes.ts";

import { pool, upstream } from "../fixtures.ts";

const NOTHING: Bars = { isEjected: () => false, tried: new Set() };

function eligible(...ids: readonly string[]): Pool {
  return pool(ids.map((id) => upstream(id, 1)));
}

function bars(ejected: readonly string[], tried: readonly string[] = []): Bars {
  const [ejectedIds, triedIds] = [ejected, tried].map((ids) => new Set(ids.map((id) => `${id}:1`)));
  return { isEjected: (id) => ejectedIds?.has(id) ?? false, tried: triedIds ?? new Set() };
}

function turns(rotation: Rotation, from: Pool, count: number, with_: Bars = NOTHING): readonly string[] {
  return Array.from({ length: count }, () => rotation.choose(from, with_)?.replica ?? "none");
}

function tally(chosen: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const id of chosen) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

test("choose: twelve requests over three replicas are four each", () => {
  const counts = tally(turns(new Rotation(seededRandom(1)), eligible("a", "b", "c"), 12));
  assert.deepEqual([...counts.values()], [4, 4, 4]);
});

test("choose: over a fixed set no replica is ever more than one turn ahead of another, wherever it starts", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 0, max: 60 }),
      fc.nat(),
      (size, count, seed) => {
        const ids = Array.from({ length: size }, (_, at) => `r${at}`);
        const counts = tally(turns(new Rotation(seededRandom(seed)), eligible(...ids), count));
        const each = ids.map((id) => counts.get(id) ?? 0);
        assert.ok(Math.max(...each) - Math.min(...each) <= 1);
      },
    ),
  );
});

test("choose: rotations of different seeds start at different replicas", () => {
  const starts = new Set(
    Array.from(
      { length: 40 },
      (_, seed) => turns(new Rotation(seededRandom(seed)), eligible("a", "b", "c"), 1)[0],
    ),
  );
  assert.equal(starts.size, 3);
});

test("choose: a replica that joins or leaves moves nobody else's turn", () => {
  const rotation = new Rotation(() => 0);
  assert.deepEqual(turns(rotation, eligible("a", "c", "e"), 2), ["a", "c"]);
  assert.deepEqual(turns(rotation, eligible("a", "c", "d", "e"), 2), ["d", "e"]);
  assert.deepEqual(turns(rotation, eligible("b", "c", "d"), 3), ["b", "c", "d"]);
});

test("choose: an ejected replica is passed over while another is there, and the rest stay fair", () => {
  const chosen = turns(new Rotation(seededRandom(3)), eligible("a", "b", "c"), 10, bars(["b"]));
  assert.deepEqual(
    [...tally(chosen)].toSorted(([one], [other]) => (one < other ? -1 : 1)),
    [
      ["a", 5],
      ["c", 5],
    ],
  );
});

test("choose: one request sees every candidate once: usable ones tier by tier, then the ejected, then none", () => {
  const all = pool([upstream("a", 1), upstream("b", 1)], [upstream("c", 1)], [upstream("d", 1)]);
  const rotation = new Rotation(() => 0);
  const seen: string[] = [];
  for (let count = 0; count < 5; count += 1) {
    const chosen = rotation.choose(all, bars(["a", "c"], seen));
    seen.push(chosen?.replica ?? "none");
  }
  assert.deepEqual(seen, ["b", "d", "a", "c", "none"]);
});

test("choose: never nobody while somebody is untried, never an ejected one while a usable one is untried", () => {
  const ids = ["a", "b", "c", "d", "e", "f"];
  const some = fc.subarray(ids);
  fc.assert(
    fc.property(fc.tuple(some, some), some, some, fc.nat(), ([first, second], ejected, tried, seed) => {
      const rest = second.filter((id) => !first.includes(id));
      const from = pool(
        first.map((id) => upstream(id, 1)),
        rest.map((id) => upstream(id, 1)),
      );
      const untried = [...first, ...rest].filter((id) => !tried.includes(id));
      const usable = untried.filter((id) => !ejected.includes(id));
      const chosen = new Rotation(seededRandom(seed)).choose(from, bars(ejected, tried))?.replica ?? null;
      if (untried.length === 0) assert.equal(chosen, null);
      else if (usable.length === 0) assert.ok(untried.includes(chosen ?? ""));
      else {
        assert.ok(usable.includes(chosen ?? ""));
        const better = usable.some((id) => first.includes(id));
        assert.equal(first.includes(chosen ?? ""), better);
      }
    }),
  );
});

test("hasAlternative: only another usable replica of the same tier is worth leaving a slow one for", () => {
  const all = pool([upstream("a", 1), upstream("b", 1)], [upstream("c", 1)]);
  assert.equal(hasAlternative(all, "a:1", bars([])), true);
  assert.equal(hasAlternative(all, "a:1", bars(["b"])), false);
  assert.equal(hasAlternative(all, "a:1", bars([], ["b"])), false);
  assert.equal(hasAlternative(all, "c:1", bars([])), false, "it drains");
  assert.equal(hasAlternative(pool([], [], [upstream("a", 1)]), "a:1", bars([])), false);
});

test("hasAlternative: a replica whose host fell silent, or that is gone, is left for a better one", () => {
  const silent = pool([upstream("b", 1)], [], [upstream("a", 1)]);
  assert.equal(hasAlternative(silent, "a:1", bars([])), true);
  assert.equal(hasAlternative(silent, "a:1", bars(["b"])), false);
  assert.equal(hasAlternative(silent, "b:1", bars([])), false, "the other is worse");
  const gone = pool([upstream("b", 1)]);
  assert.equal(hasAlternative(gone, "a:1", bars([])), true);
  assert.equal(hasAlternative(gone, "a:1", bars([], ["b"])), false);
  assert.equal(hasAlternative(pool([]), "a:1", bars([])), false);
});
