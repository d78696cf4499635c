// Hosts start anew, move, are restored from a backup or copied: who is believed, and what is held of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { at, DELAY_MS, HEALED_MS, settled, toldOf } from "../support/gossip-cluster.ts";
import { GossipNetwork, idOf } from "../support/gossip-network.ts";

/** Within which a node is believed again whose id another one used; its last hello is five seconds old by then. */
const BACK_MS = 7000;

test("gossip: a crash and a quick start are told apart from the earlier life by the incarnation", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { network, hosts } = settled(3, seed);
    const before = at(hosts, 1);
    network.write(before, { "replica/old": "x" });
    network.runFor(DELAY_MS);
    network.crash(before);
    network.runFor(seed * 20);
    const after = network.start(before.name);
    network.runUntil("all agree", 1000, () => network.agrees);
    for (const host of network.running) assert.equal(network.bodyOf(host, after, "replica/old"), null);
  }
});

test("gossip: a data dir restored from a backup takes a higher incarnation than any peer remembers", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { network, hosts } = settled(3, seed);
    const before = at(hosts, seed % 3);
    network.write(before, { "replica/old": "x" });
    network.runFor(DELAY_MS);
    network.crash(before);
    network.runFor(1000);
    const after = network.start(before.name, { incarnation: before.gossip.incarnation - 5 });
    network.write(after, { "replica/new": "y" });
    network.runUntil("all agree", 1500, () => network.agrees);
    assert.ok(after.gossip.incarnation > before.gossip.incarnation);
    for (const host of network.running) {
      assert.equal(network.bodyOf(host, after, "replica/new"), "y");
      assert.equal(network.bodyOf(host, after, "replica/old"), null);
    }
  }
});

test("gossip: a restored node outranks its old life also when only a third one remembers it", () => {
  const { network, hosts } = settled(3);
  const [a, b, c] = [at(hosts, 0), at(hosts, 1), at(hosts, 2)];
  network.crash(b);
  network.runFor(500);
  // c knows b's highest incarnation; a starts anew and knows nothing; b meets only a at first.
  network.cut("b", "c");
  network.crash(a);
  network.cut("a", "c");
  const a2 = network.start("a");
  const b2 = network.start("b", { incarnation: b.gossip.incarnation - 5 });
  network.runUntil("a and b agree", 1500, () => network.stateOf(a2, b2) === "alive");
  network.heal();
  network.cut("b", "c");
  network.write(b2, { "replica/new": "y" });
  network.runUntil(
    "a and c meet",
    3000,
    () => network.stateOf(a2, c) === "alive" && network.stateOf(c, a2) === "alive",
  );
  // a has learnt b's old life from c, and must tell b; c never links to b.
  network.runUntil("b outranks its old life", 3000, () => network.bodyOf(c, b2, "replica/new") === "y");
  assert.equal(network.bodyOf(a2, b2, "replica/new"), "y");
});

test("gossip: two hosts that dial each other in the same moment end up with one link", () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const network = new GossipNetwork({ seed, delayMs: DELAY_MS });
    const a = network.start("a", { seeds: [{ host: "b", port: 7650 }] });
    const b = network.start("b", { seeds: [{ host: "a", port: 7650 }] });
    network.dial(a, b.address);
    network.dial(b, a.address);
    network.runUntil("agree", 1000, () => network.agrees);
    network.runFor(3000);
    assert.equal(network.linksBetween(a, b), 1, `seed ${seed}`);
    assert.ok(network.agrees);
    const troubles = [a, b].flatMap(({ happenings }) => happenings.filter(({ level }) => level === "warn"));
    assert.deepEqual(troubles, [], `seed ${seed}: losing a race is no trouble`);
    assert.deepEqual([...a.refused, ...b.refused], []);
  }
});

test("gossip: a seed that leads to the node itself is dialled once and is no trouble", () => {
  const network = new GossipNetwork({ seed: 1 });
  const alias = { host: "self.example", port: 7650 };
  const a = network.start("a", { seeds: [alias, { host: "a", port: 7650 }] });
  network.alias(alias, a);
  network.runFor(10_000);
  assert.equal(a.dials, 1);
  assert.ok(a.gossip.complete);
  assert.deepEqual(
    a.happenings.map(({ kind }) => kind),
    ["view.complete"],
  );
  assert.deepEqual(a.gossip.standings, []);
});

test("gossip: a seed that is another name of a member is not dialled over and over", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const network = new GossipNetwork({ seed, delayMs: DELAY_MS });
    const alias = { host: "seed.example", port: 7650 };
    const hosts = ["a", "b", "c"].map((name) => network.start(name, { seeds: [alias] }));
    network.alias(alias, at(hosts, 0));
    network.runUntil("all agree", 2000, () => network.agrees);
    // Every host starts anew once, so that dials cross in every way.
    for (const host of hosts) {
      network.crash(host);
      network.runFor(300);
      network.start(host.name);
      network.runUntil("all agree", 2000, () => network.agrees);
    }
    network.runFor(2000);
    const counts = () => network.running.map(({ dials, linksOpened }) => [dials, linksOpened]);
    const before = counts();
    network.runFor(10_000);
    assert.deepEqual(counts(), before, `seed ${seed}`);
  }
});

test("gossip: a member that moves to another address is found there, and its old one is dialled no more", () => {
  const { network, hosts } = settled(3);
  const [a, b] = [at(hosts, 0), at(hosts, 1)];
  for (let move = 1; move <= 5; move += 1) {
    network.crash(network.host("c"));
    network.runFor(1000);
    network.start("c", { port: 7650 + move });
    network.runUntil("all agree", 2000, () => network.agrees);
  }
  network.runFor(2000);
  for (const host of [a, b]) {
    const ports = host.gossip.addresses.filter(({ host: name }) => name === "c").map(({ port }) => port);
    assert.deepEqual(ports, [7655], host.name);
  }
  const dials = a.dials + b.dials;
  network.runFor(5000);
  assert.equal(a.dials + b.dials, dials);
});

test("gossip: a second node with the same id that meets the first is refused by both, and reported on both", () => {
  const network = new GossipNetwork({ seed: 3 });
  const one = network.start("a", { id: idOf("x") });
  const other = network.start("b", { id: idOf("x"), incarnation: 500, seeds: [one.address] });
  network.runFor(10_000);
  for (const host of [one, other]) {
    const reports = host.happenings.filter(({ kind }) => kind === "member.refused");
    assert.ok(reports.length >= 1 && reports.every(({ text }) => text.includes(idOf("x"))), host.name);
    assert.ok(reports.length <= 12, `${reports.length} reports in ten seconds`);
    assert.deepEqual(host.gossip.standings, []);
    assert.equal(host.gossip.logs.size, 1);
  }
});

test("gossip: of two nodes with one id that never meet, both are refused by all others, who tell why", () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const { network, hosts } = settled(3, seed);
    const [a, b, c] = [at(hosts, 0), at(hosts, 1), at(hosts, 2)];
    network.cut("c", "copy");
    const copy = network.start("copy", {
      id: c.id,
      incarnation: c.gossip.incarnation + 1,
      seeds: [a.address],
    });
    network.runUntil("told by both", 5000, () =>
      [a, b].every(({ gossip }) => gossip.problems.some((text) => text.includes(c.id))),
    );
    network.runFor(10_000);
    for (const host of [a, b]) {
      assert.equal(network.linksBetween(host, c), 0, `seed ${seed}: ${host.name} and c`);
      assert.equal(network.linksBetween(host, copy), 0, `seed ${seed}: ${host.name} and its copy`);
      assert.match(host.gossip.problems[0] ?? "", /use one id, .*: both are refused; expected a data dir/);
      assert.ok(toldOf(host, "member.refused").length >= 1);
      const told = toldOf(host, "member.refused").length;
      assert.ok(told <= 40, `seed ${seed}: ${told} reports in ten seconds`);
    }
    assert.equal(network.stateOf(a, b), "alive");
  }
});

test("gossip: however long two nodes with one id both live, neither is believed in between", () => {
  const { network, hosts } = settled(3);
  const [a, b, c] = [at(hosts, 0), at(hosts, 1), at(hosts, 2)];
  network.cut("c", "copy");
  network.start("copy", { id: c.id, incarnation: c.gossip.incarnation + 1, seeds: [a.address] });
  const both = [a, b];
  network.runUntil("told by both", 5000, () => both.every(({ gossip }) => gossip.problems.length > 0));
  network.runUntil("given up by both", 5000, () => both.every((one) => network.stateOf(one, c) === "dead"));
  network.onStep = () => {
    for (const one of both) assert.equal(network.stateOf(one, c), "dead", one.name);
  };
  network.runFor(120_000);
});

for (const goes of ["copy", "original"] as const) {
  test(`gossip: seconds after the ${goes} of two nodes with one id has gone the other is taken back by all`, () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const { network, hosts } = settled(3, seed);
      const [a, b, c] = [at(hosts, 0), at(hosts, 1), at(hosts, 2)];
      network.cut("c", "copy");
      const { incarnation } = c.gossip;
      const copy = network.start("copy", { id: c.id, incarnation: incarnation + 1, seeds: [a.address] });
      const both = [a, b];
      network.runUntil("told by both", 5000, () => both.every(({ gossip }) => gossip.problems.length > 0));
      // However long it lasted, and in whatever phase it is.
      network.runFor(seed * 3333);
      network.crash(goes === "copy" ? copy : c);
      const isWell = (): boolean => both.every(({ gossip }) => gossip.problems.length === 0);
      network.runUntil("all agree, and nothing is wrong", BACK_MS, () => network.agrees && isWell());
    }
  });
}

test("gossip: the address book outlives a restart: a host without seeds finds its cluster again", () => {
  const { network, hosts } = settled(3);
  const first = at(hosts, 0);
  assert.deepEqual(first.seeds, []);
  network.crash(first);
  network.runFor(2000);
  network.start("a");
  network.runUntil("all agree", HEALED_MS, () => network.agrees);
});
