// Logs travel: pushed at once, passed on, announced, asked for when missed, and compared now and then.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../src/base/random.ts";
import { DIGEST_PARTS, type Delta, type Message } from "../../src/gossip/message.ts";
import { Replication } from "../../src/gossip/replication.ts";
import { MESH_MAX } from "../../src/gossip/ring.ts";
import { partOf } from "../../src/gossip/sums.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { CERTIFICATE_KEY } from "../../src/model/seal.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { deltaOf, headOf } from "../support/gossip-node.ts";
import { alongRing, linkedTo, placeOf, type Linked } from "../support/gossip-peers.ts";

const ME = idOf("me");
type Of<K extends Message["kind"]> = Extract<Message, { kind: K }>;

/** A node `me`, linked to these, that holds logs. */
function openNode(...peers: readonly string[]) {
  const linked = linkedTo("me", ...peers);
  const { carrier, outbox } = linked;
  const seals = cheapSeals(ME);
  const parts = { self: ME, incarnation: 3, carrier, outbox, seals, random: seededRandom(1), nowMs: 0 };
  const replication = new Replication(parts);
  const write = (changes: Readonly<Record<string, string | null>>, acknowledge = false) =>
    replication.write(new Map(Object.entries(changes)), 0, acknowledge).changed;
  return { ...linked, replication, write };
}

/** What was sent, as `kind to`. */
function kinds({ sent }: Pick<Linked, "sent">): string[] {
  return sent().map(({ to, message }) => `${message.kind} ${to}`);
}

function deltaMessage(deltas: readonly Delta[], part: Partial<Of<"delta">> = {}): Of<"delta"> {
  return { kind: "delta", deltas, until: null, acknowledge: false, ...part };
}

function deltasTo(name: string, { sent }: Pick<Linked, "sent">): Delta[] {
  return sent().flatMap(({ to, message }) => (to === name && message.kind === "delta" ? message.deltas : []));
}

test("replication: a change goes to every link at once, and only what is new", () => {
  const { sent, write } = openNode("a", "b");
  assert.equal(write({ x: "1" }), true);
  assert.equal(write({ y: "1" }), true);
  assert.equal(write({ y: "1" }), false);
  const pushed = sent().map(({ to, message }) => {
    const delta = message.kind === "delta" ? message.deltas[0] : undefined;
    return `${to}: ${delta?.from}..${delta?.to}`;
  });
  assert.deepEqual(pushed.toSorted(), ["a: 0..2", "a: 2..3", "b: 0..2", "b: 2..3"]);
});

test("replication: pushed again with nothing new, it asks all whether they hold what there is", () => {
  const { replication, write, sent } = openNode("a");
  write({ x: "1" });
  sent();
  replication.push(false);
  assert.deepEqual(sent(), []);
  replication.push(true);
  const [asked] = sent();
  assert.ok(asked?.message.kind === "delta" && asked.message.acknowledge);
  assert.deepEqual(asked.message.deltas, [
    { owner: ME, incarnation: 3, floor: 0, from: 2, to: 2, writes: [], seal: replication.store.sealOf(ME) },
  ]);
});

test("replication: what came by broadcast is passed on to the part of the ring to be served, known or not", () => {
  const node = openNode("a", "b", "c");
  const [first, second, third] = alongRing(["a", "b", "c"], placeOf("me"));
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const message = deltaMessage([deltaOf("x", 1)], { until: placeOf(third), acknowledge: true });
  for (let time = 0; time < 2; time += 1) {
    node.replication.receive(message, node.linkOf(third), 0);
    const copies = node.sent();
    assert.deepEqual(copies.map(({ to }) => to).toSorted(), [first, second].toSorted());
    for (const { message } of copies) assert.ok(message.kind === "delta" && message.acknowledge);
  }
  node.replication.receive(deltaMessage([deltaOf("y", 1)]), node.linkOf(third), 0);
  assert.deepEqual(node.sent(), [], "what was for this node alone goes no further");
});

test("replication: it tells what brought news, and what is held as far as the message went", () => {
  const { replication, linkOf } = openNode("a", "b");
  const deltas = [deltaOf("x", 2), deltaOf("y", 5, { from: 4 })];
  const first = replication.receive(deltaMessage(deltas), linkOf("a"), 0);
  assert.deepEqual([first.news, first.held], [[idOf("x")], [idOf("x")]]);
  const again = replication.receive(deltaMessage(deltas), linkOf("b"), 0);
  assert.deepEqual([again.news, again.held], [[], [idOf("x")]]);
});

test("replication: a gap is answered with one request for what is missing, on the link it came over", () => {
  const { replication, linkOf, sent } = openNode("a", "b");
  const deltas = [deltaOf("x", 4, { from: 3 }), deltaOf("y", 4, { from: 3 })];
  replication.receive(deltaMessage(deltas), linkOf("b"), 0);
  const digest = [headOf("x", { incarnation: 0 }), headOf("y", { incarnation: 0 })];
  assert.deepEqual(sent(), [
    { to: "b", message: { kind: "digest", digest, scope: { kind: "listed" }, wanted: false } },
  ]);
});

test("replication: nobody else writes this node's log: what claims to is refused, counted and not passed on", () => {
  const { replication, linkOf, outbox, write } = openNode("a", "b");
  write({ x: "1" });
  outbox.take();
  const forged = deltaMessage([{ ...deltaOf("me", 9), incarnation: 3 }], { until: placeOf("me") });
  const { complaints, raised } = replication.receive(forged, linkOf("a"), 0);
  const { refused, send } = outbox.take();
  assert.deepEqual(
    [refused, send.map(({ link, kind }) => `${kind} ${link}`)],
    [["seal"], [`digest ${linkOf("a").id}`]],
    "the peer is asked for all of it, if it has any",
  );
  assert.deepEqual([complaints.map(({ owner }) => owner), raised], [[ME], false]);
  assert.deepEqual([replication.version, replication.incarnation], [2, 3]);
  const echo = { ...deltaOf("me", 1), incarnation: 3 };
  replication.receive(deltaMessage([echo]), linkOf("a"), 0);
  assert.deepEqual(outbox.take().refused, [], "its own write come round is no lie");
});

test("replication: what a peer announces and this node lacks is asked for, and nothing else", () => {
  const { replication, linkOf, sent } = openNode("a");
  replication.receive(deltaMessage([deltaOf("x", 3), deltaOf("y", 3)]), linkOf("a"), 0);
  const known = [headOf("x", { version: 3 }), headOf("y", { version: 2 }), headOf("me", { incarnation: 9 })];
  replication.announced(known, linkOf("a").id);
  assert.deepEqual(sent(), []);
  replication.announced([headOf("x", { version: 4 }), headOf("y", { incarnation: 2 }), headOf("z")], 1);
  const [asked] = sent();
  assert.ok(asked?.message.kind === "digest" && asked.message.scope.kind === "listed");
  assert.deepEqual(
    asked.message.digest.map(({ owner }) => owner),
    [idOf("x"), idOf("y"), idOf("z")],
  );
});

test("replication: what is asked for is sent, to whoever asks, of nobody else", () => {
  const node = openNode("a", "b");
  node.write({ mine: "1" });
  node.replication.receive(deltaMessage([deltaOf("x", 3), deltaOf("y", 3)]), node.linkOf("a"), 0);
  node.sent();
  const digest = [headOf("x", { version: 1 })];
  const message = { kind: "digest", digest, scope: { kind: "listed" }, wanted: false } as const;
  node.replication.answer(message, node.linkOf("b"), idOf("b"), 0);
  assert.deepEqual(
    deltasTo("b", node).map(({ owner, from, to }) => [owner, from, to]),
    [[idOf("x"), 1, 3]],
  );
});

test("replication: compares with one peer a second, with nobody when alone", () => {
  const node = openNode("a", "b", "c");
  node.replication.tick(4, 999);
  assert.deepEqual(node.sent(), []);
  const asked = new Set<string>();
  for (let nowMs = 1000; nowMs < 30_000; nowMs += 1000) {
    node.replication.tick(4, nowMs);
    const said = node.sent();
    assert.equal(said.length, 1);
    for (const { to, message } of said) {
      asked.add(to);
      assert.deepEqual(message, { kind: "compare", sum: node.replication.store.sums.whole });
    }
  }
  assert.equal(asked.size, 3);
  const alone = openNode();
  alone.replication.tick(1, 5000);
  assert.deepEqual(alone.sent(), []);
});

test("replication: equal sums are not answered; others with a digest where owners are few", () => {
  const node = openNode("a");
  node.replication.compared(node.replication.store.sums.whole, 1);
  assert.deepEqual(node.sent(), []);
  node.replication.compared(12_345, 1);
  const [said] = node.sent();
  assert.ok(said?.message.kind === "digest" && said.message.wanted && said.message.scope.kind === "all");
  assert.equal(said.message.digest.length, 1);
});

test("replication: where owners are many only those parts are spoken of in which something differs", () => {
  const [one, other] = [openNode("a"), openNode("b")];
  const owners = Array.from({ length: 300 }, (_, index) => `n${index}`);
  const deltas = owners.map((owner) => deltaOf(owner, 2));
  one.replication.receive(deltaMessage(deltas), one.linkOf("a"), 0);
  // The other lacks two writes of one owner, and holds more of another.
  other.replication.receive(deltaMessage(deltas.slice(1)), other.linkOf("b"), 0);
  other.replication.receive(deltaMessage([deltaOf("n7", 3, { from: 2 })]), other.linkOf("b"), 0);
  for (const node of [one, other]) node.sent();
  one.replication.compared(other.replication.store.sums.whole, 1);
  const [sums] = one.sent();
  assert.ok(sums?.message.kind === "parts" && sums.message.sums.length === DIGEST_PARTS);
  other.replication.partsCompared(sums.message.sums, 1);
  const [digest] = other.sent();
  assert.ok(
    digest?.message.kind === "digest" && digest.message.scope.kind === "parts" && digest.message.wanted,
  );
  const { parts } = digest.message.scope;
  assert.deepEqual(
    [...parts],
    [...new Set([partOf(idOf("n0")), partOf(idOf("n7"))])].toSorted((a, b) => a - b),
  );
  assert.ok(
    digest.message.digest.length < 40 &&
      digest.message.digest.every(({ owner }) => parts.includes(partOf(owner))),
  );
  one.replication.answer(digest.message, one.linkOf("a"), idOf("b"), 0);
  const answer = one.sent();
  for (const { message } of answer) {
    if (message.kind === "delta") other.replication.receive(message, other.linkOf("b"), 0);
    if (message.kind === "digest") other.replication.answer(message, other.linkOf("b"), idOf("me"), 0);
  }
  for (const { message } of other.sent())
    if (message.kind === "delta") one.replication.receive(message, one.linkOf("a"), 0);
  assert.equal(one.replication.store.sums.whole, other.replication.store.sums.whole);
  other.replication.partsCompared([...one.replication.store.sums.parts], 1);
  assert.deepEqual(other.sent(), [], "now nothing differs");
});

test("replication: a digest is answered with what its sender lacks, and with an own one if that is wanted", () => {
  const node = openNode("a");
  node.write({ x: "1" });
  node.sent();
  const message = { kind: "digest", digest: [], scope: { kind: "all" }, wanted: true } as const;
  node.replication.answer(message, node.linkOf("a"), idOf("a"), 0);
  assert.deepEqual(kinds(node), ["delta a", "digest a"]);
  node.replication.answer({ ...message, wanted: false }, node.linkOf("a"), idOf("a"), 100);
  assert.deepEqual(kinds(node), ["delta a"]);
});

test("replication: whatever is asked over one link, and however often, what is answered a second is bounded", () => {
  for (const kind of ["all", "listed"] as const) {
    const node = openNode("a", "b");
    const large = Array.from({ length: 20 }, (_, index) => [`k${index}`, "x".repeat(30_000)] as const);
    node.replication.write(new Map(large), 0, false);
    node.outbox.take();
    const digest = kind === "all" ? [] : [headOf("me", { incarnation: 0 })];
    const message = { kind: "digest", digest, scope: { kind }, wanted: true } as const;
    const answered = (name: string, nowMs: number): number => {
      node.replication.answer(message, node.linkOf(name), idOf(name), nowMs);
      return node.outbox.take().send.reduce((sum, { frame }) => sum + frame.byteLength, 0);
    };
    let bytes = 0;
    for (let nowMs = 0; nowMs < 1000; nowMs += 1) bytes += answered("a", nowMs);
    assert.ok(bytes >= LIMITS.answerBytes && bytes <= 5 * LIMITS.answerBytes, `${kind}: ${bytes} bytes`);
    assert.ok(answered("b", 999) > 0, "another link is another matter");
    assert.ok(answered("a", 5000) > 0, "and so is another time");
  }
});

test("replication: who lacks much gets a bounded part of it at a time", () => {
  const node = openNode("a");
  const large = Array.from({ length: 300 }, (_, index) => [`k${index}`, "x".repeat(30_000)] as const);
  node.replication.write(new Map(large), 0, false);
  node.outbox.take();
  node.replication.sendMissing(1, { digest: [], scope: { kind: "all" }, recipient: null });
  const { send } = node.outbox.take();
  const bytes = send.reduce((sum, { frame }) => sum + frame.byteLength, 0);
  assert.ok(bytes > LIMITS.answerBytes / 2 && bytes <= LIMITS.answerBytes + LIMITS.frameBytes, `${bytes}`);
});

test("replication: what reached it is announced once to two others, a moment later; in a mesh to nobody", () => {
  for (const presentCount of [MESH_MAX, MESH_MAX + 1]) {
    const node = openNode("a", "b", "c", "d");
    const message = deltaMessage([deltaOf("x", 1)], { until: placeOf("me") });
    node.replication.receive(message, node.linkOf("a"), 0);
    node.replication.receive({ ...message, deltas: [deltaOf("y", 1)] }, node.linkOf("a"), 30);
    node.sent();
    node.replication.tick(presentCount, 49);
    assert.deepEqual(node.sent(), []);
    node.replication.tick(presentCount, 50);
    const said = node.sent();
    assert.equal(said.length, presentCount > MESH_MAX ? 2 : 0);
    for (const { message } of said) {
      assert.ok(message.kind === "announce");
      assert.deepEqual(message.digest, [headOf("x", { version: 1 }), headOf("y", { version: 1 })]);
    }
    node.replication.tick(presentCount, 200);
    assert.deepEqual(node.sent(), []);
  }
});

test("replication: outranked, it takes the higher incarnation and pushes its whole log under it", () => {
  const { replication, sent, write, linkOf } = openNode("a");
  write({ x: "1", y: "1" });
  write({ y: null });
  sent();
  const shown = (incarnation: number, nowMs: number): boolean =>
    replication.receive(deltaMessage([deltaOf("me", 3, { incarnation })]), linkOf("a"), nowMs).raised;
  assert.equal(shown(3, 0), false, "an earlier state");
  assert.equal(shown(8, 0), true);
  assert.equal(replication.incarnation, 9);
  const [pushed] = sent();
  assert.ok(pushed?.message.kind === "delta");
  const [delta] = pushed.message.deltas;
  assert.deepEqual([delta?.incarnation, delta?.from, delta?.to], [9, 0, 2]);
  assert.deepEqual(
    delta?.writes.map(({ key }) => key),
    [CERTIFICATE_KEY, "x"],
  );
  assert.equal(shown(20, 100), false, "not again at once");
  assert.equal(shown(20, 1000), true);
});

test("replication: a peer that only says that it knows more of this node is asked to show it, once a second", () => {
  const { replication, sent, write, linkOf } = openNode("a", "b");
  write({ x: "1" });
  sent();
  const claim = [headOf("me", { incarnation: 8, version: 7 })];
  const asked = (name: string, nowMs: number): string[] => {
    replication.outranked(claim, linkOf(name), nowMs);
    return kinds({ sent });
  };
  assert.deepEqual(asked("a", 0), ["digest a"]);
  assert.deepEqual(asked("a", 900), []);
  assert.deepEqual(asked("b", 900), ["digest b"], "who claims in vain keeps nobody else from showing it");
  assert.deepEqual(asked("a", 1000), ["digest a"]);
  replication.outranked([headOf("me", { incarnation: 3, version: 2 })], linkOf("a"), 5000);
  assert.deepEqual(kinds({ sent }), [], "nothing more than it knows itself");
  assert.equal(replication.incarnation, 3);
});

test("replication: told that it may be behind, it exchanges everything with everybody", () => {
  const node = openNode("a", "b");
  node.replication.exchange();
  assert.deepEqual(kinds(node).toSorted(), ["digest a", "digest b"]);
});

test("replication: once a minute it collects what was deleted two hours ago", () => {
  const { replication, write } = openNode("a");
  write({ x: "1" });
  write({ x: null });
  for (let nowMs = 0; nowMs < 7_300_000; nowMs += 60_000) replication.tick(2, nowMs);
  assert.equal(replication.store.logOf(ME)?.entryByKey.size, 1);
  assert.equal(replication.store.logOf(ME)?.floor, 3);
});
