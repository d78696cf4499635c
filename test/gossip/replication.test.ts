// Logs travel: pushed at once, repaired when a push was missed, acknowledged to their owner.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../src/base/random.ts";
import { Outbox } from "../../src/gossip/effects.ts";
import { Membership } from "../../src/gossip/membership.ts";
import { decode, type Delta, type Message } from "../../src/gossip/message.ts";
import { Replication } from "../../src/gossip/replication.ts";
import { idOf } from "../support/gossip-network.ts";

const ME = idOf("me");

/** A node with peers linked over links 1, 2, ... and what it has sent since it was last asked. */
function openNode(...peers: string[]) {
  const membership = new Membership();
  const outbox = new Outbox();
  const replication = new Replication({
    self: ME,
    incarnation: 3,
    membership,
    outbox,
    random: seededRandom(1),
    nowMs: 0,
  });
  peers.forEach((name, index) => {
    const peer = membership.meet({ id: idOf(name), name, host: name, port: 1 }, 0);
    membership.linked(peer, index + 1, { incarnation: 1, nonce: 1 }, 0);
  });
  const sent = (): { link: number; message: Message }[] => {
    return outbox.take().send.map(({ link, frame }) => {
      const decoded = decode(frame);
      assert.ok(decoded.ok);
      return { link, message: decoded.value };
    });
  };
  const write = (changes: Readonly<Record<string, string | null>>) =>
    replication.write(new Map(Object.entries(changes)), 0);
  return { replication, membership, outbox, sent, write };
}

function deltaOf(owner: string, from: number, to: number): Delta {
  const writes = Array.from({ length: to - from }, (_, index) => ({
    key: `k${from + index}`,
    version: from + index + 1,
    body: "x",
  }));
  return { owner: idOf(owner), incarnation: 1, floor: 0, from, to, writes };
}

test("replication: a change goes to every link at once, and only what is new", () => {
  const { sent, write } = openNode("a", "b");
  assert.equal(write({ x: "1" }), true);
  assert.equal(write({ y: "1" }), true);
  assert.equal(write({ y: "1" }), false);
  const pushed = sent().map(({ link, message }) => {
    const delta = message.kind === "delta" ? message.deltas[0] : undefined;
    return `${link}: ${delta?.from}..${delta?.to}`;
  });
  assert.deepEqual(pushed, ["1: 0..1", "2: 0..1", "1: 1..2", "2: 1..2"]);
});

test("replication: what is applied is acknowledged to its owner, over the owner's link, whoever brought it", () => {
  const { replication, sent } = openNode("a", "b");
  assert.equal(replication.apply([deltaOf("b", 0, 2)], 1, 0), 1);
  assert.deepEqual(sent(), [{ link: 2, message: { kind: "applied", incarnation: 1, version: 2 } }]);
  assert.equal(replication.apply([deltaOf("stranger", 0, 2)], 1, 0), 1);
  assert.deepEqual(sent(), [], "there is no link to it");
});

test("replication: a gap is answered with one digest on the link it came over, and changes nothing", () => {
  const { replication, sent } = openNode("a", "b");
  assert.equal(replication.apply([deltaOf("a", 3, 4), deltaOf("b", 3, 4)], 2, 0), 0);
  const answers = sent();
  assert.equal(answers.length, 1);
  assert.equal(answers[0]?.link, 2);
  assert.ok(answers[0]?.message.kind === "digest" && !answers[0].message.wanted);
});

test("replication: a delta of this node's own log is refused and counted", () => {
  const { replication, outbox } = openNode("a");
  replication.apply([deltaOf("me", 0, 9)], 1, 0);
  assert.deepEqual(outbox.take().refused, ["delta"]);
  assert.equal(replication.version, 0);
});

test("replication: compares with one peer a second, with all when told, with nobody when alone", () => {
  const { replication, sent } = openNode("a", "b", "c");
  replication.compare("random", 500);
  assert.deepEqual(sent(), []);
  replication.compare("random", 1000);
  assert.equal(sent().length, 1);
  replication.compare("all", 1100);
  assert.deepEqual(
    sent().map(({ link, message }) => `${message.kind} ${link}`),
    ["compare 1", "compare 2", "compare 3"],
  );
  const alone = openNode();
  alone.replication.compare("all", 5000);
  assert.deepEqual(alone.sent(), []);
});

test("replication: outranked, it takes the higher incarnation and pushes its whole log under it", () => {
  const { replication, sent, write } = openNode("a");
  write({ x: "1", y: "1" });
  write({ y: null });
  sent();
  assert.equal(replication.outrank([{ owner: ME, incarnation: 3, version: 3 }], 0), false);
  assert.equal(replication.outrank([{ owner: ME, incarnation: 8, version: 0 }], 0), true);
  assert.equal(replication.incarnation, 9);
  const [pushed] = sent();
  assert.ok(pushed?.message.kind === "delta");
  assert.deepEqual(pushed.message.deltas, [
    { owner: ME, incarnation: 9, floor: 0, from: 0, to: 1, writes: [{ key: "x", version: 1, body: "1" }] },
  ]);
});
