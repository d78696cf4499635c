// Who should be linked is dialled until it is; addresses behind which nobody is known are tried now and then.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import { Dialer, type DialPlan } from "../../src/gossip/dialer.ts";
import { LIMITS } from "../../src/model/limits.ts";

const at = (host: string, port = 7650): HostPort => ({ host, port });
/** A node that knows nobody and is linked to nobody. */
const LONELY: DialPlan = {
  wants: [],
  isPresent: () => false,
  isLinked: () => false,
  presentCount: 1,
  isAlone: true,
};

function dialer(...seeds: HostPort[]): Dialer {
  return new Dialer(seeds, seededRandom(1));
}

function due(dialer: Dialer, nowMs: number, plan: Partial<DialPlan> = {}): string[] {
  return dialer.due({ ...LONELY, ...plan }, nowMs).map(renderHostPort);
}

function many(count: number): HostPort[] {
  return Array.from({ length: count }, (_, index) => at(`h${index}`));
}

test("dialer: seeds are due at once, each only once until its dial has ended", () => {
  const dials = dialer(at("a"), at("b"), at("a"));
  assert.deepEqual(due(dials, 0), ["a:7650", "b:7650"]);
  assert.deepEqual(due(dials, 10_000), []);
  dials.settled(at("a"), "failed", 10_000);
  assert.deepEqual(due(dials, 20_000), ["a:7650"]);
});

test("dialer: a failing address is tried again within a second, and never at once", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 50 }), (seed, failures) => {
      const dials = new Dialer([at("a")], seededRandom(seed));
      let nowMs = 0;
      for (let failure = 0; failure < failures; failure += 1) {
        assert.deepEqual(due(dials, nowMs), ["a:7650"]);
        dials.settled(at("a"), "failed", nowMs);
        assert.deepEqual(due(dials, nowMs + 49), []);
        nowMs += 1000;
      }
    }),
    { numRuns: 50 },
  );
});

test("dialer: an address that refuses to talk is left alone for longer each time, up to half a minute", () => {
  const dials = dialer(at("a"));
  let nowMs = 0;
  let dialled = 0;
  while (nowMs < 3_600_000) {
    nowMs += 50;
    for (const address of dials.due(LONELY, nowMs)) {
      dialled += 1;
      dials.settled(address, "rejected", nowMs);
    }
  }
  assert.ok(dialled >= 120 && dialled <= 260, `${dialled} in an hour`);
  dials.settled(at("a"), "linked", nowMs);
  assert.deepEqual(due(dials, nowMs + 500), ["a:7650"], "once it talks, that is forgotten");
});

test("dialer: who refuses and then is down for a moment is not knocked at every second because of it", () => {
  const dials = dialer(at("a"));
  for (let round = 0; round < 10; round += 1) {
    dials.settled(at("a"), "rejected", 0);
    dials.settled(at("a"), "failed", 0);
  }
  assert.deepEqual(due(dials, 10_000), []);
});

test("dialer: members that should be linked are dialled in the order in which they are wanted", () => {
  const dials = dialer();
  const wants = [at("c"), at("a"), at("b")];
  const plan = { wants, isAlone: false, presentCount: 4, isPresent: () => true };
  assert.deepEqual(due(dials, 0, plan), ["c:7650", "a:7650", "b:7650"]);
  assert.deepEqual(due(dials, 10, plan), [], "each is being dialled");
  for (const address of wants) dials.settled(address, "linked", 20);
  assert.deepEqual(due(dials, 5000, { ...plan, wants: [], isLinked: () => true }), []);
});

test("dialer: an address is no stray while it is linked, or the member who answers there is present", () => {
  const dials = dialer(at("seed.example"));
  due(dials, 0);
  dials.settled(at("seed.example"), "linked", 0);
  assert.deepEqual(due(dials, 5000, { isLinked: (address) => address === "seed.example:7650" }), []);
  dials.leadsTo(at("seed.example"), "member");
  assert.deepEqual(due(dials, 5000, { isPresent: (member) => member === "member" }), []);
  assert.deepEqual(due(dials, 5000, { isPresent: (member) => member === "other" }), ["seed.example:7650"]);
});

test("dialer: where strays are few each is tried on its own; where they are many, at most one a second", () => {
  const dialledIn = (count: number): number => {
    const dials = dialer(...many(count));
    let dialled = 0;
    for (let nowMs = 0; nowMs < 10_000; nowMs += 50) {
      for (const address of dials.due({ ...LONELY, isAlone: false, presentCount: 5 }, nowMs)) {
        dialled += 1;
        dials.settled(address, "failed", nowMs);
      }
    }
    return dialled;
  };
  assert.ok(dialledIn(32) >= 32 * 9, "each about once a second");
  const ofMany = dialledIn(33);
  assert.ok(ofMany >= 8 && ofMany <= 11, `${ofMany} in ten seconds`);
});

test("dialer: of many addresses the missing share is the chance of a try: a whole cluster hardly knocks", () => {
  const dials = dialer(...many(1000));
  let dialled = 0;
  for (let nowMs = 0; nowMs < 100_000; nowMs += 50) {
    const plan = { isAlone: false, presentCount: 999, isPresent: () => true, isLinked: () => false };
    dials.leadsTo(at("h0"), "gone");
    dialled += dials.due({ ...LONELY, ...plan, isPresent: (id) => id !== "gone" }, nowMs).length;
  }
  assert.ok(dialled <= 100, `${dialled} dials in 100 s`);
});

test("dialer: alone, a node tries all it knows, some at a time", () => {
  const dials = dialer(...many(200));
  assert.equal(due(dials, 0).length, LIMITS.dialsInFlight);
  assert.deepEqual(due(dials, 0), []);
  for (const address of many(10)) dials.settled(address, "failed", 0);
  assert.equal(due(dials, 1).length, 10, "as some end others begin");
});

test("dialer: however dials end or are dropped, no more than the bound are in flight, nor fewer for ever", () => {
  const host = fc.nat({ max: 9 });
  const step = fc.oneof(
    fc.record({ kind: fc.constant("due"), host }),
    fc.record({ kind: fc.constantFrom("linked", "failed", "rejected", "drop", "own", "now", "add"), host }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const dials = dialer();
      const address = (index: number): HostPort => at(`h${index}`);
      steps.forEach(({ kind, host }, index) => {
        const nowMs = index * 100;
        if (kind === "due") dials.due({ ...LONELY, wants: [address(host)] }, nowMs);
        else if (kind === "drop" || kind === "add") dials[kind](address(host));
        else if (kind === "own" && host > 6) dials.own(address(host));
        else if (kind === "now") dials.now(address(host));
        else if (kind === "linked" || kind === "failed" || kind === "rejected")
          dials.settled(address(host), kind, nowMs);
      });
      for (let index = 0; index < 10; index += 1) dials.settled(address(index), "failed", 0);
      const free = due(dials, 1_000_000, { wants: many(200).map(({ host }) => at(`x${host}`)) });
      assert.ok(free.length >= LIMITS.dialsInFlight - 10 && free.length <= LIMITS.dialsInFlight);
      assert.equal(new Set(free).size, free.length);
    }),
    { numRuns: 200 },
  );
});

test("dialer: what is wanted now is dialled whatever its schedule says, unless it is being dialled", () => {
  const dials = dialer(at("a"));
  due(dials, 0);
  assert.deepEqual(dials.now(at("a")), []);
  for (let round = 0; round < 5; round += 1) dials.settled(at("a"), "failed", 0);
  assert.deepEqual(due(dials, 1), []);
  assert.deepEqual(dials.now(at("a")), [at("a")]);
  assert.deepEqual(dials.now(at("b")), [at("b")], "an address that it did not know");
});

test("dialer: a link that was lost is dialled again at once, with its failures forgotten", () => {
  const dials = dialer(at("a"));
  for (let nowMs = 0; nowMs < 10_000; nowMs += 1000) {
    due(dials, nowMs);
    dials.settled(at("a"), "failed", nowMs);
  }
  dials.hurry(at("a"), 9_001);
  assert.deepEqual(due(dials, 9_001), ["a:7650"]);
  dials.settled(at("a"), "failed", 9_001);
  assert.deepEqual(due(dials, 9_101), ["a:7650"]);
});

test("dialer: dropped, an address is dialled no more; a seed stays", () => {
  const dials = dialer(at("seed"));
  const { revision } = dials;
  dials.add(at("member"));
  dials.drop(at("member"));
  assert.equal(dials.revision, revision + 2, "what is kept on disk has changed");
  dials.drop(at("seed"));
  dials.drop(at("unknown"));
  assert.equal(dials.revision, revision + 2);
  assert.deepEqual(due(dials, 0), ["seed:7650"]);
  assert.deepEqual(dials.addresses, [at("seed")]);
});

test("dialer: the node's own address is never dialled, however often it is added", () => {
  const dials = dialer(at("me"));
  dials.own(at("me"));
  dials.add(at("me"));
  assert.deepEqual(dials.now(at("me")), []);
  assert.deepEqual(due(dials, 0), []);
  assert.deepEqual(dials.addresses, []);
  assert.ok(dials.triedAll);
});

test("dialer: an address added again keeps its schedule", () => {
  const dials = dialer();
  dials.add(at("a"));
  due(dials, 0);
  dials.settled(at("a"), "failed", 0);
  dials.add(at("a"));
  assert.deepEqual(due(dials, 10), []);
});

test("dialer: all are tried when each has been dialled to an end, and from the start where there is none", () => {
  assert.ok(dialer().triedAll);
  const dials = dialer(at("a"), at("b"));
  assert.equal(dials.triedAll, false);
  due(dials, 0);
  dials.settled(at("a"), "failed", 0);
  assert.equal(dials.triedAll, false);
  dials.settled(at("b"), "linked", 0);
  assert.ok(dials.triedAll);
});

test("dialer: what strangers say cannot make it hold more addresses than there may be members", () => {
  const dials = dialer(at("seed"));
  for (let port = 1; port <= LIMITS.ownersMax + 100; port += 1) dials.add(at("stranger", port));
  assert.equal(dials.addresses.length, LIMITS.ownersMax);
});

test("dialer: news of an address it does not know changes nothing", () => {
  const dials = dialer();
  dials.settled(at("x"), "failed", 0);
  dials.hurry(at("x"), 0);
  dials.leadsTo(at("x"), "member");
  assert.deepEqual(dials.addresses, []);
});
