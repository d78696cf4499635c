// Who lives: accusations last a while, the accused alone refutes, own eyes and refusals are stronger than words.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { FIRST_LIFE, type Life } from "../../src/gossip/life.ts";
import { Membership } from "../../src/gossip/membership.ts";
import type { Rumor } from "../../src/gossip/message.ts";
import type { Peer } from "../../src/gossip/peer.ts";
import type { Move } from "../../src/gossip/verdicts.ts";
import { idOf } from "../support/gossip-network.ts";

const TICK_MS = 50;
const DAY_MS = 24 * 3_600_000;
const who = (name: string) => ({ id: idOf(name), name, host: name, port: 7650 });

/** A node that knows some members, all greeted at 0, and a clock that ticks. */
function knowing(...names: readonly string[]) {
  const membership = new Membership(idOf("self"));
  for (const name of names) membership.greeted(membership.meet(who(name), 0), 1, 0);
  membership.take();
  const moves: Move[] = [];
  const rumors: Rumor[] = [];
  const forgotten: Peer[] = [];
  let nowMs = 0;
  const settle = (): void => {
    const verdicts = membership.take();
    moves.push(...verdicts.moves);
    rumors.push(...verdicts.rumors);
    forgotten.push(...verdicts.forgotten);
  };
  const runTo = (untilMs: number, healthScore = 0): void => {
    while (nowMs + TICK_MS <= untilMs) {
      nowMs += TICK_MS;
      membership.tick(nowMs, healthScore);
    }
    settle();
  };
  const peer = (name: string): Peer => membership.peer(idOf(name)) ?? assert.fail(`${name} is known`);
  const told = () => {
    settle();
    return { moves: moves.splice(0).map(({ peer, to }) => `${peer.name} ${to}`), rumors: rumors.splice(0) };
  };
  return { membership, peer, told, runTo, forgotten };
}

function rumorOf(subject: string, by: string, part: Partial<Rumor> = {}): Rumor {
  return { kind: "suspect", subject: idOf(subject), incarnation: 1, refutation: 0, by: idOf(by), ...part };
}

function life(part: Partial<Life>): Life {
  return { ...FIRST_LIFE, ...part };
}

test("membership: who is not reached is suspected, all are told, and it is dead when nobody objects", () => {
  const { membership, peer, told, runTo } = knowing("a", "b");
  membership.accuse(peer("a"), "suspect", 0);
  const { moves, rumors } = told();
  assert.deepEqual(moves, ["a suspect"]);
  assert.deepEqual(rumors, [rumorOf("a", "self")]);
  runTo(950);
  assert.deepEqual(told().moves, []);
  runTo(1000);
  const dead = told();
  assert.deepEqual(dead.moves, ["a dead"]);
  assert.deepEqual(dead.rumors, [rumorOf("a", "self", { kind: "dead" })], "a verdict is told as well");
});

test("membership: the same accusation said again is no news, and does not begin the wait anew", () => {
  const { membership, peer, told, runTo } = knowing("a", "b");
  membership.accuse(peer("a"), "suspect", 0);
  runTo(900);
  told();
  membership.accuse(peer("a"), "suspect", 900);
  assert.deepEqual(told().rumors, []);
  runTo(1000);
  assert.deepEqual(told().moves, ["a dead"]);
});

test("membership: with others to ask, one accuser alone waits six times as long, with two more the least", () => {
  const names = ["a", "b", "c", "d", "e"];
  const deathAfter = (...accusers: readonly string[]): number => {
    const { membership, peer, told, runTo } = knowing(...names);
    membership.accuse(peer("a"), "suspect", 0);
    for (const by of accusers) membership.told(rumorOf("a", by), false, 0);
    told();
    for (let nowMs = TICK_MS; ; nowMs += TICK_MS) {
      runTo(nowMs);
      if (told().moves.includes("a dead")) return nowMs;
    }
  };
  const [alone, one, two, three] = [[], ["b"], ["b", "c"], ["b", "c", "d"]].map((by) => deathAfter(...by));
  assert.deepEqual([alone, two, three], [6000, 1000, 1000]);
  assert.ok(one !== undefined && one > 1000 && one < 6000);
  assert.equal(deathAfter("b", "b", "b"), one, "each voice counts once");
});

test("membership: a node that is slow itself waits longer before it gives anybody up", () => {
  const { membership, peer, told, runTo } = knowing("a", "b");
  membership.accuse(peer("a"), "suspect", 0);
  runTo(2950, 2);
  assert.deepEqual(told().moves, ["a suspect"]);
  runTo(3000, 2);
  assert.deepEqual(told().moves, ["a dead"]);
});

test("membership: a suspect that is heard, or says hello, is alive again", () => {
  const { membership, peer, told, runTo } = knowing("a", "b", "c");
  for (const name of ["a", "b"]) membership.accuse(peer(name), "suspect", 0);
  membership.heard(peer("a"), 10);
  membership.greeted(peer("b"), 1, 10);
  membership.heard(peer("a"), 20);
  assert.deepEqual(told().moves, ["a suspect", "b suspect", "a alive", "b alive"]);
  runTo(20_000);
  assert.deepEqual(told().moves, []);
});

test("membership: only a higher refutation in the accused's own log silences its accusers", () => {
  const { membership, peer, told, runTo } = knowing("a", "b");
  membership.accuse(peer("a"), "suspect", 0);
  membership.lifeTold(peer("a"), 1, life({ refutation: 0 }), 100);
  assert.deepEqual(told().moves, ["a suspect"]);
  membership.lifeTold(peer("a"), 1, life({ refutation: 1 }), 200);
  assert.deepEqual(told().moves, ["a alive"]);
  membership.told(rumorOf("a", "b"), false, 300);
  assert.deepEqual(told().moves, [], "an accusation that is refuted already");
  membership.told(rumorOf("a", "b", { refutation: 1 }), false, 400);
  assert.deepEqual(told().moves, ["a suspect"]);
  runTo(2000);
  assert.deepEqual(told().moves, ["a dead"]);
  membership.lifeTold(peer("a"), 1, life({ refutation: 2 }), 2100);
  assert.deepEqual(told().moves, ["a alive"], "nor is a verdict final");
});

test("membership: whom a node hears itself it does not give up on the word of others, but warns", () => {
  const { membership, told, runTo } = knowing("a", "b", "c", "d");
  for (const kind of ["suspect", "refused", "dead"] as const) {
    for (const by of ["b", "c", "d"])
      assert.equal(membership.told(rumorOf("a", by, { kind }), true, 0), "doubted");
  }
  runTo(20_000);
  assert.deepEqual(told(), { moves: [], rumors: [] });
});

test("membership: another's verdict on a suspect is taken at once by who does not hear it, and not told again", () => {
  const { membership, told } = knowing("a", "b");
  membership.told(rumorOf("a", "b"), false, 0);
  assert.deepEqual(told(), { moves: ["a suspect"], rumors: [] });
  assert.equal(membership.told(rumorOf("a", "c", { kind: "dead" }), false, 10), "news");
  assert.deepEqual(told(), { moves: ["a dead"], rumors: [] });
  assert.equal(membership.told(rumorOf("a", "c", { kind: "dead" }), false, 20), "known");
});

test("membership: a verdict out of the blue is an accusation: its maker may be the one who is cut off", () => {
  const { membership, peer, told, runTo } = knowing("a", "b", "c", "d");
  membership.told(rumorOf("a", "b", { kind: "dead" }), false, 0);
  assert.deepEqual(told().moves, ["a suspect"]);
  membership.lifeTold(peer("a"), 1, life({ refutation: 1 }), 100);
  assert.deepEqual(told().moves, ["a alive"], "the accused got to answer");
  runTo(20_000);
  assert.deepEqual(told().moves, []);
});

test("membership: a death of which there is no doubt is believed, unless it is of an earlier life", () => {
  const { membership, told } = knowing("a", "b");
  membership.believe(rumorOf("a", "b", { kind: "dead", incarnation: 0 }), 0);
  assert.deepEqual(told().moves, []);
  membership.believe(rumorOf("a", "b", { kind: "dead", refutation: 3 }), 0);
  assert.deepEqual(told(), { moves: ["a dead"], rumors: [] });
  membership.believe(rumorOf("nobody", "b", { kind: "dead" }), 0);
});

test("membership: a refusal seen by two is a death at once, by one alone only a suspicion", () => {
  const { membership, peer, told } = knowing("a", "b", "c");
  membership.accuse(peer("a"), "refused", 0);
  assert.deepEqual(told().moves, ["a suspect"]);
  membership.told(rumorOf("a", "b", { kind: "suspect" }), false, 5);
  assert.deepEqual(told().moves, [], "who does not reach it was not refused");
  membership.told(rumorOf("a", "b", { kind: "refused" }), false, 10);
  assert.deepEqual(told().moves, ["a dead"]);
});

test("membership: where nobody else could see it, one refusal is a death", () => {
  const { membership, peer, told } = knowing("a");
  membership.accuse(peer("a"), "refused", 0);
  const { moves, rumors } = told();
  assert.deepEqual(moves, ["a suspect", "a dead"]);
  assert.deepEqual(
    rumors.map(({ kind }) => kind),
    ["refused", "dead"],
  );
});

test("membership: the dead are no witnesses: of two that crash at once the second is seen to be dead too", () => {
  const { membership, peer, told } = knowing("a", "b");
  membership.accuse(peer("a"), "refused", 0);
  membership.accuse(peer("b"), "refused", 0);
  membership.accuse(peer("a"), "refused", 100);
  assert.deepEqual(told().moves.toSorted(), ["a dead", "a suspect", "b dead", "b suspect"]);
});

test("membership: until a node has learnt what happened in its sleep it gives nobody up and accuses nobody", () => {
  const { membership, peer, told, runTo } = knowing("a", "b");
  membership.accuse(peer("a"), "suspect", 0);
  told();
  membership.hold(2900, 900);
  membership.accuse(peer("b"), "refused", 950);
  runTo(2850);
  const { moves, rumors } = told();
  assert.deepEqual(moves, []);
  assert.ok(
    rumors.every(({ subject }) => subject === idOf("a")),
    "what it said before it may say again",
  );
  assert.ok(membership.isHeld(2899) && !membership.isHeld(2900));
  runTo(2950);
  assert.deepEqual(told().moves, ["a dead"]);
});

test("membership: a hold ends with the exchange; suspects have had their time counted from the pause on", () => {
  const { membership, peer, told, runTo } = knowing("a", "b");
  membership.accuse(peer("a"), "suspect", 0);
  runTo(900);
  membership.hold(3000, 900);
  membership.release();
  told();
  runTo(1850);
  assert.deepEqual(told().moves, []);
  runTo(1900);
  assert.deepEqual(told().moves, ["a dead"]);
});

test("membership: a way by another makes a member no suspect, and is dropped when it is reached or given up", () => {
  const { membership, peer } = knowing("a", "b");
  membership.reachedVia(peer("a"), idOf("b"));
  assert.equal(membership.standing(idOf("a"))?.via, idOf("b"));
  assert.deepEqual(membership.take().touched, [peer("a")]);
  membership.reachedVia(peer("a"), idOf("b"));
  assert.deepEqual(membership.take().touched, [], "that is no change");
  membership.accuse(peer("a"), "suspect", 0);
  assert.equal(membership.standing(idOf("a"))?.via, null);
});

test("membership: of refutations any order brings the highest, and the member is alive by it", () => {
  const told = fc.record({ refutation: fc.nat({ max: 6 }), incarnation: fc.integer({ min: 1, max: 3 }) });
  fc.assert(
    fc.property(fc.array(told, { minLength: 1, maxLength: 12 }), fc.nat(), (lives, swap) => {
      const judged = (order: typeof lives): Peer => {
        const { membership, peer } = knowing("a", "b");
        for (const { incarnation, refutation } of order)
          membership.lifeTold(peer("a"), incarnation, life({ refutation }), 0);
        return peer("a");
      };
      const index = swap % lives.length;
      const [one, other] = [
        judged(lives),
        judged([...lives.slice(index), ...lives.slice(0, index)].toReversed()),
      ];
      assert.deepEqual([one.incarnation, one.refutation], [other.incarnation, other.refutation]);
      assert.equal(one.state, "alive");
    }),
  );
});

test("membership: whatever is said in whatever order, a life never goes back, and counts stay right", () => {
  const step = fc.record({
    kind: fc.constantFrom("rumor", "life", "accuse", "heard", "greeted", "tick", "hold", "know"),
    name: fc.constantFrom("a", "b", "c"),
    by: fc.constantFrom("a", "b", "c"),
    how: fc.constantFrom<Rumor["kind"]>("suspect", "refused", "dead"),
    said: fc.constantFrom<Life["said"]>("alive", "away", "left"),
    incarnation: fc.integer({ min: 1, max: 3 }),
    refutation: fc.nat({ max: 3 }),
    sees: fc.boolean(),
    afterMs: fc.nat({ max: 3000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const { membership } = knowing("a", "b");
      let nowMs = 0;
      for (const { kind, name, by, how, said, incarnation, refutation, sees, afterMs } of steps) {
        nowMs += afterMs;
        const peer = membership.know(idOf(name), nowMs);
        const before = [peer.incarnation, peer.refutation] as const;
        if (kind === "rumor")
          membership.told(rumorOf(name, by, { kind: how, incarnation, refutation }), sees, nowMs);
        else if (kind === "life")
          membership.lifeTold(peer, incarnation, { refutation, said, forMs: 500 }, nowMs);
        else if (kind === "accuse") membership.accuse(peer, how === "refused" ? "refused" : "suspect", nowMs);
        else if (kind === "heard") membership.heard(peer, nowMs);
        else if (kind === "greeted") membership.greeted(peer, incarnation, nowMs);
        else if (kind === "hold") membership.hold(nowMs + 500, nowMs);
        else membership.tick(nowMs, 0);
        const isBack =
          peer.incarnation < before[0] || (peer.incarnation === before[0] && peer.refutation < before[1]);
        assert.ok(!isBack, `${kind}: ${before.join(" ")} became ${peer.incarnation} ${peer.refutation}`);
        const present = membership.standings.filter(({ state }) => state !== "dead" && state !== "left");
        assert.equal(membership.presentCount, 1 + present.length);
        if (peer.state !== "suspect") assert.equal(peer.suspicion, null);
      }
    }),
    { numRuns: 300 },
  );
});

test("membership: the dead and the left are forgotten after a day, the living and the away never", () => {
  const { membership, peer, forgotten, runTo } = knowing("alive", "dead", "left", "linked");
  for (const name of ["dead", "linked"]) membership.believe(rumorOf(name, "alive", { kind: "dead" }), 0);
  peer("linked").link = 1;
  membership.lifeTold(peer("left"), 1, life({ refutation: 1, said: "left" }), 0);
  membership.tick(DAY_MS, 0);
  runTo(0);
  assert.deepEqual(forgotten, []);
  membership.tick(DAY_MS + 1000, 0);
  runTo(0);
  assert.deepEqual(
    forgotten.map(({ name }) => name),
    ["dead", "left"],
  );
  assert.equal(membership.count, 2);
  assert.equal(membership.standing(idOf("dead")), undefined);
});

/** A member is missed and comes back, so often. @returns how long it must settle then; null for not at all */
function settlesAfter(
  returns: number,
  miss: (node: ReturnType<typeof knowing>, nowMs: number) => void,
): number | null {
  const node = knowing("a", "b");
  for (let round = 1; round <= returns; round += 1) {
    const nowMs = round * 2000;
    node.runTo(nowMs);
    miss(node, nowMs);
    node.runTo(nowMs + 1500);
    assert.equal(node.peer("a").state, "dead");
    node.membership.heard(node.peer("a"), nowMs + 1500);
  }
  const { settlesAtMs } = node.peer("a");
  return settlesAtMs === null ? null : settlesAtMs - returns * 2000 - 1500;
}

test("membership: who was missed in doubt, or just before, has not flapped when it is back", () => {
  const wellMs = settlesAfter(4, ({ membership, peer }, nowMs) => {
    membership.accuse(peer("a"), "suspect", nowMs);
  });
  assert.equal(wellMs, 2000);
  const inDoubt = settlesAfter(4, ({ membership, peer }, nowMs) => {
    membership.doubt(true);
    membership.accuse(peer("a"), "suspect", nowMs);
    membership.doubt(false);
  });
  assert.equal(inDoubt, null);
  const justBefore = settlesAfter(4, ({ membership, peer }, nowMs) => {
    membership.accuse(peer("a"), "suspect", nowMs);
    membership.doubt(true);
    membership.doubt(false);
  });
  assert.equal(justBefore, null);
  const asleep = settlesAfter(4, ({ membership, peer }, nowMs) => {
    membership.accuse(peer("a"), "suspect", nowMs);
    membership.hold(nowMs, nowMs);
  });
  assert.equal(asleep, null);
});

test("membership: a death before the doubt counts, and so does one that its host has confirmed", () => {
  const { membership, peer, runTo } = knowing("a", "b");
  const returns = (nowMs: number): void => {
    runTo(nowMs);
    membership.heard(peer("a"), nowMs);
  };
  for (let round = 0; round < 3; round += 1) {
    membership.accuse(peer("a"), "suspect", round * 2000);
    runTo(round * 2000 + 1000);
    assert.equal(peer("a").state, "dead");
    membership.doubt(true);
    returns(round * 2000 + 1500);
    membership.doubt(false);
  }
  assert.equal(peer("a").settlesAtMs, 5500 + 1000);
  const refused = settlesAfter(3, (node, nowMs) => {
    node.membership.doubt(true);
    node.membership.accuse(node.peer("a"), "refused", nowMs);
    node.membership.told(rumorOf("a", "b", { kind: "refused" }), false, nowMs);
    node.membership.doubt(false);
  });
  assert.equal(refused, 1000);
});

test("membership: an excused return does not cut short what is left of an earlier wait", () => {
  const { membership, peer, runTo } = knowing("a", "b");
  for (let round = 0; round < 5; round += 1) {
    membership.accuse(peer("a"), "suspect", round * 2000);
    runTo(round * 2000 + 1000);
    membership.heard(peer("a"), round * 2000 + 1000);
    runTo(round * 2000 + 2000);
  }
  const { settlesAtMs } = peer("a");
  assert.equal(settlesAtMs, 9000 + 4000);
  membership.doubt(true);
  membership.accuse(peer("a"), "suspect", 10_000);
  runTo(11_500);
  assert.equal(peer("a").state, "dead");
  membership.heard(peer("a"), 11_500);
  assert.equal(peer("a").settlesAtMs, settlesAtMs);
});

test("membership: who doubts itself gives suspects 300 ms more, and no more than that", () => {
  const { membership, peer, told, runTo } = knowing("a", "b");
  membership.doubt(true);
  membership.accuse(peer("a"), "suspect", 0);
  runTo(1250);
  assert.deepEqual(told().moves, ["a suspect"]);
  runTo(1300);
  assert.deepEqual(told().moves, ["a dead"]);
});

test("membership: of two that are gone the second is given up as soon as the first, though two are left", () => {
  const { membership, peer, told, runTo } = knowing("a", "b");
  membership.accuse(peer("a"), "suspect", 0);
  membership.accuse(peer("b"), "suspect", 500);
  runTo(1450);
  assert.deepEqual(told().moves, ["a suspect", "b suspect", "a dead"]);
  runTo(1500);
  assert.deepEqual(told().moves, ["b dead"]);
});
