// Members that lie about others, among whole daemons: nothing is believed, all others agree, nobody honest is lost.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../src/base/random.ts";

import type { Host } from "./host.ts";
import { Liars, type Lie } from "./liars.ts";
import { DEFAULTS } from "./options.ts";
import { Run } from "./run.ts";
import { chaos } from "./scenarios/chaos.ts";
import { idAt, Stage } from "./stage.ts";

const EVERY_KIND: readonly Lie[] = [
  "forged",
  "replayed",
  "touched",
  "staged",
  "claimed",
  "accused",
  "reported",
  "asked",
];

/** Who lies: the second and the third host. */
const isLiar = ({ index }: Host): boolean => index === 1 || index === 2;

for (const [nodes, seed] of [
  [5, 1],
  [9, 2],
  [30, 3],
] as const) {
  test(`simulation: two liars change nobody's picture of the others (n=${nodes}, seed=${seed})`, () => {
    const stage = new Stage(nodes, { seed }).raise();
    const { sim, work } = stage;
    // In a ring members are known by word of others, and first have to be told of each.
    sim.run(5000);
    const liars = new Liars(sim, seededRandom(seed), isLiar);
    const links = new Set(sim.hosts.flatMap((host) => [...host.endByLink.values()]));
    for (const host of sim.hosts) host.happenings.length = 0;
    liars.lie(sim.nowMs + 20_000, 20);
    const honest = sim.hosts.filter((host) => !isLiar(host));
    for (let round = 0; round < 40; round += 1) {
      const host = honest[round % honest.length];
      assert.ok(host !== undefined);
      if (round % 3 === 0) work.create(host, `s${round}`);
      else work.update(host, idAt(host, "web"), round);
      sim.run(500);
    }
    stage.agree(5000, "the lies");
    for (const lie of EVERY_KIND) assert.ok((liars.told.get(lie) ?? 0) > 0, `${lie} was tried`);
    assert.deepEqual(stage.deaths.found, []);
    for (const host of honest) {
      const draining = host.happenings.filter(({ kind }) => kind === "replica.draining");
      assert.deepEqual(draining, [], "nothing was drained in another's name");
    }
    const blamed = honest.flatMap(({ happenings }) =>
      happenings.filter(({ kind }) => kind === "mesh.refused").map(({ subject }) => subject),
    );
    const names = sim.hosts.filter(isLiar).map(({ name }) => name);
    assert.deepEqual([...new Set(blamed)].toSorted(), names.toSorted(), "who lied is named, and nobody else");
    const lost = [...links].filter(
      ({ isOpen, host, peer }) => !isOpen && !isLiar(host) && !isLiar(peer.host),
    );
    if (nodes <= 24) assert.equal(lost.length, 0, "no link between honest members was lost");
  });
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`simulation: two liars amid chaos make no difference to what is agreed on (n=6, seed=${seed})`, () => {
    const run = new Run({ ...DEFAULTS, nodes: 6, seed, scenario: "chaos" });
    const liars = new Liars(run.sim, seededRandom(seed), isLiar);
    liars.lie(60_000, 30);
    chaos(run);
    assert.ok((liars.told.get("touched") ?? 0) > 0);
  });
}
