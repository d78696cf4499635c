// What becomes of a failed node's records: hidden, kept, forgotten, and shown again. Cases that others test, too.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isolate, leave, partition, heal, reconnect, startAgain } from "./faults.ts";
import { idAt, Stage } from "./stage.ts";

const HOUR_MS = 3_600_000;
const SEEDS = [1, 2, 3];

for (const seed of SEEDS) {
  test(`simulation: a failed node's entries are hidden, not deleted, and back when it is (n=3, seed=${seed})`, () => {
    const stage = new Stage(3, { seed }).raise();
    const { sim } = stage;
    const [a, b, c] = ["a", "b", "c"].map((name) => stage.host(name)) as [never, never, never];
    const own = idAt(c, "own-c");
    const vip = stage.vip(a, "own-c");
    sim.crash(c);
    stage.within(2000, "hidden", () => [a, b].every((at) => stage.tier(at, "own-c", own) === "never"));
    for (const at of [a, b]) assert.equal(stage.vip(at, "own-c"), vip, "the name keeps its address");
    sim.run(60_000);
    for (const at of [a, b]) assert.equal(stage.tier(at, "own-c", own), "never");
    startAgain(sim, c, "kept", { toldAfterMs: 500 });
    stage.within(3000, "shown", () => [a, b].every((at) => stage.tier(at, "own-c", own) === "eligible"));
    assert.equal(stage.vip(a, "own-c"), vip);
    stage.agree(5000, "the return");
  });

  test(`simulation: a failed node's entries stay for a day and no longer (n=3, seed=${seed})`, () => {
    const stage = new Stage(3, { seed }).raise();
    const { sim } = stage;
    const [a, b, c] = ["a", "b", "c"].map((name) => stage.host(name)) as [never, never, never];
    const own = idAt(c, "own-c");
    sim.powerOff(c);
    stage.within(10_000, "seen dead", () => [a, b].every((at) => stage.state(at, c) === "dead"));
    stage.skip(23 * HOUR_MS);
    sim.run(30_000);
    for (const at of [a, b]) assert.equal(stage.tier(at, "own-c", own), "never", "still known");
    stage.skip(HOUR_MS);
    sim.run(30_000);
    for (const at of [a, b]) {
      assert.equal(stage.tier(at, "own-c", own), "absent", "forgotten");
      assert.equal(stage.state(at, c), "unknown");
    }
    stage.agree(5000, "it was forgotten");
    startAgain(sim, c, "kept");
    stage.agree(40_000, "it came back after all");
    assert.equal(stage.tier(a, "own-c", own), "eligible");
  });

  test(`simulation: what a node wrote before it failed is told by a third (n=4, seed=${seed})`, () => {
    const stage = new Stage(4, { seed }).raise();
    const { sim, work } = stage;
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => stage.host(name)) as [never, never, never, never];
    const gone = idAt(c, "web");
    // a and b are apart from c and d, and hold c for dead.
    partition(sim, [a, b]);
    stage.within(20_000, "c is dead for a and b", () => [a, b].every((at) => stage.state(at, c) === "dead"));
    const fresh = work.create(c, "late");
    work.remove(c, gone);
    stage.within(1000, "d knows", () => {
      return stage.tier(d, "late", fresh.id) === "eligible" && stage.tier(d, "web", gone) === "absent";
    });
    assert.equal(stage.tier(a, "web", gone), "never", "a has only what was there before");
    sim.powerOff(c);
    heal(sim, "either");
    stage.within(20_000, "told by d", () => {
      return [a, b].every((at) => {
        return stage.tier(at, "late", fresh.id) === "never" && stage.tier(at, "web", gone) === "absent";
      });
    });
    stage.agree(20_000, "the halves met");
    sim.run(10_000);
    for (const at of [a, b, d]) assert.equal(stage.tier(at, "web", gone), "absent", "stays deleted");
    startAgain(sim, c, "kept");
    stage.agree(20_000, "c came back");
    for (const at of [a, b, d]) assert.equal(stage.tier(at, "late", fresh.id), "eligible");
  });

  test(`simulation: who failed and then left is dropped, also where only others heard it (n=4, seed=${seed})`, () => {
    const stage = new Stage(4, { seed }).raise();
    const { sim } = stage;
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => stage.host(name)) as [never, never, never, never];
    const own = idAt(c, "own-c");
    partition(sim, [a, b]);
    stage.within(20_000, "c is dead for a and b", () => [a, b].every((at) => stage.state(at, c) === "dead"));
    assert.equal(stage.tier(a, "own-c", own), "never");
    leave(sim, c, "left");
    stage.within(5000, "d heard it", () => stage.tier(d, "own-c", own) === "absent");
    heal(sim, "either");
    stage.within(20_000, "all dropped it", () =>
      [a, b].every((at) => stage.tier(at, "own-c", own) === "absent"),
    );
    stage.agree(20_000, "c left");
  });

  test(`simulation: a joiner during a failure is never offered what the failed node had (n=3, seed=${seed})`, () => {
    const stage = new Stage(3, { seed }).raise();
    const { sim } = stage;
    const [a, b, c] = ["a", "b", "c"].map((name) => stage.host(name)) as [never, never, never];
    const own = idAt(c, "own-c");
    isolate(sim, c);
    stage.within(20_000, "seen dead", () => [a, b].every((at) => stage.state(at, c) === "dead"));
    const late = sim.add("late", { seeds: sim.hosts.map(({ address }) => address) });
    const offered = new Set<string>();
    sim.observers.push({
      stepped: (host) => {
        if (host === late && host.view?.complete === true) offered.add(stage.tier(late, "own-c", own));
      },
    });
    sim.start(late);
    stage.within(10_000, "the joiner knows the name", () => stage.tier(late, "own-c", own) === "never");
    sim.run(10_000);
    assert.deepEqual(
      [...offered].filter((tier) => tier !== "absent"),
      ["never"],
    );
    reconnect(sim, c, "either");
    stage.agree(40_000, "c came back");
    assert.equal(stage.tier(late, "own-c", own), "eligible");
  });
}
