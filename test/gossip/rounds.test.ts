// What is due as time passes: verdicts take effect, pauses are noticed, and what was promised is kept up.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Message } from "../../src/gossip/message.ts";
import { idOf } from "../support/gossip-network.ts";
import { deltaOf, deltas, headOf, helloOf, lifeOf, openNode, type OpenNode } from "../support/gossip-node.ts";
import { signed } from "../support/sealed.ts";

const PONG: Message = { kind: "pong", sequence: 0 };

/** A node `m` linked to these over links 1, 2 and so on. */
function linkedTo(...names: readonly string[]): OpenNode {
  const node = openNode();
  node.gossip.write(new Map([["node", "me"]]), 0);
  names.forEach((name, index) => node.accept(index + 1, helloOf(name)));
  return node;
}

/** Lets time pass in which these links are answered. */
function liveTo(node: OpenNode, untilMs: number, ...links: readonly number[]): void {
  node.tickTo(untilMs, (nowMs) => {
    for (const link of links) node.say(link, PONG, nowMs);
  });
}

test("rounds: after a pause of this node everything is exchanged with all, before anybody is judged", () => {
  const node = linkedTo("a", "b", "c");
  liveTo(node, 4000, 1, 2, 3);
  node.taken();
  node.gossip.tick(64_000);
  const { kinds, happenings } = node.taken();
  for (const link of [1, 2, 3]) assert.ok(kinds.includes(`digest ${link}`) && kinds.includes(`ping ${link}`));
  assert.deepEqual(happenings, []);
  for (const name of ["a", "b", "c"]) assert.equal(node.stateOf(name), "alive");
});

test("rounds: a host that refuses is dead at once when two see it, and is tried again now and then", () => {
  const node = linkedTo("a", "b");
  liveTo(node, 4000, 1, 2);
  node.taken();
  node.gossip.linkDown(2, "reset", 4001);
  const address = { host: "b", port: 7650 };
  assert.deepEqual(node.taken().dial, [address]);
  node.gossip.dialFailed(address, { refused: true }, 4003);
  const { said } = node.taken();
  assert.ok(said.some(({ message }) => message.kind === "rumor" && message.rumors[0]?.kind === "refused"));
  assert.equal(node.stateOf("b"), "suspect");
  const refused = {
    kind: "refused",
    subject: idOf("b"),
    incarnation: 1,
    refutation: 0,
    by: idOf("a"),
  } as const;
  node.say(1, deltas(deltaOf("a", 2)), 4004);
  node.say(1, { kind: "rumor", rumors: [signed(refused)], until: 0 }, 4004);
  assert.equal(node.stateOf("b"), "dead");
  const own = node.gossip.logs.get(idOf("b"));
  assert.equal(own, undefined, "of one that never wrote nothing is held");
  liveTo(node, 6000, 1);
  assert.ok(node.taken().dial.length >= 1, "its address is tried now and then: it may be back");
});

test("rounds: that a member is dead is told in the digest, and not any more when it is back", () => {
  const node = linkedTo("a", "b");
  const deadAt = (): unknown => {
    node.say(1, { kind: "digest", digest: [], scope: { kind: "all" }, wanted: true });
    const digest = node
      .taken()
      .said.flatMap(({ message }) => (message.kind === "digest" ? message.digest : []));
    return digest.find(({ owner }) => owner === idOf("b"))?.deadAt;
  };
  node.say(2, deltas(deltaOf("b", 1)));
  liveTo(node, 4000, 1, 2);
  assert.equal(deadAt(), null);
  liveTo(node, 15_000, 1);
  assert.equal(node.stateOf("b"), "dead");
  assert.equal(deadAt(), 0);
  node.accept(3, helloOf("b", { digest: [headOf("b", { version: 1 })] }));
  node.say(3, deltas(lifeOf("b", { refutation: 1 }, { from: 1, to: 2 })));
  node.tickTo(15_100);
  assert.equal(node.stateOf("b"), "alive");
  assert.equal(deadAt(), null);
});

test("rounds: the link of a member that is given up is closed: a half-open one must not linger", () => {
  const node = linkedTo("a", "b");
  liveTo(node, 15_000, 1);
  assert.equal(node.stateOf("b"), "dead");
  assert.ok(node.taken().close.some(({ link }) => link === 2));
});

test("rounds: a suspect is warned with the pings it still gets, so that it can refute", () => {
  const node = linkedTo("a", "b");
  liveTo(node, 4000, 1, 2);
  node.taken();
  let warned = 0;
  node.tickTo(15_000, (nowMs) => {
    node.say(1, PONG, nowMs);
    if (node.stateOf("b") !== "suspect") return;
    for (const { link, message } of node.taken().said)
      if (link === 2 && message.kind === "ping" && message.suspected === 0) warned += 1;
  });
  assert.ok(warned >= 1, `${warned} warnings`);
});

test("rounds: who has not said that it applied a write, which was asked for, is asked again each half second", () => {
  const node = linkedTo("a", "b");
  liveTo(node, 1000, 1, 2);
  node.gossip.write(new Map([["replica/x", "draining"]]), 1000, { acknowledge: true });
  const report = (name: string): Message => {
    const by = [{ id: idOf(name), signature: null }];
    return { kind: "applied", reports: [{ owner: idOf("m"), incarnation: 5, version: 3, by }], hops: 0 };
  };
  node.say(1, report("a"));
  node.taken();
  liveTo(node, 2600, 1, 2);
  const asked = node.taken().said.filter(({ message }) => message.kind === "delta" && message.acknowledge);
  assert.ok(asked.length >= 4 && asked.length <= 8, `${asked.length} frames`);
  node.say(2, report("b"));
  liveTo(node, 4000, 1, 2);
  const after = node.taken().said.filter(({ message }) => message.kind === "delta");
  assert.deepEqual(after, [], "nobody lags any more");
});

test("rounds: beyond a mesh a dialled link that neither side needs is given up after five seconds", () => {
  const seeds = Array.from({ length: 8 }, (_, index) => ({ host: `n${index}`, port: 7650 }));
  const node = openNode({ seeds });
  seeds.forEach((address, index) => {
    node.gossip.linkUp({ id: index + 1, dialled: address, remote: "", peer: idOf(`n${index}`) }, 0);
    node.say(index + 1, helloOf(`n${index}`));
  });
  const others = Array.from({ length: 60 }, (_, index) => deltaOf(`n${index}`, 1));
  node.say(1, deltas(...others));
  const links = seeds.map((_, index) => index + 1);
  liveTo(node, 4900, ...links);
  assert.deepEqual(node.taken().close, []);
  liveTo(node, 6000, ...links);
  const { close, kinds } = node.taken();
  assert.ok(close.length >= 1 && close.length < 8);
  for (const { link } of close) assert.ok(kinds.includes(`part ${link}`));
  assert.ok(others.every(({ owner }) => node.gossip.standing(owner)?.state !== "dead"));
});

test("rounds: a node that has published nothing yet answers no accusation: its last life is to stand", () => {
  const node = openNode();
  node.accept(1, helloOf("a", { digest: [headOf("m", { incarnation: 4, version: 9 })] }));
  node.say(1, { kind: "ping", sequence: 1, suspected: 0 });
  liveTo(node, 500, 1);
  assert.equal(node.gossip.version, 0);
  node.gossip.write(new Map([["node", "me"]]), 500);
  liveTo(node, 1000, 1);
  assert.equal(node.gossip.version, 3, "then it does");
});

test("rounds: that its picture is complete is told once, and all peers are asked whether they hold more", () => {
  const node = openNode({ seeds: [{ host: "seed", port: 1 }] });
  node.accept(1, helloOf("a", { complete: false }));
  node.accept(2, helloOf("b", { complete: false }));
  node.taken();
  liveTo(node, 4900, 1, 2);
  assert.equal(node.gossip.complete, false, "an address has not been tried to an end");
  node.taken();
  liveTo(node, 5100, 1, 2);
  const { happenings, kinds } = node.taken();
  assert.equal(happenings.filter(({ kind }) => kind === "view.complete").length, 1);
  assert.ok(kinds.includes("compare 1") && kinds.includes("compare 2"));
  liveTo(node, 8000, 1, 2);
  assert.ok(node.taken().happenings.every(({ kind }) => kind !== "view.complete"));
});
