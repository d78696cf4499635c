// Hosts crash, fall silent, freeze and are cut in halves: who is seen alive, how soon, and what is held in the end.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  at,
  CRASH_SEEN_MS,
  DELAY_MS,
  HEALED_MS,
  kindsSaid,
  settled,
  SILENCE_SEEN_MS,
  toldOf,
  untilSeen,
} from "../support/gossip-cluster.ts";
import { GossipNetwork } from "../support/gossip-network.ts";

/** Few seeds where a run costs much. */
const SEEDS_BY_COUNT = [
  [2, 20],
  [3, 20],
  [5, 20],
  [12, 5],
  [24, 3],
] as const;

for (const [count, seeds] of SEEDS_BY_COUNT) {
  const seedsOf = Array.from({ length: seeds }, (_, index) => index + 1);

  test(`gossip: ${count} hosts that start at once and know one seed agree in a second, and all believe it`, () => {
    for (const seed of seedsOf) {
      const network = new GossipNetwork({ seed, delayMs: DELAY_MS });
      const hosts = network.startMany(count);
      network.runUntil("all agree", 1000, () => network.agrees);
      network.runUntil("all believe their picture", 1000, () => hosts.every(({ gossip }) => gossip.complete));
    }
  });

  test(`gossip: one change is held by all ${count - 1} others within one delay, and a deletion too`, () => {
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
    for (const seed of seedsOf) {
      const { network, hosts } = settled(count, seed);
      const victim = at(hosts, seed % count);
      network.crash(victim);
      untilSeen(network, victim, { state: "dead", withinMs: CRASH_SEEN_MS });
      assert.ok(network.agrees);
    }
  });

  test(`gossip: a host among ${count} that falls silent is suspected, and given up by all in time`, () => {
    // Between two only time can tell, and it takes a little longer.
    const withinMs = count === 2 ? SILENCE_SEEN_MS + 500 : SILENCE_SEEN_MS;
    for (const seed of seedsOf) {
      const { network, hosts } = settled(count, seed);
      const victim = at(hosts, seed % count);
      const others = hosts.filter((host) => host !== victim);
      const states = new Map(others.map((host) => [host, [] as string[]]));
      network.onStep = () => {
        for (const [host, seen] of states) {
          const state = network.stateOf(host, victim);
          if (seen.at(-1) !== state) seen.push(state);
        }
      };
      network.isolate(victim);
      untilSeen(network, victim, { state: "dead", withinMs });
      network.runFor(3000);
      for (const seen of states.values()) assert.deepEqual(seen, ["alive", "suspect", "dead"]);
      for (const host of others) assert.deepEqual(toldOf(host, "member.dead"), [victim.name]);
    }
  });

  test(`gossip: halves of ${count} heal within two seconds, and what both sides wrote survives`, () => {
    for (const seed of seedsOf) {
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
    for (const seed of seedsOf) {
      const { network, hosts } = settled(count, seed);
      const sleeper = at(hosts, seed % count);
      network.freeze(sleeper);
      network.runFor(1000);
      network.thaw(sleeper);
      network.runFor(3000);
      for (const host of hosts) assert.deepEqual(toldOf(host, "member.dead"), []);
      assert.deepEqual(toldOf(sleeper, "member.suspect"), [], "the silence was its own");
      assert.ok(network.agrees);
    }
  });

  test(`gossip: a host among ${count} that froze for 20 seconds gives nobody up, and is believed two later`, () => {
    for (const seed of seedsOf) {
      const { network, hosts } = settled(count, seed);
      const sleeper = at(hosts, seed % count);
      network.freeze(sleeper);
      network.runFor(20_000);
      network.thaw(sleeper);
      network.runUntil("all agree", HEALED_MS, () => network.agrees);
      network.runFor(10_000);
      assert.deepEqual(toldOf(sleeper, "member.dead"), []);
      const others = hosts.filter((host) => host !== sleeper);
      for (const host of others) assert.deepEqual(toldOf(host, "member.dead"), [sleeper.name]);
    }
  });

  test(`gossip: once ${count} hosts agree, they say no more than pings and sums`, () => {
    for (const seed of seedsOf.slice(0, 5)) {
      const { network, hosts } = settled(count, seed);
      const victim = at(hosts, seed % count);
      // Until the last of them believes its picture.
      network.runFor(5000);
      const quiet = new Set(["ping", "pong", "compare"]);
      const others = (): string[] => [...kindsSaid(network, 3000)].filter((kind) => !quiet.has(kind));
      assert.deepEqual(others(), [], `seed ${seed}: after the start`);
      network.isolate(victim);
      network.runFor(6000);
      network.heal();
      network.runUntil("all agree", HEALED_MS, () => network.agrees);
      network.runFor(2000);
      assert.deepEqual(others(), [], `seed ${seed}: after a partition`);
      network.crash(victim);
      network.runFor(3000);
      assert.deepEqual(others(), [], `seed ${seed}: after a crash`);
    }
  });
}

test("gossip: two of five that crash at once are seen as dead by all within half a second", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { network, hosts } = settled(5, seed);
    const [one, other] = [at(hosts, seed % 5), at(hosts, (seed + 1) % 5)];
    network.crash(one);
    network.crash(other);
    untilSeen(network, one, { state: "dead", withinMs: CRASH_SEEN_MS });
    untilSeen(network, other, { state: "dead", withinMs: CRASH_SEEN_MS });
  }
});

test("gossip: of three the one that is left sees two crashes within half a second", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { network, hosts } = settled(3, seed);
    const victims = [at(hosts, seed % 3), at(hosts, (seed + 1) % 3)];
    for (const victim of victims) network.crash(victim);
    for (const victim of victims) untilSeen(network, victim, { state: "dead", withinMs: CRASH_SEEN_MS });
  }
});

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
    assert.ok(network.agrees, `seed ${seed}`);
    for (const host of hosts) {
      const back = host.happenings.filter(({ kind, text }) => kind === "member.alive" && text !== "joined");
      const names = back.map(({ subject }) => subject);
      assert.ok(new Set(names).size === names.length, `seed ${seed}: ${host.name} saw ${names.join(" ")}`);
    }
  }
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

test("gossip: a host that comes and goes is damped: its third return takes a while to settle", () => {
  const { network, hosts } = settled(3);
  const [watcher, victim] = [at(hosts, 0), at(hosts, 2)];
  for (let round = 0; round < 3; round += 1) {
    assert.equal(watcher.gossip.standing(victim.id)?.settlesAtMs, null, `round ${round}`);
    network.isolate(victim);
    untilSeen(network, victim, { state: "dead", withinMs: SILENCE_SEEN_MS });
    network.heal();
    network.runUntil("back", HEALED_MS, () => network.agrees);
    if (round < 2) network.runFor(1000);
  }
  assert.ok((watcher.gossip.standing(victim.id)?.settlesAtMs ?? 0) > network.nowMs);
  const { revision } = watcher.gossip;
  network.runFor(2000);
  assert.equal(watcher.gossip.standing(victim.id)?.settlesAtMs, null);
  assert.ok(watcher.gossip.revision > revision, "a new view is due when it has settled");
});

test("gossip: links that are reset again and again come back each time, and nobody is given up", () => {
  const { network, hosts } = settled(3);
  for (let round = 0; round < 10; round += 1) {
    network.dropLinks(at(hosts, round % 3), at(hosts, (round + 1) % 3));
    network.runFor(37 * round);
  }
  network.runUntil("all agree", HEALED_MS, () => network.agrees);
  for (const host of hosts) assert.deepEqual(toldOf(host, "member.dead"), [], host.name);
});

test("gossip: a slow network of 200 ms a way gives nobody up while it runs, and still notices a crash", () => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const network = new GossipNetwork({ seed, delayMs: 200 });
    const hosts = network.startMany(5);
    network.runUntil("all agree", 5000, () => network.agrees);
    network.runFor(60_000);
    for (const host of hosts) assert.deepEqual(toldOf(host, "member.dead"), [], `seed ${seed}`);
    const victim = at(hosts, seed % 5);
    network.crash(victim);
    untilSeen(network, victim, { state: "dead", withinMs: 3 * CRASH_SEEN_MS });
  }
});

for (const count of [3, 12, 30]) {
  test(`gossip: 5 % loss, 200 ms of jitter and pauses of a second make nobody among ${count} die`, () => {
    for (let seed = 1; seed <= (count > 20 ? 2 : 8); seed += 1) {
      const network = new GossipNetwork({ seed, delayMs: 200, loss: 0.05 });
      const hosts = network.startMany(count);
      network.runUntil("all agree", 20_000, () => network.agrees);
      for (let pause = 0; pause < 20; pause += 1) {
        const sleeper = at(hosts, (seed + pause) % count);
        network.freeze(sleeper);
        network.runFor(1000);
        network.thaw(sleeper);
        network.runFor(2000);
      }
      for (const host of hosts)
        assert.deepEqual(toldOf(host, "member.dead"), [], `seed ${seed}: ${host.name}`);
      network.runUntil("all agree", 20_000, () => network.agrees);
    }
  });
}
