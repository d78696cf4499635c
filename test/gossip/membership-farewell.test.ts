// Members that said farewell, that come and go, and what is known of where they are and what they have applied.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FIRST_LIFE, type Life } from "../../src/gossip/life.ts";
import { Membership } from "../../src/gossip/membership.ts";
import type { Rumor } from "../../src/gossip/message.ts";
import type { Peer } from "../../src/gossip/peer.ts";
import { idOf } from "../support/gossip-network.ts";

const who = (name: string) => ({ id: idOf(name), name, host: name, port: 7650 });

/** A node that knows a member `a`, and a witness. */
function knowing(): { membership: Membership; peer: Peer; moves: () => string[] } {
  const membership = new Membership(idOf("self"));
  for (const name of ["a", "witness"]) membership.greeted(membership.meet(who(name), 0), 1, 0);
  const peer = membership.peer(idOf("a")) ?? assert.fail("a is known");
  membership.take();
  return { membership, peer, moves: () => membership.take().moves.map(({ to }) => to) };
}

function life(said: Life["said"], refutation: number, forMs = 0): Life {
  return { ...FIRST_LIFE, said, refutation, forMs };
}

function death(part: Partial<Rumor> = {}): Rumor {
  const by = idOf("witness");
  return { kind: "dead", subject: idOf("a"), incarnation: 1, refutation: 0, by, ...part };
}

test("membership: a farewell is final until the next hello: silence, refusals, late frames do not change it", () => {
  const { membership, peer, moves } = knowing();
  membership.lifeTold(peer, 1, life("left", 1), 10);
  assert.deepEqual(moves(), ["left"]);
  membership.heard(peer, 20);
  membership.accuse(peer, "refused", 30);
  membership.told(death({ refutation: 1 }), false, 40);
  membership.greeted(peer, 1, 50);
  membership.tick(60_000, 0);
  assert.deepEqual(moves(), []);
  assert.equal(membership.presentCount, 2);
  membership.greeted(peer, 2, 60_000);
  assert.deepEqual(moves(), ["alive"]);
});

test("membership: who says that it will be back is kept, however silent, and however often it is refused", () => {
  const { membership, peer, moves } = knowing();
  membership.lifeTold(peer, 1, life("away", 1, 20_000), 0);
  assert.deepEqual(moves(), ["away"]);
  for (let nowMs = 0; nowMs < 19_900; nowMs += 100) {
    membership.accuse(peer, "refused", nowMs);
    membership.accuse(peer, "suspect", nowMs);
    for (const kind of ["refused", "dead"] as const)
      membership.told(death({ kind, refutation: 1 }), false, nowMs);
    membership.heard(peer, nowMs);
    membership.tick(nowMs, 0);
  }
  assert.deepEqual(moves(), []);
  assert.equal(membership.presentCount, 3);
});

test("membership: who is not back in the time it said is dead, and that is told; at a hold it has to wait", () => {
  const { membership, peer } = knowing();
  membership.lifeTold(peer, 1, life("away", 1, 20_000), 0);
  membership.tick(19_999, 0);
  membership.hold(25_000, 20_000);
  membership.tick(20_400, 0);
  assert.equal(peer.state, "away");
  membership.tick(25_100, 0);
  assert.equal(peer.state, "dead");
  assert.deepEqual(membership.take().rumors, [death({ refutation: 1, by: idOf("self") })]);
});

test("membership: back from away it is alive at once and settles at once, in the same life or the next", () => {
  for (const incarnation of [1, 2]) {
    const { membership, peer, moves } = knowing();
    for (let round = 0; round < 5; round += 1) {
      membership.lifeTold(peer, 1 + round, life("away", 1, 20_000), round);
      membership.greeted(peer, incarnation + round, round);
      if (incarnation === 1) peer.incarnation += 1;
    }
    assert.deepEqual(moves().slice(0, 4), ["away", "alive", "away", "alive"]);
    assert.equal(peer.settlesAtMs, null, "a restart that was meant is no trouble");
  }
});

test("membership: a farewell told late wins over a death that was only the silence behind it", () => {
  const { membership, peer, moves } = knowing();
  membership.believe(death(), 0);
  membership.lifeTold(peer, 1, life("left", 1), 100);
  assert.deepEqual(moves(), ["dead", "left"]);
});

test("membership: a member that is missed again and again must settle; one that stays gets its place back", () => {
  const { membership, peer } = knowing();
  const settles: (number | null)[] = [];
  for (let round = 0; round < 5; round += 1) {
    const nowMs = 2000 * round;
    membership.accuse(peer, "suspect", nowMs);
    membership.heard(peer, nowMs + 1000);
    settles.push(peer.settlesAtMs === null ? null : peer.settlesAtMs - nowMs - 1000);
  }
  assert.deepEqual(settles, [null, null, 1000, 2000, 4000]);
  membership.take();
  membership.tick(12_500, 0);
  assert.deepEqual(membership.take().touched, []);
  membership.tick(13_300, 0);
  assert.deepEqual(membership.take().touched, [peer], "now the view has to be made anew");
  assert.equal(peer.settlesAtMs, null);
});

test("membership: who answers accusations at once has nothing to settle, however many there are", () => {
  const { membership, peer } = knowing();
  for (let round = 0; round < 20; round += 1) {
    membership.accuse(peer, "suspect", 1000 * round);
    membership.heard(peer, 1000 * round + 100);
    assert.equal(peer.settlesAtMs, null);
  }
});

test("membership: one that was only heard of counts as alive, and is told as joined once it has a name", () => {
  const membership = new Membership(idOf("self"));
  const peer = membership.know(idOf("stranger"), 0);
  assert.equal(membership.know(idOf("stranger"), 5), peer);
  assert.deepEqual([peer.state, membership.presentCount], ["alive", 2]);
  assert.deepEqual(membership.take().touched, [peer]);
  assert.equal(membership.meet(who("stranger"), 10), peer);
  const { moves } = membership.take();
  assert.deepEqual(
    moves.map(({ from, to, reason }) => [from, to, reason]),
    [[null, "alive", "joined"]],
  );
  membership.meet(who("stranger"), 20);
  assert.deepEqual(membership.take().moves, []);
});

test("membership: where a member says it is, is where it is looked for", () => {
  const { membership, peer } = knowing();
  membership.meet({ ...who("a"), host: "elsewhere", port: 9 }, 10);
  assert.deepEqual([peer.host, peer.port], ["elsewhere", 9]);
});

test("membership: who lags may still send traffic here and has not applied this version of this incarnation", () => {
  const { membership, peer } = knowing();
  const lagging = (incarnation: number, version: number) =>
    membership.lagging(incarnation, version).map(({ name }) => name);
  assert.deepEqual(lagging(3, 5), ["a", "witness"]);
  assert.equal(membership.applied(peer, { incarnation: 3, version: 4 }), true);
  assert.deepEqual(lagging(3, 5), ["a", "witness"]);
  membership.applied(peer, { incarnation: 3, version: 5 });
  assert.deepEqual(lagging(3, 5), ["witness"]);
  assert.deepEqual(lagging(4, 1), ["a", "witness"]);
  membership.accuse(peer, "suspect", 0);
  assert.deepEqual(lagging(4, 1), ["a", "witness"], "a suspect may be well, and cut off from here alone");
  membership.believe(death(), 0);
  assert.deepEqual(lagging(4, 1), ["witness"]);
});

test("membership: a late report of what was applied never takes back a later one", () => {
  const { membership, peer } = knowing();
  membership.applied(peer, { incarnation: 3, version: 5 });
  for (const late of [
    { incarnation: 3, version: 4 },
    { incarnation: 3, version: 5 },
    { incarnation: 2, version: 9 },
  ])
    assert.equal(membership.applied(peer, late), false);
  assert.deepEqual([peer.appliedIncarnation, peer.appliedVersion], [3, 5]);
});
