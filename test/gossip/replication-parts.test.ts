// What came too early or in parts: it waits, is asked for, and goes on when it was found good.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../src/base/random.ts";
import type { Delta, Message } from "../../src/gossip/message.ts";
import { Replication } from "../../src/gossip/replication.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { deltaOf, headOf } from "../support/gossip-node.ts";
import { alongRing, linkedTo, placeOf, type Linked } from "../support/gossip-peers.ts";

const ME = idOf("me");
const LARGE = "x".repeat(30_000);
type Of<K extends Message["kind"]> = Extract<Message, { kind: K }>;

/** A node linked to these, that holds logs. */
function nodeOf(self: string, ...peers: readonly string[]): Linked & { readonly replication: Replication } {
  const linked = linkedTo(self, ...peers);
  const { carrier, outbox } = linked;
  const random = seededRandom(1);
  const who = { self: idOf(self), incarnation: 1, seals: cheapSeals(idOf(self)) };
  return { ...linked, replication: new Replication({ ...who, carrier, outbox, random, nowMs: 0 }) };
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

/** A log of `o` with bodies that fill several frames, as a peer sends it who holds it all. */
function largeLog(kilobytes = 900): { owner: Replication; linked: Linked; deltas: readonly Delta[] } {
  const { replication: owner, ...linked } = nodeOf("o", "me");
  const count = Math.ceil(kilobytes / 30);
  const large = Array.from({ length: count }, (_, index) => [`k${index}`, "x".repeat(30_000)] as const);
  owner.write(new Map(large), 0, false);
  return { owner, linked, deltas: deltasTo("me", linked) };
}

test("replication: parts of a broadcast are passed on once the last is there and all is good, in their order", () => {
  const node = nodeOf("me", "a", "b", "c");
  const { deltas } = largeLog();
  assert.ok(deltas.length > 2);
  const [first, second, third] = alongRing(["a", "b", "c"], placeOf("me"));
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const link = node.linkOf(third);
  for (const delta of deltas.slice(0, -1)) {
    const received = node.replication.receive(deltaMessage([delta], { until: placeOf(third) }), link, 0);
    assert.deepEqual([received.news, received.held, node.sent()], [[], [], []]);
  }
  const last = deltaMessage(deltas.slice(-1), { until: placeOf(third) });
  assert.deepEqual(node.replication.receive(last, link, 0).news, [idOf("o")]);
  const passed = deltasTo(first, node);
  assert.deepEqual(passed, deltas);
});

test("replication: a broadcast that came too early is passed on once what it builds on is here and good", () => {
  const node = nodeOf("me", "a", "b", "c");
  const [first, second, third] = alongRing(["a", "b", "c"], placeOf("me"));
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const early = deltaMessage([deltaOf("x", 4, { from: 3 })], { until: placeOf(third), acknowledge: true });
  node.replication.receive(early, node.linkOf(third), 0);
  assert.deepEqual(kinds(node), [`digest ${third}`], "nobody can say yet whether it is good");
  node.replication.receive(deltaMessage([deltaOf("x", 4)]), node.linkOf(third), 5);
  assert.deepEqual(kinds(node).toSorted(), [`delta ${first}`, `delta ${second}`].toSorted());
  node.replication.receive(deltaMessage([deltaOf("x", 5, { from: 4 })]), node.linkOf(third), 10);
  assert.deepEqual(kinds(node), [], "once");
});

test("replication: a log larger than one answer comes in several, each going on where the last one ended", () => {
  const { owner, linked } = largeLog(9000);
  const node = nodeOf("me", "a");
  const ask = {
    digest: [headOf("o", { incarnation: 0 })],
    scope: { kind: "listed" },
    wanted: false,
  } as const;
  owner.answer({ kind: "digest", ...ask }, linked.linkOf("me"), ME, 0);
  const whole = owner.store.logOf(idOf("o"));
  let rounds = 0;
  for (let nowMs = 0; node.replication.store.logOf(idOf("o")) === undefined; nowMs += 50) {
    for (const delta of deltasTo("me", linked))
      node.replication.receive(deltaMessage([delta]), node.linkOf("a"), nowMs);
    node.replication.tick(2, nowMs);
    for (const { message } of node.sent()) {
      if (message.kind !== "more") continue;
      rounds += 1;
      owner.answerMore(message, linked.linkOf("me"), nowMs);
    }
    assert.ok(nowMs < 20_000, "it comes to an end");
  }
  assert.ok(rounds >= 2 && rounds < 10, `asked ${rounds} times to go on`);
  assert.equal(node.replication.store.logOf(idOf("o"))?.version, whole?.version);
});

test("replication: parts that wait on a link are dropped with it", () => {
  const node = nodeOf("me", "a");
  const { deltas } = largeLog();
  node.replication.receive(deltaMessage(deltas.slice(0, 1)), node.linkOf("a"), 0);
  assert.ok(node.replication.store.staging.sizeBytes > 0);
  node.replication.linkDown(node.linkOf("a").id);
  assert.equal(node.replication.store.staging.sizeBytes, 0);
});

test("replication: a broadcast of what is known is passed on as it is held, and does not make a node shout", () => {
  const node = nodeOf("me", "a", "b", "c");
  const [first, , third] = alongRing(["a", "b", "c"], placeOf("me"));
  assert.ok(first !== undefined && third !== undefined);
  const link = node.linkOf(third);
  node.replication.receive(deltaMessage([deltaOf("x", 4)]), link, 0);
  const stale = { ...deltaOf("x", 4), writes: [{ key: "k2", version: 2, body: "forged" }] };
  node.replication.receive(deltaMessage([stale], { until: placeOf(third) }), link, 0);
  assert.deepEqual(deltasTo(first, node), [deltaOf("x", 4)]);
  const { deltas } = largeLog();
  for (const delta of deltas) node.replication.receive(deltaMessage([delta]), link, 0);
  const short = { ...deltaOf("o", 2), seal: new Uint8Array(64) };
  for (let time = 0; time < 100; time += 1)
    node.replication.receive(deltaMessage([short], { until: placeOf(third) }), link, 0);
  assert.deepEqual(deltasTo(first, node), [], "not a log of several frames for one small one");
  const medium = Array.from({ length: 6 }, (_, index) => ({
    key: `m${index}`,
    version: index + 2,
    body: LARGE,
  }));
  node.replication.receive(deltaMessage([deltaOf("y", 7, { writes: medium })]), link, 0);
  for (let time = 0; time < 1000; time += 1)
    node.replication.receive(deltaMessage([deltaOf("y", 2)], { until: placeOf(third) }), link, 0);
  const bytes = node.outbox.take().send.reduce((sum, { frame }) => sum + frame.byteLength, 0);
  assert.ok(bytes > 0 && bytes <= 2 * LIMITS.answerBytes, `${bytes} bytes at once`);
});
