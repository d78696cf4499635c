// VIPs without a leader: equal claims give equal outcomes, and a service keeps its address.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { contains, ipv4ToNumber, numberToIpv4, type Prefix } from "../../src/base/ip.ts";
import type { Claim } from "../../src/model/kept.ts";
import {
  assign as assignPublished,
  candidate,
  claimsFor as claimsForKnowing,
  lowBand,
  usableCount,
  vipProblems,
  type Assignment,
  type PublishedClaim,
} from "../../src/view/vip.ts";

import { POOL, prefix } from "./cluster.ts";

const NONE = new Map<string, Claim>();
const TINY = prefix("10.96.0.0/28");
const TINY_KEYS = Array.from({ length: 12 }, (_, index) => `default/s${index}`);

const key = fc.constantFrom("default/a", "default/b", "default/c", "other/a");
const claim: fc.Arbitrary<Claim> = fc.record({
  key,
  address: fc.constantFrom("10.96.1.1", "10.96.1.2", "10.96.1.3", "10.96.9.9", "192.0.2.1", "192.0.2.2"),
  order: fc.nat({ max: 3 }),
});

const published: fc.Arbitrary<PublishedClaim> = fc
  .tuple(claim, fc.boolean())
  .map(([claim, settled]) => ({ ...claim, settled }));

/** All that an assignment says, in an order that does not depend on that of the claims. */
function sorted(assignment: Assignment): unknown {
  return Object.entries(assignment).map(([name, value]: [string, unknown]) => {
    const isList = value instanceof Map || value instanceof Set;
    return [
      name,
      isList ? Array.from(value as Iterable<unknown>, (one) => JSON.stringify(one)).toSorted() : value,
    ];
  });
}

function addresses({ claimByKey }: Assignment): Record<string, string> {
  return Object.fromEntries(Array.from(claimByKey, ([key, { address }]) => [key, address]));
}

const claimed = (key: string, address: string, order: number): Claim => ({ key, address, order });

/** Settles claims of which everybody has heard. */
function assign(claims: Iterable<Claim>, pool: Prefix): Assignment {
  const published = Array.from(claims, (claim): PublishedClaim => ({ ...claim, settled: true }));
  return assignPublished(published, pool);
}

/** What a node claims that has not seen anything let go. */
function claimsFor(
  keys: Iterable<string>,
  pool: Prefix,
  assignment: Assignment,
  remembered: ReadonlyMap<string, Claim>,
): Map<string, Claim> {
  return claimsForKnowing(keys, pool, assignment, { remembered, releasedAtMs: () => null });
}

test("vip: equal claims in any order give equal outcomes, reasons included", () => {
  const shuffledPair = fc
    .array(published, { maxLength: 12 })
    .chain((claims) =>
      fc.tuple(fc.constant(claims), fc.shuffledSubarray(claims, { minLength: claims.length })),
    );
  fc.assert(
    fc.property(shuffledPair, ([claims, shuffled]) => {
      const [one, other] = [assignPublished(claims, POOL), assignPublished(shuffled, POOL)];
      assert.deepEqual(sorted(one), sorted(other));
    }),
    { numRuns: 500 },
  );
});

test("vip: no address belongs to two services, every granted one was claimed and lies in the pool", () => {
  fc.assert(
    fc.property(fc.array(claim, { maxLength: 12 }), (claims) => {
      const { claimByKey, lostByKey } = assign(claims, POOL);
      const granted = [...claimByKey.values()];
      assert.equal(new Set(granted.map(({ address }) => address)).size, granted.length);
      for (const one of granted) {
        assert.ok(contains(POOL, one.address));
        assert.ok(claims.some(({ key, address }) => key === one.key && address === one.address));
      }
      for (const { key } of claims)
        assert.equal(claimByKey.has(key) !== lostByKey.has(key), true, "granted or told why not");
    }),
    { numRuns: 300 },
  );
});

test("vip: of two addresses of one service the lower (order, address) wins", () => {
  const win = (one: Claim, other: Claim) => addresses(assign([one, other], POOL))["default/a"];
  assert.equal(win(claimed("default/a", "10.96.1.9", 1), claimed("default/a", "10.96.1.1", 2)), "10.96.1.9");
  assert.equal(win(claimed("default/a", "10.96.1.2", 1), claimed("default/a", "10.96.1.1", 1)), "10.96.1.1");
});

test("vip: of two services on one address the lower (order, key) wins", () => {
  const older = assign([claimed("default/b", "10.96.1.1", 1), claimed("default/a", "10.96.1.1", 2)], POOL);
  assert.deepEqual(addresses(older), { "default/b": "10.96.1.1" });
  const even = assign([claimed("default/b", "10.96.1.1", 1), claimed("default/a", "10.96.1.1", 1)], POOL);
  assert.deepEqual(addresses(even), { "default/a": "10.96.1.1" });
});

test("vip: a claim that lost, of a node that is dead and cannot take it back, does not bar a later one", () => {
  const claims = [
    claimed("default/a", "10.96.1.1", 1),
    claimed("default/b", "10.96.1.1", 1),
    claimed("default/b", "10.96.1.2", 5),
  ];
  assert.deepEqual(addresses(assign(claims, POOL)), { "default/a": "10.96.1.1", "default/b": "10.96.1.2" });
});

test("vip: a claim outside this host's pool is told, and does not bar one inside", () => {
  const outside = claimed("default/a", "192.0.2.1", 1);
  const alone = assign([outside], POOL);
  assert.match(
    alone.lostByKey.get("default/a") ?? "",
    /192\.0\.2\.1 lies outside this host's pool 10\.96\.0\.0\/16/,
  );
  const both = assign([outside, claimed("default/a", "10.96.1.1", 7)], POOL);
  assert.deepEqual(addresses(both), { "default/a": "10.96.1.1" });
  assert.equal(both.lostByKey.size, 0);
});

test("vip: a conflict is told on both sides, and on neither once the loser has moved", () => {
  const winner = claimed("default/b", "10.96.1.1", 1);
  const losers = [claimed("default/a", "10.96.1.1", 2), claimed("default/c", "10.96.1.1", 3)];
  const problems = (claims: readonly Claim[], key: string) => vipProblems(key, assign(claims, POOL), POOL);
  const both = [winner, ...losers];
  assert.deepEqual(problems(both, "default/a"), [
    "vip 10.96.1.1 belongs to default/b, which claimed it first",
  ]);
  assert.deepEqual(problems(both, "default/b"), [
    "vip 10.96.1.1 is claimed for default/a and 1 more, too, which has to move",
  ]);
  const moved = [...both, claimed("default/a", "10.96.1.2", 4), claimed("default/c", "10.96.1.3", 4)];
  for (const { key } of both) assert.deepEqual(problems(moved, key), []);
});

test("vip: a service is settled when any claimant of its address says so, and not by a claim that lost", () => {
  const at = (address: string, order: number, settled: boolean): PublishedClaim => {
    return { ...claimed("default/a", address, order), settled };
  };
  const settled = (...claims: PublishedClaim[]) => [...assignPublished(claims, POOL).settledKeys];
  assert.deepEqual(settled(at("10.96.1.1", 1, false)), []);
  assert.deepEqual(settled(at("10.96.1.1", 1, false), at("10.96.1.1", 1, true)), ["default/a"]);
  assert.deepEqual(settled(at("10.96.1.1", 1, false), at("10.96.1.1", 2, true)), ["default/a"]);
  assert.deepEqual(settled(at("10.96.1.1", 1, false), at("10.96.1.2", 2, true)), []);
});

test("vip: candidates lie in the pool, never in its low band, never at its last address", () => {
  const pool = fc.integer({ min: 8, max: 30 }).map((bits) => prefix(`10.0.0.0/${bits}`));
  fc.assert(
    fc.property(pool, fc.string(), fc.nat({ max: 5000 }), (pool, key, index) => {
      const address = candidate(pool, key, index);
      const offset = ipv4ToNumber(address) - pool.base;
      assert.ok(offset >= lowBand(pool) && offset < pool.size - 1, `${address} of ${pool.text}`);
      assert.equal(candidate(pool, key, index), address);
    }),
    { numRuns: 300 },
  );
});

test("vip: the low band is a sixteenth of the pool, from 16 to 256 addresses, and never more than half", () => {
  const bands = [12, 16, 20, 24, 26, 28, 30].map((bits) => lowBand(prefix(`10.0.0.0/${bits}`)));
  assert.deepEqual(bands, [256, 256, 256, 16, 16, 8, 2]);
});

test("vip: pools of one or two addresses still have a candidate, inside", () => {
  for (const pool of [prefix("10.0.0.8/31"), prefix("10.0.0.8/32")])
    assert.ok(contains(pool, candidate(pool, "default/web", 3)), pool.text);
});

test("vip: hosts that never met choose alike, and spread their services over the pool", () => {
  const keys = Array.from({ length: 500 }, (_, index) => `default/s${index}`);
  const [one, other] = [keys, keys.toReversed()].map((keys) => claimsFor(keys, POOL, assign([], POOL), NONE));
  assert.deepEqual(new Map([...(one ?? [])].toSorted(byKey)), new Map([...(other ?? [])].toSorted(byKey)));
  assert.equal(new Set(Array.from(one?.values() ?? [], ({ address }) => address)).size, 500);
});

test("vip: whoever claims next copies a service's claim, order included, whatever he remembers", () => {
  const held = claimed("default/a", "10.96.7.7", 3);
  const remembered = new Map([["default/a", claimed("default/a", "10.96.8.8", 1)]]);
  assert.deepEqual(claimsFor(["default/a"], POOL, assign([held], POOL), remembered).get("default/a"), held);
});

test("vip: a first claim takes an order past all that are held", () => {
  const assignment = assign(
    [claimed("default/a", "10.96.7.7", 3), claimed("default/b", "10.96.7.8", 9)],
    POOL,
  );
  assert.equal(claimsFor(["default/c"], POOL, assignment, NONE).get("default/c")?.order, 10);
});

test("vip: a service that returns gets the address it had, by what is remembered or by the hash alone", () => {
  const first = claimsFor(["default/web"], POOL, assign([], POOL), NONE);
  const again = claimsFor(["default/web"], POOL, assign([], POOL), NONE);
  assert.deepEqual(again, first);
  const remembered = new Map([["default/web", claimed("default/web", "10.96.200.200", 4)]]);
  assert.deepEqual(
    claimsFor(["default/web"], POOL, assign([], POOL), remembered).get("default/web"),
    remembered.get("default/web"),
  );
});

test("vip: a remembered address that another has by now, or that left the pool, is not taken", () => {
  const taken = assign([claimed("default/other", "10.96.200.200", 9)], POOL);
  for (const address of ["10.96.200.200", "192.0.2.1"]) {
    const remembered = new Map([["default/web", claimed("default/web", address, 1)]]);
    const claim = claimsFor(["default/web"], POOL, taken, remembered).get("default/web");
    assert.ok(claim !== undefined && claim.address !== address && contains(POOL, claim.address));
  }
});

test("vip: a service that lost moves to an address nobody has, and stays there", () => {
  const all = [claimed("default/a", "10.96.1.1", 1), claimed("default/b", "10.96.1.1", 2)];
  const moved = claimsFor(
    ["default/b"],
    POOL,
    assign(all, POOL),
    new Map([["default/b", all[1] as Claim]]),
  ).get("default/b");
  assert.ok(moved !== undefined && moved.address !== "10.96.1.1");
  const settled = assign([all[0] as Claim, moved], POOL);
  assert.deepEqual(claimsFor(["default/b"], POOL, settled, NONE).get("default/b"), moved);
});

test("vip: a pool that is used up leaves the services past it without an address, and takes none twice", () => {
  const claims = claimsFor(TINY_KEYS, TINY, assign([], TINY), NONE);
  // Sixteen addresses: a low band of eight, and the last one.
  assert.equal(claims.size, 7);
  assert.equal(new Set(Array.from(claims.values(), ({ address }) => address)).size, 7);
  const full = assign(claims.values(), TINY);
  assert.equal(full.claimByKey.size, 7);
  assert.equal(claimsFor(["default/late"], TINY, full, NONE).size, 0);
  const freed = assign([...claims.values()].slice(1), TINY);
  assert.equal(claimsFor(["default/late"], TINY, freed, NONE).size, 1);
});

test("vip: nodes that claim from each other's outcome agree after a few rounds, whatever they claimed before", () => {
  const before = fc.array(fc.array(claim, { maxLength: 4 }), { minLength: 2, maxLength: 4 });
  fc.assert(
    fc.property(before, (before) => {
      let published = before.map((claims) => new Map(claims.map((claim) => [claim.key, claim])));
      const services = published.map((claims) => [...claims.keys()]);
      for (let round = 0; round < 6; round += 1) {
        const assignment = assign(
          published.flatMap((claims) => [...claims.values()]),
          POOL,
        );
        published = published.map((claims, node) =>
          claimsFor(services[node] ?? [], POOL, assignment, claims),
        );
      }
      const settled = assign(
        published.flatMap((claims) => [...claims.values()]),
        POOL,
      );
      assert.deepEqual([...settled.lostByKey], []);
      for (const claims of published) {
        for (const [key, claim] of claims) assert.deepEqual(settled.claimByKey.get(key), claim);
      }
      for (const keys of services) for (const key of keys) assert.ok(settled.claimByKey.has(key));
    }),
    { numRuns: 200 },
  );
});

test("vip: the pool's borders are in, their neighbours are out", () => {
  const pool: Prefix = TINY;
  const borders = [pool.base - 1, pool.base, pool.base + 15, pool.base + 16].map(numberToIpv4);
  const granted = borders.map((address) => assign([claimed("default/a", address, 1)], pool).claimByKey.size);
  assert.deepEqual(granted, [0, 1, 1, 0]);
});

test("vip: a pool that is used up is told of those that got none, with the pool and what to do", () => {
  const claims = claimsFor(TINY_KEYS, TINY, assign([], TINY), NONE);
  const full = assign(claims.values(), TINY);
  assert.equal(full.freeCount, 0);
  const [told] = vipProblems("default/late", full, TINY);
  assert.match(told ?? "", /^vip\.pool 10\.96\.0\.0\/28 is used up: .* all 7 .*; set a larger vip\.pool/);
  for (const key of claims.keys()) assert.deepEqual(vipProblems(key, full, TINY), []);
  assert.deepEqual(vipProblems("default/new", assign([], TINY), TINY), []);
});

test("vip: what another service let go is left alone while anything else is free, then the oldest is taken", () => {
  const [first, ...others] = Array.from({ length: usableCount(TINY) }, (_, number) => {
    return numberToIpv4(TINY.base + lowBand(TINY) + number);
  });
  const chosen = (released: ReadonlyMap<string, number>) =>
    claimsForKnowing(["default/web"], TINY, assign([], TINY), {
      remembered: NONE,
      releasedAtMs: (address) => released.get(address) ?? null,
    }).get("default/web")?.address;
  assert.equal(chosen(new Map(others.map((address) => [address, 5]))), first);
  const all = new Map(others.map((address, index) => [address, 50 - index]));
  assert.equal(chosen(new Map([...all, [first ?? "", 60]])), others.at(-1));
});

test("vip: neither a remembered address is taken that another service let go, nor one that lost but is claimed", () => {
  const remembered = new Map([["default/web", claimed("default/web", "10.96.200.200", 4)]]);
  const quarantined = claimsForKnowing(["default/web"], POOL, assign([], POOL), {
    remembered,
    releasedAtMs: (address) => (address === "10.96.200.200" ? 7 : null),
  });
  assert.notEqual(quarantined.get("default/web")?.address, "10.96.200.200");
  const idle = assign([claimed("default/a", "10.96.1.1", 1), claimed("default/a", "10.96.200.200", 2)], POOL);
  assert.equal(idle.claimantByAddress.get("10.96.200.200"), "default/a");
  assert.notEqual(
    claimsFor(["default/web"], POOL, idle, remembered).get("default/web")?.address,
    "10.96.200.200",
  );
});

test("vip: a nearly full pool gives its last address, however far it is from every candidate", () => {
  const pool = prefix("10.96.0.0/20");
  const all = Array.from({ length: usableCount(pool) }, (_, number) => {
    return claimed(`default/s${number}`, numberToIpv4(pool.base + lowBand(pool) + number), 1);
  });
  for (const left of [0, 1777, all.length - 1]) {
    const assignment = assign(all.toSpliced(left, 1), pool);
    const claim = claimsFor(["default/late"], pool, assignment, NONE).get("default/late");
    assert.equal(claim?.address, all[left]?.address);
  }
});

function byKey([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1;
}
