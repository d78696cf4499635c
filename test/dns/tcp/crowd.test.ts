// Crowd: who gives way to a new connection, and for whom too much is held.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Crowd, type Comer, type Condition, type Place } from "../../../src/dns/tcp/crowd.ts";

const REST_MS = 10;

function open(placesMax: number, heldBytesMax = 1000): Crowd<number> {
  return new Crowd({ placesMax, heldBytesMax, restMs: REST_MS });
}

function far(network: string): Comer {
  return { network, isLocal: false };
}

function local(network: string): Comer {
  return { network, isLocal: true };
}

/** Lets in as many as there are; each must find a free place. */
function fill(crowd: Crowd<number>, comer: Comer, count: number): Place<number>[] {
  return Array.from({ length: count }, (_, at) => {
    assert.equal(crowd.judge(comer, 0).kind, "free");
    return crowd.enter(at, comer, 0);
  });
}

/** The place that a newcomer would get. */
function victim(crowd: Crowd<number>, comer: Comer, nowMs: number): Place<number> {
  const verdict = crowd.judge(comer, nowMs);
  assert.ok(verdict.kind === "instead", `${verdict.kind}, not instead`);
  return verdict.place;
}

interface Step {
  readonly act: "come" | "go" | "move" | "hold";
  readonly who: number;
  readonly condition: Condition;
  readonly at: number;
}

const STEPS = fc.array(
  fc.record<Step>({
    act: fc.constantFrom("come", "come", "come", "go", "move", "move", "hold"),
    who: fc.nat(7),
    condition: fc.constantFrom("idle", "unread", "busy"),
    at: fc.nat(1000),
  }),
  { maxLength: 200 },
);

/** Clients 0 to 2 are of this host. */
function comerOf(who: number): Comer {
  return { network: `client ${who}`, isLocal: who < 3 };
}

/** Plays the steps as the server does; `judged` sees each verdict before it is carried out. */
function play(
  crowd: Crowd<number>,
  steps: readonly Step[],
  judged: (comer: Comer, nowMs: number, there: ReadonlySet<Place<number>>) => void,
): ReadonlySet<Place<number>> {
  const there = new Set<Place<number>>();
  const leave = (place: Place<number>): void => {
    crowd.leave(place);
    there.delete(place);
  };
  for (const [nowMs, { act, who, condition, at }] of steps.entries()) {
    const one = [...there][at % Math.max(1, there.size)];
    if (act === "come") {
      const comer = comerOf(who);
      judged(comer, nowMs, there);
      const verdict = crowd.judge(comer, nowMs);
      if (verdict.kind === "instead") leave(verdict.place);
      if (verdict.kind !== "later") there.add(crowd.enter(nowMs, comer, nowMs));
    } else if (one !== undefined) {
      if (act === "go") leave(one);
      if (act === "move") crowd.move(one, condition, nowMs);
      if (act === "hold") crowd.hold(one, at);
    }
  }
  return there;
}

function countIn(there: ReadonlySet<Place<number>>, network: string): number {
  return [...there].filter((place) => place.network === network).length;
}

test("crowd: whatever happens, no bound is exceeded and what is counted is what is there", () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      const crowd = open(8);
      const there = play(crowd, steps, () => {
        assert.ok(crowd.total <= 8);
      });
      assert.equal(crowd.total, there.size);
      const heldBytes = [...there].reduce((sum, place) => sum + place.heldBytes, 0);
      assert.equal(crowd.heldBytes, heldBytes);
      for (let who = 0; who < 8; who += 1) {
        const { network, isLocal } = comerOf(who);
        const count = countIn(there, network);
        assert.equal(crowd.countOf(network), count);
        assert.ok(count <= 4);
        assert.ok(isLocal || count <= 6);
      }
    }),
  );
});

test("crowd: nobody at work gives way but one whose client has more than the newcomer's will have", () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      const crowd = open(8);
      play(crowd, steps, (comer, nowMs, there) => {
        const verdict = crowd.judge(comer, nowMs);
        if (verdict.kind !== "instead") return;
        const { place } = verdict;
        const isAtRest = place.condition !== "busy" && nowMs - place.movedAtMs >= REST_MS;
        const own = countIn(there, comer.network);
        assert.ok(isAtRest || countIn(there, place.network) > own + 1);
      });
    }),
  );
});

test("crowd: nobody rests longer than one of the same client and condition that gives way", () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      const crowd = open(8);
      play(crowd, steps, (comer, nowMs, there) => {
        const verdict = crowd.judge(comer, nowMs);
        if (verdict.kind !== "instead") return;
        const { place } = verdict;
        const alike = [...there].filter(
          (one) => one.network === place.network && one.condition === place.condition,
        );
        assert.ok(alike.every((one) => one.movedAtMs >= place.movedAtMs));
      });
    }),
  );
});

test("crowd: a client with no place always gets one while another has two, however busy", () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      const crowd = open(8);
      play(crowd, steps, (_comer, nowMs, there) => {
        const isCrowded = [...there].some(
          ({ network }) => network !== "client 9" && countIn(there, network) > 1 && !isOfThisHost(network),
        );
        if (isCrowded) assert.notEqual(crowd.judge(far("client 9"), nowMs).kind, "later");
      });
    }),
  );
});

function isOfThisHost(network: string): boolean {
  return ["client 0", "client 1", "client 2"].includes(network);
}

test("crowd: of the client with most places the one idle longest gives way", () => {
  const crowd = open(8);
  const [first, second] = fill(crowd, local("a"), 4);
  fill(crowd, local("b"), 3);
  fill(crowd, local("c"), 1);
  assert.equal(victim(crowd, local("d"), REST_MS), first);
  if (first !== undefined) crowd.move(first, "idle", 1);
  assert.equal(victim(crowd, local("d"), REST_MS), second);
});

test("crowd: one that does not read gives way after those that are idle, and before those at work", () => {
  const crowd = open(4);
  const [one, two] = fill(crowd, local("a"), 2);
  assert.ok(one !== undefined && two !== undefined);
  crowd.move(one, "unread", 0);
  assert.equal(victim(crowd, local("a"), REST_MS), two);
  crowd.move(two, "busy", 0);
  assert.equal(victim(crowd, local("a"), REST_MS), one);
  crowd.move(one, "busy", 0);
  assert.equal(crowd.judge(local("a"), 1000).kind, "later");
});

test("crowd: a connection that has just been used, or has just come, is not ended for one of its own client", () => {
  const crowd = open(4);
  fill(crowd, local("a"), 2);
  assert.equal(crowd.judge(local("a"), REST_MS - 1).kind, "later");
  assert.equal(crowd.judge(local("a"), REST_MS).kind, "instead");
});

test("crowd: one client gets half of the places at most, and those of other hosts leave a quarter to this one", () => {
  const crowd = open(8);
  fill(crowd, far("a"), 4);
  assert.notEqual(crowd.judge(far("a"), 0).kind, "free");
  fill(crowd, far("b"), 2);
  assert.notEqual(crowd.judge(far("c"), 0).kind, "free");
  const own = fill(crowd, local("loopback"), 2);
  assert.ok(!own.includes(victim(crowd, far("c"), REST_MS)));
});

test("crowd: when too much is held, the connection with most of the client with most has to go", () => {
  const crowd = open(8, 100);
  const [one, two] = fill(crowd, far("a"), 2);
  const [other] = fill(crowd, far("b"), 1);
  assert.ok(one !== undefined && two !== undefined && other !== undefined);
  crowd.hold(one, 30);
  crowd.hold(two, 25);
  crowd.hold(other, 45);
  assert.equal(crowd.overfull(), null);
  crowd.hold(other, 46);
  assert.equal(crowd.overfull(), one);
  crowd.leave(one);
  assert.equal(crowd.overfull(), null);
  assert.equal(crowd.heldBytes, 71);
});

test("crowd: a place that was given back is not given back once more", () => {
  const crowd = open(8);
  const [one] = fill(crowd, far("a"), 2);
  assert.ok(one !== undefined);
  crowd.leave(one);
  crowd.leave(one);
  crowd.move(one, "busy", 1);
  crowd.hold(one, 500);
  assert.deepEqual([crowd.total, crowd.countOf("a"), crowd.heldBytes], [1, 1, 0]);
});
