// Who misses many at once, was starved or cut off may be the one at fault: it is patient, and nobody pays for it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { at, HEALED_MS, settled, SILENCE_SEEN_MS, toldOf } from "../support/gossip-cluster.ts";
import type { Host } from "../support/gossip-host.ts";
import type { GossipNetwork } from "../support/gossip-network.ts";

/** Sizes of the smaller side and of all. */
const HALVES = [
  [1, 3],
  [2, 4],
  [2, 5],
  [3, 6],
  [6, 12],
  [12, 24],
] as const;

function untilDead(network: GossipNetwork, observers: readonly Host[], gone: readonly Host[]): void {
  network.runUntil(`${gone.map(({ name }) => name).join(" ")} dead`, SILENCE_SEEN_MS, () =>
    observers.every((one) => gone.every((other) => network.stateOf(one, other) === "dead")),
  );
}

/** Of which members a host waits for the replicas to settle. */
function settlingOn(host: Host, hosts: readonly Host[]): string[] {
  const settles = (id: string): boolean => host.gossip.standing(id)?.settlesAtMs !== null;
  return hosts.filter((other) => other !== host && settles(other.id)).map(({ name }) => name);
}

/** Of hosts whose time has come, those that run freeze, and those that are frozen go on. */
function takeTurns(network: GossipNetwork, turnsAtMs: Map<Host, number>): void {
  for (const [host, atMs] of turnsAtMs) {
    if (network.nowMs < atMs) continue;
    const lasts = host.frozen ? { leastMs: 1000, mostMs: 6000 } : { leastMs: 500, mostMs: 3500 };
    turnsAtMs.set(host, network.nowMs + lasts.leastMs + network.random() * (lasts.mostMs - lasts.leastMs));
    if (host.frozen) network.thaw(host);
    else network.freeze(host);
  }
}

for (const [fewer, count] of HALVES) {
  test(`gossip: a cut of ${count} into ${fewer} and ${count - fewer} is noticed on both within three seconds`, () => {
    for (let seed = 1; seed <= (count === 24 ? 3 : 20); seed += 1) {
      const { network, hosts } = settled(count, seed);
      const [side, other] = [hosts.slice(0, fewer), hosts.slice(fewer)];
      for (const one of side) for (const two of other) network.cut(one, two);
      const isSeen = (observers: readonly Host[], gone: readonly Host[]): boolean =>
        observers.every((one) => gone.every((two) => network.stateOf(one, two) === "dead"));
      network.runUntil("noticed", SILENCE_SEEN_MS, () => isSeen(side, other) && isSeen(other, side));
    }
  });
}

for (const count of [3, 4, 5, 12]) {
  test(`gossip: two of ${count} that fall silent at once are given up by all within three seconds`, () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const { network, hosts } = settled(count, seed);
      const gone = [at(hosts, seed % count), at(hosts, (seed + 1) % count)];
      for (const host of gone) network.isolate(host);
      untilDead(
        network,
        hosts.filter((host) => !gone.includes(host)),
        gone,
      );
    }
  });
}

test("gossip: who is cut off again and again has the others in service at once, though they let it settle", () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const { network, hosts } = settled(3, seed);
    const victim = at(hosts, seed % 3);
    const others = hosts.filter((host) => host !== victim);
    for (let round = 0; round < 6; round += 1) {
      network.isolate(victim);
      untilDead(network, [victim], others);
      untilDead(network, others, [victim]);
      network.heal();
      network.runUntil("back", HEALED_MS, () => network.agrees);
      assert.deepEqual(settlingOn(victim, hosts), [], `seed ${seed}, round ${round}`);
      // Until it judges again: right after a cut it takes its time.
      network.runFor(2000);
    }
    for (const other of others) assert.deepEqual(settlingOn(other, hosts), [victim.name], `seed ${seed}`);
  }
});

test("gossip: hosts that all run in bursts, with seconds between, let nobody settle, and agree right after", () => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const { network, hosts } = settled(3, seed);
    const turnsAtMs = new Map(hosts.map((host) => [host, network.nowMs + network.random() * 6000]));
    const endMs = network.nowMs + 60_000;
    while (network.nowMs < endMs) {
      takeTurns(network, turnsAtMs);
      network.runFor(50);
      for (const host of hosts)
        assert.deepEqual(settlingOn(host, hosts), [], `seed ${seed}: on ${host.name}`);
    }
    for (const host of hosts) network.thaw(host);
    network.runUntil("all agree", HEALED_MS, () => network.agrees);
  }
});

test("gossip: a host that hears nobody for a moment, awake, gives nobody up", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { network, hosts } = settled(3, seed);
    const victim = at(hosts, seed % 3);
    network.loses = ({ to, from }) => to === victim || from === victim;
    network.runFor(1500);
    network.loses = () => false;
    network.runFor(5000);
    for (const host of hosts) assert.deepEqual(toldOf(host, "member.dead"), [], `seed ${seed}: ${host.name}`);
    assert.ok(network.agrees);
  }
});
