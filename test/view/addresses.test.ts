// VIPs are settled anew only when other claims count, and whom it concerns is told.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Addresses } from "../../src/view/addresses.ts";
import { ALIAS_MS } from "../../src/view/alias.ts";
import { assign, type PublishedClaim } from "../../src/view/vip.ts";

import { POOL, prefix } from "./cluster.ts";

const TINY = prefix("10.96.0.0/28");

function claimed(key: string, address: string, order = 1, settled = true): PublishedClaim {
  return { key, address, order, settled };
}

function holding(...claims: readonly PublishedClaim[]): Addresses {
  const addresses = new Addresses(POOL);
  for (const claim of claims) addresses.setClaims(claim.key, [claim]);
  addresses.settle(POOL, 0);
  return addresses;
}

test("addresses: a service has the address it claims, tentative until somebody has settled it", () => {
  const addresses = holding(claimed("a", "10.96.1.1", 3), claimed("b", "10.96.1.2", 1, false));
  assert.deepEqual(addresses.of("a"), { vip: "10.96.1.1", vipTentative: false, aliasVips: [] });
  assert.deepEqual(addresses.of("b"), { vip: "10.96.1.2", vipTentative: true, aliasVips: [] });
  assert.deepEqual([addresses.order("a"), addresses.order("x")], [3, Number.POSITIVE_INFINITY]);
  assert.equal(addresses.of("x").vip, null);
});

test("addresses: those for whom it came out otherwise are told, and nobody else", () => {
  const addresses = holding(
    claimed("a", "10.96.1.1"),
    claimed("b", "10.96.1.2"),
    claimed("c", "10.96.1.3", 2),
  );
  const told = (key: string, ...claims: readonly PublishedClaim[]) => {
    addresses.setClaims(key, claims);
    return [...(addresses.settle(POOL, 0) ?? [])].toSorted();
  };
  assert.deepEqual(told("d", claimed("d", "10.96.1.4")), ["d"]);
  assert.deepEqual(told("d", claimed("d", "10.96.1.4", 1, false)), ["d"]);
  assert.deepEqual(told("d", claimed("d", "10.96.1.3", 1)), ["c", "d"]);
  assert.match(addresses.problems("c")[0] ?? "", /belongs to d/);
  assert.match(addresses.problems("d")[0] ?? "", /is claimed for c, too/);
  assert.deepEqual(told("d"), ["c", "d"]);
  assert.equal(addresses.of("c").vip, "10.96.1.3");
});

test("addresses: the settlement is one object while the claims are the same", () => {
  const addresses = holding(claimed("a", "10.96.1.1"));
  const { assignment } = addresses;
  assert.deepEqual([...(addresses.settle(POOL, 5000) ?? [])], []);
  addresses.settle({ ...POOL }, 5000);
  assert.equal(addresses.assignment, assignment);
});

test("addresses: another pool concerns all, and so does one that is used up, or is not any more", () => {
  const addresses = holding(claimed("a", "10.96.1.1"));
  assert.equal(addresses.settle(TINY, 0), null);
  assert.match(addresses.problems("a")[0] ?? "", /lies outside/);
  for (let index = 8; index < 15; index += 1)
    addresses.setClaims(`s${index}`, [claimed(`s${index}`, `10.96.0.${index}`)]);
  assert.equal(addresses.settle(TINY, 0), null);
  assert.match(addresses.problems("x")[0] ?? "", /is used up/);
  addresses.setClaims("s9", []);
  assert.equal(addresses.settle(TINY, 0), null);
  assert.deepEqual(addresses.problems("x"), []);
});

test("addresses: what a service had before is its alias for a while, told when it begins and when it ends", () => {
  const addresses = holding(claimed("a", "10.96.1.1", 2));
  assert.equal(addresses.dueAtMs, null);
  addresses.setClaims("a", [claimed("a", "10.96.1.2", 1)]);
  assert.deepEqual([...(addresses.settle(POOL, 1000) ?? [])], ["a"]);
  assert.deepEqual(addresses.of("a").aliasVips, ["10.96.1.1"]);
  assert.equal(addresses.dueAtMs, 1000 + ALIAS_MS);
  assert.deepEqual([...(addresses.settle(POOL, 2000) ?? [])], []);
  assert.deepEqual([...(addresses.settle(POOL, 1000 + ALIAS_MS) ?? [])], ["a"]);
  assert.deepEqual([addresses.of("a").aliasVips, addresses.dueAtMs], [[], null]);
});

test("addresses: claims that came one after the other settle as all at once", () => {
  const any = fc.record({
    key: fc.constantFrom("a", "b", "c"),
    claims: fc.uniqueArray(
      fc.record({
        address: fc.constantFrom("10.96.1.1", "10.96.1.2", "192.0.2.1"),
        order: fc.nat({ max: 2 }),
        settled: fc.boolean(),
      }),
      { maxLength: 2, selector: ({ address }) => address },
    ),
  });
  fc.assert(
    fc.property(fc.array(any), (steps) => {
      const addresses = new Addresses(POOL);
      const last = new Map<string, readonly PublishedClaim[]>();
      for (const { key, claims } of steps) {
        last.set(
          key,
          claims.map(({ address, order, settled }) => claimed(key, address, order, settled)),
        );
        addresses.setClaims(key, last.get(key) ?? []);
        addresses.settle(POOL, 0);
        assert.deepEqual(addresses.assignment, assign(Array.from(last.values()).flat(), POOL));
      }
    }),
  );
});
