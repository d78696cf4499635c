// Who is seen alive: islands, links that carry one way, old frames, and two nodes with one id.

import assert from "node:assert/strict";
import { test } from "node:test";

import { cutBoth, heal, partition, pauseFor, startAgain } from "./faults.ts";
import { Stage } from "./stage.ts";

const SEEDS = [1, 2, 3];

for (const seed of SEEDS) {
  test(`simulation: three islands that lost each other become one cluster again (n=7, seed=${seed})`, () => {
    const stage = new Stage(7, { seed }).raise();
    const { sim } = stage;
    const islands = [sim.hosts.slice(0, 2), sim.hosts.slice(2, 5), sim.hosts.slice(5)];
    const apart = islands.flatMap((island, at) => {
      const others = islands.slice(at + 1).flat();
      return island.flatMap((one) => others.map((other) => [one, other] as const));
    });
    for (const [one, other] of apart) cutBoth(sim, one, other);
    sim.run(20_000);
    for (const island of islands)
      assert.equal(stage.agreement.fault(island), null, "an island agrees in itself");
    for (const host of sim.hosts) stage.work.create(host, "island");
    sim.run(20_000);
    heal(sim, "either");
    stage.agree(5000, "the islands met");
    for (const host of sim.hosts) {
      const island = sim.view(host).services.find(({ name }) => name === "island");
      assert.equal(island?.replicas.length, 7, "what each side wrote survived");
    }
  });

  test(`simulation: islands that never met become one cluster when they can (n=5, seed=${seed})`, () => {
    const stage = new Stage(5, { seed });
    const { sim } = stage;
    stage.addHosts(5);
    for (const host of sim.hosts) stage.furnish(host);
    partition(sim, sim.hosts.slice(0, 2));
    for (const host of sim.hosts) sim.start(host);
    sim.run(15_000);
    heal(sim, "either");
    stage.agree(5000, "the islands met");
  });

  for (const nodes of [3, 4, 5]) {
    test(`simulation: a pair whose packets pass one way only costs nobody its life (n=${nodes}, seed=${seed})`, () => {
      const stage = new Stage(nodes, { seed }).raise();
      const { sim } = stage;
      const [a, b] = [stage.host("a"), stage.host("b")];
      const states = new Set<string>();
      sim.observers.push({
        stepped: (_host, _input, { view }) => {
          for (const { state } of view.members) states.add(state);
        },
      });
      sim.network.cut(a, b);
      sim.run(30_000);
      assert.ok(!states.has("dead"), "nobody was given up");
      const fresh = stage.work.create(a, "fresh");
      stage.within(2000, "what a writes gets to b another way", () => {
        return stage.tier(b, "fresh", fresh.id) === "eligible";
      });
      heal(sim, "either");
      stage.agree(10_000, "it healed");
      assert.deepEqual(stage.deaths.found, []);
    });
  }

  test(`simulation: frames of before, sent again, bring no dead node back to life (n=3, seed=${seed})`, () => {
    const stage = new Stage(3, { seed }).raise();
    const { sim, work } = stage;
    const [a, b, c] = [stage.host("a"), stage.host("b"), stage.host("c")];
    const old: Uint8Array[] = [];
    sim.observers.push({
      stepped: (host, _input, { send }) => {
        if (host !== b || c.node === null) return;
        for (const { link, frame, kind } of send) {
          const isToA = host.endByLink.get(link)?.peer.host === a;
          if (isToA && kind !== "hello" && kind !== "part") old.push(frame.slice());
        }
      },
    });
    for (let change = 0; change < 10; change += 1) {
      work.create(c, "churn");
      work.create(b, "churn");
      sim.run(300);
    }
    // A real accusation and its refutation are among what b told.
    pauseFor(sim, c, { ms: 1800, lateTick: "first" });
    sim.run(5000);
    sim.crash(c);
    stage.within(5000, "seen dead", () => stage.state(a, c) === "dead" && stage.state(b, c) === "dead");
    assert.ok(old.length > 20, "there is something to replay");
    const link = [...a.endByLink.values()].find(({ peer }) => peer.host === b)?.id;
    assert.ok(link !== undefined);
    for (const frame of old) {
      sim.feed(a, { kind: "frame", link, frame });
      assert.equal(stage.state(a, c), "dead");
    }
    sim.run(5000);
    assert.equal(stage.state(a, c), "dead");
    assert.equal(stage.state(b, c), "dead");
    startAgain(sim, c, "kept");
    stage.agree(10_000, "it really came back");
  });

  test(`simulation: two live nodes with one id are both refused, and reported (n=4, seed=${seed})`, () => {
    const stage = new Stage(4, { seed }).raise();
    const { sim } = stage;
    const [a, b, c] = [stage.host("a"), stage.host("b"), stage.host("c")];
    const seeds = sim.hosts.map(({ address }) => address);
    const twin = sim.add("twin", { id: c.id, seeds });
    // A copied data dir.
    twin.disk = c.disk;
    stage.furnish(twin);
    sim.start(twin);
    const told = (): boolean =>
      [a, b].every((host) => host.node?.problems.some(({ text }) => text.includes(c.id)) === true);
    stage.within(15_000, "reported", told);
    const refused = (): boolean =>
      [a, b].every((host) =>
        [...host.endByLink.values()].every(({ peer }) => peer.host !== c && peer.host !== twin),
      );
    stage.within(15_000, "both refused", refused);
    const happening = [...a.happenings, ...b.happenings].find(
      ({ kind, text }) => kind === "member.refused" && text.includes(c.id),
    );
    assert.ok(happening !== undefined, "an event tells of it");
    sim.crash(twin);
    // Nobody answers for the twin any more; the one that is left may come back.
    stage.within(
      120_000,
      "the other is back",
      () => stage.agreement.fault([a, b, c, stage.host("d")]) === null,
    );
  });
}
