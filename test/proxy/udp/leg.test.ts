// Leg: to one upstream after another, for as long as somebody refuses; whoever answered may fail anew.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Leg } from "../../../src/proxy/udp/leg.ts";

import { CALLER } from "../fixtures.ts";
import { bench, REFUSED, udpUpstream, type Bench, type FarEnd } from "./fixtures.ts";

interface Told {
  readonly leg: Leg;
  readonly answers: string[];
  /** What came back with each failure. */
  readonly failures: string[][];
  gone: number;
}

function legOf(made: Bench): Told {
  const { traffic, ways, lane } = made;
  const told = { answers: [] as string[], failures: [] as string[][], gone: 0 };
  const leg = new Leg({
    caller: CALLER,
    traffic,
    ways,
    lane,
    answered: (_leg, payload) => void told.answers.push(payload.toString()),
    failed: (_leg, waiting) => void told.failures.push(waiting.map((payload) => payload.toString())),
    gone: () => void (told.gone += 1),
    meter: { receivedBytes: 0, sentBytes: 0 },
  });
  return Object.assign(told, { leg });
}

function lastEnd({ ways }: Bench): FarEnd {
  const end = ways.ends.at(-1);
  assert.ok(end);
  return end;
}

test("leg: each upstream is tried once, and what was refused comes back without its header", () => {
  const made = bench(udpUpstream("a", { proxyProtocol: "v2" }), udpUpstream("b", { proxyProtocol: "v2" }));
  const told = legOf(made);
  const tried: string[] = [];
  while (told.leg.next()) {
    tried.push(told.leg.upstream?.replica ?? "");
    told.leg.send(Buffer.from("one"));
    told.leg.send(Buffer.from("two"));
    lastEnd(made).receiver.failed(REFUSED, []);
  }
  assert.deepEqual(tried.toSorted(), ["a", "b"]);
  assert.deepEqual(told.failures, [
    ["one", "two"],
    ["one", "two"],
  ]);
  told.leg.close();
  assert.equal(made.uses(), 0);
});

test("leg: an upstream that answered and refuses later is one that failed anew: all may be tried again", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const told = legOf(made);
  assert.ok(told.leg.next());
  lastEnd(made).receiver.failed(REFUSED, []);
  assert.ok(told.leg.next());
  told.leg.send(Buffer.from("?"));
  lastEnd(made).receiver.answered(Buffer.from("!"));
  assert.deepEqual(told.answers, ["!"]);
  lastEnd(made).receiver.failed(REFUSED, []);
  assert.deepEqual(told.failures.at(-1), [], "what was answered is not sent again");
  assert.ok(told.leg.next());
  told.leg.close();
});

test("leg: what was sent long before a refusal was not what was refused", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const told = legOf(made);
  told.leg.next();
  told.leg.send(Buffer.from("old"));
  made.nowMs += 10_000;
  told.leg.send(Buffer.from("new"));
  lastEnd(made).receiver.failed(REFUSED, [Buffer.from("unsent")]);
  assert.deepEqual(told.failures, [["new", "unsent"]]);
  told.leg.close();
});

test("leg: a refusal by an upstream that was left already changes nothing", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const told = legOf(made);
  told.leg.next();
  const before = lastEnd(made);
  before.receiver.failed(REFUSED, []);
  told.leg.next();
  before.receiver.failed(REFUSED, []);
  assert.equal(told.failures.length, 1);
  assert.equal(lastEnd(made).isClosed, false);
  told.leg.close();
  assert.equal(lastEnd(made).isClosed, true);
});

test("leg: is told when its upstream has left, and drops what is sent once it is closed", () => {
  const made = bench(udpUpstream("a"));
  const told = legOf(made);
  told.leg.next();
  made.traffic.active.keepOnly([], made.nowMs);
  made.traffic.active.tick(made.nowMs + 1000);
  assert.equal(told.gone, 1);
  told.leg.close();
  told.leg.close();
  assert.equal(told.leg.send(Buffer.from("late")), false);
  assert.equal(made.uses(), 0);
});
