// Members that are quiet are pinged; who does not answer is asked for at others before he is accused.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../src/base/random.ts";
import { Awareness } from "../../src/gossip/awareness.ts";
import type { Peer } from "../../src/gossip/peer.ts";
import { Watch, type Wanted } from "../../src/gossip/watch.ts";
import { peerOf } from "../support/gossip-peers.ts";

const TICK_MS = 50;

/** A watch over peers that are linked at 0, and what it has wanted, as `what name` with the time. */
function watching(...names: readonly string[]) {
  const awareness = new Awareness();
  const watch = new Watch(awareness, seededRandom(3));
  const peers = names.map((name, index) => peerOf(name, { link: index + 1 }));
  for (const peer of peers) watch.linked(peer, 0);
  const wanted: { readonly what: string; readonly atMs: number }[] = [];
  let nowMs = 0;
  /** Ticks up to a time; `answer` plays the peers. */
  const runTo = (untilMs: number, answer: (wants: Wanted, nowMs: number) => void = () => undefined): void => {
    while (nowMs + TICK_MS <= untilMs) {
      nowMs += TICK_MS;
      awareness.entered(nowMs);
      const wants = watch.tick(true, nowMs);
      for (const { name } of wants.pings) wanted.push({ what: `ping ${name}`, atMs: nowMs });
      for (const { relay, subject } of wants.asks)
        wanted.push({ what: `ask ${relay.name} for ${subject.name}`, atMs: nowMs });
      for (const { name } of wants.unreached) wanted.push({ what: `unreached ${name}`, atMs: nowMs });
      answer(wants, nowMs);
    }
  };
  const told = (start: string) => wanted.filter(({ what }) => what.startsWith(start));
  return { awareness, watch, peers, runTo, told, peer: peerAt(peers) };
}

function peerAt(peers: readonly Peer[]): (index: number) => Peer {
  return (index) => peers[index] ?? assert.fail(`there is a peer number ${index}`);
}

/** All peers but these answer each ping within a millisecond. */
function answering(watch: Watch, ...silent: readonly Peer[]): (wants: Wanted, nowMs: number) => void {
  return ({ pings }, nowMs) => {
    for (const peer of pings) {
      if (silent.includes(peer)) continue;
      watch.heard(peer, nowMs + 1);
      watch.ponged(peer, peer.pulse?.sequence ?? 0, nowMs + 1);
    }
  };
}

test("watch: who answers is pinged about twice a second, and never asked for", () => {
  const { watch, runTo, told } = watching("a", "b");
  runTo(60_000, answering(watch));
  const { length } = told("ping a");
  assert.ok(length >= 100 && length <= 121, `${length} pings in a minute`);
  assert.deepEqual([...told("ask"), ...told("unreached")], []);
});

test("watch: only one side of a link that is quiet pings: what comes is a sign of life", () => {
  const { watch, runTo, told, peer } = watching("a");
  runTo(60_000, (wants, nowMs) => {
    if (nowMs % 300 === 0) watch.heard(peer(0), nowMs);
    answering(watch)(wants, nowMs);
  });
  const { length } = told("ping a");
  assert.ok(length >= 5 && length <= 14, `${length} pings, to measure the round trip now and then`);
});

test("watch: two pings in a row that are missed, and others are asked; one alone is nothing", () => {
  const { watch, runTo, told, peer } = watching("a", "b", "c");
  let pings = 0;
  runTo(20_000, (wants, nowMs) => {
    const missesOne = wants.pings.includes(peer(0)) && (pings += 1) % 2 === 0;
    answering(watch, ...(missesOne ? [peer(0)] : []))(wants, nowMs);
  });
  assert.deepEqual(told("ask"), []);
  runTo(22_000, answering(watch, peer(0)));
  const [first] = told("ask");
  assert.ok(first !== undefined && first.atMs >= 20_000 && first.atMs <= 21_100, `${first?.atMs}`);
  assert.deepEqual(
    told("ask")
      .slice(0, 2)
      .map(({ what }) => what)
      .toSorted(),
    ["ask b for a", "ask c for a"],
  );
});

test("watch: three are asked at most, and only such as it hears itself", () => {
  const { watch, runTo, told, peer } = watching("a", "b", "c", "d", "e", "f", "g");
  runTo(1500, answering(watch, peer(0), peer(1)));
  const asked = told("ask").filter(({ what }) => what.endsWith("for a"));
  assert.equal(asked.length, 3);
  assert.ok(!asked.some(({ what }) => what.startsWith("ask b")), "b does not answer either");
});

test("watch: when all that were asked say no it is unreached; when one says yes it is asked for again", () => {
  const { watch, runTo, told, peer } = watching("a", "b", "c");
  const answers = answering(watch, peer(0));
  let reached = false;
  const relay = (wants: Wanted, nowMs: number): void => {
    answers(wants, nowMs);
    for (const { relay, subject, sequence } of wants.asks) {
      if (!reached) assert.equal(watch.subjectOf(sequence), subject);
      watch.probed(relay, subject, reached && relay === peer(2), nowMs);
    }
  };
  runTo(3000, relay);
  assert.ok(told("unreached a").length >= 2, "it is said again as long as it lasts");
  reached = true;
  const before = told("unreached").length;
  const asked = told("ask").length;
  runTo(8000, relay);
  assert.equal(told("unreached").length, before);
  const rounds = (told("ask").length - asked) / 2;
  assert.ok(rounds >= 4 && rounds <= 6, `${rounds} rounds in five seconds`);
});

test("watch: a relay that does not even say no casts doubt on this node itself", () => {
  const { watch, awareness, runTo, told, peer } = watching("a", "b", "c");
  runTo(2500, answering(watch, peer(0)));
  assert.ok(told("unreached a").length >= 1);
  assert.ok(awareness.score >= 1, `score ${awareness.score}`);
  const honest = watching("a", "b", "c");
  honest.runTo(2500, (wants, nowMs) => {
    answering(honest.watch, honest.peer(0))(wants, nowMs);
    for (const { relay, subject } of wants.asks) honest.watch.probed(relay, subject, false, nowMs);
  });
  assert.equal(honest.awareness.score, 0);
});

test("watch: with nobody to ask it is unreached at once", () => {
  const { runTo, told } = watching("a");
  runTo(2000);
  const [first] = told("unreached a");
  assert.ok(first !== undefined && first.atMs <= 1700, `${first?.atMs}`);
});

test("watch: a lost link is given a moment to come back before anybody is asked; a new member more", () => {
  const { watch, runTo, told, peer } = watching("a", "b");
  peer(0).link = null;
  watch.lost(peer(0), true, 0);
  const stranger = peerOf("never linked");
  watch.lost(stranger, false, 0);
  runTo(3000, answering(watch));
  assert.equal(told("ask b for a")[0]?.atMs, 200);
  assert.equal(told("ask b for never linked")[0]?.atMs, 1500);
});

test("watch: who is linked again is no longer asked for", () => {
  const { watch, runTo, told, peer } = watching("a", "b");
  peer(0).link = null;
  watch.lost(peer(0), true, 0);
  runTo(100, answering(watch));
  peer(0).link = 9;
  watch.linked(peer(0), 100);
  runTo(5000, answering(watch));
  assert.deepEqual(told("ask"), []);
});

test("watch: to be dialled are those without a link or with a stuck one; not the away, nor the unknown", () => {
  const { watch, runTo, peer } = watching("lost", "stuck", "well", "away");
  for (const index of [0, 3]) peer(index).link = null;
  peer(3).state = "away";
  for (const index of [0, 3]) watch.lost(peer(index), true, 0);
  watch.lost(peerOf("nowhere", { host: "" }), false, 0);
  runTo(6000, answering(watch, peer(1)));
  assert.deepEqual(watch.redials.map(({ name }) => name).toSorted(), ["lost", "stuck"]);
});

test("watch: nobody asks for a member that is away: it said that it is", () => {
  const { watch, runTo, told, peer } = watching("a", "b");
  Object.assign(peer(0), { link: null, state: "away" });
  watch.lost(peer(0), false, 0);
  runTo(10_000, answering(watch));
  assert.deepEqual([...told("ask"), ...told("unreached")], []);
});

test("watch: who is dropped is neither pinged, asked for nor dialled", () => {
  const { watch, runTo, told, peer } = watching("a", "b");
  watch.drop(peer(0));
  runTo(5000, answering(watch));
  assert.deepEqual(told("ping a"), []);
  assert.equal(watch.sees(peer(0)), false);
  assert.deepEqual(watch.redials, []);
});

test("watch: members never linked are dropped when they are wanted no more, those who were are not", () => {
  const { watch, runTo, peer } = watching("a", "b");
  const [wanted, unwanted] = [peerOf("wanted"), peerOf("unwanted")];
  for (const stranger of [wanted, unwanted]) watch.lost(stranger, false, 0);
  runTo(1000, answering(watch));
  peer(0).link = null;
  watch.lost(peer(0), true, 1000);
  watch.dropUnlinked((one) => one === wanted);
  assert.deepEqual(watch.redials.map(({ name }) => name).toSorted(), ["a", "wanted"]);
});

test("watch: after a pause of this node nobody has missed anything, and all are pinged at once", () => {
  const { watch, awareness, runTo, peers, peer } = watching("a", "b", "c");
  runTo(1500, answering(watch, peer(0)));
  assert.equal(watch.sees(peer(0)), false);
  awareness.entered(61_500);
  watch.forgive(61_500);
  assert.ok(peers.every((one) => watch.sees(one)));
  const { pings, asks, unreached } = watch.tick(true, 61_500);
  assert.deepEqual(pings, peers);
  assert.deepEqual([asks, unreached], [[], []]);
});

test("watch: the more trouble this node has itself, the longer it waits for an answer", () => {
  const firstAskAfter = (score: number): number => {
    const { watch, awareness, runTo, told, peer } = watching("a", "b");
    for (let index = 0; index < score; index += 1) awareness.missedNack();
    runTo(9000, (wants, nowMs) => {
      // A well node would recover by each answer; this one is kept as it is.
      while (awareness.score < score) awareness.missedNack();
      answering(watch, peer(0))(wants, nowMs);
    });
    return told("ask b for a")[0]?.atMs ?? Number.POSITIVE_INFINITY;
  };
  const [well, slow, worst] = [firstAskAfter(0), firstAskAfter(2), firstAskAfter(7)];
  assert.ok(well < slow && slow < worst, `${well} ${slow} ${worst}`);
});

test("watch: the round trip is that of the last ping's own pong, smoothed, and told when it is first known", () => {
  const { watch, runTo, peer } = watching("a");
  runTo(550);
  const { pulse } = peer(0);
  assert.ok(pulse !== null && pulse.awaiting);
  const { sequence, sentAtMs } = pulse;
  assert.equal(watch.ponged(peer(0), sequence - 1, sentAtMs + 3), false);
  assert.equal(pulse.roundTripMs, null);
  assert.equal(watch.ponged(peer(0), sequence, sentAtMs + 8), true);
  assert.equal(pulse.roundTripMs, 8);
  assert.equal(watch.ponged(peer(0), sequence, sentAtMs + 500), false, "a pong counts once");
  watch.heard(peer(0), sentAtMs + 8);
  runTo(1100);
  assert.equal(watch.ponged(peer(0), pulse.sequence, pulse.sentAtMs + 16), false);
  assert.equal(pulse.roundTripMs, 9);
});

test("watch: asked to, it pings with the next tick whoever was just heard, and warns once", () => {
  const { watch, runTo, told, peer } = watching("a");
  watch.heard(peer(0), 0);
  watch.pingNow(peer(0), { warns: true });
  runTo(TICK_MS, answering(watch));
  assert.deepEqual(told("ping a"), [{ what: "ping a", atMs: TICK_MS }]);
  assert.equal(peer(0).pulse?.warns, true, "until the ping is made");
  watch.pingNow(peerOf("nobody"), { warns: true });
});

test("watch: an answer that nobody waits for any more counts for nothing", () => {
  const { watch, peer } = watching("a", "b");
  assert.equal(watch.subjectOf(77), undefined);
  assert.equal(watch.probed(peer(1), peer(0), true, 100), false);
  assert.equal(watch.ponged(peerOf("stranger"), 1, 100), false);
});

test("watch: who answers in time is never unreached, whatever comes late, and whatever this node's pauses", () => {
  const step = fc.record({
    ticks: fc.integer({ min: 1, max: 30 }),
    pauseMs: fc.oneof(fc.constant(0), fc.nat({ max: 9000 })),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 10 }), (steps) => {
      const { watch, awareness, peers } = watching("a", "b", "c");
      let nowMs = 0;
      for (const { ticks, pauseMs } of steps) {
        for (let tick = 0; tick < ticks; tick += 1) {
          nowMs += tick === 0 ? TICK_MS + pauseMs : TICK_MS;
          if (awareness.entered(nowMs)) watch.forgive(nowMs);
          const wants = watch.tick(true, nowMs);
          assert.deepEqual(wants.unreached, []);
          answering(watch)(wants, nowMs);
        }
      }
      assert.ok(peers.every((peer) => watch.sees(peer)));
    }),
  );
});

test("watch: many that are missed at once are pinged and waited for, and accused only after that", () => {
  const { awareness, runTo, told, watch, peers } = watching("a", "b");
  runTo(10_000, answering(watch));
  assert.equal(awareness.doubtsItself, false);
  let waited = 0;
  runTo(13_000, (wants) => {
    if (!awareness.waits) return;
    waited += 1;
    assert.deepEqual(wants.unreached, []);
  });
  assert.ok(waited > 0 && waited <= 400 / TICK_MS + 1, `${waited} ticks`);
  assert.ok(awareness.doubtsItself);
  assert.equal(awareness.score, 0, "relays that are silent themselves tell nothing of this node");
  for (const { name } of peers) {
    const [first] = told(`unreached ${name}`);
    assert.ok(first !== undefined && first.atMs < 12_000, `${name} ${first?.atMs}`);
  }
});

test("watch: one of two that is missed is its own trouble, and so are two of five", () => {
  for (const [names, silent] of [
    [["a", "b"], 1],
    [["a", "b", "c", "d", "e"], 2],
  ] as const) {
    const { awareness, runTo, told, watch, peers } = watching(...names);
    runTo(10_000, answering(watch));
    runTo(13_000, answering(watch, ...peers.slice(0, silent)));
    assert.equal(awareness.doubtsItself && awareness.score < 2, false, names.join(" "));
    assert.notDeepEqual(told("unreached"), []);
  }
});

test("watch: members missed one after the other, seconds apart, are not missed at once", () => {
  const { awareness, runTo, watch, peers } = watching("a", "b", "c");
  runTo(10_000, answering(watch));
  for (const [index] of peers.entries()) {
    const silent = peers.slice(0, index + 1);
    runTo(10_000 + 3000 * (index + 1), answering(watch, ...silent));
    if (index < 2) assert.equal(awareness.waits, false);
  }
  assert.equal(awareness.takeAlarm(), false);
});

test("watch: an answer to a fresh ping ends the wait", () => {
  const { awareness, runTo, told, watch, peer } = watching("a", "b", "c");
  runTo(10_000, answering(watch));
  let alarms = 0;
  runTo(13_000, (wants, nowMs) => {
    const wasWaiting = awareness.waits;
    answering(watch, peer(0), peer(1))(wants, nowMs);
    if (wasWaiting && !awareness.waits) alarms += 1;
  });
  assert.equal(alarms, 1);
  assert.ok(told("unreached a").length > 0);
});
