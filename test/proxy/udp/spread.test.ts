// Spread: each datagram by itself, over ways that refuse and whose upstreams leave; nothing stays in use.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readProxyHeader } from "../../../src/proxy/tcp/proxy-header.ts";
import { Spread } from "../../../src/proxy/udp/spread.ts";

import { CALLER } from "../fixtures.ts";
import { bench, REFUSED, udpUpstream, type Bench } from "./fixtures.ts";

function spreadOver(made: Bench): Spread {
  const { traffic, ways, counts } = made;
  return new Spread({ traffic, ways, count: (result) => void counts.push(result) });
}

function take(spread: Spread, { lane }: Bench, text: string): void {
  spread.take(Buffer.from(text), lane, CALLER);
}

test("spread: datagrams take turns, over one way to each upstream", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const spread = spreadOver(made);
  for (const text of ["1", "2", "3", "4"]) take(spread, made, text);
  assert.equal(made.ways.ends.length, 2);
  for (const name of ["a", "b"]) assert.equal(made.ways.textsTo(name).length, 2);
  assert.deepEqual(made.counts, ["sent", "sent", "sent", "sent"]);
  assert.equal(made.uses(), 2);
});

test("spread: what an upstream refuses goes to the next, and is counted as such", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const spread = spreadOver(made);
  take(spread, made, "1");
  const [first] = made.ways.ends;
  assert.ok(first);
  first.receiver.failed(REFUSED, []);
  assert.equal(first.isClosed, true);
  assert.deepEqual(made.ways.textsTo(first.upstream.replica === "a" ? "b" : "a"), ["1"]);
  assert.deepEqual(made.counts, ["sent", "resent"]);
  assert.equal(made.uses(), 1);
});

for (const [what, changes] of [
  ["expects another header", { proxyProtocol: "v2" }],
  ["is not there", null],
] as const) {
  test(`spread: where the next upstream ${what} what was refused is dropped, and nobody stays in use`, () => {
    const made = bench(udpUpstream("a"), ...(changes === null ? [] : [udpUpstream("b", changes)]));
    const spread = spreadOver(made);
    take(spread, made, "1");
    made.ways.ends[0]?.receiver.failed(REFUSED, []);
    assert.deepEqual(made.counts, ["sent", "dropped"]);
    assert.equal(made.uses(), 0);
    assert.equal(made.ways.ends.length, 1);
  });
}

test("spread: an upstream that expects it reads of each datagram who sent it", () => {
  const made = bench(udpUpstream("a", { proxyProtocol: "v2" }));
  take(spreadOver(made), made, "1");
  const [bytes = Buffer.alloc(0)] = made.ways.ends[0]?.sent ?? [];
  const reading = readProxyHeader(bytes);
  assert.ok(reading.kind === "whole");
  assert.deepEqual(reading.caller, CALLER);
  assert.equal(bytes.subarray(reading.bytes).toString(), "1");
});

test("spread: without an upstream a datagram is counted, and nothing is opened", () => {
  const made = bench();
  take(spreadOver(made), made, "1");
  assert.deepEqual(made.counts, ["no-replica"]);
  assert.deepEqual(made.ways.ends, []);
});

test("spread: an upstream that leaves has its way closed; a way that is not used for a minute closes too", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const spread = spreadOver(made);
  take(spread, made, "1");
  take(spread, made, "2");
  const [first, second] = made.ways.ends;
  assert.ok(first && second);
  const { lane, traffic } = made;
  lane.pool = { ...lane.pool, tiers: [[second.upstream], [], []] };
  traffic.active.keepOnly([lane.pool], made.nowMs);
  made.nowMs += 1000;
  traffic.active.tick(made.nowMs);
  assert.deepEqual([first.isClosed, second.isClosed], [true, false]);
  made.nowMs += 61_000;
  spread.expire(made.nowMs);
  assert.equal(second.isClosed, true);
  assert.equal(made.uses(), 0);
});
