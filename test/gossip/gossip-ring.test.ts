// Thirty hosts, too many for a mesh: each is linked to a few, and yet all know what one knows, at once and once only.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode } from "../../src/gossip/codec.ts";
import {
  at,
  CRASH_SEEN_MS,
  HEALED_MS,
  kindsSaid,
  settled,
  toldOf,
  untilSeen,
} from "../support/gossip-cluster.ts";
import type { Host, Passing } from "../support/gossip-host.ts";
import { GossipNetwork } from "../support/gossip-network.ts";

const COUNT = 30;
const SEEDS = [1, 2, 3, 4];
/** Pinged half as often as in a mesh, and suspected for longer. */
const SILENCE_SEEN_MS = 4000;
/** Who was alone for a while suspects many to whom it has no link, and repeats that before it believes otherwise. */
const BELIEVED_MS = 6000;
/** A node that has nothing to say is told of by comparing sums alone. */
const JOINED_MS = 4000;

/** Copies of an owner's deltas that each host is sent while `act` runs. */
function copiesOf(network: GossipNetwork, owner: Host, act: () => void): ReadonlyMap<string, number> {
  const copies = new Map<string, number>();
  network.onFrame = ({ to, frame }) => {
    const decoded = decode(frame);
    if (!decoded.ok || decoded.value.kind !== "delta") return;
    const isHis = decoded.value.deltas.some((delta) => delta.owner === owner.id && delta.writes.length > 0);
    if (isHis) copies.set(to.name, (copies.get(to.name) ?? 0) + 1);
  };
  act();
  network.onFrame = () => undefined;
  return copies;
}

/** Two hosts of which one watches the other, so that there is a link to break. */
function linked(network: GossipNetwork, seed: number): readonly [Host, Host] {
  const one = at(network.hosts, seed % COUNT);
  const other = network.hosts.find((host) => host !== one && network.linksBetween(one, host) > 0);
  assert.ok(other !== undefined);
  return [one, other];
}

function nobodyDied(network: GossipNetwork, besides: readonly string[] = []): void {
  for (const host of network.running) {
    const dead = toldOf(host, "member.dead").filter((name) => !besides.includes(name));
    assert.deepEqual(dead, [], `seed ${network.seed}: as seen by ${host.name}`);
  }
}

test("gossip: 30 hosts that know one seed agree within two seconds, each linked to a few", () => {
  for (const seed of SEEDS) {
    const network = new GossipNetwork({ seed });
    const hosts = network.startMany(COUNT);
    network.runUntil("all agree", 2000, () => network.agrees);
    network.runFor(10_000);
    const counts = hosts.map(({ endByLink }) => endByLink.size);
    assert.ok(Math.min(...counts) >= 2, `seed ${seed}: ${Math.min(...counts)} links at least`);
    const average = counts.reduce((sum, count) => sum + count, 0) / COUNT;
    assert.ok(average <= 2 + 2 * Math.log2(COUNT), `seed ${seed}: ${average} links on average`);
    nobodyDied(network);
  }
});

test("gossip: once 30 hosts agree, they say no more than pings and sums", () => {
  for (const seed of SEEDS) {
    const { network } = settled(COUNT, seed);
    network.runFor(10_000);
    const quiet = ["ping", "pong", "compare"];
    assert.deepEqual(
      [...kindsSaid(network, 3000)].filter((kind) => !quiet.includes(kind)),
      [],
      `seed ${seed}`,
    );
  }
});

test("gossip: a write reaches all 30 within 50 ms, and each of them gets one copy", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    network.runFor(10_000);
    for (const writer of [at(hosts, seed), at(hosts, seed + 9), at(hosts, seed + 18)]) {
      const copies = copiesOf(network, writer, () => {
        network.write(writer, { "replica/x": "new" });
        network.runUntil("all hold it", 50, () =>
          hosts.every((host) => network.bodyOf(host, writer, "replica/x") === "new"),
        );
      });
      for (const host of hosts) {
        const count = copies.get(host.name) ?? 0;
        assert.ok(
          host === writer ? count <= 1 : count === 1,
          `seed ${seed}: ${count} copies to ${host.name}`,
        );
      }
    }
  }
});

test("gossip: who missed a push among 30 gets it soon by an announcement, or by comparing sums", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    network.runFor(10_000);
    const writer = at(hosts, seed);
    // One frame of the broadcast is lost, and with it all that its receiver would have served.
    let lost: Passing | null = null;
    network.loses = (passing) => {
      if (passing.kind !== "delta" || lost !== null) return false;
      lost = passing;
      return true;
    };
    network.write(writer, { "replica/x": "new" });
    assert.ok(lost !== null);
    const missing = (): number =>
      hosts.filter((host) => network.bodyOf(host, writer, "replica/x") !== "new").length;
    network.runFor(40);
    assert.ok(missing() > 0, `seed ${seed}: something was lost`);
    network.runUntil("all hold it", HEALED_MS, () => missing() === 0);
  }
});

test("gossip: announcements alone bring a lost push to who missed it, mostly within a quarter of a second", () => {
  let healed = 0;
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    network.runFor(10_000);
    const [writer, unlucky] = [at(hosts, seed), at(hosts, seed + 11)];
    network.loses = ({ to, kind }) => (to === unlucky && kind === "delta") || kind === "compare";
    network.write(writer, { "replica/x": "new" });
    network.runFor(40);
    network.loses = ({ kind }) => kind === "compare";
    network.runFor(210);
    if (network.bodyOf(unlucky, writer, "replica/x") === "new") healed += 1;
  }
  assert.ok(healed >= SEEDS.length / 2, `${healed} of ${SEEDS.length}`);
});

test("gossip: a crash among 30 is seen as death by all within half a second", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    for (const victim of [at(hosts, seed), at(hosts, seed + 10)]) {
      network.crash(victim);
      untilSeen(network, victim, { state: "dead", withinMs: CRASH_SEEN_MS });
      network.runFor(1000);
    }
    assert.ok(network.agrees, `seed ${seed}`);
  }
});

test("gossip: a host among 30 that falls silent is given up by all within four seconds, and nobody else", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    const victim = at(hosts, seed);
    network.isolate(victim);
    untilSeen(network, victim, { state: "dead", withinMs: SILENCE_SEEN_MS });
    network.runFor(5000);
    for (const host of hosts.filter((one) => one !== victim))
      assert.deepEqual(toldOf(host, "member.dead"), [victim.name], `seed ${seed}`);
  }
});

test("gossip: a host among 30 that was cut off and comes back is believed in two seconds, and harms nobody", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    const victim = at(hosts, seed);
    network.isolate(victim);
    untilSeen(network, victim, { state: "dead", withinMs: SILENCE_SEEN_MS });
    network.runFor(2000);
    network.heal();
    untilSeen(network, victim, { state: "alive", withinMs: HEALED_MS });
    // Whom it suspected while it was alone it has to hear of first.
    network.runUntil("all agree", BELIEVED_MS, () => network.agrees);
    network.runFor(10_000);
    nobodyDied(network, [victim.name]);
  }
});

test("gossip: halves of 30 heal within two seconds, what both wrote survives, and nobody dies afterwards", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    const side = hosts.slice(0, 5 + 2 * seed);
    const other = hosts.slice(side.length);
    for (const one of side) for (const two of other) network.cut(one, two);
    network.runFor(10_000);
    for (const host of hosts) network.write(host, { "replica/during": host.name });
    network.runFor(500);
    network.heal();
    network.runUntil("all agree", HEALED_MS, () => network.agrees);
    for (const owner of hosts)
      assert.equal(network.bodyOf(at(hosts, 0), owner, "replica/during"), owner.name);
    const dead = hosts.map((host) => toldOf(host, "member.dead").length);
    network.runFor(10_000);
    assert.deepEqual(
      hosts.map((host) => toldOf(host, "member.dead").length),
      dead,
      `seed ${seed}`,
    );
  }
});

test("gossip: a broken link between two of 30 kills nobody", () => {
  for (const seed of SEEDS) {
    const { network } = settled(COUNT, seed);
    network.runFor(10_000);
    const [one, other] = linked(network, seed);
    network.cut(one, other);
    network.runFor(10_000);
    nobodyDied(network);
    assert.ok(network.agrees, `seed ${seed}`);
    network.heal();
    network.runFor(5000);
    nobodyDied(network);
  }
});

test("gossip: a host among 30 that froze for 20 seconds gives nobody up, and is believed two later", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    const sleeper = at(hosts, seed);
    network.freeze(sleeper);
    network.runFor(20_000);
    network.thaw(sleeper);
    network.runUntil("all agree", HEALED_MS, () => network.agrees);
    network.runFor(10_000);
    nobodyDied(network, [sleeper.name]);
    assert.deepEqual(toldOf(sleeper, "member.dead"), [], `seed ${seed}`);
  }
});

test("gossip: a farewell reaches all 30 within 50 ms, and who joins later sees it too", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    const leaver = at(hosts, seed);
    network.stop(leaver);
    untilSeen(network, leaver, { state: "left", withinMs: 50 });
    network.runFor(3000);
    const late = network.start("late", { seeds: [at(hosts, 0).address] });
    network.runUntil("all agree", JOINED_MS, () => network.agrees);
    assert.equal(network.stateOf(late, leaver), "left");
    nobodyDied(network);
  }
});

test("gossip: who grows past 24 members gives up links, and who shrinks below links to all again", () => {
  for (const seed of SEEDS.slice(0, 3)) {
    const { network, hosts } = settled(24, seed);
    assert.ok(hosts.every(({ endByLink }) => endByLink.size === 23));
    const more = ["x1", "x2", "x3"].map((name) => network.start(name, { seeds: [at(hosts, 0).address] }));
    network.runUntil("all agree", JOINED_MS, () => network.agrees);
    network.runFor(20_000);
    assert.ok(network.running.some(({ endByLink }) => endByLink.size < 20));
    for (const host of more) network.stop(host);
    network.runFor(5000);
    assert.ok(network.running.every(({ endByLink }) => endByLink.size === 23));
    assert.ok(network.agrees);
    nobodyDied(network);
  }
});

test("gossip: the owner learns from all 29 others that they have applied a write, if it asks", () => {
  for (const seed of SEEDS) {
    const { network, hosts } = settled(COUNT, seed);
    network.runFor(10_000);
    const owner = at(hosts, seed);
    owner.spreadMs.length = 0;
    const changes = new Map([["replica/x", "draining"]]);
    network.act(owner, (gossip) => gossip.write(changes, network.nowMs, { acknowledge: true }));
    network.runUntil("nobody lags", 1000, () => owner.gossip.lagging(owner.gossip.version).length === 0);
    assert.equal(owner.spreadMs.length, 1);
  }
});

test("gossip: a drain asked for by any of 30 comes out at the owner, however many links away", () => {
  const { network, hosts } = settled(COUNT);
  network.runFor(10_000);
  const owner = at(hosts, 7);
  for (const asker of hosts.filter((host) => host !== owner))
    network.act(asker, (gossip) => assert.ok(gossip.askDrain(owner.id, `of ${asker.name}`, true)));
  network.runFor(100);
  const asked = hosts.filter((host) => host !== owner).map(({ name }) => `of ${name} by ${name}`);
  const came = owner.drains.map(({ replica, by }) => `${replica} by ${by}`);
  assert.deepEqual(came.toSorted(), asked.toSorted());
});
