// Overlay networks made and removed while nodes come and go: all agree on which there are, and on every slice.

import assert from "node:assert/strict";
import { test } from "node:test";

import { parsePrefix, type Prefix } from "../../src/base/ip.ts";
import { below, pick } from "../../src/base/random.ts";
import { planNetwork } from "../../src/trust/network-plan.ts";
import { decisionsFor, mergeDecisions } from "../../src/trust/networks.ts";

import { heal, leave, partition, startAgain } from "./faults.ts";
import type { Host } from "./host.ts";
import { Stage } from "./stage.ts";

const NAMES = ["app", "back", "cache", "db", "edge"];

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok);
  return parsed.value;
}

/** Four networks fit: of five names some find no room, and two made apart may take one range. */
const OVERLAY_POOL = prefix("10.160.0.0/14");
const POOL = prefix("10.96.0.0/16");

/** A manager makes a network, as by command, by what its host knows. @returns false when it is refused */
function create(stage: Stage, host: Host, name: string): boolean {
  const { charter } = host;
  const { members } = stage.sim.view(host);
  const wish = { name, subnet: null, encrypted: below(stage.sim.random, 2) === 1, ipv6: true };
  const given = { charter, overlayPool: OVERLAY_POOL, pool: POOL, members, foreign: new Set<string>() };
  const planned = planNetwork(wish, given);
  if (!planned.ok || planned.value.decisions.length === 0) return false;
  decide(stage, host, planned.value.decisions);
  return true;
}

function remove(stage: Stage, host: Host, name: string): void {
  decide(stage, host, decisionsFor(host.charter.networks, name, null));
}

function decide(stage: Stage, host: Host, decisions: ReturnType<typeof decisionsFor>): void {
  const networks = mergeDecisions(host.charter.networks, decisions);
  stage.sim.feed(host, { kind: "charter", charter: { ...host.charter, networks } });
}

/** The networks that a host's view makes real, and who has which slice of them. */
function slicesAt(
  stage: Stage,
  host: Host,
): readonly (readonly [string, readonly (readonly [string, string])[]])[] {
  return stage.sim
    .view(host)
    .networks.filter(({ isSound }) => isSound)
    .map(
      ({ name, slices }) => [name, slices.map(({ node, prefix: text }) => [node, text] as const)] as const,
    );
}

function isComplete(stage: Stage, hosts: readonly Host[]): boolean {
  return hosts.every((host) =>
    stage.sim.view(host).networks.every(({ isSound, slices }) => {
      const settled = slices.filter(({ tentative }) => !tentative).map(({ node }) => node);
      return !isSound || hosts.every(({ id }) => settled.includes(id));
    }),
  );
}

/** One thing at random: a network comes or goes, a host dies, leaves, is cut off or comes back. */
function disturb(stage: Stage): void {
  const { sim } = stage;
  const { random } = sim;
  const host = pick(random, sim.hosts);
  const name = pick(random, NAMES) ?? "app";
  if (host === undefined) return;
  const dice = random();
  if (!host.isRunning) startAgain(sim, host, dice < 0.9 ? "kept" : "lost");
  else if (dice < 0.35) create(stage, host, name);
  else if (dice < 0.5) remove(stage, host, name);
  else if (dice < 0.65) sim.crash(host);
  else if (dice < 0.7) leave(sim, host, "away");
  else if (dice < 0.85) partition(sim, [host], "both");
  else heal(sim, "either");
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`simulation: networks come and go with nodes, and all agree on every slice (n=5, seed=${seed})`, () => {
    const stage = new Stage(5, { seed }).raise();
    const { sim } = stage;
    const hosts = [...sim.hosts];
    for (let at = 0; at < 60; at += 1) {
      disturb(stage);
      sim.run(50 + below(sim.random, 900));
    }
    heal(sim, "either");
    sim.run(6000);
    for (const host of hosts) {
      if (!host.isRunning) startAgain(sim, host, "kept");
      stage.deaths.excuse([host]);
    }
    stage.agree(60_000, "the faults stopped");
    stage.within(10_000, "every node has a settled slice of every network", () => isComplete(stage, hosts));
    const [first] = hosts;
    assert.ok(first !== undefined);
    for (const host of hosts) {
      assert.deepEqual(slicesAt(stage, host), slicesAt(stage, first));
      assert.deepEqual(host.charter.networks, first.charter.networks);
    }
    if (sim.view(first).networks.length === 0) {
      assert.ok(create(stage, first, "app"));
      stage.within(5000, "a network made then", () => slicesAt(stage, hosts[4] ?? first).length === 1);
    }
  });
}

test("simulation: a network that was removed while a manager was away does not come back with it", () => {
  const stage = new Stage(3, { seed: 7 }).raise();
  const { sim } = stage;
  const [a, b, c] = [stage.host("a"), stage.host("b"), stage.host("c")];
  assert.ok(create(stage, a, "app"));
  stage.within(
    5000,
    "all have slices",
    () => isComplete(stage, [a, b, c]) && slicesAt(stage, c).length === 1,
  );
  sim.crash(c);
  sim.run(2000);
  remove(stage, b, "app");
  stage.within(5000, "gone", () => slicesAt(stage, a).length === 0);
  startAgain(sim, c, "kept");
  stage.agree(20_000, "the return");
  for (const host of [a, b, c]) assert.deepEqual(slicesAt(stage, host), []);
});

test("simulation: a node that joins gets a slice of each network, and nobody else's moves", () => {
  const stage = new Stage(3, { seed: 8 }).raise();
  const { sim } = stage;
  const [a, c] = [stage.host("a"), stage.host("c")];
  sim.crash(c);
  for (const name of ["app", "back"]) assert.ok(create(stage, a, name));
  stage.within(5000, "slices", () => isComplete(stage, [a, stage.host("b")]));
  const before = slicesAt(stage, a);
  startAgain(sim, c, "lost");
  stage.agree(30_000, "the join");
  stage.within(5000, "its slices", () => isComplete(stage, [...sim.running]));
  for (const [at, [name, slices]] of slicesAt(stage, a).entries()) {
    assert.equal(name, before[at]?.[0]);
    assert.equal(slices.length, 3);
    for (const slice of before[at]?.[1] ?? []) assert.ok(slices.some((one) => one.join() === slice.join()));
  }
});
