// Who lives, judged from links, by virtual time.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Membership, type Move, type Peer } from "../../src/gossip/membership.ts";
import { idOf } from "../support/gossip-network.ts";

const TICK_MS = 100;
const DAY_MS = 24 * 3_600_000;
const who = (name: string) => ({ id: idOf(name), name, host: name, port: 7650 });
const life = (incarnation: number, nonce = incarnation) => ({ incarnation, nonce });

/** One peer, linked at 0, and a clock that ticks. */
function watch() {
  const membership = new Membership();
  const peer = membership.meet(who("peer"), 0);
  membership.linked(peer, 1, life(1), 0);
  let nowMs = 0;
  const moves: Move[] = [];
  const closed: Peer[] = [];
  const runTo = (untilMs: number, onPing: (peer: Peer, nowMs: number) => void = () => undefined): void => {
    while (nowMs + TICK_MS <= untilMs) {
      nowMs += TICK_MS;
      const verdicts = membership.tick(nowMs);
      moves.push(...verdicts.moves);
      closed.push(...verdicts.close);
      for (const pinged of verdicts.ping) onPing(pinged, nowMs);
    }
  };
  const answer = (pinged: Peer, atMs: number): void => {
    membership.heard(pinged, atMs + 1);
    membership.ponged(pinged, pinged.pingSequence, atMs + 1);
  };
  membership.tick(0);
  return { membership, peer, moves, closed, runTo, answer };
}

test("membership: a peer that answers is pinged twice a second and stays alive for ever", () => {
  const { peer, moves, runTo, answer } = watch();
  let pings = 0;
  runTo(60_000, (pinged, nowMs) => {
    pings += 1;
    answer(pinged, nowMs);
  });
  assert.equal(peer.state, "alive");
  assert.deepEqual(moves, []);
  assert.equal(peer.rttMs, 1);
  assert.ok(pings >= 110 && pings <= 121, `${pings} pings`);
});

test("membership: silence is suspected after two missed pings and is death a second later, within three in all", () => {
  const { peer, moves, closed, runTo, answer } = watch();
  runTo(10_000, answer);
  runTo(10_900);
  assert.equal(peer.state, "alive");
  runTo(13_000);
  assert.deepEqual(
    moves.map(({ from, to }) => `${from} ${to}`),
    ["alive suspect", "suspect dead"],
  );
  assert.deepEqual(closed, [peer], "a half-open link must not linger");
});

test("membership: any frame is a sign of life, an answer to a ping or not", () => {
  const { membership, peer, moves, runTo } = watch();
  for (let atMs = 300; atMs < 20_000; atMs += 300) {
    runTo(atMs);
    membership.heard(peer, atMs);
  }
  assert.equal(peer.state, "alive");
  assert.deepEqual(moves, []);
});

test("membership: one lost pong, or one late answer, is no suspicion", () => {
  const { peer, moves, runTo, answer } = watch();
  let pings = 0;
  runTo(30_000, (pinged, nowMs) => {
    pings += 1;
    if (pings % 2 === 0) answer(pinged, nowMs);
  });
  assert.equal(peer.state, "alive");
  assert.deepEqual(moves, []);
});

test("membership: a suspect that speaks is alive again", () => {
  const { membership, peer, runTo } = watch();
  runTo(1700);
  assert.equal(peer.state, "suspect");
  assert.equal(membership.heard(peer, 1750)?.to, "alive");
  assert.equal(membership.heard(peer, 1760), null);
});

test("membership: only the pong of the last ping measures the round trip", () => {
  const { membership, peer, runTo } = watch();
  let last = { sequence: 0, atMs: 0 };
  runTo(600, (pinged, atMs) => {
    last = { sequence: pinged.pingSequence, atMs };
  });
  membership.ponged(peer, last.sequence - 1, last.atMs + 3);
  assert.equal(peer.rttMs, null);
  membership.ponged(peer, last.sequence, last.atMs + 7);
  assert.equal(peer.rttMs, 7);
  membership.ponged(peer, last.sequence, last.atMs + 500);
  assert.equal(peer.rttMs, 7, "a pong counts once");
});

test("membership: a lost link is suspicion at once, a refused dial death at once", () => {
  const { membership, peer } = watch();
  assert.equal(membership.refused(peer, 10), null, "not while a link is up");
  assert.equal(membership.unlinked(peer, "reset", 20)?.to, "suspect");
  assert.equal(membership.refused(peer, 30)?.to, "dead");
  assert.equal(membership.refused(peer, 40), null);
  assert.equal(membership.linked(peer, 2, life(2), 50)?.to, "alive");
});

test("membership: a lost link that is not found again is death after a second", () => {
  const { membership, peer, moves, runTo } = watch();
  membership.unlinked(peer, "reset", 0);
  runTo(900);
  assert.equal(peer.state, "suspect");
  runTo(1100);
  assert.deepEqual(
    moves.map(({ to }) => to),
    ["dead"],
  );
});

test("membership: a goodbye is final until the next hello: silence, refusal and late frames do not change it", () => {
  const { membership, peer, moves, runTo } = watch();
  assert.equal(membership.left(peer, 10)?.to, "left");
  assert.equal(membership.heard(peer, 20), null);
  assert.equal(membership.unlinked(peer, "closed", 30), null);
  assert.equal(membership.refused(peer, 40), null);
  runTo(10_000);
  assert.deepEqual(moves, []);
  assert.equal(peer.state, "left");
  assert.equal(membership.linked(peer, 2, life(2), 10_000)?.to, "alive");
});

test("membership: a pause of this node is forgiven to its peers: no verdict, and a full second for suspects", () => {
  const { membership, peer, runTo } = watch();
  runTo(1700);
  assert.equal(peer.state, "suspect");
  const verdicts = membership.tick(61_700);
  assert.ok(verdicts.slept);
  assert.deepEqual(verdicts.moves, []);
  assert.deepEqual(verdicts.ping, [peer], "asked at once");
  assert.deepEqual(membership.tick(62_600).moves, []);
  assert.equal(membership.tick(62_800).moves[0]?.to, "dead");
});

test("membership: a tick that is a little late is no pause", () => {
  const { membership } = watch();
  assert.equal(membership.tick(100).slept, false);
  assert.equal(membership.tick(900).slept, false);
  assert.equal(membership.tick(1801).slept, true);
});

test("membership: pauses of any length at any time never make the node accuse peers who answer", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 30 }), fc.integer({ min: 50, max: 20_000 }))), (pauses) => {
      const membership = new Membership();
      const peer = membership.meet(who("peer"), 0);
      membership.linked(peer, 1, life(1), 0);
      let nowMs = 0;
      const ticks = pauses.flatMap(([count, pauseMs]) => [
        ...Array.from({ length: count }, () => 100),
        pauseMs,
      ]);
      for (const stepMs of ticks) {
        nowMs += stepMs;
        const verdicts = membership.tick(nowMs);
        assert.deepEqual(verdicts.moves, []);
        for (const pinged of verdicts.ping) membership.heard(pinged, nowMs + 1);
      }
    }),
    { numRuns: 60 },
  );
});

test("membership: one that was only heard of starts suspect, and proves itself or is given up", () => {
  const membership = new Membership();
  const peer = membership.meet(who("stranger"), 0);
  assert.equal(peer.state, "suspect");
  assert.equal(membership.meet(who("stranger"), 5), peer);
  assert.equal(membership.tick(1000).moves[0]?.to, "dead");
});

test("membership: an unlinked peer's address follows its record, a linked one's does not", () => {
  const membership = new Membership();
  const peer = membership.meet(who("peer"), 0);
  membership.meet({ ...who("peer"), port: 9 }, 0);
  assert.equal(peer.port, 9);
  membership.linked(peer, 1, life(1), 0);
  membership.meet({ ...who("peer"), port: 10 }, 0);
  assert.equal(peer.port, 9);
});

test("membership: the dead and the left are forgotten after a day, the living never", () => {
  const membership = new Membership();
  const [alive, dead, left] = ["alive", "dead", "left"].map((name) => membership.meet(who(name), 0));
  assert.ok(alive !== undefined && dead !== undefined && left !== undefined);
  membership.linked(alive, 1, life(1), 0);
  membership.refused(dead, 0);
  membership.left(left, 0);
  const step = (nowMs: number) => {
    membership.heard(alive, nowMs);
    return membership.tick(nowMs).forget.map(({ name }) => name);
  };
  assert.deepEqual(step(DAY_MS), []);
  assert.deepEqual(step(DAY_MS + 1), ["dead", "left"]);
  assert.equal(membership.count, 1);
  assert.deepEqual(
    membership.standings.map(({ id, state }) => ({ id, state })),
    [{ id: idOf("alive"), state: "alive" }],
  );
});

test("membership: who lags is alive and has not applied this version of this incarnation", () => {
  const { membership, peer } = watch();
  assert.deepEqual(membership.lagging(3, 5), ["peer"]);
  membership.applied(peer, { incarnation: 3, version: 4 });
  assert.deepEqual(membership.lagging(3, 5), ["peer"]);
  membership.applied(peer, { incarnation: 3, version: 5 });
  assert.deepEqual(membership.lagging(3, 5), []);
  assert.deepEqual(membership.lagging(4, 1), ["peer"]);
  membership.unlinked(peer, "reset", 0);
  assert.deepEqual(membership.lagging(4, 1), [], "a suspect is not waited for");
});

test("membership: a late report of what was applied never takes back a later one, but a restart does", () => {
  const { membership, peer } = watch();
  membership.applied(peer, { incarnation: 3, version: 5 });
  membership.applied(peer, { incarnation: 3, version: 4 });
  membership.applied(peer, { incarnation: 2, version: 9 });
  assert.deepEqual(membership.lagging(3, 5), []);
  membership.linked(peer, 2, life(7, 1), 0);
  assert.deepEqual(membership.lagging(3, 5), [], "the same life, with a raised incarnation");
  membership.linked(peer, 3, life(8, 2), 0);
  assert.deepEqual(membership.lagging(3, 5), ["peer"]);
});
