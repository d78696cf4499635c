// Addresses are dialled when they are due, more slowly when they fail, and not while their member is linked.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import { Dialer } from "../../src/gossip/dialer.ts";
import { LIMITS } from "../../src/model/limits.ts";

const NOBODY = { addresses: new Set<string>(), members: new Set<string>() };
const at = (host: string, port = 7650): HostPort => ({ host, port });

function dialer(...seeds: HostPort[]): Dialer {
  return new Dialer(seeds, seededRandom(1));
}

function due(dialer: Dialer, nowMs: number, linked = NOBODY): string[] {
  return dialer.due(linked, nowMs).map(renderHostPort);
}

test("dialer: seeds are due at once, each only once until its dial has ended", () => {
  const dials = dialer(at("a"), at("b"), at("a"));
  assert.deepEqual(due(dials, 0), ["a:7650", "b:7650"]);
  assert.deepEqual(due(dials, 10_000), []);
  dials.settled(at("a"), "failed", 10_000);
  assert.deepEqual(due(dials, 20_000), ["a:7650"]);
});

test("dialer: in a small cluster a failing address is tried again within a second, and never at once", () => {
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

test("dialer: beyond 24 addresses a failing one is tried twice a minute", () => {
  const dials = dialer(...Array.from({ length: 25 }, (_, index) => at(`h${index}`)));
  let nowMs = 0;
  let dialled = 0;
  while (nowMs < 3_600_000) {
    const now = dials.due(NOBODY, nowMs);
    dialled += now.filter(({ host }) => host === "h0").length;
    for (const address of now) dials.settled(address, "failed", nowMs);
    nowMs += 100;
  }
  assert.ok(dialled >= 120 && dialled <= 260, `${dialled} in an hour`);
});

test("dialer: an address is not dialled while a link to it, or to the member who answers there, is up", () => {
  const dials = dialer(at("seed.example"));
  due(dials, 0);
  dials.settled(at("seed.example"), "linked", 0);
  assert.deepEqual(due(dials, 5000, { ...NOBODY, addresses: new Set(["seed.example:7650"]) }), []);
  dials.leadsTo(at("seed.example"), "member");
  assert.deepEqual(due(dials, 5000, { ...NOBODY, members: new Set(["member"]) }), []);
  assert.deepEqual(due(dials, 5000, { ...NOBODY, members: new Set(["other"]) }), ["seed.example:7650"]);
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
  dials.add(at("member"));
  dials.drop(at("member"));
  dials.drop(at("seed"));
  dials.drop(at("unknown"));
  assert.deepEqual(due(dials, 0), ["seed:7650"]);
  assert.deepEqual(dials.addresses, [at("seed")]);
});

test("dialer: the node's own address is never dialled, however often it is added", () => {
  const dials = dialer(at("me"));
  dials.own(at("me"));
  dials.add(at("me"));
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
