// What must always hold is really looked at: each broken promise is planted once, and found.

import assert from "node:assert/strict";
import { test } from "node:test";

import { encode } from "../../src/gossip/codec.ts";
import type { View } from "../../src/model/view.ts";
import type { Effects } from "../../src/step.ts";
import { sealed } from "../support/sealed.ts";

import type { Host } from "./host.ts";
import { idAt, Stage } from "./stage.ts";

/** What the observers say to a view that a host never had. */
function shown(stage: Stage, host: Host, change: (view: View) => View): () => void {
  const view = change(stage.sim.view(host));
  const effects = { view, send: [], received: [], happenings: [] } as unknown as Effects;
  return () => {
    for (const observer of stage.sim.observers) observer.stepped?.(host, { kind: "tick" }, effects);
  };
}

function settled(): { stage: Stage; a: Host; b: Host } {
  const stage = new Stage(3).raise();
  return { stage, a: stage.host("a"), b: stage.host("b") };
}

test("simulation: two services with one address are found", () => {
  const { stage, a } = settled();
  const act = shown(stage, a, (view) => {
    const [first, second, ...rest] = view.services;
    assert.ok(first !== undefined && second !== undefined);
    return { ...view, services: [first, { ...second, vip: first.vip }, ...rest] };
  });
  assert.throws(act, /both have the address/);
});

test("simulation: a replica that is offered though its node is dead is found, be it new or old", () => {
  for (const isNew of [true, false]) {
    const { stage, a, b } = settled();
    const act = shown(stage, a, (view) => {
      const members = view.members.map((one) => (one.id === b.id ? { ...one, state: "dead" as const } : one));
      const services = isNew ? view.services.map((service) => ({ ...service })) : view.services;
      return { ...view, members, services };
    });
    assert.throws(act, /is eligible, though its node b is dead/);
  }
});

test("simulation: a name that a complete view loses without its owner's word is found", () => {
  const { stage, a } = settled();
  const act = shown(stage, a, (view) => {
    return { ...view, services: view.services.filter(({ name }) => name !== "own-b") };
  });
  assert.throws(act, /lost default\/own-b own-b-b-0 of b: its record is there/);
});

test("simulation: a view that was complete and is not any more is found", () => {
  const { stage, a } = settled();
  const act = shown(stage, a, (view) => ({ ...view, complete: false, services: [] }));
  assert.throws(act, /was complete/);
});

test("simulation: a write that its owner never made is found in the logs of who took it", () => {
  const { stage, a, b } = settled();
  const log = a.logs.get(b.id);
  assert.ok(log !== undefined);
  const { owner, incarnation, version, floor } = log;
  const writes = [{ key: "replica/forged", version: version + 1, body: "{}" }];
  const { entryByKey } = log;
  const before = Array.from(entryByKey, ([key, entry]) => ({ key, ...entry }));
  // Sealed as if somebody had got hold of the owner's key: nothing less is taken.
  const delta = sealed({ owner, incarnation, floor, from: version, to: version + 1, writes }, before);
  const frame = encode({ kind: "delta", deltas: [delta], until: null, acknowledge: false });
  const link = [...a.endByLink.values()].find(({ peer }) => peer.host === b)?.id;
  assert.ok(link !== undefined);
  assert.throws(
    () => stage.sim.feed(a, { kind: "frame", link, frame }),
    /replica\/forged .* its owner never wrote/,
  );
});

test("simulation: a step that throws is told with the moment and the host", () => {
  const { stage, a } = settled();
  const node = a.node;
  assert.ok(node !== null);
  node.step = () => {
    throw new Error("planted");
  };
  assert.throws(() => stage.sim.run(200), /at \d+\.\d+ ms, a: step\(\w+\) threw: planted/);
});

test("simulation: nodes that differ do not agree, and it is said in what", () => {
  const { stage, a, b } = settled();
  assert.equal(stage.agreement.fault(), null);
  stage.sim.network.cut(a, b);
  stage.sim.network.cut(b, a);
  stage.sim.network.cut(stage.host("c"), b);
  stage.sim.network.cut(b, stage.host("c"));
  stage.work.update(a, idAt(a, "web"), 50);
  stage.sim.run(300);
  assert.match(stage.agreement.fault() ?? "", /default\/web/);
  stage.sim.run(10_000);
  assert.match(stage.agreement.fault() ?? "", /sees b dead/);
});

test("simulation: a verdict against a living node is counted once, and one against a dead one is not", () => {
  const { stage, a, b } = settled();
  stage.sim.run(10_000);
  const dead = (view: View): View => {
    const members = view.members.map((one) => (one.id === b.id ? { ...one, state: "dead" as const } : one));
    return { ...view, members, services: [] };
  };
  const view = dead(stage.sim.view(a));
  const effects = { view, send: [], received: [], happenings: [] } as unknown as Effects;
  stage.deaths.stepped(a, { kind: "tick" }, effects);
  stage.deaths.stepped(a, { kind: "tick" }, effects);
  assert.deepEqual(
    stage.deaths.found.map(({ judge, subject }) => [judge, subject]),
    [["a", "b"]],
  );
  const c = stage.host("c");
  stage.sim.crash(c);
  stage.within(3000, "c is dead", () => stage.state(b, c) === "dead");
  assert.equal(stage.deaths.found.length, 1);
});
