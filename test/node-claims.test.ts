// Whole nodes in virtual time: what they claim, when it may be relied on, and what becomes of it when they were apart.

import assert from "node:assert/strict";
import test from "node:test";

import * as fc from "fast-check";

import { parsePrefix } from "../src/base/ip.ts";
import type { NetworkDecision } from "../src/model/charter.ts";
import { NOTHING_KEPT } from "../src/model/kept.ts";
import type { Service, View } from "../src/model/view.ts";
import { ALIAS_MS } from "../src/view/alias.ts";
import { QUARANTINE_MS } from "../src/view/quarantine.ts";
import { TENTATIVE_MS } from "../src/view/settling.ts";
import { candidate } from "../src/view/vip.ts";

import { idOf } from "./simulation/host.ts";
import { endpoint } from "./simulation/workload.ts";
import { CHARTER } from "./support/charter.ts";
import { NodeNetwork } from "./support/node-network.ts";

const NAMES = ["a", "b", "c"];

function serviceIn(view: View, name: string): Service | undefined {
  return view.services.find(({ key }) => key === `default/${name}`);
}

let vni = 4096;

/** A network in the charter; null for one that was removed. */
function decided(name: string, range: string | null, sliceBits = 24, order = 1): NetworkDecision {
  vni += 1;
  const definition = range === null ? null : { range, sliceBits, vni, encrypted: false, ipv6: true };
  return { name, order, definition };
}

/** Tells a node what managers have decided on networks. */
function decide(net: NodeNetwork, name: string, networks: readonly NetworkDecision[]): void {
  net.feed(name, { kind: "charter", charter: { ...CHARTER, networks } });
}

/** A net of three nodes that know each other; `web` runs on a, and its address is settled everywhere. */
function started(options: { seed?: number; delayMs?: number } = {}): NodeNetwork {
  const net = new NodeNetwork({ seed: 1, names: NAMES, ...options });
  net.start("a", { endpoints: [endpoint("web", "web-a")] });
  for (const name of ["b", "c"]) net.start(name, { endpoints: [] });
  const isSettled = (name: string): boolean => serviceIn(net.view(name), "web")?.vipTentative === false;
  const isWhole = (name: string): boolean => net.view(name).members.every(({ state }) => state === "alive");
  assert.ok(net.until(() => NAMES.every((name) => isSettled(name) && isWhole(name)), 8000));
  assert.ok(net.until(() => NAMES.every((name) => net.view(name).members.length === 3), 8000));
  return net;
}

test("node: a new service is tentative everywhere first, and settled once all have heard of it", () => {
  const net = started({ delayMs: 5 });
  const before = new Map(NAMES.map((name) => [name, net.host(name).views.length]));
  const beganAtMs = net.nowMs;
  net.discover("a", [endpoint("web", "web-a"), endpoint("new", "new-a")]);
  assert.ok(
    net.until(() => NAMES.every((name) => serviceIn(net.view(name), "new")?.vipTentative === false), 5000),
  );
  assert.ok(net.nowMs - beganAtMs < TENTATIVE_MS, `${net.nowMs - beganAtMs} ms`);
  for (const name of NAMES) {
    const seen = net.host(name).views.slice(before.get(name));
    const states = seen.flatMap((view) => {
      const service = serviceIn(view, "new");
      return service === undefined || service.vip === null ? [] : [service.vipTentative];
    });
    assert.equal(states[0], true, `${name} saw it tentative first`);
    assert.deepEqual([...new Set(states)], [true, false], `${name}: once tentative, then settled for good`);
  }
});

test("node: a member that is cut off does not hold a new address up for longer than half a second", () => {
  const net = started();
  net.partition((one, other) => one === "c" || other === "c");
  const beganAtMs = net.nowMs;
  net.discover("a", [endpoint("web", "web-a"), endpoint("new", "new-a")]);
  const isSettled = (): boolean => serviceIn(net.view("b"), "new")?.vipTentative === false;
  assert.ok(net.until(isSettled, 5000));
  assert.ok(net.nowMs - beganAtMs < TENTATIVE_MS + 300, `${net.nowMs - beganAtMs} ms`);
});

test("node: a node that is alone relies on its claims at once", () => {
  const net = new NodeNetwork({ seed: 1, names: ["a"] });
  net.start("a", { endpoints: [endpoint("web", "web-a")] });
  assert.ok(net.until(() => serviceIn(net.view("a"), "web")?.vip !== undefined, 8000));
  net.run(1000);
  const tentative = net.host("a").views.filter((view) => serviceIn(view, "web")?.vipTentative === true);
  assert.deepEqual(tentative, []);
});

test("node: an address that was settled while all could hear each other is never lost to another service", () => {
  const services = ["one", "two", "three", "four", "five"];
  const arrival = fc.record({
    host: fc.constantFrom(...NAMES),
    service: fc.constantFrom(...services),
    pauseMs: fc.integer({ min: 0, max: 60 }),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 31 }),
      fc.integer({ min: 1, max: 120 }),
      fc.array(arrival, { minLength: 1, maxLength: 10 }),
      (seed, delayMs, arrivals) => {
        // Few addresses, so that candidates collide.
        const net = new NodeNetwork({ seed, names: NAMES, pool: "10.96.0.0/28", delayMs });
        for (const name of NAMES) net.start(name, { endpoints: [] });
        const isWhole = (name: string): boolean =>
          net.view(name).members.length === 3 && net.view(name).complete;
        assert.ok(net.until(() => NAMES.every(isWhole), 8000));
        const settledByKey = new Map<string, string>();
        net.onStep = ({ name, node }) => {
          for (const { key, vip, vipTentative } of node?.view.services ?? []) {
            if (vip === null || vipTentative) continue;
            assert.equal(settledByKey.get(key) ?? vip, vip, `${name}: ${key}`);
            settledByKey.set(key, vip);
          }
        };
        const runsByHost = new Map<string, Set<string>>(NAMES.map((name) => [name, new Set()]));
        for (const { host, service, pauseMs } of arrivals) {
          const runs = runsByHost.get(host) ?? new Set();
          runs.add(service);
          net.discover(
            host,
            Array.from(runs, (name) => endpoint(name, `${name}-${host}`)),
          );
          net.run(pauseMs);
        }
        const wanted = new Set(arrivals.map(({ service }) => service)).size;
        assert.ok(
          net.until(
            () =>
              NAMES.every(
                (name) =>
                  net.view(name).services.filter(({ vip, vipTentative }) => vip !== null && !vipTentative)
                    .length === wanted,
              ),
            3000,
          ),
        );
        assert.equal(new Set(settledByKey.values()).size, wanted, "an address a service");
      },
    ),
    { numRuns: 40 },
  );
});

test("node: after a partition the address that lost stays reachable where it was told, for ten minutes", () => {
  const net = new NodeNetwork({ seed: 5, names: NAMES });
  const [winner, loser] = ["10.96.50.50", "10.96.60.60"];
  net.partition(() => true);
  for (const [name, address, order] of [
    ["a", winner, 1],
    ["b", loser, 2],
  ] as const) {
    net.host(name).kept = { ...NOTHING_KEPT, claims: [{ key: "default/web", address, order }] };
    net.start(name, { endpoints: [endpoint("web", `web-${name}`)] });
  }
  const told = (name: string) => {
    const service = serviceIn(net.view(name), "web");
    return [service?.vip, ...(service?.aliasVips ?? [])];
  };
  assert.ok(net.until(() => told("a")[0] === winner && told("b")[0] === loser, 8000));
  net.heal();
  assert.ok(net.until(() => told("b")[0] === winner, 8000));
  const healedAtMs = net.nowMs;
  assert.deepEqual(told("b"), [winner, loser]);
  assert.deepEqual(told("a"), [winner], "a never told the other");
  const text = `${winner}; ${loser} stays reachable for a while`;
  const events = net.host("b").happenings.filter((event) => event.text === text);
  assert.equal(events.length, 1, "told once");
  net.run(ALIAS_MS - 1000);
  assert.deepEqual(told("b"), [winner, loser]);
  assert.ok(net.until(() => told("b").length === 1, 2000));
  assert.ok(net.nowMs - healedAtMs >= ALIAS_MS - 100);
});

test("node: an address that a service let go is nobody else's for ten minutes, also after a restart", () => {
  const pool = parsePrefix("10.96.0.0/16");
  assert.ok(pool.ok);
  const wanted = candidate(pool.value, "default/new", 0);
  const net = new NodeNetwork({ seed: 6, names: ["a", "b"] });
  net.host("a").kept = { ...NOTHING_KEPT, claims: [{ key: "default/old", address: wanted, order: 1 }] };
  net.start("a", { endpoints: [endpoint("old", "old-a")] });
  net.start("b", { endpoints: [] });
  assert.ok(net.until(() => serviceIn(net.view("b"), "old")?.vip === wanted, 8000));
  net.discover("a", []);
  assert.ok(net.until(() => serviceIn(net.view("b"), "old") === undefined, 3000));
  net.run(1000);
  net.crash("b");
  net.run(1000);
  net.start("b", { endpoints: [endpoint("new", "new-b")] });
  const vip = (): string | null => serviceIn(net.view("b"), "new")?.vip ?? null;
  assert.ok(net.until(() => vip() !== null, 8000));
  assert.notEqual(vip(), wanted);
  net.run(QUARANTINE_MS);
  net.discover("a", [endpoint("old", "old-a")]);
  assert.ok(
    net.until(() => serviceIn(net.view("b"), "old")?.vip === wanted, 3000),
    "the service itself gets it back",
  );
});

test("node: each has a slice of each network and keeps it over a restart; a dead one's is nobody else's", () => {
  const net = started();
  const networks = [decided("front", "10.160.0.0/24", 27)];
  for (const name of NAMES) decide(net, name, networks);
  const slices = (name: string) => net.view(name).networks[0]?.slices ?? [];
  const isSettled = (name: string): boolean =>
    slices(name).length === 3 && slices(name).every(({ tentative }) => !tentative);
  assert.ok(net.until(() => NAMES.every(isSettled), 3000));
  const before = slices("a");
  for (const name of NAMES) assert.deepEqual(slices(name), before);
  assert.equal(new Set(before.map(({ prefix }) => prefix)).size, 3);
  assert.deepEqual(before.map(({ node }) => node).toSorted(), NAMES.map(idOf).toSorted());
  net.crash("c");
  net.run(10_000);
  assert.deepEqual(slices("a"), before);
  net.start("c", { endpoints: [] });
  assert.ok(net.until(() => isSettled("c") && isSettled("a"), 8000));
  assert.deepEqual(slices("c"), before);
  for (const name of NAMES) decide(net, name, [decided("front", null, 0, 2)]);
  net.run(1000);
  assert.deepEqual(net.view("a").networks, []);
});

test("node: nodes that claimed slices apart, of a range with just enough, have one each when they meet", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      const net = new NodeNetwork({ seed, names: NAMES });
      const networks = [decided("front", "10.160.0.0/25", 26), decided("back", "10.161.0.0/24", 26)];
      net.partition(() => true);
      for (const name of NAMES) {
        net.start(name, { endpoints: [] });
        decide(net, name, networks);
      }
      net.run(7000);
      net.heal();
      const back = (name: string) => net.view(name).networks.find((network) => network.name === "back");
      assert.ok(net.until(() => NAMES.every((name) => back(name)?.slices.length === 3), 8000));
      net.run(2000);
      for (const name of NAMES) assert.deepEqual(net.view(name).networks, net.view("a").networks);
      const front = net.view("a").networks.find((network) => network.name === "front");
      assert.equal(front?.slices.length, 2);
      assert.match(
        front.problems[0] ?? "",
        /^10\.160\.0\.0\/25 has no slice left for [abc]: it has 2 slices of \/26;/,
      );
    }),
    { numRuns: 10 },
  );
});

test("node: a network of one host inside the pool is a problem on all hosts, told once, until it is gone", () => {
  const net = started();
  net.feed("b", { kind: "prefixes", prefixes: ["10.96.128.0/24", "192.168.1.0/24"] });
  const text = "vip.pool 10.96.0.0/16 overlaps 10.96.128.0/24 of b; expected a range that nothing else uses";
  const has = (name: string): boolean => net.view(name).problems.some((problem) => problem.text === text);
  assert.ok(net.until(() => NAMES.every(has), 2000));
  net.run(3000);
  for (const name of NAMES) {
    const told = net.host(name).happenings.filter((event) => event.text === text);
    assert.deepEqual(
      told.map(({ kind, level, subject }) => `${kind} ${level} ${subject}`),
      ["vip.conflict warn vip.pool"],
    );
  }
  net.feed("b", { kind: "prefixes", prefixes: ["192.168.1.0/24"] });
  assert.ok(net.until(() => NAMES.every((name) => !has(name)), 2000));
});

test("node: of two networks made apart with one range the first is real everywhere, the other nowhere", () => {
  const net = new NodeNetwork({ seed: 4, names: NAMES });
  net.partition(() => true);
  for (const name of NAMES) net.start(name, { endpoints: [] });
  net.run(7000);
  decide(net, "a", [decided("front", "10.160.0.0/24", 27)]);
  decide(net, "b", [decided("late", "10.160.0.0/24", 27, 2)]);
  net.run(2000);
  net.heal();
  const sound = (name: string) => net.view(name).networks.map((one) => [one.name, one.isSound]);
  const wanted = [
    ["front", true],
    ["late", false],
  ];
  assert.ok(
    net.until(() => NAMES.every((name) => JSON.stringify(sound(name)) === JSON.stringify(wanted)), 8000),
  );
  net.run(2000);
  const [front, late] = net.view("c").networks;
  assert.equal(front?.slices.length, 3);
  assert.deepEqual(
    late?.slices.map(({ node }) => node),
    [idOf("b")],
    "who had a slice of it alone keeps it, nobody takes another",
  );
  assert.match(late?.problems[0] ?? "", /of network front, which was made before/);
});

test("node: how it carries overlays is in its record, and everybody's view of it", () => {
  const net = started();
  const overlay = { address: "192.0.2.7", mtu: 1500 };
  const seen = (): unknown => net.view("c").members.find(({ id }) => id === idOf("a"))?.overlay;
  net.feed("a", { kind: "overlay", overlay });
  assert.ok(net.until(() => seen() !== undefined, 3000));
  assert.deepEqual(seen(), overlay);
  net.feed("a", { kind: "overlay", overlay: null });
  assert.ok(net.until(() => seen() === undefined, 3000));
});
