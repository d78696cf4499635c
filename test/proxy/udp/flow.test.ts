// Flow: where one client's datagrams go while upstreams fall behind, refuse and leave, and what is said of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Lane } from "../../../src/proxy/choice/attempts.ts";
import type { Upstream } from "../../../src/proxy/routes.ts";
import { Flow } from "../../../src/proxy/udp/flow.ts";

import { CALLER } from "../fixtures.ts";
import { bench, REFUSED, udpUpstream, type Bench, type FarEnd } from "./fixtures.ts";

interface Opened {
  readonly flow: Flow;
  readonly replies: string[];
  ended: number;
  /** What the flow finds; may be changed. */
  lane: Lane | null;
}

function open(made: Bench): Opened {
  const { traffic, ways, counts } = made;
  const opened = { replies: [] as string[], ended: 0, lane: made.lane as Lane | null };
  const flow = new Flow({
    key: "client",
    caller: CALLER,
    traffic,
    ways,
    lane: () => opened.lane,
    count: (result) => void counts.push(result),
    reply: (payload) => {
      opened.replies.push(payload.toString());
      return true;
    },
    ended: () => void (opened.ended += 1),
  });
  return Object.assign(opened, { flow });
}

function take({ flow }: Opened, ...texts: readonly string[]): void {
  for (const text of texts) flow.take(Buffer.from(text));
}

function tiers({ lane }: Bench, ...lists: (readonly Upstream[])[]): void {
  lane.pool = { ...lane.pool, tiers: lists };
}

function endAt({ ways }: Bench, at: number): FarEnd {
  const end = ways.ends[at];
  assert.ok(end);
  return end;
}

test("flow: stays with its upstream, and answers reach the client", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const opened = open(made);
  take(opened, "1", "2");
  assert.equal(made.ways.ends.length, 1);
  endAt(made, 0).receiver.answered(Buffer.from("!"));
  assert.deepEqual(opened.replies, ["!"]);
  assert.deepEqual(made.counts, ["sent", "sent", "answered"]);
});

test("flow: it is known how many answers are awaited, one for each datagram", () => {
  const made = bench(udpUpstream("a"));
  const opened = open(made);
  const { flow } = opened;
  assert.equal(flow.unanswered, 0);
  take(opened, "1", "2", "3");
  assert.equal(flow.unanswered, 3);
  const { receiver } = endAt(made, 0);
  receiver.answered(Buffer.from("!"));
  assert.equal(flow.unanswered, 2);
  for (let more = 0; more < 5; more += 1) receiver.answered(Buffer.from("!"));
  assert.equal(flow.unanswered, 0);
  take(opened, "4");
  assert.equal(flow.unanswered, 1);
});

test("flow: leaves an upstream that drains with the next datagram, and hears it for some seconds more", () => {
  const [a, b] = [udpUpstream("a"), udpUpstream("b")];
  const made = bench(a);
  const opened = open(made);
  take(opened, "1");
  tiers(made, [b], [a]);
  take(opened, "2");
  assert.deepEqual(made.ways.textsTo("b"), ["2"]);
  endAt(made, 0).receiver.answered(Buffer.from("late"));
  assert.deepEqual(opened.replies, ["late"]);
  made.nowMs += 5000;
  opened.flow.expire(made.nowMs);
  assert.deepEqual([endAt(made, 0).isClosed, endAt(made, 1).isClosed], [true, false]);
});

test("flow: what is refused goes on to the next; the log tells of the retry once the flow ends", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const opened = open(made);
  take(opened, "1", "2");
  const first = endAt(made, 0);
  first.receiver.failed(REFUSED, []);
  const other = first.upstream.replica === "a" ? "b" : "a";
  assert.deepEqual(made.ways.textsTo(other), ["1", "2"]);
  assert.deepEqual(made.counts, ["sent", "sent", "resent", "resent"]);
  opened.flow.end("ok");
  opened.flow.end("ok");
  assert.equal(opened.ended, 1);
  assert.deepEqual(
    made.entries.map(({ replica, result, retries, bytesSent }) => [replica, result, retries, bytesSent]),
    [[other, "ok", ["connect"], 2]],
  );
  assert.equal(made.uses(), 0);
});

test("flow: a refusal after which nobody is tried is no retry, and ends the flow", () => {
  const made = bench(udpUpstream("a"));
  const opened = open(made);
  take(opened, "1");
  endAt(made, 0).receiver.failed(REFUSED, []);
  assert.equal(opened.ended, 1);
  assert.deepEqual(made.counts, ["sent", "no-replica"]);
  assert.deepEqual(
    made.entries.map(({ result, retries }) => [result, retries]),
    [["no replica", []]],
  );
});

test("flow: a refusal of what was answered long ago ends nothing: the next datagram chooses", () => {
  const made = bench(udpUpstream("a"), udpUpstream("b"));
  const opened = open(made);
  take(opened, "1");
  const first = endAt(made, 0);
  first.receiver.answered(Buffer.from("!"));
  first.receiver.failed(REFUSED, []);
  assert.equal(opened.ended, 0);
  take(opened, "2");
  assert.equal(endAt(made, 1).sent.length, 1);
  opened.flow.end("ok");
  assert.deepEqual(made.entries[0]?.retries, []);
  assert.equal(made.uses(), 0);
});

test("flow: ends when its upstream has left, and when its frontend has", () => {
  const made = bench(udpUpstream("a"));
  const [one, other] = [open(made), open(made)];
  take(one, "1");
  take(other, "1");
  other.lane = null;
  take(other, "2");
  made.traffic.active.keepOnly([], made.nowMs);
  made.traffic.active.tick(made.nowMs + 1000);
  assert.deepEqual(
    made.entries.map(({ result }) => result),
    ["no replica", "replica gone"],
  );
  assert.deepEqual([one.ended, other.ended, made.uses()], [1, 1, 0]);
});

test("flow: an upstream that another flow found to refuse is left, unless there is none better", () => {
  const [a, b] = [udpUpstream("a"), udpUpstream("b")];
  const made = bench(a, b);
  const { ejections, nowMs } = made.traffic;
  const opened = open(made);
  take(opened, "1");
  const first = endAt(made, 0).upstream;
  const fault = { reason: "connect", recheck: "none", sentAtMs: nowMs(), nowMs: nowMs() } as const;
  ejections.failed(first, fault);
  take(opened, "2");
  assert.notEqual(endAt(made, 1).upstream.id, first.id);
  ejections.failed(endAt(made, 1).upstream, fault);
  take(opened, "3");
  assert.equal(made.ways.ends.length, 2);
});

test("flow: goes on as it is when a network leads to its upstream, and leaves a network that is down", () => {
  const relayed = udpUpstream("a", { via: "stream" });
  const made = bench(relayed);
  const opened = open(made);
  take(opened, "1");
  tiers(made, [{ ...relayed, via: "direct" }]);
  take(opened, "2");
  assert.equal(made.ways.ends.length, 1, "the stream is as good");
  const other = bench({ ...relayed, via: "direct" });
  const direct = open(other);
  take(direct, "1");
  tiers(other, [relayed]);
  take(direct, "2");
  assert.deepEqual(
    other.ways.ends.map(({ upstream }) => upstream.via),
    ["direct", "stream"],
  );
});
