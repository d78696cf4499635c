// Hosts crash, freeze, are cut off and come back: who is seen alive, how soon, and what everybody holds in the end.

import assert from "node:assert/strict";
import { test } from "node:test";

import { GossipNetwork, idOf, type Host } from "../support/gossip-network.ts";

const DELAY_MS = 5;
/** A crash is seen within half a second, silence within three, healing within two (protocol.md, "Bars"). */
const CRASH_SEEN_MS = 500;
const SILENCE_SEEN_MS = 3000;
const HEALED_MS = 2000;

function settled(count: number, seed = 1): { network: GossipNetwork; hosts: Host[] } {
  const network = new GossipNetwork({ seed, delayMs: DELAY_MS });
  const hosts = network.startMany(count);
  network.runUntil("all agree", 2000, () => network.agrees);
  network.runFor(1500);
  return { network, hosts };
}

function at(hosts: readonly Host[], index: number): Host {
  const host = hosts[index];
  assert.ok(host !== undefined);
  return host;
}

for (const count of [2, 3, 5]) {
  test(`gossip: ${count} hosts that know one seed find each other and agree within a second`, () => {
    const network = new GossipNetwork({ seed: count, delayMs: DELAY_MS });
    const hosts = network.startMany(count);
    network.runUntil("all agree", 1000, () => network.agrees);
    for (const host of hosts) assert.ok(host.gossip.complete, host.name);
  });

  test(`gossip: one change is held by all ${count - 1} others within one delay`, () => {
    const { network, hosts } = settled(count);
    const writer = at(hosts, 0);
    network.write(writer, { "replica/x": "new" });
    network.runFor(DELAY_MS);
    for (const host of hosts) assert.equal(network.bodyOf(host, writer, "replica/x"), "new");
    network.write(writer, { "replica/x": null });
    network.runFor(DELAY_MS);
    for (const host of hosts) assert.equal(network.bodyOf(host, writer, "replica/x"), null);
  });

  test(`gossip: a crash among ${count} is seen as death by all within half a second`, () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const { network, hosts } = settled(count, seed);
      const victim = at(hosts, seed % count);
      network.crash(victim);
      const rest = network.running;
      network.runUntil("seen dead", CRASH_SEEN_MS, () =>
        rest.every((host) => network.stateOf(host, victim) === "dead"),
      );
      assert.ok(network.agrees);
    }
  });

  test(`gossip: a host among ${count} that falls silent is suspected and given up within three seconds`, () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const { network, hosts } = settled(count, seed);
      const victim = at(hosts, seed % count);
      const others = network.running.filter((host) => host !== victim);
      const states = new Map(others.map((host) => [host.name, [] as string[]]));
      network.onStep = () => {
        for (const host of others) {
          const seen = states.get(host.name);
          const state = network.stateOf(host, victim);
          if (seen?.at(-1) !== state) seen?.push(state);
        }
      };
      network.isolate(victim);
      network.runUntil("seen dead", SILENCE_SEEN_MS, () =>
        others.every((host) => network.stateOf(host, victim) === "dead"),
      );
      network.runFor(3000);
      for (const seen of states.values()) assert.deepEqual(seen, ["alive", "suspect", "dead"]);
    }
  });

  test(`gossip: a partition among ${count} heals within two seconds, and both sides' writes survive`, () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const { network, hosts } = settled(count, seed);
      const side = hosts.slice(0, 1 + (seed % (count - 1)));
      const other = hosts.slice(side.length);
      for (const one of side) for (const two of other) network.cut(one, two);
      network.runFor(4000 + seed * 777);
      for (const host of hosts) network.write(host, { "replica/during": host.name });
      network.runFor(500);
      network.heal();
      network.runUntil("all agree", HEALED_MS, () => network.agrees);
      for (const host of hosts) {
        for (const owner of hosts) assert.equal(network.bodyOf(host, owner, "replica/during"), owner.name);
      }
    }
  });

  test(`gossip: a host among ${count} that froze for a second is not given up, and accuses nobody`, () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const { network, hosts } = settled(count, seed);
      const sleeper = at(hosts, seed % count);
      network.freeze(sleeper);
      network.runFor(1000);
      network.thaw(sleeper);
      network.runFor(3000);
      const dead = hosts.flatMap((host) => host.happenings.filter(({ kind }) => kind === "member.dead"));
      assert.deepEqual(dead, []);
      const suspected = sleeper.happenings.filter(({ kind }) => kind === "member.suspect");
      assert.deepEqual(suspected, [], "the silence was its own");
      assert.ok(network.agrees);
    }
  });

  test(`gossip: a host among ${count} that froze for ten seconds accuses nobody, and all agree two later`, () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const { network, hosts } = settled(count, seed);
      const sleeper = at(hosts, seed % count);
      network.freeze(sleeper);
      network.runFor(10_000);
      network.thaw(sleeper);
      network.runUntil("all agree", HEALED_MS, () => network.agrees);
      const accused = sleeper.happenings.filter(({ kind }) => kind === "member.dead");
      assert.deepEqual(accused, []);
    }
  });
}

test("gossip: a cut too short to be noticed by pings still heals within the time that noticing takes", () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const { network, hosts } = settled(3, seed);
    network.isolate(at(hosts, seed % 3));
    network.runFor(50 * seed);
    network.heal();
    network.write(at(hosts, seed % 3), { "replica/after": "x" });
    network.runUntil("all agree", SILENCE_SEEN_MS + HEALED_MS, () => network.agrees);
  }
});

test("gossip: after a cut the links settle: no member comes and goes once it is back", () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const { network, hosts } = settled(3, seed);
    network.isolate(at(hosts, seed % 3));
    network.runFor(100 * seed);
    network.heal();
    network.runFor(SILENCE_SEEN_MS + HEALED_MS);
    for (const host of hosts) {
      const returns = host.happenings.filter(
        ({ kind, text }) => kind === "member.alive" && text === "linked",
      );
      // Once at the start and once after the cut, for each of the others.
      assert.ok(returns.length <= 2 * 2, `seed ${seed}: ${host.name} saw ${returns.length} returns`);
    }
  }
});

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

test("gossip: a restored node that first meets a peer without memory of it still outranks what others remember", () => {
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

test("gossip: a goodbye is seen at once as leaving, by all, and never turns into death", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { network, hosts } = settled(4, seed);
    const leaver = at(hosts, seed % 4);
    network.stop(leaver);
    const rest = network.running;
    network.runUntil("seen as left", 2 * DELAY_MS, () =>
      rest.every((host) => network.stateOf(host, leaver) === "left"),
    );
    network.runFor(5000);
    for (const host of rest) assert.equal(network.stateOf(host, leaver), "left");
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

test("gossip: records of a dead owner stay, and count again when it returns", () => {
  const { network, hosts } = settled(3);
  const [watcher, victim] = [at(hosts, 0), at(hosts, 2)];
  network.write(victim, { "replica/x": "kept" });
  network.runFor(DELAY_MS);
  network.isolate(victim);
  network.runFor(30_000);
  assert.equal(network.stateOf(watcher, victim), "dead");
  assert.equal(network.bodyOf(watcher, victim, "replica/x"), "kept");
  network.heal();
  network.runUntil("back", HEALED_MS, () => network.agrees);
  assert.equal(network.bodyOf(watcher, victim, "replica/x"), "kept");
});

test("gossip: a change and a deletion relayed by a third host arrive while their owner is thought dead", () => {
  const { network, hosts } = settled(3);
  const [a, b, c] = [at(hosts, 0), at(hosts, 1), at(hosts, 2)];
  network.write(a, { "replica/kept": "1", "replica/gone": "1" });
  network.runFor(DELAY_MS);
  network.cut(a, c);
  network.runFor(3500);
  assert.equal(network.stateOf(c, a), "dead");
  network.write(a, { "replica/kept": "2", "replica/gone": null });
  network.runUntil("c hears it from b", 3000, () => network.bodyOf(c, a, "replica/kept") === "2");
  assert.equal(network.bodyOf(c, a, "replica/gone"), null);
  assert.equal(network.stateOf(b, a), "alive");
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
    const dials = network.running.map((host) => host.dials);
    const linked = network.running.map((host) => host.linksOpened);
    network.runFor(10_000);
    assert.deepEqual(
      network.running.map((host) => host.dials),
      dials,
      `seed ${seed}`,
    );
    assert.deepEqual(
      network.running.map((host) => host.linksOpened),
      linked,
      `seed ${seed}`,
    );
  }
});

test("gossip: a second node with the same id is refused by both and reported on both", () => {
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

test("gossip: a link that cannot keep up misses pushes and is repaired within two seconds", () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const { network, hosts } = settled(2, seed);
    const [a, b] = [at(hosts, 0), at(hosts, 1)];
    network.setBehind(a, b, true);
    network.write(a, { "replica/1": "missed" });
    network.write(b, { "replica/1": "missed" });
    network.runFor(300);
    network.setBehind(a, b, false);
    // The next push shows the gap at once; without one the comparison finds it.
    if (seed % 2 === 0) network.write(a, { "replica/2": "seen" });
    network.runUntil("repaired", HEALED_MS, () => network.agrees);
  }
});

test("gossip: links that are reset again and again come back each time", () => {
  const { network, hosts } = settled(3);
  for (let round = 0; round < 10; round += 1) {
    network.dropLinks(at(hosts, round % 3), at(hosts, (round + 1) % 3));
    network.runFor(37 * round);
  }
  network.runUntil("all agree", HEALED_MS, () => network.agrees);
  for (const host of hosts) assert.ok(!host.happenings.some(({ kind }) => kind === "member.dead"), host.name);
});
