// Members stop on purpose: for good they have left, for a while they are away, and nobody takes either for a death.

import assert from "node:assert/strict";
import { test } from "node:test";

import { at, DELAY_MS, settled, toldOf, untilSeen } from "../support/gossip-cluster.ts";
import { GossipNetwork } from "../support/gossip-network.ts";

const DAY_MS = 24 * 3_600_000;
const AWAY_MS = 20_000;

test("gossip: a farewell is seen at once as leaving, by all, and never turns into death", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { network, hosts } = settled(4, seed);
    const leaver = at(hosts, seed % 4);
    network.stop(leaver);
    untilSeen(network, leaver, { state: "left", withinMs: 2 * DELAY_MS });
    network.runFor(5000);
    for (const host of network.running) {
      assert.equal(network.stateOf(host, leaver), "left");
      assert.deepEqual(toldOf(host, "member.suspect"), [], `seed ${seed}`);
    }
  }
});

test("gossip: a member that left is seen as left also by a node that joins later", () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const { network, hosts } = settled(4, seed);
    const leaver = at(hosts, 1 + (seed % 3));
    network.stop(leaver);
    network.runFor(5000);
    const late = network.start("late", { seeds: [at(hosts, 0).address] });
    network.runUntil("has joined", 1000, () => late.gossip.complete);
    assert.equal(network.stateOf(late, leaver), "left", `seed ${seed}`);
    network.runFor(10_000);
    assert.ok(network.agrees);
    assert.equal(network.stateOf(late, leaver), "left", `seed ${seed}`);
    assert.deepEqual(toldOf(late, "member.dead"), []);
  }
});

test("gossip: a host that left and starts again is alive at once, with its new records alone", () => {
  const { network, hosts } = settled(3);
  const leaver = at(hosts, 2);
  network.write(leaver, { "replica/old": "x" });
  network.stop(leaver);
  network.runFor(2000);
  const back = network.start(leaver.name);
  network.runUntil("all agree", 1000, () => network.agrees);
  assert.equal(network.bodyOf(at(hosts, 0), back, "replica/old"), null);
});

test("gossip: a member that is away is kept with its log, looked for now and then, and alive once it is back", () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const { network, hosts } = settled(4, seed);
    const [watcher, leaver] = [at(hosts, 0), at(hosts, 1 + (seed % 3))];
    network.write(leaver, { "replica/x": "kept" });
    network.runFor(DELAY_MS);
    network.stop(leaver, "away", AWAY_MS);
    untilSeen(network, leaver, { state: "away", withinMs: 2 * DELAY_MS });
    const dials = new Map(network.running.map((host) => [host, host.dials]));
    network.runFor(AWAY_MS / 2);
    for (const host of network.running) {
      assert.equal(network.stateOf(host, leaver), "away", `seed ${seed}`);
      assert.equal(network.bodyOf(host, leaver, "replica/x"), "kept");
    }
    // It may come back without knowing where anybody is: so it is looked for, now and then.
    for (const [host, before] of dials)
      assert.ok(host.dials - before <= 20, `seed ${seed}: ${host.dials - before} dials by ${host.name}`);
    network.start(leaver.name);
    network.runUntil("all agree", 1000, () => network.agrees);
    assert.equal(watcher.gossip.standing(leaver.id)?.settlesAtMs, null);
    for (const host of network.running) assert.deepEqual(toldOf(host, "member.dead"), [], `seed ${seed}`);
  }
});

test("gossip: a member that does not come back in the time it said is dead to all soon after", () => {
  const { network, hosts } = settled(4);
  const leaver = at(hosts, 2);
  network.stop(leaver, "away", AWAY_MS);
  network.runFor(AWAY_MS - 500);
  for (const host of network.running) assert.equal(network.stateOf(host, leaver), "away");
  untilSeen(network, leaver, { state: "dead", withinMs: 1500 });
});

test("gossip: a node that joins while a member is away sees it away, and dead when it does not come back", () => {
  const { network, hosts } = settled(4);
  const leaver = at(hosts, 2);
  network.stop(leaver, "away", AWAY_MS);
  network.runFor(1000);
  const late = network.start("late", { seeds: [at(hosts, 0).address] });
  network.runUntil("has joined", 1000, () => late.gossip.complete);
  assert.equal(network.stateOf(late, leaver), "away");
  network.runFor(2000);
  assert.equal(network.stateOf(late, leaver), "away");
  untilSeen(network, leaver, { state: "dead", withinMs: AWAY_MS });
});

test("gossip: all hosts restarted one by one, each away for a second: nobody is ever missed", () => {
  const { network, hosts } = settled(5);
  for (const host of hosts) network.write(host, { "replica/x": host.name });
  network.runFor(DELAY_MS);
  for (const { name } of hosts) {
    const before = network.host(name);
    network.stop(before, "away", AWAY_MS);
    network.runFor(1000);
    for (const host of network.running) {
      assert.equal(network.stateOf(host, before), "away");
      assert.equal(network.bodyOf(host, before, "replica/x"), name, `${name} as held by ${host.name}`);
    }
    const after = network.start(name);
    network.write(after, { "replica/x": name });
    network.runUntil("all agree", 1000, () => network.agrees);
  }
  for (const host of network.running) {
    assert.deepEqual(toldOf(host, "member.suspect"), []);
    assert.deepEqual(toldOf(host, "member.dead"), []);
    for (const { name } of hosts) assert.equal(network.bodyOf(host, network.host(name), "replica/x"), name);
  }
});

test("gossip: a member that is cut off while it says farewell is dead, and left once that is heard", () => {
  const { network, hosts } = settled(4);
  const [hears, deaf, leaver] = [at(hosts, 0), at(hosts, 1), at(hosts, 3)];
  // Only one of them hears it, and cannot tell the others yet.
  for (const host of hosts) if (host !== hears && host !== leaver) network.cut(host, hears);
  for (const host of hosts) if (host !== hears && host !== leaver) network.cut(host, leaver);
  network.stop(leaver);
  network.runFor(6000);
  assert.equal(network.stateOf(hears, leaver), "left");
  assert.equal(network.stateOf(deaf, leaver), "dead");
  network.heal();
  untilSeen(network, leaver, { state: "left", withinMs: 2000 });
});

test("gossip: forgotten after a day, a member that was only cut off counts again with its old incarnation", () => {
  const { network, hosts } = settled(3);
  const [a, b] = [at(hosts, 0), at(hosts, 1)];
  network.write(b, { "replica/x": "kept" });
  network.runFor(DELAY_MS);
  network.isolate(b);
  network.runFor(6000);
  network.skip(DAY_MS);
  network.runFor(10_000);
  assert.equal(network.stateOf(a, b), "unknown");
  assert.equal(network.bodyOf(a, b, "replica/x"), null);
  network.heal();
  network.runUntil("agree again", 5000, () => network.agrees);
  assert.equal(network.bodyOf(a, b, "replica/x"), "kept");
  assert.equal(b.gossip.incarnation, 10);
});

for (const how of ["left", "dead"] as const) {
  test(`gossip: a member that was ${how} for a day is gone for good, whoever meets or joins afterwards`, () => {
    const { network, hosts } = settled(4);
    const gone = at(hosts, 3);
    if (how === "left") network.stop(gone);
    else network.crash(gone);
    network.runFor(3000);
    network.skip(DAY_MS);
    network.runFor(5000);
    for (const host of network.running) assert.equal(network.stateOf(host, gone), "unknown", host.name);
    // A link that comes up exchanges everything.
    network.dropLinks(at(hosts, 0), at(hosts, 1));
    network.runFor(10_000);
    for (const host of network.running) assert.equal(network.stateOf(host, gone), "unknown", host.name);
    const late = network.start("late", { seeds: [at(hosts, 0).address] });
    network.runUntil("has joined", 1000, () => late.gossip.complete);
    network.runFor(10_000);
    for (const host of network.running) assert.equal(network.stateOf(host, gone), "unknown", host.name);
  });
}

test("gossip: after a day in which only one of two forgot a member, both forget it", () => {
  const network = new GossipNetwork({ seed: 1, delayMs: DELAY_MS });
  const hosts = network.startMany(3);
  network.runUntil("all agree", 1000, () => network.agrees);
  const [a, b, gone] = [at(hosts, 0), at(hosts, 1), at(hosts, 2)];
  network.crash(gone);
  untilSeen(network, gone, { state: "dead", withinMs: 1000 });
  // b starts anew half a day later, and so remembers the death for longer.
  network.skip(DAY_MS / 2);
  network.crash(b);
  network.runFor(1000);
  const b2 = network.start("b");
  network.runUntil("both are there", 2000, () => network.agrees);
  assert.equal(network.stateOf(b2, gone), "dead");
  network.skip(DAY_MS / 2);
  network.runFor(20_000);
  assert.equal(network.stateOf(a, gone), "unknown");
  network.skip(DAY_MS / 2);
  network.runFor(20_000);
  for (const host of [a, b2]) assert.equal(network.stateOf(host, gone), "unknown", host.name);
});

test("gossip: a member that comes back from away without a memory of anybody is found by the others", () => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const { network, hosts } = settled(3, seed);
    // The first: it has no seed, it is that of the others.
    const leaver = at(hosts, 0);
    network.stop(leaver, "away", AWAY_MS);
    untilSeen(network, leaver, { state: "away", withinMs: 2 * DELAY_MS });
    network.runFor(500);
    network.start(leaver.name, { seeds: [], forgets: true });
    network.runUntil("all agree", 1500, () => network.agrees);
  }
});
