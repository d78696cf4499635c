// A member that lies: what it can make others do is bounded, and no lie about the living outlasts them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { encode } from "../../src/gossip/codec.ts";
import { LIFE_KEY, parseLife, REFUTATION_MAX } from "../../src/gossip/life.ts";
import type { Digest, Message, Rumor } from "../../src/gossip/message.ts";
import { positionOf } from "../../src/gossip/ring.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { at, CRASH_SEEN_MS, settled, toldOf, untilSeen } from "../support/gossip-cluster.ts";
import type { Host } from "../support/gossip-host.ts";
import { idOf, type GossipNetwork } from "../support/gossip-network.ts";
import { deltaOf, deltas, headOf, helloOf, openNode, type OpenNode } from "../support/gossip-node.ts";
import { signed } from "../support/sealed.ts";

/** A node `m` that has written a record, and the liar `x` on link 1. */
function withLiar(): OpenNode {
  const node = openNode({ name: "m", incarnation: 5 });
  node.gossip.write(new Map([["node", "me"]]), 0);
  node.accept(1, helloOf("x"));
  node.accept(2, helloOf("a"));
  node.say(1, deltas(deltaOf("x", 2)));
  node.say(2, deltas(deltaOf("a", 2)));
  node.tickTo(500);
  node.taken();
  return node;
}

/** Deltas of its own that a node sent over link 2, from now until then; `lie` is called at every tick. */
function pushesWhile(node: OpenNode, untilMs: number, lie: (nowMs: number) => void): number {
  node.taken();
  node.tickTo(untilMs, (nowMs) => {
    node.say(2, { kind: "pong", sequence: 0 }, nowMs);
    lie(nowMs);
  });
  return node.taken().kinds.filter((kind) => kind === "delta 2").length;
}

function rumorOf(subject: string, part: Partial<Rumor> = {}): Message {
  const rumor = {
    kind: "dead",
    subject: idOf(subject),
    incarnation: 1,
    refutation: 0,
    by: idOf("x"),
  } as const;
  return { kind: "rumor", rumors: [signed({ ...rumor, ...part })], until: null };
}

function refutationOf({ gossip }: OpenNode): number {
  const body = gossip.logs.get(idOf("m"))?.entryByKey.get(LIFE_KEY)?.body;
  return parseLife(body).refutation;
}

test("gossip: whoever is accused over and over answers at most five times a second", () => {
  const ways: ((node: OpenNode, nowMs: number) => Message)[] = [
    (node) => ({ kind: "ping", sequence: 1, suspected: refutationOf(node) }),
    (node) => rumorOf("m", { incarnation: 5, refutation: refutationOf(node) }),
    (_, nowMs) => rumorOf("m", { incarnation: 5, refutation: nowMs }),
    (node) => {
      const digest = [headOf("m", { incarnation: 5, version: 1, deadAt: refutationOf(node) })];
      return { kind: "digest", digest, scope: { kind: "all" }, wanted: false };
    },
  ];
  for (const way of ways) {
    const node = withLiar();
    const pushes = pushesWhile(node, 2500, (nowMs) => {
      for (let index = 0; index < 20; index += 1) node.say(1, way(node, nowMs), nowMs);
    });
    assert.ok(pushes >= 2, `${pushes}: an accusation is answered`);
    assert.ok(pushes <= 11, `${pushes} answers in two seconds`);
  }
});

test("gossip: who is told of later lives of its own, and shown none, goes on as it is and asks once a second", () => {
  const ways: ((incarnation: number) => Message)[] = [
    (incarnation) => rumorOf("m", { incarnation }),
    (incarnation) => {
      const digest = [headOf("m", { incarnation, version: 1 })];
      return { kind: "digest", digest, scope: { kind: "all" }, wanted: false };
    },
    (incarnation) => deltas({ ...deltaOf("m", 3, { incarnation }), seal: new Uint8Array(64) }),
  ];
  for (const way of ways) {
    const node = withLiar();
    node.tickTo(2500, (nowMs) => {
      node.say(2, { kind: "pong", sequence: 0 }, nowMs);
      for (let index = 0; index < 20; index += 1) node.say(1, way(node.gossip.incarnation + 1), nowMs);
    });
    assert.equal(node.gossip.incarnation, 5);
    const asked = node.taken().kinds.filter((kind) => kind === "digest 1");
    assert.ok(asked.length >= 1 && asked.length <= 3, `asked ${asked.length} times in two seconds`);
  }
});

test("gossip: lives that no honest node can have reached are not believed", () => {
  const node = withLiar();
  const far = 2 ** 40;
  node.say(1, rumorOf("m", { incarnation: far }));
  node.say(1, rumorOf("a", { incarnation: far }));
  const digest = [
    headOf("m", { incarnation: far, version: 1 }),
    headOf("a", { incarnation: far, deadAt: 0 }),
  ];
  node.say(1, { kind: "digest", digest, scope: { kind: "all" }, wanted: false });
  assert.equal(node.gossip.incarnation, 5);
  assert.equal(node.stateOf("a"), "alive");
});

test("gossip: deaths of strangers, told in many digests, make it hold no more members than there may be", () => {
  const node = withLiar();
  let made = 0;
  for (let round = 0; round < 4; round += 1) {
    const digest: Digest = Array.from({ length: 3000 }, () =>
      headOf(`stranger ${(made += 1)}`, { deadAt: 0 }),
    );
    node.say(1, { kind: "digest", digest, scope: { kind: "all" }, wanted: false }, 500 + 100 * round);
  }
  const { length } = node.gossip.standings;
  assert.ok(length <= LIMITS.ownersMax, `${length} members; expected ${LIMITS.ownersMax} at most`);
});

test("gossip: the same question asked over and over is not answered in full each time", () => {
  const node = withLiar();
  const large = Array.from({ length: 60 }, (_, index) => [`k${index}`, "x".repeat(30_000)] as const);
  node.gossip.write(new Map(large), 500);
  node.taken();
  for (const scope of [{ kind: "all" }, { kind: "listed" }] as const) {
    const digest = scope.kind === "all" ? [] : [headOf("m", { incarnation: 0 })];
    for (let index = 0; index < 50; index += 1) node.say(1, { kind: "digest", digest, scope, wanted: false });
    const bytes = node.taken().send.reduce((sum, { frame }) => sum + frame.byteLength, 0);
    assert.ok(bytes <= 3 * LIMITS.answerBytes, `${scope.kind}: ${bytes} bytes in one moment`);
  }
});

test("gossip: what a node sees with its own eyes it does not give up on the word of another", () => {
  const { network, hosts } = settled(5);
  const [liar, victim] = [at(hosts, 0), at(hosts, 1)];
  const { gossip } = victim;
  for (let round = 0; round < 100; round += 1) {
    const kind = (["suspect", "refused", "dead"] as const)[round % 3] ?? "dead";
    const { incarnation } = gossip;
    tell(network, liar, { kind, subject: victim.id, incarnation, refutation: round, by: liar.id });
    network.runFor(50);
  }
  for (const host of hosts) {
    assert.deepEqual(toldOf(host, "member.dead"), [], host.name);
    if (host !== victim) assert.equal(network.stateOf(host, victim), "alive");
  }
});

test("gossip: a lie about a member its hearer is not linked to is doubted first, and refuted within a second", () => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const { network, hosts } = settled(30, seed);
    network.runFor(10_000);
    const [liar, victim] = [at(hosts, seed), at(hosts, seed + 7)];
    const { incarnation } = victim.gossip;
    tell(network, liar, { kind: "dead", subject: victim.id, incarnation, refutation: 0, by: liar.id });
    const honest = hosts.filter((host) => host !== victim && host !== liar);
    network.runUntil("heard", 50, () => honest.some((host) => network.stateOf(host, victim) === "suspect"));
    // Told twice it is no truer: a death is believed only after there was time to answer.
    tell(network, liar, { kind: "dead", subject: victim.id, incarnation, refutation: 0, by: liar.id });
    network.onStep = () => {
      for (const host of honest) assert.notEqual(network.stateOf(host, victim), "dead", host.name);
    };
    network.runUntil("refuted", 1000, () =>
      honest.every((host) => network.stateOf(host, victim) === "alive"),
    );
  }
});

test("gossip: however high an accusation a liar makes up, by whatever way, an honest one can be refuted", () => {
  const ways: ((refutation: number) => Message)[] = [
    (refutation) => ({ kind: "ping", sequence: 1, suspected: refutation }),
    (refutation) => rumorOf("m", { incarnation: 5, refutation }),
    (refutation) => {
      const digest = [headOf("m", { incarnation: 5, version: 1, deadAt: refutation })];
      return { kind: "digest", digest, scope: { kind: "all" }, wanted: false };
    },
  ];
  for (const [index, way] of ways.entries()) {
    for (const below of [0, 1, 2, 3]) {
      const node = withLiar();
      node.say(1, way(REFUTATION_MAX - below));
      node.tickTo(2000, (nowMs) => node.say(1, { kind: "pong", sequence: 0 }, nowMs));
      const refutation = refutationOf(node);
      assert.ok(refutation <= 1, `way ${index}, ${below} below the highest: driven to ${refutation}`);
      node.say(2, rumorOf("m", { incarnation: 5, refutation, by: idOf("a") }));
      node.tickTo(4000, (nowMs) => node.say(1, { kind: "pong", sequence: 0 }, nowMs));
      assert.ok(refutationOf(node) > refutation, `way ${index}, ${below} below the highest`);
      assert.equal(node.gossip.incarnation, 5);
    }
  }
});

/** A cluster of 30 in which somebody has accused a member at the highest refutation that can be answered. */
function withForgedRefutation(): { network: GossipNetwork; liar: Host; victim: Host } {
  const { network, hosts } = settled(30);
  network.runFor(10_000);
  const [liar, victim] = [at(hosts, 0), at(hosts, 9)];
  const { incarnation } = victim.gossip;
  const lie = { kind: "dead", subject: victim.id, incarnation, by: liar.id } as const;
  tell(network, liar, { ...lie, refutation: REFUTATION_MAX - 1 });
  network.runFor(5000);
  return { network, liar, victim };
}

test("gossip: a forged refutation, as high as there can be, does not rob a node of its voice", () => {
  const { network, liar, victim } = withForgedRefutation();
  const honest = network.hosts.filter((host) => host !== victim && host !== liar);
  for (const host of honest) assert.equal(network.stateOf(host, victim), "alive", `told by ${host.name}`);
  const { incarnation } = victim.gossip;
  const lie = { kind: "dead", subject: victim.id, incarnation, by: liar.id } as const;
  tell(network, liar, { ...lie, refutation: REFUTATION_MAX });
  network.runFor(5000);
  for (const host of honest) assert.equal(network.stateOf(host, victim), "alive", `told by ${host.name}`);
});

test("gossip: a forged refutation, as high as there can be, does not make a node immortal", () => {
  const { network, victim } = withForgedRefutation();
  network.crash(victim);
  untilSeen(network, victim, { state: "dead", withinMs: CRASH_SEEN_MS });
});

/** A liar broadcasts an accusation over all its links; each peer is to pass it on right up to the liar. */
function tell(network: GossipNetwork, liar: Host, rumor: Rumor): void {
  const frame = encode({ kind: "rumor", rumors: [signed(rumor)], until: positionOf(liar.id) });
  for (const end of liar.endByLink.values()) network.send(end, frame);
}
