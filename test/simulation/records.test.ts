// Records through restarts, partitions and deletions: the owner's newest word is everybody's, and nothing comes back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { backUp, cutBoth, heal, partition, startAgain } from "./faults.ts";
import type { Host } from "./host.ts";
import { idAt, Stage } from "./stage.ts";

const HOUR_MS = 3_600_000;
const SEEDS = [1, 2, 3];

function hostsOf<N extends readonly string[]>(stage: Stage, ...names: N): { [K in keyof N]: Host } {
  return names.map((name) => stage.host(name)) as unknown as { [K in keyof N]: Host };
}

for (const seed of SEEDS) {
  test(`simulation: who returns with other replicas replaces those of its last life (n=3, seed=${seed})`, () => {
    const stage = new Stage(3, { seed }).raise();
    const { sim, work } = stage;
    const [a, b, c] = hostsOf(stage, "a", "b", "c");
    const kept = idAt(c, "own-c");
    const gone = idAt(c, "web");
    sim.crash(c);
    sim.run(seed * 700);
    work.remove(c, gone);
    const fresh = work.create(c, "fresh");
    startAgain(sim, c, "kept");
    stage.agree(10_000, "the return");
    for (const at of [a, b, c]) {
      assert.equal(stage.tier(at, "own-c", kept), "eligible");
      assert.equal(stage.tier(at, "web", gone), "absent");
      assert.equal(stage.tier(at, "fresh", fresh.id), "eligible");
    }
  });

  test(`simulation: a replica created over its own tombstone is there for all (n=3, seed=${seed})`, () => {
    const stage = new Stage(3, { seed }).raise();
    const { sim } = stage;
    const [a, b, c] = hostsOf(stage, "a", "b", "c");
    const [first] = c.endpoints;
    assert.ok(first !== undefined);
    const without = c.endpoints.filter((one) => one !== first);
    sim.runs(c, without);
    stage.within(1000, "deleted", () => [a, b].every((at) => stage.tier(at, "own-c", first.id) === "absent"));
    // b misses the creation and has only the tombstone.
    cutBoth(sim, b, c);
    cutBoth(sim, b, a);
    sim.runs(c, [...without, { ...first, weight: 7 }]);
    stage.within(1000, "created", () => stage.tier(a, "own-c", first.id) === "eligible");
    assert.equal(stage.tier(b, "own-c", first.id), "absent");
    heal(sim, "either");
    stage.agree(10_000, "the network healed");
    assert.equal(stage.tier(b, "own-c", first.id), "eligible");
  });

  test(`simulation: a key created and deleted time and again ends as its owner has it (n=5, seed=${seed})`, () => {
    const stage = new Stage(5, { seed }).raise();
    const { sim } = stage;
    const owner = stage.host("c");
    const [first] = owner.endpoints;
    assert.ok(first !== undefined);
    const without = owner.endpoints.filter((one) => one !== first);
    for (let round = 0; round < 40; round += 1) {
      if (round === 10) partition(sim, sim.hosts.slice(0, 2));
      if (round === 25) heal(sim, "either");
      sim.runs(owner, round % 2 === 0 ? without : [...without, { ...first, weight: 1 + round }]);
      sim.run(sim.random() * 300);
    }
    heal(sim, "either");
    stage.agree(15_000, "the last change");
    for (const host of sim.hosts) assert.equal(stage.tier(host, "own-c", first.id), "eligible");
    sim.runs(owner, without);
    stage.within(1000, "deleted for good", () => {
      return sim.hosts.every((host) => stage.tier(host, "own-c", first.id) === "absent");
    });
    sim.run(10_000);
    for (const host of sim.hosts) assert.equal(stage.tier(host, "own-c", first.id), "absent");
  });

  test(`simulation: a deletion that a partition outlasted is not undone (n=4, seed=${seed})`, () => {
    const stage = new Stage(4, { seed }).raise();
    const { sim, work } = stage;
    const [a, b, c, d] = hostsOf(stage, "a", "b", "c", "d");
    const gone = idAt(c, "web");
    partition(sim, [a, b]);
    sim.run(10_000);
    work.remove(c, gone);
    stage.within(1000, "deleted at d", () => stage.tier(d, "web", gone) === "absent");
    assert.equal(stage.tier(a, "web", gone), "never", "a and b still have it, hidden");
    // Past the time for which deletions are remembered: c and d have forgotten that there was one.
    stage.skip(2 * HOUR_MS + 60_000);
    sim.run(20_000);
    heal(sim, "either");
    stage.agree(40_000, "the halves met");
    sim.run(20_000);
    for (const host of [a, b, c, d]) assert.equal(stage.tier(host, "web", gone), "absent", host.name);
  });

  test(`simulation: a restored data dir is not ignored and rolls nothing back (n=3, seed=${seed})`, () => {
    const stage = new Stage(3, { seed }).raise();
    const { sim, work } = stage;
    const [a, b, c] = hostsOf(stage, "a", "b", "c");
    backUp(c);
    for (let restart = 0; restart < 3; restart += 1) {
      sim.crash(c);
      sim.run(500);
      startAgain(sim, c, "kept");
      stage.settle("a restart", 10_000);
      for (let write = 0; write < 4; write += 1) work.create(c, "more");
      sim.run(500);
    }
    const gone = idAt(c, "web");
    const last = idAt(c, "more");
    sim.crash(c);
    work.remove(c, gone);
    sim.run(200 * seed);
    startAgain(sim, c, "old");
    stage.agree(15_000, "the restored start");
    const fresh = work.create(c, "after");
    stage.within(1000, "believed", () =>
      [a, b].every((at) => stage.tier(at, "after", fresh.id) === "eligible"),
    );
    for (const at of [a, b, c]) {
      assert.equal(stage.tier(at, "web", gone), "absent");
      assert.equal(stage.tier(at, "more", last), "eligible");
    }
  });
}

/** What weave's test 215 found: host1 reaches host3 only by way of host2. */
for (const seed of SEEDS) {
  test(`simulation: a record removed behind a cut is gone 2 s after it heals (n=3, seed=${seed})`, () => {
    const stage = new Stage(3, { seed }).raise();
    const { sim, work } = stage;
    const [one, two, three] = hostsOf(stage, "a", "b", "c");
    cutBoth(sim, one, three);
    sim.run(10_000);
    const id = idAt(one, "own-a");
    assert.equal(stage.tier(three, "own-a", id), "eligible", "relayed by the second");
    cutBoth(sim, two, three);
    sim.run(5000);
    work.remove(one, id);
    sim.run(500);
    sim.crash(one);
    sim.run(300);
    startAgain(sim, one, "kept");
    sim.run(5000);
    assert.notEqual(stage.tier(three, "own-a", id), "absent", "the third could not hear of it");
    for (const [from, to] of [
      [two, three],
      [three, two],
    ] as const)
      sim.network.mend(from, to, "resume");
    stage.within(2000, "gone", () => stage.tier(three, "own-a", id) === "absent");
  });
}
