// Links become members' links: who is believed, which of two links stays, and what the two sides owe each other.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LIFE_KEY, parseLife } from "../../src/gossip/life.ts";
import type { Message } from "../../src/gossip/message.ts";
import { idOf } from "../support/gossip-network.ts";
import { deltaOf, deltas, headOf, helloOf, openNode, type OpenNode } from "../support/gossip-node.ts";

function hellosOf({ taken }: OpenNode): Extract<Message, { kind: "hello" }>[] {
  return taken().said.flatMap(({ message }) => (message.kind === "hello" ? [message] : []));
}

test("hellos: hello goes first on every link, with all that is held", () => {
  const node = openNode();
  node.gossip.write(new Map([["node", "me"]]), 0);
  node.accept(1, null);
  const [hello, ...more] = hellosOf(node);
  assert.deepEqual(more, []);
  assert.ok(hello !== undefined && hello.id === idOf("m") && hello.incarnation === 5);
  assert.deepEqual(hello.digest, [headOf("m", { incarnation: 5, version: 2 })]);
});

test("hellos: a new node takes all there is from one peer, and asks the others to hold back", () => {
  const node = openNode({ seeds: [{ host: "seed", port: 1 }] });
  for (const link of [1, 2, 3]) node.accept(link, null);
  assert.deepEqual(
    hellosOf(node).map(({ complete, wanted }) => [complete, wanted]),
    [
      [false, true],
      [false, false],
      [false, false],
    ],
  );
  node.say(1, helloOf("a"));
  node.tickTo(50);
  assert.ok(node.gossip.complete);
  node.accept(4, null);
  assert.deepEqual(
    hellosOf(node).map(({ complete, wanted }) => [complete, wanted]),
    [[true, true]],
  );
});

test("hellos: a peer is sent all it lacks, or this node's own log alone when it takes the rest from another", () => {
  for (const wanted of [true, false]) {
    const { gossip, accept, say, taken } = openNode();
    gossip.write(new Map([["node", "me"]]), 0);
    accept(1, helloOf("a"));
    say(1, deltas(deltaOf("x", 3)));
    taken();
    accept(2, helloOf("b", { wanted }));
    const owners = taken().said.flatMap(({ link, message }) =>
      link === 2 && message.kind === "delta" ? message.deltas.map(({ owner }) => owner) : [],
    );
    assert.deepEqual(owners.toSorted(), (wanted ? [idOf("m"), idOf("x")] : [idOf("m")]).toSorted());
  }
});

test("hellos: a peer hears how far its own log is held here", () => {
  const { accept, say, taken, gossip } = openNode();
  accept(1, helloOf("a"));
  say(1, deltas(deltaOf("a", 3)));
  taken();
  gossip.linkDown(1, "reset", 10);
  accept(2, helloOf("a", { digest: [headOf("a", { version: 3 })] }), 20);
  const reports = taken().said.flatMap(({ message }) => (message.kind === "applied" ? message.reports : []));
  const by = [{ id: idOf("m"), signature: null }];
  assert.deepEqual(reports, [{ owner: idOf("a"), incarnation: 1, version: 3, by }]);
});

test("hellos: a picture is complete when what a sure peer held is held, though some owners said nothing yet", () => {
  const { gossip, accept, say, tickTo, taken } = openNode({ seeds: [{ host: "seed", port: 1 }] });
  const digest = [headOf("a"), headOf("b", { version: 2 }), headOf("silent", { incarnation: 7 })];
  accept(1, helloOf("a", { digest }));
  tickTo(50);
  assert.equal(gossip.complete, false);
  say(1, deltas(deltaOf("b", 2)));
  assert.equal(gossip.complete, true);
  assert.ok(taken().happenings.some(({ kind }) => kind === "view.complete"));
});

test("hellos: where nobody is sure, a node whose only peer dialled it is complete once it holds what he has", () => {
  const { gossip, accept, say, tickTo } = openNode();
  // Before the first tick, so before this node has looked whether anybody is there.
  accept(1, helloOf("a", { complete: false, digest: [headOf("a", { version: 1 })] }));
  say(1, deltas(deltaOf("a", 1)));
  tickTo(200, (nowMs) => say(1, { kind: "pong", sequence: 0 }, nowMs));
  assert.equal(gossip.complete, true, "there is nobody else to be asked");
});

test("hellos: a source that says no more is asked for the rest, one that is gone is replaced", () => {
  const { gossip, accept, say, tickTo, taken } = openNode({ seeds: [{ host: "seed", port: 1 }] });
  const digest = [headOf("x", { version: 2 })];
  accept(1, helloOf("a", { digest }));
  accept(2, helloOf("b", { digest }));
  say(1, deltas(deltaOf("x", 1)));
  taken();
  tickTo(200);
  assert.ok(taken().kinds.includes("digest 1"));
  gossip.linkDown(1, "reset", 210);
  tickTo(450);
  assert.ok(taken().kinds.includes("digest 2"));
  say(2, deltas(deltaOf("x", 2)));
  assert.ok(gossip.complete);
});

test("hellos: the member is alive with its hello, and its address is kept", () => {
  const { gossip, accept, stateOf, taken } = openNode();
  accept(1, helloOf("a"));
  assert.equal(stateOf("a"), "alive");
  assert.deepEqual(gossip.addresses, [{ host: "a", port: 7650 }]);
  assert.deepEqual(
    taken()
      .happenings.map(({ kind, subject }) => `${kind} ${subject}`)
      .toSorted(),
    ["member.alive a", "view.complete view"],
  );
});

test("hellos: a link to this node itself is closed without a word, and its address not dialled again", () => {
  const alias = { host: "alias", port: 1 };
  const node = openNode({ seeds: [alias] });
  node.gossip.linkUp({ id: 1, dialled: alias, remote: "", peer: idOf("m") }, 0);
  const [own] = hellosOf(node);
  assert.ok(own !== undefined);
  node.accept(2, own);
  node.say(1, own);
  node.tickTo(5000);
  const { close, dial, happenings } = node.taken();
  assert.deepEqual(new Set(close.map(({ link }) => link)), new Set([1, 2]));
  assert.deepEqual([dial, happenings.filter(({ level }) => level === "warn")], [[], []]);
});

test("hellos: of two dials that crossed one link stays, the other is kept for a moment and serves meanwhile", () => {
  const smaller =
    ["a", "b", "c", "d"].find((name) => idOf(name) < idOf("m")) ?? assert.fail("ids are spread");
  const { gossip, accept, say, tickTo, taken, stateOf } = openNode();
  accept(1, helloOf(smaller));
  const dialled = { host: smaller, port: 7650 };
  gossip.linkUp({ id: 2, dialled, remote: "", peer: idOf(smaller) }, 10);
  say(2, helloOf(smaller), 10);
  gossip.write(new Map([["x", "1"]]), 10);
  assert.ok(taken().kinds.includes("delta 1"), "the one dialled by the smaller id stays");
  say(2, { kind: "ping", sequence: 4, suspected: null }, 20);
  assert.deepEqual(taken().kinds, ["pong 2"]);
  tickTo(900, (nowMs) => say(1, { kind: "pong", sequence: 0 }, nowMs));
  assert.deepEqual(taken().close, []);
  tickTo(1200, (nowMs) => say(1, { kind: "pong", sequence: 0 }, nowMs));
  assert.deepEqual(
    taken().close.map(({ link }) => link),
    [2],
  );
  assert.equal(stateOf(smaller), "alive");
});

test("hellos: when the link in use ends its spare takes over, and nobody is missed", () => {
  const smaller =
    ["a", "b", "c", "d"].find((name) => idOf(name) < idOf("m")) ?? assert.fail("ids are spread");
  const { gossip, accept, say, tickTo, taken, stateOf } = openNode();
  accept(1, helloOf(smaller));
  const dialled = { host: smaller, port: 7650 };
  gossip.linkUp({ id: 2, dialled, remote: "", peer: idOf(smaller) }, 10);
  say(2, helloOf(smaller), 10);
  taken();
  gossip.linkDown(1, "reset", 20);
  gossip.write(new Map([["x", "1"]]), 20);
  const { kinds, dial } = taken();
  assert.ok(kinds.includes("delta 2"));
  assert.deepEqual(dial, []);
  tickTo(3000, (nowMs) => say(2, { kind: "pong", sequence: 0 }, nowMs));
  assert.equal(stateOf(smaller), "alive");
  assert.deepEqual(taken().close, []);
});

test("hellos: a member that started anew is followed to its new link, the old one leads nowhere", () => {
  const { accept, taken } = openNode();
  accept(1, helloOf("a"));
  accept(2, helloOf("a", { nonce: 2, incarnation: 2 }), 10);
  assert.deepEqual(
    taken().close.map(({ link }) => link),
    [1],
  );
});

test("hellos: a peer that holds this node for dead is answered with a refutation, in this node's own log", () => {
  const { gossip, accept, taken } = openNode();
  gossip.write(new Map([["node", "me"]]), 0);
  accept(1, helloOf("a", { digest: [headOf("m", { incarnation: 5, version: 2, deadAt: 0 })] }));
  const life = parseLife(gossip.logs.get(idOf("m"))?.entryByKey.get(LIFE_KEY)?.body);
  assert.deepEqual([life.refutation, life.said], [1, "alive"]);
  assert.ok(taken().kinds.filter((kind) => kind === "delta 1").length >= 1);
});

test("hellos: a peer that remembers a later life of this node, and shows it, makes it take a later one still", () => {
  const { gossip, accept, say, taken } = openNode();
  gossip.write(new Map([["node", "me"]]), 0);
  accept(1, helloOf("a", { digest: [headOf("m", { incarnation: 40, version: 9 })] }));
  assert.equal(gossip.incarnation, 5, "anybody can say so");
  const asked = taken().said.flatMap(({ message }) => (message.kind === "digest" ? message.digest : []));
  assert.deepEqual(asked, [headOf("m", { incarnation: 0 })]);
  say(1, deltas(deltaOf("m", 9, { incarnation: 40 })));
  assert.equal(gossip.incarnation, 41);
  assert.equal(gossip.logs.get(idOf("m"))?.entryByKey.get("node")?.body, "me");
});

test("hellos: to a new node the cluster's dead are dead; one that knows a member better looks for itself", () => {
  const fresh = openNode({ seeds: [{ host: "seed", port: 1 }] });
  const digest = [headOf("a", { version: 1 }), headOf("x", { version: 1, deadAt: 0 })];
  fresh.accept(1, helloOf("a", { digest }));
  fresh.say(1, deltas(deltaOf("a", 1), deltaOf("x", 1)));
  assert.equal(fresh.stateOf("x"), "dead");
  const old = openNode();
  old.accept(1, helloOf("x"));
  old.tickTo(50);
  old.accept(2, helloOf("a", { digest }));
  assert.equal(old.stateOf("x"), "alive");
});

test("hellos: a member whose address changed is not dialled at the old one, unless another is there by now", () => {
  const { gossip, accept } = openNode();
  accept(1, helloOf("a"));
  gossip.linkDown(1, "reset", 10);
  accept(2, helloOf("b", { host: "a" }), 20);
  accept(3, helloOf("a", { host: "new", nonce: 2 }), 30);
  assert.deepEqual(
    gossip.addresses.map(({ host }) => host),
    ["a", "new"],
  );
});
