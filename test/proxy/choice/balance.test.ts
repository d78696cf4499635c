// Balance: fair turns of every kind, and the order in which one request sees its candidates.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom, type Random } from "../../../src/base/random.ts";
import { DEFAULT_TRAFFIC, type TrafficPolicy } from "../../../src/model/service.ts";
import { Active } from "../../../src/proxy/choice/active.ts";
import {
  canSpare,
  canSpareForAnswers,
  Chooser,
  hasAlternative,
  type Ask,
  type Bars,
} from "../../../src/proxy/choice/balance.ts";
import type { EjectionReason } from "../../../src/proxy/choice/outlier.ts";
import type { Pool, Upstream } from "../../../src/proxy/routes.ts";

import { pool, upstream } from "../fixtures.ts";

const BALANCES = ["round-robin", "least-connections", "p2c", "source-hash"] as const;
const anyBalance = fc.constantFrom(...BALANCES);

/** Bars by name; `failedAt` in the order in which the ejected have failed. */
function bars(ejected: readonly string[], tried: readonly string[] = []): Bars {
  const [ejectedIds, triedIds] = [ejected, tried].map((ids) => ids.map((id) => `${id}:1`));
  const ejections = {
    isEjected: (id: string) => ejectedIds?.includes(id) ?? false,
    failedAtMs: (id: string) => (ejectedIds?.indexOf(id) ?? -1) + 1,
    isHung: () => false,
    isEmpty: ejected.length === 0,
  };
  return { ejections, tried: new Set(triedIds) };
}

function asking(changes: Partial<Ask> = {}): Ask {
  return { ...bars([]), client: "192.0.2.1", active: new Active(), nowMs: 1_000_000, ...changes };
}

function eligible(...ids: readonly string[]): Pool {
  return pool(ids.map((id) => upstream(id, 1)));
}

/** A pool with a policy of its own. */
function policed(from: Pool, traffic: Partial<TrafficPolicy>): Pool {
  return { ...from, traffic: { ...DEFAULT_TRAFFIC, ...traffic } };
}

function weighted(weights: Readonly<Record<string, number>>, traffic: Partial<TrafficPolicy> = {}): Pool {
  return policed(pool(Object.entries(weights).map(([id, weight]) => upstream(id, 1, { weight }))), traffic);
}

function turns(chooser: Chooser, from: Pool, count: number, ask = asking()): readonly string[] {
  return Array.from({ length: count }, () => chooser.choose(from, ask)?.replica ?? "none");
}

function tally(chosen: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const id of chosen.toSorted()) counts[id] = (counts[id] ?? 0) + 1;
  return counts;
}

function names(count: number): readonly string[] {
  return Array.from({ length: count }, (_, at) => `r${String(at).padStart(4, "0")}`);
}

/** Chooses as clients do who stay: each choice is a use that lasts. */
function fill(chooser: Chooser, from: Pool, count: number): readonly string[] {
  const ask = asking();
  return Array.from({ length: count }, () => {
    const chosen = chooser.choose(from, ask) as Upstream;
    ask.active.use(chosen, () => undefined);
    return chosen.replica;
  });
}

test("round-robin: twelve requests over three replicas are four each, wherever it starts", () => {
  for (let seed = 0; seed < 40; seed += 1) {
    const counts = tally(turns(new Chooser(seededRandom(seed)), eligible("a", "b", "c"), 12));
    assert.deepEqual(counts, { a: 4, b: 4, c: 4 });
  }
});

test("round-robin: over a fixed set no replica is ever more than one turn ahead, in any stretch of turns", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.nat({ max: 40 }),
      fc.nat({ max: 60 }),
      fc.nat(),
      (size, skipped, count, seed) => {
        const ids = names(size);
        const all = turns(new Chooser(seededRandom(seed)), eligible(...ids), skipped + count);
        const counts = tally(all.slice(skipped));
        const each = ids.map((id) => counts[id] ?? 0);
        assert.ok(Math.max(...each) - Math.min(...each) <= 1, JSON.stringify(counts));
      },
    ),
  );
});

test("round-robin: shares are as the weights, to within a turn, in any stretch of turns", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 6 }),
      fc.nat({ max: 200 }),
      fc.nat({ max: 400 }),
      fc.nat(),
      (weights, skipped, count, seed) => {
        const ids = names(weights.length);
        const from = weighted(Object.fromEntries(ids.map((id, at) => [id, weights[at] ?? 1])));
        const counts = tally(turns(new Chooser(seededRandom(seed)), from, skipped + count).slice(skipped));
        // How far each has come for its weight; one turn of its own may be just begun or just done.
        const reach = ids.map((id, at) => {
          const [turnsOf, weight] = [counts[id] ?? 0, weights[at] ?? 1];
          return { least: (turnsOf - 1) / weight, most: (turnsOf + 1) / weight };
        });
        const least = Math.max(...reach.map((one) => one.least));
        const most = Math.min(...reach.map((one) => one.most));
        assert.ok(least <= most + 1e-9, JSON.stringify(counts));
      },
    ),
  );
});

test("round-robin: three to one is spread, never two turns of the light one within three", () => {
  for (let seed = 0; seed < 40; seed += 1) {
    const all = turns(new Chooser(seededRandom(seed)), weighted({ a: 3, b: 1 }), 400);
    assert.deepEqual(tally(all), { a: 300, b: 100 });
    assert.doesNotMatch(all.join(""), /ba{0,2}b|a{4}/);
  }
});

test("round-robin: choosers of different seeds start at different replicas", () => {
  const starts = names(40).map(
    (_, seed) => turns(new Chooser(seededRandom(seed)), eligible("a", "b", "c"), 1)[0],
  );
  assert.equal(new Set(starts).size, 3);
});

test("round-robin: whoever joins or leaves, those that stay are never more than one turn apart", () => {
  const ids = names(6);
  const stays = ["s1", "s2", "s3"];
  fc.assert(
    fc.property(fc.array(fc.subarray([...ids]), { maxLength: 40 }), fc.nat(), (tables, seed) => {
      const chooser = new Chooser(seededRandom(seed));
      const chosen = tables.flatMap((others) => turns(chooser, eligible(...others, ...stays), 2));
      const counts = tally(chosen);
      const each = stays.map((id) => counts[id] ?? 0);
      assert.ok(Math.max(...each) - Math.min(...each) <= 1, JSON.stringify(counts));
    }),
  );
});

test("round-robin: a replica that joins has its first turn within one round, and only one", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.nat({ max: 50 }), fc.nat(), (size, before, seed) => {
      const chooser = new Chooser(seededRandom(seed));
      turns(chooser, eligible(...names(size)), before);
      const round = turns(chooser, eligible(...names(size), "new"), size + 1);
      assert.equal(tally(round)["new"], 1);
    }),
  );
});

test("round-robin: one that was ejected for long does not make up for it when it is back", () => {
  const chooser = new Chooser(seededRandom(3));
  const from = eligible("a", "b", "c");
  assert.deepEqual(tally(turns(chooser, from, 100, asking(bars(["b"])))), { a: 50, c: 50 });
  assert.deepEqual(tally(turns(chooser, from, 12)), { a: 4, b: 4, c: 4 });
});

test("round-robin: equal tables that come between turns change nothing", () => {
  const [one, other] = [new Chooser(seededRandom(5)), new Chooser(seededRandom(5))];
  const from = eligible("a", "b", "c");
  const still = turns(one, from, 30);
  const renewed = Array.from({ length: 30 }, () => turns(other, eligible("a", "b", "c"), 1)[0]);
  assert.deepEqual(renewed, still);
});

test("least-connections: whoever carries less comes next, for its weight", () => {
  const chooser = new Chooser(seededRandom(1));
  assert.deepEqual(tally(fill(chooser, weighted({ a: 3, b: 1 }, { balance: "least-connections" }), 40)), {
    a: 30,
    b: 10,
  });
});

test("least-connections: a replica that holds on to what it has gets no more until others have as much", () => {
  const from = policed(eligible("a", "b", "c"), { balance: "least-connections" });
  const ask = asking();
  const held = from.tiers[0]?.[1] as Upstream;
  const uses = names(5).map(() => ask.active.use(held, () => undefined));
  assert.deepEqual(tally(turns(new Chooser(seededRandom(1)), from, 10, ask)), { a: 5, c: 5 });
  for (const use of uses) ask.active.release(use);
  assert.deepEqual(tally(turns(new Chooser(seededRandom(1)), from, 12, ask)), { a: 4, b: 4, c: 4 });
});

test("least-connections: uses are even to within one, whatever ends when", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.array(fc.nat({ max: 30 })),
      fc.nat(),
      (size, ends, seed) => {
        const from = policed(eligible(...names(size)), { balance: "least-connections" });
        const chooser = new Chooser(seededRandom(seed));
        const ask = asking();
        const members = from.tiers[0] ?? [];
        for (const end of ends) {
          const before = members.map((member) => ask.active.loadOf(member).count);
          const chosen = chooser.choose(from, ask) as Upstream;
          assert.equal(ask.active.loadOf(chosen).count, Math.min(...before));
          const use = ask.active.use(chosen, () => undefined);
          if (end % 3 === 0) ask.active.release(use);
        }
      },
    ),
  );
});

test("p2c: never the more loaded one of two, and idle replicas share by weight", () => {
  const chooser = new Chooser(seededRandom(1));
  const two = policed(eligible("a", "b"), { balance: "p2c" });
  assert.deepEqual(tally(fill(chooser, two, 20)), { a: 10, b: 10 });
  const counts = tally(turns(chooser, weighted({ a: 3, b: 1 }, { balance: "p2c" }), 4000));
  assert.ok(Math.abs((counts["b"] ?? 0) - 1000) < 150, JSON.stringify(counts));
});

test("p2c: a thousand uses over ten replicas are nearly even", () => {
  const counts = tally(
    fill(new Chooser(seededRandom(1)), policed(eligible(...names(10)), { balance: "p2c" }), 1000),
  );
  for (const count of Object.values(counts)) assert.ok(Math.abs(count - 100) <= 5, JSON.stringify(counts));
});

test("source-hash: a client stays with its replica, whichever host and whatever came before", () => {
  const from = policed(eligible(...names(9)), { balance: "source-hash" });
  fc.assert(
    fc.property(fc.ipV4(), fc.nat(), (client, seed) => {
      const chosen = turns(new Chooser(seededRandom(seed)), from, 5, asking({ client }));
      assert.equal(new Set([...chosen, ...turns(new Chooser(() => 0), from, 1, asking({ client }))]).size, 1);
    }),
  );
});

test("source-hash: when a replica is ejected, tried or gone only its own clients move", () => {
  const ids = names(5);
  const from = policed(eligible(...ids), { balance: "source-hash" });
  fc.assert(
    fc.property(fc.ipV4(), fc.constantFrom(...ids), (client, lost) => {
      const chooseIn = (some: Pool, but: Bars = bars([])): string | undefined =>
        turns(new Chooser(() => 0), some, 1, asking({ client, ...but }))[0];
      const own = chooseIn(from);
      const second = chooseIn(
        policed(eligible(...ids.filter((id) => id !== lost)), { balance: "source-hash" }),
      );
      assert.equal(chooseIn(from, bars([lost])), second);
      assert.equal(chooseIn(from, bars([], [lost])), second);
      if (own !== lost) assert.equal(second, own);
      else assert.notEqual(second, own);
    }),
  );
});

test("prefer: local: near replicas first, others when those are ejected or tried, and near ones again after", () => {
  const near = upstream("here", 1, { distance: 0 });
  const zone = upstream("zone", 1, { distance: 1 });
  const far = [upstream("far1", 1, { distance: 2 }), upstream("far2", 1, { distance: 2 })];
  const all = pool([near, zone, ...far]);
  const from = policed(all, { prefer: "local" });
  const chooser = new Chooser(seededRandom(1));
  assert.deepEqual(tally(turns(chooser, from, 10)), { here: 10 });
  assert.deepEqual(tally(turns(chooser, from, 10, asking(bars(["here"])))), { zone: 10 });
  assert.deepEqual(tally(turns(chooser, from, 10, asking(bars(["zone"], ["here"])))), { far1: 5, far2: 5 });
  assert.deepEqual(tally(turns(chooser, from, 10)), { here: 10 });
  assert.deepEqual(tally(turns(chooser, policed(all, {}), 12)), { far1: 3, far2: 3, here: 3, zone: 3 });
});

test("prefer: local: a far eligible replica comes before a near one that drains", () => {
  const from = pool([upstream("far", 1, { distance: 2 })], [upstream("near", 1, { distance: 0 })]);
  assert.deepEqual(turns(new Chooser(() => 0), policed(from, { prefer: "local" }), 2), ["far", "far"]);
});

test("slow start: a new replica's share rises from about a tenth to its full one", () => {
  const from = policed(pool([upstream("a", 1), upstream("b", 1, { sinceMs: 1_000_000 })]), {
    slowStartMs: 10_000,
  });
  const shareAt = (ageMs: number): number => {
    const ask = asking({ nowMs: 1_000_000 + ageMs });
    return (tally(turns(new Chooser(seededRandom(1)), from, 1100, ask))["b"] ?? 0) / 1100;
  };
  const expected = [0.1, 0.325, 0.55, 0.775, 1, 1].map((share) => share / (1 + share));
  for (const [at, ageMs] of [0, 2500, 5000, 7500, 10_000, 60_000].entries()) {
    const share = shareAt(ageMs);
    assert.ok(Math.abs(share - (expected[at] ?? 0)) < 0.01, `${share} at ${ageMs} ms`);
  }
});

test("slow start: where all are as young none is spared", () => {
  for (const balance of ["round-robin", "least-connections"] as const) {
    const members = ["a", "b", "c"].map((id) => upstream(id, 1, { sinceMs: 1_000_000 }));
    const from = policed(pool(members), { slowStartMs: 10_000, balance });
    assert.deepEqual(
      tally(fill(new Chooser(seededRandom(1)), from, 300)),
      { a: 100, b: 100, c: 100 },
      balance,
    );
  }
});

test("slow start: a clock that is behind the replica's start does no harm", () => {
  const from = policed(pool([upstream("a", 1), upstream("b", 1, { sinceMs: 9_000_000 })]), {
    slowStartMs: 1000,
  });
  assert.equal(tally(turns(new Chooser(seededRandom(1)), from, 110))["b"], 10);
});

test("choose: one request sees each candidate once: by tier, usable ones, then whoever failed longest ago", () => {
  for (const balance of BALANCES) {
    const all = policed(
      pool([upstream("a", 1), upstream("b", 1)], [upstream("c", 1)], [upstream("d", 1), upstream("e", 1)]),
      { balance },
    );
    const chooser = new Chooser(() => 0);
    const seen: string[] = [];
    for (let count = 0; count < 6; count += 1) {
      const chosen = chooser.choose(all, asking(bars(["e", "c", "d", "a"], seen)));
      seen.push(chosen?.replica ?? "none");
    }
    assert.deepEqual(seen, ["b", "a", "c", "e", "d", "none"], balance);
  }
});

test("choose: an eligible replica that is ejected comes before one that drains or is unready", () => {
  const all = pool([upstream("a", 1)], [upstream("b", 1)], [upstream("c", 1)]);
  const [first, later] = [bars(["a"]), bars(["a"], ["a"])];
  assert.equal(new Chooser(() => 0).choose(all, asking(first))?.replica, "a");
  assert.equal(new Chooser(() => 0).choose(all, asking(later))?.replica, "b");
});

test("choose: a replica that is known to be hung comes after all others", () => {
  const all = pool([upstream("a", 1), upstream("b", 1)], [upstream("c", 1)], [upstream("d", 1)]);
  const chooser = new Chooser(() => 0);
  const seen: string[] = [];
  for (let count = 0; count < 5; count += 1) {
    const { tried, ejections } = bars(["a", "b", "d"], seen);
    const isHung = (id: string): boolean => id === "a:1";
    const chosen = chooser.choose(all, asking({ tried, ejections: { ...ejections, isHung } }));
    seen.push(chosen?.replica ?? "none");
  }
  assert.deepEqual(seen, ["b", "c", "d", "a", "none"]);
});

test("choose: never nobody while one is untried, nor a worse tier, nor an ejected one while a usable one is", () => {
  const ids = ["a", "b", "c", "d", "e", "f"];
  const some = fc.subarray(ids);
  fc.assert(
    fc.property(
      fc.record({ balance: anyBalance, prefer: fc.constantFrom("any", "local") }),
      fc.tuple(some, some),
      fc.tuple(some, some),
      fc.nat(),
      (policy, [first, second], [ejected, tried], seed) => {
        const rest = second.filter((id) => !first.includes(id));
        const [one, other] = [first, rest].map((tier) =>
          tier.map((id, at) =>
            upstream(id, 1, { weight: 1 + (seed % 7) * at, distance: at % 2 === 0 ? 0 : 2 }),
          ),
        );
        const from = policed(pool(one ?? [], other ?? []), policy);
        const untried = [...first, ...rest].filter((id) => !tried.includes(id));
        const usable = untried.filter((id) => !ejected.includes(id));
        const random: Random = seededRandom(seed);
        const chosen = new Chooser(random).choose(from, asking(bars(ejected, tried)))?.replica ?? null;
        if (untried.length === 0) {
          assert.equal(chosen, null);
          return;
        }
        const best = untried.some((id) => first.includes(id)) ? first : rest;
        assert.ok(untried.includes(chosen ?? "") && best.includes(chosen ?? ""));
        if (usable.some((id) => best.includes(id))) assert.ok(usable.includes(chosen ?? ""));
      },
    ),
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

test("canSpare: never the last eligible one that is not ejected, nor one that is in no tier", () => {
  const all = pool([upstream("a", 1), upstream("b", 1)], [upstream("c", 1)], [upstream("d", 1)]);
  const spares = (id: string, ejected: readonly string[]): boolean =>
    canSpare(all, `${id}:1`, bars(ejected).ejections);
  assert.equal(spares("a", []), true);
  assert.equal(spares("a", ["b"]), false);
  assert.equal(spares("c", ["a"]), true, "it drains");
  assert.equal(spares("d", ["a"]), true, "it is unready");
  assert.equal(spares("gone", []), false);
});

test("canSpareForAnswers: at most half of those of a tier that can be reached", () => {
  const all = pool(["a", "b", "c", "d", "e"].map((id) => upstream(id, 1)));
  const spares = (id: string, reasons: Readonly<Record<string, EjectionReason>>): boolean =>
    canSpareForAnswers(all, `${id}:1`, { reasonOf: (of) => reasons[of.slice(0, 1)] ?? null });
  assert.equal(spares("a", {}), true);
  assert.equal(spares("a", { b: "errors" }), true);
  assert.equal(spares("a", { b: "errors", c: "broken" }), false, "three of five");
  assert.equal(spares("a", { b: "connect", c: "late", d: "connect" }), true, "one of two");
  assert.equal(spares("a", { b: "connect", c: "late", d: "errors" }), false, "two of three");
  assert.equal(spares("gone", {}), false);
});

test("source-hash: all ports of a service lead a client to the same replica", () => {
  const ids = names(7);
  const [web, admin] = [80, 9000].map((port) =>
    policed(pool(ids.map((id) => upstream(id, port))), { balance: "source-hash" }),
  );
  for (let at = 0; at < 50; at += 1) {
    const ask = asking({ client: `192.0.2.${at}` });
    const [one, other] = [web, admin].map(
      (from) => new Chooser(() => 0).choose(from ?? pool(), ask)?.replica,
    );
    assert.equal(one, other);
  }
});
