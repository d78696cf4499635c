// What each message of a linked peer does: to this node, to what it believes, and to those it is passed on to.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LIFE_KEY, parseLife } from "../../src/gossip/life.ts";
import type { DrainAsk, Message, Rumor, SignedRumor } from "../../src/gossip/message.ts";
import { drainText } from "../../src/gossip/words.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { deltaOf, deltas, headOf, helloOf, lifeOf, openNode, type OpenNode } from "../support/gossip-node.ts";
import { alongRing, placeOf } from "../support/gossip-peers.ts";
import { signed } from "../support/sealed.ts";

const PONG: Message = { kind: "pong", sequence: 0 };

/** A node `m` linked to these over links 1, 2 and so on, which has nothing left to say. */
function linkedTo(...names: readonly string[]): OpenNode {
  const node = openNode();
  node.gossip.write(new Map([["node", "me"]]), 0);
  names.forEach((name, index) => {
    node.accept(index + 1, helloOf(name));
    node.say(index + 1, deltas(deltaOf(name, 2)));
  });
  node.tickTo(100, (nowMs) => names.forEach((_, index) => node.say(index + 1, PONG, nowMs)));
  node.taken();
  return node;
}

function rumor(subject: string, part: Partial<Rumor> = {}): SignedRumor {
  const about = { subject: idOf(subject), incarnation: 1, refutation: 0 };
  return signed({ kind: "suspect", ...about, by: idOf("a"), ...part });
}

function signedAsk(words: Omit<DrainAsk, "signature">): DrainAsk {
  return { ...words, signature: cheapSeals(words.asker).sign(drainText(words)) };
}

function refutationOf({ gossip }: OpenNode): number {
  return parseLife(gossip.logs.get(idOf("m"))?.entryByKey.get(LIFE_KEY)?.body).refutation;
}

/** What was said over a link, by kind. */
function saidOver(node: OpenNode, link: number): Message[] {
  return node.taken().said.flatMap((one) => (one.link === link ? [one.message] : []));
}

/** A name whose node this one is not linked to, but to which a link other than that of `a` leads nearer. */
function memberBehind(node: OpenNode): string {
  const names = Array.from({ length: 400 }, (_, index) => `far ${index}`);
  const behind = names.find((name) => {
    node.say(1, deltas(deltaOf(name, 2)));
    return node.gossip.askDrain(idOf(name), "x", true) && node.taken().kinds.includes("drain 2");
  });
  node.taken();
  return behind ?? assert.fail("some member is nearer to a peer");
}

test("messages: a ping is answered, and one that warns is answered with a refutation as well", () => {
  const node = linkedTo("a", "b");
  node.say(1, { kind: "ping", sequence: 7, suspected: null });
  assert.deepEqual(node.taken().kinds, ["pong 1"]);
  node.say(1, { kind: "ping", sequence: 8, suspected: 0 });
  const { kinds } = node.taken();
  assert.ok(kinds.includes("pong 1") && kinds.includes("delta 1") && kinds.includes("delta 2"));
  assert.equal(refutationOf(node), 1);
});

test("messages: an accusation of this node is answered, not passed on; one of an earlier life is neither", () => {
  const node = linkedTo("a", "b", "c");
  const until = placeOf("m");
  node.say(1, { kind: "rumor", rumors: [rumor("m", { incarnation: 4 })], until });
  assert.deepEqual(node.taken().kinds, []);
  node.say(1, { kind: "rumor", rumors: [rumor("m", { incarnation: 5 })], until });
  assert.ok(node.taken().said.every(({ message }) => message.kind !== "rumor"));
  assert.equal(refutationOf(node), 1);
});

test("messages: an accusation of another is passed on to the part of the ring that is to be served", () => {
  const names = ["a", "b", "c", "d"];
  const node = linkedTo(...names);
  const order = alongRing(names, placeOf("m"));
  const [first, second, third, from] = order;
  assert.ok(first !== undefined && second !== undefined && third !== undefined && from !== undefined);
  const link = names.indexOf(from) + 1;
  node.say(link, { kind: "rumor", rumors: [rumor("x")], until: placeOf(third) });
  const { said } = node.taken();
  assert.deepEqual(
    new Set(said.map(({ link }) => names[link - 1])),
    new Set([first, second]),
    "also of one that is not known here",
  );
});

test("messages: an accusation of one who is heard here is doubted: the accused is told with the next ping", () => {
  const node = linkedTo("a", "b");
  node.say(1, { kind: "rumor", rumors: [rumor("b", { kind: "dead" })], until: placeOf("m") });
  assert.equal(node.stateOf("b"), "alive");
  node.taken();
  node.tickTo(150);
  const pings = saidOver(node, 2).filter(({ kind }) => kind === "ping");
  assert.ok(pings.some((ping) => ping.kind === "ping" && ping.suspected === 0));
});

test("messages: a warning on its way to its subject is passed on towards it, and is news for nobody else", () => {
  const node = linkedTo("a", "b");
  const subject = memberBehind(node);
  node.say(1, { kind: "rumor", rumors: [rumor(subject), rumor("b")], until: null });
  assert.equal(node.stateOf(subject), "alive");
  const passed = node.taken().said.filter(({ message }) => message.kind === "rumor");
  assert.ok(
    passed.some(({ link, message }) => link === 2 && message.kind === "rumor" && message.until === null),
  );
  assert.ok(!passed.some(({ link }) => link === 1), "not back where it came from");
});

test("messages: asked whether it reaches a member, it pings it, and the next word of it is the answer", () => {
  const node = linkedTo("a", "b");
  node.say(1, { kind: "probe", sequence: 9, subject: idOf("b") });
  node.tickTo(150);
  assert.ok(node.taken().kinds.includes("ping 2"));
  node.say(2, PONG);
  assert.deepEqual(saidOver(node, 1), [{ kind: "probed", sequence: 9, reached: true }]);
  node.say(2, PONG);
  assert.deepEqual(saidOver(node, 1), [], "once");
});

test("messages: who has no link is dialled for who asks; a refusal or silence is a no, a stranger at once", () => {
  const node = linkedTo("a");
  node.accept(2, helloOf("b"));
  node.gossip.linkDown(2, "reset", 110);
  node.taken();
  node.say(1, { kind: "probe", sequence: 1, subject: idOf("nobody") }, 120);
  assert.deepEqual(saidOver(node, 1), [{ kind: "probed", sequence: 1, reached: false }]);
  node.say(1, { kind: "probe", sequence: 2, subject: idOf("b") }, 120);
  assert.deepEqual(node.taken().dial, [{ host: "b", port: 7650 }]);
  node.gossip.dialFailed({ host: "b", port: 7650 }, { refused: true }, 130);
  const refused = saidOver(node, 1);
  assert.ok(
    refused.some((message) => message.kind === "probed" && message.sequence === 2 && !message.reached),
  );
  node.say(1, { kind: "probe", sequence: 3, subject: idOf("b") }, 140);
  node.tickTo(900, (nowMs) => node.say(1, PONG, nowMs));
  const late = saidOver(node, 1).filter(({ kind }) => kind === "probed");
  assert.deepEqual(late, [{ kind: "probed", sequence: 3, reached: false }]);
});

test("messages: too many favours at once are answered with no, so that nobody waits for them", () => {
  const node = linkedTo("a", "b");
  for (let sequence = 0; sequence < LIMITS.favoursMax + 5; sequence += 1)
    node.say(1, { kind: "probe", sequence, subject: idOf("b") });
  assert.equal(saidOver(node, 1).length, 5);
});

test("messages: a member that others reach is reached by way of them, until it is linked again", () => {
  const node = linkedTo("a", "b");
  const { gossip } = node;
  gossip.linkDown(2, "reset", 100);
  const asked: { sequence: number }[] = [];
  node.tickTo(1000, (nowMs) => {
    node.say(1, PONG, nowMs);
    for (const message of saidOver(node, 1)) if (message.kind === "probe") asked.push(message);
  });
  assert.ok(asked.length >= 1);
  node.say(1, { kind: "probed", sequence: asked[0]?.sequence ?? 0, reached: true });
  assert.equal(gossip.standing(idOf("b"))?.via, idOf("a"));
  node.accept(3, helloOf("b"));
  assert.equal(gossip.standing(idOf("b"))?.via, null);
});

test("messages: an answer to nobody's question changes nothing", () => {
  const node = linkedTo("a", "b");
  const { revision } = node.gossip;
  node.say(1, { kind: "probed", sequence: 12_345, reached: true });
  node.say(1, { kind: "probed", sequence: 12_345, reached: false });
  node.say(1, { kind: "pong", sequence: 12_345 });
  assert.equal(node.gossip.revision, revision);
  assert.deepEqual(node.taken().kinds, []);
});

test("messages: who asks for it is told how far each log is held, also when it was held before", () => {
  const node = linkedTo("a", "b");
  const asks = { ...deltas(deltaOf("a", 2)), acknowledge: true };
  const by = [{ id: idOf("m"), signature: null }];
  for (let time = 0; time < 2; time += 1) {
    node.say(1, asks);
    const reports = saidOver(node, 1).flatMap((message) =>
      message.kind === "applied" ? message.reports : [],
    );
    assert.deepEqual(reports, [{ owner: idOf("a"), incarnation: 1, version: 2, by }]);
  }
  node.say(1, deltas(deltaOf("a", 2)));
  assert.deepEqual(saidOver(node, 1), [], "nobody asked");
  node.say(1, deltas(deltaOf("a", 3, { from: 2 })));
  assert.equal(saidOver(node, 1).length, 1, "an owner that is linked hears of each step");
});

test("messages: what is on its way to another node goes on towards it, and not for ever", () => {
  const node = linkedTo("a", "b");
  const owner = idOf(memberBehind(node));
  const words = { incarnation: 5, version: 2, replica: "web-1", asker: idOf("b") };
  const ask = signedAsk({ ...words, owner, draining: true });
  node.say(1, { kind: "drain", ask, hops: 3 });
  const passed = node.taken().said.filter(({ message }) => message.kind === "drain");
  assert.deepEqual(
    passed.map(({ message }) => message),
    [{ kind: "drain", ask, hops: 4 }],
  );
  node.say(1, { kind: "drain", ask, hops: LIMITS.hopsMax });
  assert.ok(node.taken().said.every(({ message }) => message.kind !== "drain"));
  const own = signedAsk({ ...words, owner: idOf("m"), draining: false });
  node.say(1, { kind: "drain", ask: own, hops: LIMITS.hopsMax });
  assert.deepEqual(node.taken().drains, [{ replica: "web-1", draining: false, by: "b" }]);
});

test("messages: a link that its peer needs no more is closed, and the peer is neither missed nor dialled", () => {
  const node = linkedTo("a", "b");
  // Beyond a mesh: in one every link is needed.
  const others = Array.from({ length: 60 }, (_, index) => `n${index}`);
  node.say(1, deltas(...others.map((name) => deltaOf(name, 1))));
  node.taken();
  node.say(2, { kind: "part" });
  assert.deepEqual(
    node.taken().close.map(({ link }) => link),
    [2],
  );
  node.gossip.linkDown(2, "closed", 150);
  assert.equal(node.stateOf("b"), "alive");
  assert.ok(node.taken().happenings.every(({ kind }) => kind !== "link.lost"));
});

test("messages: a farewell in the log is believed of whoever it is, and closes his links", () => {
  const node = linkedTo("a", "b");
  node.say(1, deltas(lifeOf("b", { said: "left", refutation: 1 }, { to: 3 })));
  assert.equal(node.stateOf("b"), "left");
  const { close, happenings } = node.taken();
  assert.deepEqual(close, [{ link: 2, reason: "the member left" }]);
  assert.deepEqual(
    happenings.map(({ kind, subject }) => `${kind} ${subject}`),
    ["member.left b"],
  );
  node.say(1, deltas(lifeOf("x", { said: "away", forMs: 5000 })));
  assert.equal(node.stateOf("x"), "away");
});

test("messages: a death in a peer's digest is told to the dead, and believed only when they keep silent", () => {
  const node = linkedTo("a", "b");
  const { gossip } = node;
  node.say(1, deltas(deltaOf("x", 2)));
  const death = [headOf("x", { version: 2, deadAt: 0 }), headOf("b", { deadAt: 0 })];
  const digest: Message = { kind: "digest", digest: death, scope: { kind: "all" }, wanted: false };
  node.tickTo(1000, (nowMs) => {
    for (const link of [1, 2]) node.say(link, PONG, nowMs);
    if (nowMs % 500 === 0) node.say(1, digest, nowMs);
  });
  assert.notEqual(node.stateOf("x"), "dead");
  node.tickTo(6000, (nowMs) => {
    for (const link of [1, 2]) node.say(link, PONG, nowMs);
    if (nowMs % 500 === 0) node.say(1, digest, nowMs);
  });
  assert.equal(node.stateOf("x"), "dead");
  assert.equal(node.stateOf("b"), "alive", "it is heard here");
  assert.equal(gossip.logs.get(idOf("x"))?.entryByKey.size, 2, "its entries stay");
});

test("messages: a digest of some owners, asked for by name, is no verdict on anybody", () => {
  const node = linkedTo("a");
  node.say(1, deltas(deltaOf("x", 1)));
  const digest = [headOf("x", { version: 1, deadAt: 0 }), headOf("stranger", { deadAt: 0 })];
  for (let time = 0; time < 20; time += 1)
    node.say(1, { kind: "digest", digest, scope: { kind: "listed" }, wanted: false });
  assert.equal(node.stateOf("x"), "alive");
  assert.equal(node.stateOf("stranger"), "unknown");
});

test("messages: logs that are not taken are told of once a minute for each peer, however often they are sent", () => {
  const node = linkedTo("a", "b");
  const forged = deltas({ ...deltaOf("m", 9), incarnation: 5 }, { ...deltaOf("x", 1), incarnation: 2 ** 50 });
  for (let time = 0; time < 5; time += 1) node.say(1, forged);
  node.say(2, forged);
  const { happenings, refused, close } = node.taken();
  assert.deepEqual(
    happenings.map(({ kind, subject }) => `${kind} ${subject}`),
    ["mesh.refused a", "mesh.refused b"],
  );
  assert.match(happenings[0]?.text ?? "", /this node's own log .* sealed/);
  assert.equal(refused.length, 12);
  assert.deepEqual(close, [], "the link serves all the same");
  node.say(1, forged, 60_200);
  assert.equal(node.taken().happenings.length, 1);
});
