// A member that was removed is no member any more, at once and for good, however it tries and whoever remembers it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { at, settled, toldOf } from "../support/gossip-cluster.ts";
import { idOf } from "../support/gossip-network.ts";
import { deltaOf, deltas, headOf, helloOf, lifeOf, openNode, type OpenNode } from "../support/gossip-node.ts";
import { signed } from "../support/sealed.ts";

const REASON = "removed by boss";

/** A node that knows `a` over link 1 and `b` over link 2, and has expelled `b`. */
function withExpelled(): OpenNode {
  const node = openNode();
  node.gossip.write(new Map([["node", "me"]]), 0);
  for (const [index, name] of ["a", "b"].entries()) {
    node.accept(index + 1, helloOf(name));
    node.say(index + 1, deltas(deltaOf(name, 2)));
  }
  node.tickTo(100);
  node.taken();
  node.gossip.takeChanged();
  node.gossip.expel(idOf("b"), REASON, 100);
  return node;
}

test("expel: its links are closed with the reason, its log and its standing are gone, and it is told", () => {
  const node = withExpelled();
  const { gossip } = node;
  const { close, happenings } = node.taken();
  assert.deepEqual(close, [{ link: 2, reason: REASON }]);
  assert.deepEqual(
    happenings.map(({ kind, subject, text }) => `${kind} ${subject}: ${text}`),
    [`member.revoked b: ${REASON}`],
  );
  assert.equal(gossip.standing(idOf("b")), undefined);
  assert.equal(gossip.logs.has(idOf("b")), false);
  assert.equal(gossip.credentialOf(idOf("b")), undefined);
  assert.equal(gossip.credentialOf(idOf("a"))?.role, "manager");
  assert.deepEqual([...gossip.takeChanged()], [[idOf("b"), null]]);
  assert.deepEqual(gossip.addresses, [{ host: "a", port: 7650 }]);
  gossip.linkDown(2, "closed", 110);
  node.tickTo(5000, (nowMs) => node.say(1, { kind: "pong", sequence: 0 }, nowMs));
  const later = node.taken();
  assert.deepEqual([later.dial, later.happenings], [[], []], "it is neither missed nor dialled");
});

test("expel: nothing of it is taken any more, by whatever way it is told of", () => {
  const node = withExpelled();
  const { gossip, say, taken } = node;
  taken();
  say(1, deltas(deltaOf("b", 9), deltaOf("b", 3, { incarnation: 2 }), lifeOf("b", { refutation: 4 })));
  const digest = [headOf("b", { version: 9, deadAt: 0 })];
  say(1, { kind: "digest", digest, scope: { kind: "all" }, wanted: false });
  say(1, { kind: "announce", digest });
  gossip.meet([{ id: idOf("b"), name: "b", host: "b", port: 7650 }], 120);
  const rumor = { kind: "dead", subject: idOf("a"), incarnation: 1, refutation: 0, by: idOf("b") } as const;
  say(1, { kind: "rumor", rumors: [signed(rumor)], until: 0 });
  assert.equal(gossip.logs.has(idOf("b")), false);
  assert.equal(gossip.standing(idOf("b")), undefined);
  assert.equal(node.stateOf("a"), "alive");
  const { refused, happenings } = taken();
  assert.deepEqual(refused, ["revoked", "revoked", "revoked"], "counted");
  assert.deepEqual(happenings, [], "but who does not know yet that it was removed is not to blame");
});

test("expel: when it comes again its link is closed before a word is said", () => {
  const node = withExpelled();
  node.taken();
  node.accept(7, helloOf("b", { nonce: 9 }), 200);
  const { close, said } = node.taken();
  assert.deepEqual([close.map(({ link }) => link), said], [[7], []]);
  assert.equal(node.stateOf("b"), "unknown");
});

test("expel: a second time, or of oneself, it does nothing; one who was never seen it keeps out", () => {
  const node = withExpelled();
  node.taken();
  node.gossip.expel(idOf("b"), REASON, 110);
  node.gossip.expel(idOf("m"), REASON, 110);
  assert.deepEqual(node.taken().happenings, []);
  node.gossip.expel(idOf("stranger"), REASON, 110);
  node.say(1, deltas(deltaOf("stranger", 2)));
  assert.equal(node.stateOf("stranger"), "unknown");
  assert.equal(node.gossip.logs.get(idOf("m"))?.entryByKey.get("node")?.body, "me");
});

test("expel: a cluster in which all are told goes on without it, and agrees", () => {
  const { network, hosts } = settled(5);
  const removed = at(hosts, 4);
  const rest = hosts.slice(0, 4);
  for (const host of rest) {
    network.act(host, (gossip) => gossip.expel(removed.id, REASON, network.nowMs));
    // Word of it takes a moment: meanwhile others go on telling of the one that is out.
    network.runFor(200);
  }
  network.write(at(hosts, 0), { news: "1" });
  network.runFor(10_000);
  for (const host of rest) {
    assert.equal(network.bodyOf(host, at(hosts, 0), "news"), "1", host.name);
    assert.equal(network.stateOf(host, removed), "unknown", host.name);
    assert.deepEqual(toldOf(host, "member.dead"), [], host.name);
    assert.equal(network.linksBetween(host, removed), 0);
  }
});
