// This node's claims: held for what it runs, let go for what it does not, remembered for what may return, and not to be
// relied on before everybody has heard of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { NOTHING_KEPT, type Claim } from "../../src/model/kept.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { Claims, type KeptClaims } from "../../src/view/claims.ts";
import { QUARANTINE_MS } from "../../src/view/quarantine.ts";
import { TENTATIVE_MS } from "../../src/view/settling.ts";
import { assign, candidate } from "../../src/view/vip.ts";

import { Claimant, quiesce } from "./claimants.ts";
import { POOL, range } from "./cluster.ts";

const FRONT = range("front", "10.160.0.0/16", 24);
const TINY = range("tiny", "10.161.0.0/24", 26);

const kept = (part: Partial<KeptClaims>): { kept: KeptClaims } => ({ kept: { ...NOTHING_KEPT, ...part } });

function vips(claimant: Claimant): Record<string, string> {
  const { claimByKey } = claimant.assignment;
  return Object.fromEntries(Array.from(claimByKey, ([key, { address }]) => [key, address]));
}

function tentative(claimant: Claimant): string[] {
  return claimant.records.flatMap((record) => {
    const name = record.kind === "vip" ? record.service : record.network;
    return record.settled ? [] : [name];
  });
}

test("claims: one record a service, well-formed under its key, and none for what runs here no more", () => {
  const a = new Claimant("a", ["default/web", "other/web"]);
  a.step(0);
  assert.deepEqual(
    a.records.map((record) => (record.kind === "vip" ? `${record.network}/${record.service}` : "")),
    ["default/web", "other/web"],
  );
  a.keys = new Set(["other/web"]);
  a.step(1);
  assert.equal(a.records.length, 1);
  assert.equal(a.step(2), false, "let go once");
});

test("claims: where nothing changed there is nothing to write, and nothing new to keep", () => {
  const a = new Claimant("a", ["default/a", "default/b"]);
  const b = new Claimant("b", ["default/c"]);
  quiesce([a, b], 0);
  const before = a.kept;
  assert.equal(a.step(1), false);
  assert.equal(a.settle(QUARANTINE_MS), false);
  b.keys = new Set(["default/c", "default/d"]);
  quiesce([a, b], 2);
  assert.equal(a.kept, before, "another's claim is not this node's to keep");
});

test("claims: a service that returns, here or in a later run, gets its address back", () => {
  const claims = [{ key: "default/web", address: "10.96.77.77", order: 4 }];
  const a = new Claimant("a", ["default/web"], kept({ claims }));
  a.step(0);
  assert.equal(vips(a)["default/web"], "10.96.77.77");
  a.keys = new Set();
  a.step(1);
  a.keys = new Set(["default/web"]);
  a.step(2);
  assert.equal(vips(a)["default/web"], "10.96.77.77");
  const again = new Claimant("a", ["default/web"], { kept: a.kept });
  again.step(3);
  assert.equal(vips(again)["default/web"], "10.96.77.77");
});

test("claims: past the bound the ones used longest ago are forgotten, never one in use", () => {
  const claims = Array.from({ length: LIMITS.claimsRemembered }, (_, index): Claim => {
    return { key: `default/s${index}`, address: `10.96.${index >> 8}.${index & 255}`, order: 1 };
  });
  const a = new Claimant("a", ["default/s0", "default/new"], kept({ claims }));
  a.step(0);
  const remembered = new Set(a.kept.claims.map(({ key }) => key));
  assert.equal(remembered.size, LIMITS.claimsRemembered);
  assert.ok(remembered.has("default/s0") && remembered.has("default/new"));
  assert.ok(!remembered.has("default/s1"));
});

test("claims: a new claim is tentative until every other has applied it; then it settles at once", () => {
  const [a, b, c] = [new Claimant("a", []), new Claimant("b", []), new Claimant("c", [])];
  quiesce([a, b, c], 0);
  a.keys = new Set(["default/web"]);
  a.step(10);
  assert.deepEqual([tentative(a), a.isTentative], [["web"], true]);
  b.learn(a);
  a.learn(b);
  a.settle(20);
  assert.deepEqual(tentative(a), ["web"], "c has not applied it");
  c.learn(a);
  a.settle(30);
  assert.deepEqual(tentative(a), ["web"], "c has, but that is not known");
  a.learn(c);
  a.settle(40);
  assert.deepEqual([tentative(a), a.isTentative], [[], false]);
});

test("claims: half a second is waited for, not longer", () => {
  const [a, b] = [new Claimant("a", []), new Claimant("b", [])];
  quiesce([a, b], 0);
  a.keys = new Set(["default/web"]);
  a.step(10);
  a.settle(10 + TENTATIVE_MS - 1);
  assert.deepEqual(tentative(a), ["web"]);
  a.settle(10 + TENTATIVE_MS);
  assert.deepEqual(tentative(a), []);
});

test("claims: who is alone, and who copies a claim that is settled, has nothing to wait for", () => {
  const a = new Claimant("a", ["default/web"]);
  a.step(0);
  assert.deepEqual(tentative(a), []);
  const b = new Claimant("b", ["default/web"]);
  b.learn(a);
  b.step(0);
  assert.deepEqual([tentative(b), vips(b)], [[], vips(a)]);
});

test("claims: a claim of an earlier run is tentative again, for others may have been faster", () => {
  const claims = [{ key: "default/web", address: "10.96.77.77", order: 4 }];
  const a = new Claimant("a", ["default/web"], kept({ claims }));
  a.learn(new Claimant("b", []));
  a.step(0);
  assert.deepEqual(tentative(a), ["web"]);
});

test("claims: a copy of a tentative claim settles by itself when its first claimant is gone", () => {
  const [a, b, c] = [new Claimant("a", []), new Claimant("b", ["default/web"]), new Claimant("c", [])];
  quiesce([a, c], 0);
  b.learn(a);
  b.learn(c);
  b.step(0);
  a.keys = new Set(["default/web"]);
  a.learn(b);
  a.step(0);
  assert.deepEqual([tentative(a), tentative(b)], [["web"], ["web"]]);
  a.settle(TENTATIVE_MS);
  assert.deepEqual(tentative(a), []);
});

test("claims: a service that has to move is tentative at its new address", () => {
  const claims = (order: number) =>
    kept({ claims: [{ key: order === 1 ? "default/a" : "default/b", address: "10.96.5.5", order }] });
  const [a, b] = [new Claimant("a", ["default/a"], claims(1)), new Claimant("b", ["default/b"], claims(2))];
  for (const one of [a, b]) one.step(0);
  assert.deepEqual([tentative(a), tentative(b)], [[], []]);
  b.learn(a);
  b.step(10);
  assert.notEqual(vips(b)["default/b"], "10.96.5.5");
  assert.deepEqual(tentative(b), ["b"]);
  quiesce([a, b], 20);
  assert.deepEqual([vips(a), tentative(b)], [vips(b), []]);
});

test("claims: an address that was let go is not given to another service for ten minutes, restart or not", () => {
  const wanted = candidate(POOL, "default/new", 0);
  const claims = [{ key: "default/old", address: wanted, order: 1 }];
  const start = (): Claimant => {
    const a = new Claimant("a", ["default/old"], kept({ claims }));
    a.step(1000);
    a.keys = new Set();
    a.step(2000);
    // Seen in the picture that its own write makes.
    a.step(2000);
    return a;
  };
  const early = start();
  early.keys = new Set(["default/new"]);
  early.step(2000 + QUARANTINE_MS - 1);
  assert.notEqual(vips(early)["default/new"], wanted);
  const late = start();
  late.keys = new Set(["default/new"]);
  late.step(2000 + QUARANTINE_MS);
  assert.equal(vips(late)["default/new"], wanted);
  const restarted = new Claimant("a", ["default/new"], { kept: start().kept, nowMs: 3000 });
  restarted.step(2000 + QUARANTINE_MS - 1);
  assert.notEqual(vips(restarted)["default/new"], wanted);
});

test("claims: a node that runs nothing sees what others let go, and leaves it alone", () => {
  const wanted = candidate(POOL, "default/new", 0);
  const b = new Claimant(
    "b",
    ["default/old"],
    kept({ claims: [{ key: "default/old", address: wanted, order: 1 }] }),
  );
  const a = new Claimant("a", []);
  quiesce([a, b], 1000);
  b.keys = new Set();
  quiesce([a, b], 2000);
  a.keys = new Set(["default/new"]);
  a.step(3000);
  assert.notEqual(vips(a)["default/new"], wanted);
});

test("claims: a node has a slice of each network, keeps it over a restart and lets it go with the network", () => {
  const a = new Claimant("a", []);
  a.networks = [FRONT, TINY];
  a.step(0);
  const indexes = (claimant: Claimant) =>
    Object.fromEntries(
      claimant.records.map((record) => (record.kind === "subnet" ? [record.network, record.index] : [])),
    );
  assert.deepEqual(Object.keys(indexes(a)), ["front", "tiny"]);
  const slices = [{ network: "front", index: 200, order: 3 }];
  const again = new Claimant("a", [], kept({ slices }));
  again.networks = [FRONT, TINY];
  again.step(0);
  assert.equal(indexes(again)["front"], 200);
  again.networks = [TINY];
  again.step(1);
  assert.deepEqual(Object.keys(indexes(again)), ["tiny"]);
  assert.equal(again.kept.slices.find(({ network }) => network === "front")?.index, 200);
});

test("claims: nodes that claim slices apart and meet have one each, settled, whoever has to move", () => {
  const index = fc.nat({ max: 3 });
  fc.assert(
    fc.property(fc.tuple(index, index, index, index), (remembered) => {
      const claimants = remembered.map((index, at) => {
        const slices = [{ network: "tiny", index, order: 1 }];
        const claimant = new Claimant(`node-${at}`, [], kept({ slices }));
        claimant.networks = [TINY];
        return claimant;
      });
      quiesce(claimants.slice(0, 2), 0);
      quiesce(claimants.slice(2), 0);
      quiesce(claimants, 10_000);
      const views = claimants.map(({ slices }) =>
        [0, 1, 2, 3].map((index) => slices.get("tiny")?.nodeByIndex.get(index)),
      );
      for (const view of views) assert.deepEqual(view, views[0]);
      assert.equal(new Set(views[0]).size, 4, "four nodes, four slices");
      for (const claimant of claimants) assert.deepEqual(tentative(claimant), []);
    }),
    { numRuns: 50 },
  );
});

const services = ["default/a", "default/b", "default/c", "default/d"];
const runs = fc.subarray(services);
const memory = fc.uniqueArray(
  fc.record({
    key: fc.constantFrom(...services),
    // Few, so that they collide.
    address: fc.constantFrom("10.96.5.1", "10.96.5.2", "10.96.5.3"),
    order: fc.integer({ min: 1, max: 3 }),
  }),
  { selector: ({ key }) => key, maxLength: 4 },
);
const host = fc.record({ runs, memory });

test("claims: two halves that claimed apart and meet agree; no address has two services, every service has one", () => {
  fc.assert(
    fc.property(fc.tuple(host, host, host, host), (hosts) => {
      const claimants = hosts.map(
        ({ runs, memory }, at) => new Claimant(`node-${at}`, runs, kept({ claims: memory })),
      );
      quiesce(claimants.slice(0, 2), 0);
      quiesce(claimants.slice(2), 0);
      const apart = claimants.map(vips);
      const rounds = quiesce(claimants, 10_000);
      assert.ok(rounds <= 10, `${rounds} rounds`);
      const agreed = vips(claimants[0] ?? assert.fail());
      for (const claimant of claimants) assert.deepEqual([vips(claimant), tentative(claimant)], [agreed, []]);
      const given = Object.values(agreed);
      assert.equal(new Set(given).size, given.length);
      assert.deepEqual(
        Object.keys(agreed).toSorted(),
        [...new Set(hosts.flatMap(({ runs }) => runs))].toSorted(),
      );
      // What a node had told to its clients, and is nobody else's now, is still served there.
      for (const [at, claimant] of claimants.entries()) {
        const served = claimant.aliases.update(claimant.assignment, 10_000);
        for (const [key, address] of Object.entries(apart[at] ?? {})) {
          const isOthers = given.includes(address) && agreed[key] !== address;
          const isServed = agreed[key] === address || served.get(key)?.includes(address) === true;
          assert.equal(isServed, !isOthers, `${key} ${address}`);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test("claims: an address once settled by acknowledgement is never lost, whatever overtakes what", () => {
  const move = fc.oneof(
    fc.record({ kind: fc.constant("settle" as const), at: fc.nat({ max: 2 }) }),
    fc.record({ kind: fc.constant("learn" as const), at: fc.nat({ max: 2 }), from: fc.nat({ max: 2 }) }),
    fc.record({ kind: fc.constant("run" as const), at: fc.nat({ max: 2 }), runs }),
  );
  fc.assert(
    fc.property(fc.tuple(host, host, host), fc.array(move, { maxLength: 60 }), (hosts, moves) => {
      const claimants = hosts.map(
        ({ memory }, at) => new Claimant(`node-${at}`, [], kept({ claims: memory })),
      );
      quiesce(claimants, 0);
      const settledByKey = new Map<string, string>();
      const look = (): void => {
        for (const record of claimants.flatMap(({ records }) => records)) {
          if (record.kind !== "vip" || !record.settled) continue;
          const key = `${record.network}/${record.service}`;
          assert.equal(settledByKey.get(key) ?? record.address, record.address, key);
          settledByKey.set(key, record.address);
        }
      };
      for (const move of moves) {
        const claimant = claimants[move.at] ?? assert.fail();
        // Services only come: one that goes lets its address go, settled or not.
        if (move.kind === "run") claimant.keys = new Set([...claimant.keys, ...move.runs]);
        else if (move.kind === "settle") claimant.settle(1);
        else if (move.from !== move.at) claimant.learn(claimants[move.from] ?? assert.fail());
        look();
      }
      quiesce(claimants, 2);
      look();
      const given = [...settledByKey.values()];
      assert.equal(new Set(given).size, given.length);
    }),
    { numRuns: 500 },
  );
});

test("claims: what was kept is the same object until there is something else to keep", () => {
  const claims = new Claims({ self: "a", pool: POOL, kept: NOTHING_KEPT, nowMs: 0 });
  const nobody = { assignment: assign([], POOL), slices: new Map() };
  const first = claims.kept;
  claims.update({ keys: new Set(), isAlone: true }, nobody, 1);
  assert.equal(claims.kept, first);
  claims.update({ keys: new Set(["default/web"]), isAlone: true }, nobody, 2);
  assert.notEqual(claims.kept, first);
});
