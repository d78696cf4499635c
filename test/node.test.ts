// Whole nodes in virtual time: what a cluster agrees on, whatever order things happen in.

import assert from "node:assert/strict";
import test from "node:test";

import * as fc from "fast-check";

import type { Discovered } from "../src/model/endpoint.ts";
import { NOTHING_KEPT, type Claim } from "../src/model/kept.ts";
import type { Replica, View } from "../src/model/view.ts";

import { idOf } from "./simulation/host.ts";
import { endpoint } from "./simulation/workload.ts";
import { NodeNetwork } from "./support/node-network.ts";

const NAMES = ["a", "b", "c"];
const seed = fc.integer({ min: 0, max: 2 ** 31 });

function vips(view: View): Record<string, string | null> {
  return Object.fromEntries(view.services.map(({ key, vip }) => [key, vip]));
}

function replicaIn(view: View, id: string): Replica | undefined {
  return view.services.flatMap(({ replicas }) => replicas).find((replica) => replica.id === id);
}

function eligibleIds(view: View): string[] {
  const replicas = view.services.flatMap((service) => service.replicas);
  return replicas.filter(({ tier }) => tier === "eligible").map(({ id }) => id);
}

/** Every running node sees all running ones alive, and the same services with the same VIPs and eligible replicas. */
function agree(net: NodeNetwork): boolean {
  const pictures = net.running.map(({ name }) => {
    const view = net.view(name);
    const alive = view.members.filter(({ state }) => state === "alive").length;
    return JSON.stringify([alive === net.running.length, vips(view), eligibleIds(view)]);
  });
  return pictures.every((picture) => picture === pictures[0] && picture.startsWith("[true"));
}

function expectAgreement(net: NodeNetwork, capMs = 8000): void {
  const pictures = (): string =>
    net.running.map(({ name }) => `${name}: ${JSON.stringify(vips(net.view(name)))}`).join("\n");
  assert.ok(
    net.until(() => agree(net), capMs),
    `no agreement after ${capMs} ms\n${pictures()}`,
  );
}

/** A net of three nodes that agree; node `x` has the replicas `web-x` of `web` and `own-x` of a service of its own. */
function settled(options: { seed?: number; delayMs?: number } = {}): NodeNetwork {
  const net = new NodeNetwork({ seed: 1, names: NAMES, ...options });
  for (const name of NAMES) net.start(name, { endpoints: endpointsOf(name) });
  assert.ok(net.until(() => agree(net) && eligibleIds(net.view("a")).length === 6, 8000));
  return net;
}

function endpointsOf(name: string): Discovered[] {
  return [endpoint("web", `web-${name}`), endpoint(`own-${name}`, `own-${name}`)];
}

test("node: three that start together agree on members, replicas and one VIP a service, whatever the delays", () => {
  fc.assert(
    fc.property(seed, fc.integer({ min: 0, max: 80 }), (value, delayMs) => {
      const net = settled({ seed: value, delayMs });
      const agreed = vips(net.view("a"));
      assert.equal(new Set(Object.values(agreed)).size, 4, "four services, four addresses");
    }),
    { numRuns: 30 },
  );
});

test("node: nothing happens, nothing changes: no new view, nothing to keep, no happening", () => {
  const net = settled();
  net.run(3000);
  const before = net.hosts.map(({ views, kept, happenings }) => [views.length, kept, happenings.length]);
  net.run(20_000);
  assert.deepEqual(
    net.hosts.map(({ views, kept, happenings }) => [views.length, kept, happenings.length]),
    before,
  );
});

test("node: no view of any node ever gives one address to two services, and none changes while nothing fails", () => {
  const claim = (names: readonly string[]) =>
    fc.record({
      key: fc.constantFrom(...names.map((name) => `default/${name}`)),
      address: fc.integer({ min: 16, max: 22 }).map((last) => `10.96.0.${last}`),
      order: fc.integer({ min: 1, max: 3 }),
    });
  const services = ["one", "two", "three", "four"];
  const claims = fc.uniqueArray(claim(services), { maxLength: 4, selector: ({ key }) => key });
  const host = fc.record({ claims, runs: fc.subarray(services, { minLength: 1 }) });
  fc.assert(
    fc.property(seed, fc.tuple(host, host, host), (value, hosts) => {
      // A range of few addresses, so that claims collide.
      const net = new NodeNetwork({ seed: value, names: NAMES, pool: "10.96.0.0/27" });
      net.onStep = ({ node }) => {
        const given = (node?.view.services ?? []).flatMap(({ vip }) => (vip === null ? [] : [vip]));
        assert.equal(new Set(given).size, given.length, "an address belongs to one service");
      };
      // They start apart, each with what it remembers, and meet later.
      net.partition(() => true);
      for (const [index, { claims: kept, runs }] of hosts.entries()) {
        const name = NAMES[index] ?? assert.fail();
        net.host(name).kept = { ...NOTHING_KEPT, claims: kept satisfies readonly Claim[] };
        net.start(name, { endpoints: runs.map((service) => endpoint(service, `${service}-${name}`)) });
      }
      net.run(7000);
      net.heal();
      expectAgreement(net);
      const agreed = vips(net.view("a"));
      for (const [key, vip] of Object.entries(agreed)) assert.notEqual(vip, null, `${key} has a VIP`);
      net.run(3000);
      assert.deepEqual(vips(net.view("b")), agreed, "and it stays");
    }),
    { numRuns: 40 },
  );
});

test("node: a restart keeps the VIP that is remembered, not the one a fresh node would choose", () => {
  const net = new NodeNetwork({ seed: 3, names: NAMES });
  const address = "10.96.77.77";
  net.host("a").kept = { ...NOTHING_KEPT, claims: [{ key: "default/web", address, order: 4 }] };
  net.start("a", { endpoints: endpointsOf("a") });
  net.run(2000);
  for (const name of ["b", "c"]) net.start(name, { endpoints: endpointsOf(name) });
  expectAgreement(net);
  assert.equal(vips(net.view("c"))["default/web"], address);
  // What is new is on disk a moment later.
  net.run(200);
  for (const name of NAMES) net.crash(name);
  for (const name of ["b", "c"]) net.start(name, { endpoints: endpointsOf(name) });
  expectAgreement(net);
  assert.equal(vips(net.view("c"))["default/web"], address, "also without the node that chose it");
});

test("node: a service that returns gets the VIP it had, also when its only host restarted meanwhile", () => {
  const net = settled();
  const before = vips(net.view("b"))["default/own-a"];
  net.discover("a", []);
  assert.ok(net.until(() => !("default/own-a" in vips(net.view("b"))), 2000));
  net.run(1000);
  net.crash("a");
  net.start("a", { endpoints: endpointsOf("a") });
  expectAgreement(net);
  assert.equal(vips(net.view("b"))["default/own-a"], before);
});

test("node: a crash takes a node's replicas out, and neither name nor VIP; its return brings them back", () => {
  const net = settled();
  const before = vips(net.view("a"));
  net.crash("c");
  assert.ok(
    net.until(() => !eligibleIds(net.view("a")).includes("web-c"), 500),
    "a refused dial is proof",
  );
  assert.deepEqual(vips(net.view("a")), before);
  assert.ok(net.until(() => replicaIn(net.view("a"), "own-c")?.tier === "never", 1500));
  assert.deepEqual(vips(net.view("a")), before);
  net.start("c", { endpoints: endpointsOf("c") });
  expectAgreement(net);
  assert.equal(eligibleIds(net.view("a")).length, 6);
  assert.deepEqual(vips(net.view("a")), before);
});

test("node: a crash and a restart never take a name away, however late its sources tell what runs", () => {
  fc.assert(
    fc.property(seed, fc.integer({ min: 0, max: 3000 }), fc.boolean(), (value, lateMs, isSeenDead) => {
      const net = settled({ seed: value });
      const before = vips(net.view("a"))["default/own-c"];
      net.crash("c");
      if (isSeenDead) net.run(3000);
      net.onStep = ({ name, node }) => {
        if (name === "c" || node === null) return;
        assert.equal(vips(node.view)["default/own-c"], before, `${name} knows own-c and its VIP at any time`);
      };
      net.start("c", { sources: ["static", "docker"], endpoints: [] });
      net.run(lateMs);
      net.discover("c", endpointsOf("c"), "docker");
      expectAgreement(net);
      assert.equal(eligibleIds(net.view("a")).length, 6);
    }),
    { numRuns: 20 },
  );
});

test("node: a source that never tells holds up the others for some seconds, not for ever", () => {
  const net = new NodeNetwork({ seed: 5, names: ["a", "b"] });
  net.start("a", { sources: ["static", "docker"], endpoints: endpointsOf("a") });
  net.start("b", { endpoints: endpointsOf("b") });
  net.run(1000);
  assert.equal(net.view("a").complete, false);
  assert.equal(net.view("b").complete, true);
  assert.ok(net.until(() => eligibleIds(net.view("b")).includes("web-a"), 6000));
  assert.ok(net.until(() => net.view("a").complete, 100));
});

test("node: a view is complete only when it holds what the first peer held", () => {
  fc.assert(
    fc.property(seed, fc.integer({ min: 0, max: 200 }), (value, delayMs) => {
      const net = new NodeNetwork({ seed: value, names: NAMES, delayMs });
      for (const name of ["a", "b"]) net.start(name, { endpoints: endpointsOf(name) });
      assert.ok(net.until(() => agree(net) && eligibleIds(net.view("b")).length === 4, 8000));
      const known = new Set(net.view("a").services.map(({ key }) => key));
      net.onStep = ({ name, node }) => {
        if (name !== "c" || node === null || !node.view.complete) return;
        const keys = new Set(node.view.services.map(({ key }) => key));
        for (const key of known) assert.ok(keys.has(key), `${key} is in the first complete view`);
      };
      net.start("c", { endpoints: endpointsOf("c") });
      assert.equal(net.view("c").complete, false);
      assert.ok(net.until(() => net.view("c").complete, 8000));
    }),
    { numRuns: 20 },
  );
});

test("node: a view is complete only when it holds what is here as well", () => {
  fc.assert(
    fc.property(seed, fc.integer({ min: 0, max: 200 }), (value, delayMs) => {
      const net = new NodeNetwork({ seed: value, names: NAMES, delayMs });
      net.onStep = ({ name, node }) => {
        if (node === null || !node.view.complete) return;
        assert.notEqual(replicaIn(node.view, `web-${name}`), undefined, `own replica of ${name}`);
      };
      for (const name of NAMES) net.start(name, { endpoints: endpointsOf(name) });
      assert.ok(net.until(() => NAMES.every((name) => net.view(name).complete), 8000));
    }),
    { numRuns: 20 },
  );
});

test("node: a drain is called applied only when no running node would send the replica anything more", () => {
  const where = fc.constantFrom(...NAMES);
  fc.assert(
    fc.property(seed, fc.integer({ min: 0, max: 60 }), where, where, (value, delayMs, owner, asked) => {
      const net = settled({ seed: value, delayMs });
      const id = `web-${owner}`;
      net.onStep = ({ name, node }) => {
        if (node === null || replicaIn(node.view, id)?.drainApplied !== true) return;
        for (const other of NAMES)
          assert.notEqual(
            replicaIn(net.view(other), id)?.tier,
            "eligible",
            `${other}, when ${name} says applied`,
          );
      };
      net.feed(asked, { kind: "drain", replica: id, draining: true });
      assert.ok(
        net.until(() => NAMES.every((name) => replicaIn(net.view(name), id)?.drainApplied === true), 3000),
      );
      assert.equal(eligibleIds(net.view(asked)).length, 5);
      net.onStep = () => undefined;
      net.feed(asked, { kind: "drain", replica: id, draining: false });
      assert.ok(
        net.until(() => NAMES.every((name) => replicaIn(net.view(name), id)?.tier === "eligible"), 3000),
      );
    }),
    { numRuns: 40 },
  );
});

test("node: a drain of what is in several networks is of its copies in all of them, and so is its end", () => {
  const net = settled();
  const copies = ["web-a", "web-a.back", "web-a.call"];
  const named = copies.map((id) => endpoint("web", id, { name: id.replace(".", "-") }));
  net.discover("a", [...named, endpoint("web", "web-aa")]);
  const states = () => [...copies, "web-aa"].map((id) => replicaIn(net.view("b"), id)?.state).join(" ");
  assert.ok(net.until(() => states() === "ready ready ready ready", 3000));
  net.feed("b", { kind: "drain", replica: "web-a", draining: true });
  assert.ok(
    net.until(() => states() === "draining draining draining ready", 3000),
    states(),
  );
  net.feed("b", { kind: "drain", replica: "web-a", draining: false });
  assert.ok(
    net.until(() => states() === "ready ready ready ready", 3000),
    states(),
  );
  net.feed("b", { kind: "drain", replica: "web-a.back", draining: true });
  assert.ok(
    net.until(() => states() === "ready draining ready ready", 3000),
    states(),
  );
});

test("node: all of a host is drained from any host, what starts there later too, until it is activated", () => {
  const net = settled();
  const drain = (asked: string, draining: boolean): void =>
    net.feed(asked, { kind: "drainNode", node: net.host("a").id, draining });
  const isDraining = (id: string): boolean =>
    NAMES.every((name) => replicaIn(net.view(name), id)?.drainApplied === true);
  const isMarked = (name: string): boolean =>
    net.view(name).members.find((member) => member.name === "a")?.draining === true;
  drain("b", true);
  assert.ok(net.until(() => isDraining("web-a") && NAMES.every(isMarked), 3000));
  assert.equal(replicaIn(net.view("c"), "web-b")?.tier, "eligible");
  net.discover("a", [...endpointsOf("a"), endpoint("web", "late")]);
  assert.ok(net.until(() => isDraining("late"), 3000));
  net.crash("a");
  net.start("a");
  net.run(200);
  net.discover("a", [...endpointsOf("a"), endpoint("web", "late", { startedAtMs: 3000 })]);
  expectAgreement(net);
  assert.equal(replicaIn(net.view("b"), "late")?.state, "draining", "over a restart");
  drain("b", false);
  const isBack = (): boolean => ["web-a", "late"].every((id) => eligibleIds(net.view("c")).includes(id));
  assert.ok(net.until(() => isBack() && !NAMES.some(isMarked), 3000));
});

test("node: a drain is not called applied while an alive member is silent about it", () => {
  const net = settled();
  // Its links stay, its daemon hangs: nothing it gets is worked on, but it is not suspected yet.
  const deaf = net.host("c").node ?? assert.fail();
  net.host("c").hang();
  net.feed("a", { kind: "drain", replica: "web-a", draining: true });
  net.run(400);
  assert.equal(replicaIn(net.view("a"), "web-a")?.drainApplied, false);
  assert.deepEqual(net.host("a").node?.lagging, ["c"]);
  assert.equal(replicaIn(net.view("b"), "web-a")?.state, "draining");
  assert.ok(deaf.view.complete);
});

test("node: a drain outlives a restart of the daemon, in whichever order its sources tell; a new run ends it", () => {
  for (const isEmptyFirst of [true, false]) {
    const net = settled();
    net.feed("a", { kind: "drain", replica: "web-a", draining: true });
    assert.ok(net.until(() => replicaIn(net.view("b"), "web-a")?.drainApplied === true, 2000));
    net.crash("a");
    net.start("a", { sources: ["static", "docker"] });
    net.run(200);
    if (isEmptyFirst) net.discover("a", [], "docker");
    net.run(200);
    net.discover("a", endpointsOf("a"));
    if (!isEmptyFirst) net.discover("a", [], "docker");
    expectAgreement(net);
    assert.equal(replicaIn(net.view("b"), "web-a")?.state, "draining");
    net.discover("a", [endpoint("web", "web-a", { startedAtMs: 2000 })]);
    assert.ok(net.until(() => eligibleIds(net.view("b")).includes("web-a"), 2000));
  }
});

test("node: an unhealthy replica is out on every node, and nobody else's word counts", () => {
  const net = settled();
  net.unhealthyIds.add("web-b");
  assert.ok(net.until(() => NAMES.every((name) => !eligibleIds(net.view(name)).includes("web-b")), 3000));
  for (const name of NAMES) assert.equal(replicaIn(net.view(name), "web-b")?.saidBy, "b");
  net.unhealthyIds.delete("web-b");
  assert.ok(net.until(() => NAMES.every((name) => eligibleIds(net.view(name)).length === 6), 3000));
});

function stateOf(view: View, name: string): string | undefined {
  return view.members.find(({ id }) => id === idOf(name))?.state;
}

test("node: who leaves for good drains, is heard, and takes its records along at once", () => {
  const net = settled();
  net.feed("c", { kind: "stop", farewell: "left" });
  const stopping = net.host("c").node ?? assert.fail();
  assert.ok(net.until(() => stopping.lagging.length === 0, 1000));
  for (const name of ["a", "b"]) assert.equal(replicaIn(net.view(name), "web-c")?.state, "draining");
  net.feed("c", { kind: "leave", farewell: "left" });
  assert.ok(net.until(() => ["a", "b"].every((name) => stateOf(net.view(name), "c") === "left"), 100));
  assert.ok(
    net.until(() => ["a", "b"].every((name) => replicaIn(net.view(name), "own-c") === undefined), 100),
  );
});

test("node: who goes for a while keeps names and VIPs; what it relays rests, what needs no relay goes on", () => {
  const net = settled();
  net.discover("c", [
    endpoint("web", "web-c", { reach: "stream" }),
    endpoint("own-c", "own-c", { reach: "direct" }),
  ]);
  expectAgreement(net);
  const before = vips(net.view("a"));
  net.feed("c", { kind: "stop", farewell: "away" });
  const stopping = net.host("c").node ?? assert.fail();
  assert.ok(net.until(() => stopping.lagging.length === 0, 1000));
  for (const name of ["a", "b"]) {
    assert.equal(replicaIn(net.view(name), "web-c")?.tier, "draining");
    assert.equal(replicaIn(net.view(name), "own-c")?.tier, "eligible");
  }
  net.feed("c", { kind: "leave", farewell: "away" });
  assert.ok(net.until(() => ["a", "b"].every((name) => stateOf(net.view(name), "c") === "away"), 100));
  net.crash("c");
  net.run(60_000);
  for (const name of ["a", "b"]) {
    assert.equal(stateOf(net.view(name), "c"), "away");
    assert.equal(replicaIn(net.view(name), "web-c")?.tier, "never");
    assert.equal(replicaIn(net.view(name), "own-c")?.tier, "eligible");
    assert.deepEqual(vips(net.view(name)), before);
  }
  net.start("c", { endpoints: endpointsOf("c") });
  expectAgreement(net);
  assert.equal(eligibleIds(net.view("a")).length, 6);
});

test("node: who does not come back in time is given up, and its names stay", () => {
  const net = settled();
  const before = vips(net.view("a"));
  for (const kind of ["stop", "leave"] as const) net.feed("c", { kind, farewell: "away" });
  assert.ok(net.until(() => ["a", "b"].every((name) => stateOf(net.view(name), "c") === "away"), 100));
  net.crash("c");
  net.run(119_000);
  assert.equal(stateOf(net.view("a"), "c"), "away");
  assert.ok(net.until(() => ["a", "b"].every((name) => stateOf(net.view(name), "c") === "dead"), 2500));
  assert.deepEqual(vips(net.view("a")), before);
  assert.equal(replicaIn(net.view("a"), "own-c")?.tier, "never");
});

test("node: two halves that lost each other go on, and agree again once they meet", () => {
  fc.assert(
    fc.property(seed, fc.constantFrom(...NAMES), (value, lonely) => {
      const net = settled({ seed: value });
      const before = vips(net.view("a"));
      net.partition((one, other) => one === lonely && other !== lonely);
      net.run(4000);
      for (const name of NAMES) {
        assert.deepEqual(vips(net.view(name)), before, `${name} keeps names and VIPs`);
        const own = name === lonely ? [lonely] : NAMES.filter((other) => other !== lonely);
        const expected = own.flatMap((other) => [`own-${other}`, `web-${other}`]);
        assert.deepEqual(eligibleIds(net.view(name)).toSorted(), expected.toSorted());
      }
      net.heal();
      expectAgreement(net, 4000);
      assert.equal(eligibleIds(net.view("a")).length, 6);
      assert.deepEqual(vips(net.view("b")), before);
    }),
    { numRuns: 15 },
  );
});

test("node: no frame makes a step throw: neither noise nor a good frame with bytes changed", () => {
  const net = settled();
  const frames: Uint8Array[] = [];
  const source = net.host("a").node ?? assert.fail();
  net.feed("a", { kind: "linkUp", link: 900, dialled: null, remote: "x", peer: net.host("b").id });
  net.feed("a", { kind: "drain", replica: "web-a", draining: true });
  frames.push(
    ...source
      .step({ kind: "linkUp", link: 901, dialled: null, remote: "x", peer: net.host("b").id }, net.nowMs)
      .send.map(({ frame }) => frame),
  );
  const node = net.host("b").node ?? assert.fail();
  const { id: peer } = net.host("a");
  let link = 1000;
  const change = fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(
      fc.nat(),
      fc.array(change, { maxLength: 6 }),
      fc.uint8Array({ maxLength: 200 }),
      (chosen, changes, noise) => {
        link += 1;
        node.step({ kind: "linkUp", link, dialled: null, remote: "x", peer }, net.nowMs);
        const frame = Uint8Array.from(frames[chosen % Math.max(1, frames.length)] ?? noise);
        for (const { at, to } of changes) frame[at % frame.length] = to;
        node.step({ kind: "frame", link, frame }, net.nowMs);
        node.step({ kind: "frame", link, frame: noise }, net.nowMs);
        node.step({ kind: "linkDown", link, reason: "x" }, net.nowMs);
      },
    ),
    { numRuns: 300 },
  );
  assert.ok(eligibleIds(node.view).length >= 5);
});
