// Whole nodes in virtual time: what managers decide reaches everybody, and nobody else decides anything.

import assert from "node:assert/strict";
import test from "node:test";

import * as fc from "fast-check";

import { failed, success, type Result } from "../src/base/failure.ts";
import type { Charter } from "../src/model/charter.ts";
import type { Credential } from "../src/model/credential.ts";

import { endpoint } from "./simulation/workload.ts";
import { CHARTER } from "./support/charter.ts";
import { CheapSeals } from "./support/cheap-seals.ts";
import { NodeNetwork } from "./support/node-network.ts";

const NAMES = ["a", "b", "c", "d"];

/** Four nodes that know each other, each with a replica of `web`; `a` and `b` are managers. */
function settled(seed = 1): NodeNetwork {
  const net = new NodeNetwork({ seed, names: NAMES });
  for (const name of NAMES) {
    net.host(name).certify(name < "c" ? "manager" : "worker");
    net.start(name, { endpoints: [endpoint("web", `web-${name}`)] });
  }
  assert.ok(net.until(() => isComplete(net), 8000));
  return net;
}

function isComplete(net: NodeNetwork): boolean {
  return net.running.every(
    ({ name }) => seen(net, name).length === NAMES.length && replicas(net, name).length === 4,
  );
}

/** The members that a node sees. */
function seen(net: NodeNetwork, name: string): string[] {
  return net.view(name).members.map((member) => member.name);
}

function replicas(net: NodeNetwork, name: string): string[] {
  return net.view(name).services.flatMap((service) => service.replicas.map(({ id }) => id));
}

function charterWith(changed: Partial<Charter>): { readonly kind: "charter"; readonly charter: Charter } {
  return { kind: "charter", charter: { ...CHARTER, ...changed } };
}

function removal(net: NodeNetwork, name: string): ReturnType<typeof charterWith> {
  return charterWith({ revoked: [{ id: net.host(name).id, untilMs: net.nowMs + 86_400_000 }] });
}

/** The seals of a worker who takes himself for a manager: nobody else does. */
class SelfMadeManager extends CheapSeals {
  readonly #self: string;

  constructor(id: string) {
    super(id, "worker", {});
    this.#self = id;
  }

  override credentialOf(owner: string, certificate: string, nowMs: number): Result<Credential> {
    const read = super.credentialOf(owner, certificate, nowMs);
    if (!read.ok) return failed("not-allowed", read.failure.message);
    return owner === this.#self ? success({ ...read.value, role: "manager" }) : read;
  }
}

test("node: a member's role is that of its certificate, in the eyes of all", () => {
  const net = settled();
  for (const { name } of net.running) {
    assert.deepEqual(
      net.view(name).members.map((member) => `${member.name} ${member.role}`),
      ["a manager", "b manager", "c worker", "d worker"],
    );
  }
});

test("node: what one manager decides everybody knows, and keeps; also who comes when that manager is gone", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      const net = settled(seed);
      net.crash("d");
      const tokens = { worker: 2, manager: 3 };
      net.feed("a", charterWith({ tokens }));
      const knows = (name: string): boolean =>
        JSON.stringify(net.host(name).charter.tokens) === JSON.stringify(tokens);
      assert.ok(net.until(() => ["a", "b", "c"].every(knows), 2000));
      net.crash("a");
      net.run(10_000);
      net.start("d", { endpoints: [] });
      assert.ok(
        net.until(() => knows("d"), 8000),
        "b has said it, too",
      );
    }),
    { numRuns: 10 },
  );
});

test("node: two managers who decide at once, apart, have decided both when they meet", () => {
  const net = settled();
  net.partition((one, other) => one === "a" && other !== "a");
  net.feed("a", charterWith({ tokens: { worker: 5, manager: 1 } }));
  net.feed("b", charterWith({ tokens: { worker: 1, manager: 7 } }));
  net.run(3000);
  assert.deepEqual(net.host("c").charter.tokens, { worker: 1, manager: 7 });
  net.heal();
  const both = JSON.stringify({ worker: 5, manager: 7 });
  assert.ok(net.until(() => net.hosts.every(({ charter }) => JSON.stringify(charter.tokens) === both), 8000));
});

test("node: a worker decides nothing: what it says of the cluster is counted, told with its name, and left out", () => {
  const net = new NodeNetwork({ seed: 3, names: NAMES });
  net.host("d").certify("worker", new SelfMadeManager(net.host("d").id));
  const refused: string[] = [];
  net.onStep = ({ name, happenings }) => {
    const told = happenings.findLast(({ kind }) => kind === "member.refused");
    if (told !== undefined) refused.push(`${name} of ${told.subject}: ${told.text}`);
  };
  for (const name of NAMES) net.start(name, { endpoints: [endpoint("web", `web-${name}`)] });
  assert.ok(net.until(() => isComplete(net), 8000));
  net.feed("d", charterWith({ tokens: { worker: 9, manager: 9 } }));
  net.run(3000);
  for (const name of ["a", "b", "c"]) {
    assert.equal(net.host(name).charter, CHARTER);
    assert.deepEqual(seen(net, name), NAMES);
    assert.ok(
      refused.some((text) => text.startsWith(`${name} of d: `) && text.includes("is a worker")),
      name,
    );
  }
});

test("node: who is removed is out of every view at once with all it offers, and does not come back", () => {
  const net = settled();
  net.feed("a", removal(net, "c"));
  const isOut = (name: string): boolean =>
    !seen(net, name).includes("c") && !replicas(net, name).includes("web-c");
  assert.ok(net.until(() => ["a", "b", "d"].every(isOut), 500));
  net.onStep = ({ name }) => assert.ok(name === "c" || isOut(name), `${name} sees it`);
  net.run(30_000);
  const told = net.host("b").happenings.filter(({ kind }) => kind === "member.revoked");
  assert.deepEqual(
    told.map(({ subject }) => subject),
    ["c"],
  );
  assert.ok(replicas(net, "c").includes("web-c"), "it goes on alone");
  assert.deepEqual(seen(net, "a"), ["a", "b", "d"]);
});

test("node: a removal outlives the restart of everybody who knows of it", () => {
  const net = settled();
  net.feed("b", removal(net, "d"));
  assert.ok(net.until(() => ["a", "b", "c"].every((name) => !seen(net, name).includes("d")), 1000));
  for (const name of ["a", "b", "c"]) net.crash(name);
  net.run(1000);
  for (const name of ["a", "b", "c"]) net.start(name, { endpoints: [endpoint("web", `web-${name}`)] });
  net.onStep = ({ name }) => assert.ok(name === "d" || !seen(net, name).includes("d"), `${name} sees it`);
  net.run(20_000);
  assert.deepEqual(seen(net, "c"), ["a", "b", "c"]);
});
