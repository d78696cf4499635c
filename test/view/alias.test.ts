// A service that changed its address is served at the old one for ten minutes, unless it is another's by then.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../src/model/limits.ts";
import { ALIAS_MS, Aliases } from "../../src/view/alias.ts";
import { assign, type Assignment, type PublishedClaim } from "../../src/view/vip.ts";

import { POOL } from "./cluster.ts";

/** An assignment in which these services have these addresses. */
function given(addressByService: Readonly<Record<string, string>>): Assignment {
  const claims = Object.entries(addressByService).map(([name, address]): PublishedClaim => {
    return { key: `default/${name}`, address, order: 1, settled: true };
  });
  return assign(claims, POOL);
}

const [OLD, NEW, THIRD] = ["10.96.1.1", "10.96.1.2", "10.96.1.3"] as const;

test("alias: an address that a service had stays for ten minutes, and the time of its end is told", () => {
  const aliases = new Aliases();
  aliases.update(given({ web: OLD }), 1000);
  assert.equal(aliases.dueAtMs, null);
  const moved = given({ web: NEW });
  assert.deepEqual(aliases.update(moved, 2000).get("default/web"), [OLD]);
  assert.equal(aliases.dueAtMs, 2000 + ALIAS_MS);
  assert.deepEqual(aliases.update(moved, 2000 + ALIAS_MS - 1).get("default/web"), [OLD]);
  assert.equal(aliases.update(moved, 2000 + ALIAS_MS).size, 0);
  assert.equal(aliases.dueAtMs, null);
});

test("alias: an address that another service has now, or takes later, is none", () => {
  const aliases = new Aliases();
  aliases.update(given({ web: OLD }), 1000);
  assert.equal(aliases.update(given({ web: NEW, api: OLD }), 2000).size, 0);
  aliases.update(given({ web: THIRD }), 3000);
  assert.equal(aliases.update(given({ web: THIRD, api: NEW }), 4000).size, 0);
  assert.equal(aliases.dueAtMs, null);
});

test("alias: the loser's claim that still stands does not end it", () => {
  const claim = (address: string, order: number): PublishedClaim => {
    return { key: "default/web", address, order, settled: true };
  };
  const aliases = new Aliases();
  aliases.update(assign([claim(OLD, 5)], POOL), 1000);
  const healed = assign([claim(OLD, 5), claim(NEW, 2)], POOL);
  assert.deepEqual(aliases.update(healed, 2000).get("default/web"), [OLD]);
});

test("alias: a service that goes back to an address has it as its own, and the other as alias", () => {
  const aliases = new Aliases();
  aliases.update(given({ web: OLD }), 1000);
  aliases.update(given({ web: NEW }), 2000);
  assert.deepEqual(aliases.update(given({ web: OLD }), 3000).get("default/web"), [NEW]);
});

test("alias: a service that lost its last claimant, or came back with another address, has none", () => {
  const aliases = new Aliases();
  aliases.update(given({ web: OLD }), 1000);
  assert.equal(aliases.update(given({}), 2000).size, 0);
  assert.equal(aliases.update(given({ web: NEW }), 3000).size, 0);
});

test("alias: whoever moves a service again and again gets the newest few served, and all services some", () => {
  const aliases = new Aliases();
  const addressAt = (number: number) => `10.96.${10 + (number >> 8)}.${number & 255}`;
  let last = aliases.update(given({}), 0);
  for (let round = 0; round < LIMITS.aliasVipsPerService + 3; round += 1)
    last = aliases.update(given({ web: addressAt(round) }), 1000 + round);
  const newest = Array.from({ length: LIMITS.aliasVipsPerService }, (_, index) => addressAt(index + 2));
  assert.deepEqual(last.get("default/web"), newest);
  const services = Array.from({ length: LIMITS.aliasVips + 5 }, (_, index) => `s${index}`);
  const placed = (from: number) =>
    given(Object.fromEntries(services.map((name, index) => [name, addressAt(from + index)])));
  aliases.update(placed(1000), 2000);
  assert.equal(aliases.update(placed(5000), 2001).size, LIMITS.aliasVips);
});

test("alias: no alias of a service is ever the address of another, nor two services' at once", () => {
  const address = fc.constantFrom(OLD, NEW, THIRD, "10.96.1.4");
  const step = fc.record({
    claims: fc.array(
      fc.record({
        key: fc.constantFrom("default/a", "default/b", "default/c"),
        address,
        order: fc.nat({ max: 3 }),
        settled: fc.boolean(),
      }),
      { maxLength: 5 },
    ),
    pauseMs: fc.constantFrom(1, ALIAS_MS / 2, ALIAS_MS),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 10 }), (steps) => {
      const aliases = new Aliases();
      let nowMs = 0;
      for (const { claims, pauseMs } of steps) {
        nowMs += pauseMs;
        const assignment = assign(claims, POOL);
        const served = [...aliases.update(assignment, nowMs).values()].flat();
        const own = Array.from(assignment.claimByKey.values(), (claim) => claim.address);
        const all = [...served, ...own];
        assert.equal(new Set(all).size, all.length, all.join(" "));
        assert.ok(
          aliases.dueAtMs === null || (aliases.dueAtMs > nowMs && aliases.dueAtMs <= nowMs + ALIAS_MS),
        );
      }
    }),
  );
});
