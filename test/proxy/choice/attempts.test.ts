// Attempts: the course of one request over upstreams that fail in every way.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Failure } from "../../../src/base/failure.ts";
import { seededRandom } from "../../../src/base/random.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { NO_ACCESS_LOG } from "../../../src/proxy/access/entry.ts";
import { NO_TRACING } from "../../../src/proxy/trace/tracing.ts";
import { Active } from "../../../src/proxy/choice/active.ts";
import { Attempts, openLane, type Lane, type Traffic } from "../../../src/proxy/choice/attempts.ts";
import { Deadlines } from "../../../src/proxy/deadlines.ts";
import { Ejections } from "../../../src/proxy/choice/outlier.ts";
import { TIMES } from "../../../src/proxy/proxy.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";

import { pool, SILENT, upstream } from "../fixtures.ts";

const NOBODY = { client: "192.0.2.1", gone: () => undefined };

const GET = { method: "GET", isBodyKept: true };
const POST = { method: "POST", isBodyKept: true };
const REFUSED = new Failure("refused", "no");

interface Bench {
  readonly traffic: Traffic;
  readonly lane: Lane;
  now: number;
}

function bench(...ids: readonly string[]): Bench {
  const made: Bench = {
    traffic: null as unknown as Traffic,
    lane: openLane(pool(ids.map((id) => upstream(id, 1))), () => 0),
    now: 0,
  };
  const traffic: Traffic = {
    active: new Active(),
    access: NO_ACCESS_LOG,
    tracing: NO_TRACING,
    ejections: new Ejections(),
    deadlines: new Deadlines(),
    connect: () => Promise.reject(REFUSED),
    metrics: openMetrics(),
    log: SILENT,
    random: seededRandom(1),
    nowMs: () => made.now,
    times: TIMES,
  };
  return Object.assign(made, { traffic });
}

/** How many retries a lane still allows at once, with nothing saved; three when none is under way. */
function retriesAtOnce({ budget }: Lane): number {
  for (let spent = 0; spent <= LIMITS.retryTokensMax; spent += 1)
    if (budget.take() !== null) budget.finished();
  let count = 0;
  while (budget.take() !== null) count += 1;
  return count;
}

function ejected({ traffic }: Bench): readonly string[] {
  return traffic.ejections.current.map(({ id }) => id);
}

/** One request that is answered with a status, or broken off after its head. */
function ask(on: Bench, answer: number | "broken"): string {
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  const chosen = attempts.next();
  attempts.answered(answer === "broken" ? 200 : answer);
  if (answer === "broken") attempts.broke();
  attempts.finished();
  return chosen?.replica ?? "none";
}

test("attempts: each upstream that refuses is tried once, and all but the last one are ejected", () => {
  const on = bench("a", "b", "c");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  const seen: string[] = [];
  for (let next = attempts.next(); next !== null; next = attempts.next()) {
    seen.push(next.replica);
    assert.equal(attempts.failed("connect", POST, REFUSED), true);
  }
  assert.deepEqual(seen, ["a", "b", "c"]);
  assert.deepEqual(ejected(on), ["a:1", "b:1"]);
  assert.deepEqual(attempts.retries, ["connect", "connect"], "after the last one nobody was tried");
  assert.equal(attempts.upstream?.replica, "c");
  attempts.finished();
  const later = new Attempts(on.traffic, on.lane, NOBODY);
  const again: (string | undefined)[] = [];
  for (let next = later.next(); next !== null; next = later.next()) {
    again.push(next.replica);
    on.now += 10;
    later.failed("connect", POST, REFUSED);
  }
  assert.deepEqual(
    again,
    ["c", "a", "b"],
    "the one that was spared first, then whoever has not failed for longest",
  );
});

test("attempts: when this host has no socket left nobody is ejected for it", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  attempts.next();
  attempts.failed("connect", GET, new Failure("busy", "EMFILE"));
  assert.deepEqual(ejected(on), []);
});

test("attempts: a stale connection is made anew to the same upstream, once", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  const first = attempts.next();
  assert.equal(attempts.failed("stale", GET, REFUSED), true);
  assert.equal(attempts.needsFreshConnection, true);
  assert.equal(attempts.next(), first);
  assert.equal(attempts.failed("connect", GET, REFUSED), true);
  assert.equal(attempts.needsFreshConnection, false);
  assert.notEqual(attempts.next(), first);
});

test("attempts: an undelivered POST is sent over a fresh connection, then to another; nobody is ejected for it", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  const first = attempts.next();
  assert.equal(attempts.failed("undelivered", POST, REFUSED), true);
  assert.equal(attempts.needsFreshConnection, true);
  assert.equal(attempts.next(), first);
  assert.equal(attempts.failed("undelivered", POST, REFUSED), true);
  assert.notEqual(attempts.next(), first);
  assert.deepEqual(ejected(on), []);
});

test("attempts: a late POST stays, a late GET is taken elsewhere where there is somebody better", () => {
  for (const [request, leaves] of [
    [POST, false],
    [GET, true],
  ] as const) {
    const on = bench("a", "b");
    const attempts = new Attempts(on.traffic, on.lane, NOBODY);
    assert.equal(attempts.next()?.replica, "a");
    assert.equal(attempts.leavesLate(request), leaves);
    assert.deepEqual(ejected(on), ["a:1"], "nobody was answered by it: both say so");
    if (!leaves) continue;
    attempts.next();
    assert.equal(attempts.leavesLate(GET), false);
    assert.deepEqual(ejected(on), ["a:1"]);
  }
});

test("attempts: silence is told also where there is no retry left to pay with", () => {
  const on = bench("a", "b");
  while (on.lane.budget.take() !== null);
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  attempts.next();
  assert.equal(attempts.leavesLate(GET), false);
  assert.deepEqual(ejected(on), ["a:1"]);
});

test("attempts: a late upstream that answered somebody else meanwhile is left, and not ejected", () => {
  for (const answer of [200, 404, 503]) {
    const on = bench("a", "b");
    const slow = new Attempts(on.traffic, on.lane, NOBODY);
    assert.equal(slow.next()?.replica, "a");
    assert.equal(ask(on, 200), "b");
    on.now += 900;
    assert.equal(ask(on, answer), "a");
    on.now += 100;
    assert.equal(slow.leavesLate(GET), true);
    assert.equal(slow.next()?.replica, "b");
    assert.deepEqual(ejected(on), []);
    on.now += 5;
    slow.answered(200);
    slow.finished();
    assert.deepEqual(slow.retries, ["late"]);
  }
});

test("attempts: what an upstream answered before a request was sent does not speak for it", () => {
  const on = bench("a", "b");
  assert.equal(ask(on, 200), "a");
  assert.equal(ask(on, 200), "b");
  on.now += 10;
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  assert.equal(attempts.next()?.replica, "a");
  on.now += 1000;
  attempts.leavesLate(POST);
  assert.deepEqual(ejected(on), ["a:1"]);
});

test("attempts: an upstream that is ejected for silence is probed at once", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  attempts.next();
  on.now += 1000;
  attempts.leavesLate(POST);
  const { ejections } = on.traffic;
  assert.deepEqual(ejections.due(on.now, 9), [{ id: "a:1", recheck: "request" }]);
  ejections.checked("a:1", "passed", on.now);
  assert.deepEqual(ejected(on), []);
});

test("attempts: a client that asks for what is slow everywhere, and leaves, has nobody ejected", () => {
  const on = bench("a", "b", "c", "d");
  for (let round = 0; round < 5; round += 1) {
    const attempts = new Attempts(on.traffic, on.lane, NOBODY);
    for (let waits = 0; waits < 3; waits += 1) {
      attempts.next();
      on.now += 1000;
      attempts.leavesLate(GET);
    }
    assert.equal(ejected(on).length, 3);
    attempts.finished();
    assert.deepEqual(ejected(on), []);
    assert.equal(on.traffic.ejections.failedAtMs("a:1"), 0, "nor are they for longer the next time");
  }
});

test("attempts: a client that leaves takes nothing back that a probe has confirmed", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  attempts.next();
  attempts.leavesLate(POST);
  on.traffic.ejections.due(0, 9);
  on.traffic.ejections.checked("a:1", "failed", 3000);
  attempts.finished();
  assert.deepEqual(ejected(on), ["a:1"]);
});

test("attempts: a slow answer of its own brings back an upstream that was ejected for silence", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  attempts.next();
  on.now += 1000;
  attempts.leavesLate(POST);
  on.traffic.ejections.due(on.now, 9);
  on.traffic.ejections.checked("a:1", "failed", on.now + 3000);
  on.now += 4000;
  attempts.answered(500);
  assert.deepEqual(ejected(on), []);
});

test("attempts: a request that waits at a hung upstream goes back to the one that was merely slow", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  assert.equal(attempts.next()?.replica, "a");
  on.now += 1000;
  assert.equal(attempts.leavesLate(GET), true);
  const { ejections } = on.traffic;
  ejections.due(on.now, 9);
  ejections.checked("a:1", "passed", on.now);
  assert.equal(attempts.next()?.replica, "b");
  on.now += 1000;
  assert.equal(attempts.leavesLate(GET), false, "both may be slow");
  ejections.due(on.now, 9);
  ejections.checked("b:1", "failed", on.now + 3000);
  on.now += 4000;
  assert.equal(attempts.leavesLate(GET), true);
  assert.equal(attempts.next()?.replica, "a");
  assert.equal(attempts.leavesLate(GET), false, "with all the time there is");
  assert.deepEqual(ejected(on), ["b:1"]);
});

test("attempts: a request that waits at a hung upstream goes to one that drains rather than wait on", () => {
  const on = bench("a");
  on.lane.pool = pool([upstream("a", 1), upstream("b", 1)], [upstream("c", 1)]);
  const { ejections } = on.traffic;
  const hung = new Attempts(on.traffic, on.lane, NOBODY);
  assert.equal(hung.next()?.replica, "a");
  assert.equal(hung.failed("connect", GET, REFUSED), true);
  assert.equal(hung.next()?.replica, "b");
  on.lane.pool = pool([upstream("b", 1), upstream("d", 1)], [upstream("c", 1)]);
  assert.equal(new Attempts(on.traffic, on.lane, NOBODY).next()?.replica, "d");
  assert.equal(hung.leavesLate(POST), false);
  ejections.due(0, 9);
  ejections.checked("b:1", "failed", 0);
  on.lane.pool = pool([upstream("b", 1)], [upstream("c", 1)]);
  assert.equal(hung.leavesLate(GET), true);
  assert.equal(hung.next()?.replica, "c");
});

test("attempts: a late GET whose upstream has left the table meanwhile, or fallen behind, is taken elsewhere", () => {
  for (const rest of [pool([upstream("b", 1)]), pool([upstream("b", 1)], [], [upstream("a", 1)])]) {
    const on = bench("a");
    const attempts = new Attempts(on.traffic, on.lane, NOBODY);
    assert.equal(attempts.next()?.replica, "a");
    on.lane.pool = rest;
    assert.equal(attempts.leavesLate(GET), true);
    assert.equal(attempts.next()?.replica, "b");
  }
});

test("attempts: a late upstream gets the request back when the others refuse, and is then waited for", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  const late = attempts.next();
  attempts.leavesLate(GET);
  attempts.next();
  attempts.failed("connect", GET, REFUSED);
  assert.equal(attempts.next(), late);
  assert.equal(attempts.leavesLate(GET), false);
  assert.equal(attempts.failed("died", GET, REFUSED), true);
  assert.equal(attempts.next(), null);
});

test("attempts: an answer as slow as the upstream that was left clears that one; a quick answer does not", () => {
  for (const [tookMs, left] of [
    [1500, 0],
    [5, 1],
  ] as const) {
    const on = bench("a", "b");
    const attempts = new Attempts(on.traffic, on.lane, NOBODY);
    attempts.next();
    attempts.leavesLate(GET);
    attempts.next();
    on.now += tookMs;
    attempts.answered(200);
    attempts.finished();
    assert.equal(ejected(on).length, left);
  }
});

test("attempts: an error as slow as the upstream that was left clears that one too", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  attempts.next();
  attempts.leavesLate(GET);
  attempts.next();
  on.now += 1500;
  attempts.answered(504);
  assert.deepEqual(ejected(on), []);
});

test("attempts: where all are ejected those come first that have not failed for longest, again and again", () => {
  const on = bench("a", "b", "c");
  const first = new Attempts(on.traffic, on.lane, NOBODY);
  for (let next = first.next(); next !== null; next = first.next()) first.failed("connect", GET, REFUSED);
  on.lane.pool = pool([upstream("a", 1), upstream("b", 1)]);
  assert.deepEqual(ejected(on), ["a:1", "b:1"]);
  const course = Array.from({ length: 4 }, () => {
    on.now += 10;
    const attempts = new Attempts(on.traffic, on.lane, NOBODY);
    const chosen = attempts.next();
    attempts.failed("connect", GET, REFUSED);
    attempts.finished();
    return chosen?.replica;
  });
  assert.deepEqual(course, ["a", "b", "a", "b"]);
});

test("attempts: retries after sent bytes end with the budget, failed connects do not", () => {
  const on = bench("a", "b");
  while (on.lane.budget.take() !== null);
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  attempts.next();
  assert.equal(attempts.leavesLate(GET), false);
  assert.equal(attempts.failed("died", GET, REFUSED), false);
  assert.equal(attempts.failed("connect", GET, REFUSED), true);
});

test("attempts: a retry for which nobody is left costs nothing", () => {
  const on = bench("a");
  for (let count = 0; count < LIMITS.retryTokensMax; count += 1) {
    const attempts = new Attempts(on.traffic, on.lane, NOBODY);
    attempts.next();
    assert.equal(attempts.failed("died", GET, REFUSED), true);
    // Every other one is over before it looks for somebody.
    if (count % 2 === 0) assert.equal(attempts.next(), null);
    attempts.finished();
  }
  for (let count = 0; count < LIMITS.retryTokensMax; count += 1) assert.equal(on.lane.budget.take(), "saved");
});

test("attempts: a request that cannot be sent goes nowhere, and nobody is blamed for it", () => {
  const on = bench("a", "b");
  for (let count = 0; count < 20; count += 1) {
    const attempts = new Attempts(on.traffic, on.lane, NOBODY);
    const first = attempts.next();
    assert.equal(attempts.failed("unsendable", GET, REFUSED), false);
    attempts.finished();
    assert.equal(on.traffic.ejections.streaks.countOf(first?.id ?? ""), 0);
    assert.deepEqual(attempts.retries, []);
  }
  assert.deepEqual(ejected(on), []);
});

test("attempts: whatever fails, no course is endless, and what retries were taken are given back", () => {
  const end = fc.constantFrom("connect", "stale", "undelivered", "died", "late", "unsendable");
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5 }),
      fc.array(end, { minLength: 40, maxLength: 40 }),
      (size, ends) => {
        const on = bench(...Array.from({ length: size }, (_, at) => `r${at}`));
        const attempts = new Attempts(on.traffic, on.lane, NOBODY);
        let goesOn = true;
        let count = 0;
        for (const how of ends) {
          if (!goesOn || attempts.next() === null) break;
          count += 1;
          goesOn = how === "late" ? attempts.leavesLate(GET) : attempts.failed(how, GET, REFUSED);
          on.now += 300;
        }
        attempts.finished();
        assert.ok(count <= 4 * size, `${count} attempts over ${size} upstreams`);
        assert.equal(retriesAtOnce(on.lane), 3);
      },
    ),
  );
});

test("attempts: an upstream of a table that has none to spare is not ejected, one that drains is", () => {
  const on = bench("a");
  on.lane.pool = pool([upstream("a", 1)], [upstream("b", 1)]);
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  while (attempts.next() !== null) attempts.failed("connect", GET, REFUSED);
  assert.deepEqual(ejected(on), ["b:1"]);
});

test("attempts: an ejected upstream that answers a request for want of others is back", () => {
  const on = bench("a", "b");
  const first = new Attempts(on.traffic, on.lane, NOBODY);
  assert.equal(first.next()?.replica, "a");
  first.failed("connect", GET, REFUSED);
  first.next();
  first.failed("connect", GET, REFUSED);
  assert.equal(first.next(), null);
  const second = new Attempts(on.traffic, on.lane, NOBODY);
  assert.equal(second.next()?.replica, "b");
  second.failed("connect", GET, REFUSED);
  assert.equal(second.next()?.replica, "a");
  second.answered(200);
  assert.deepEqual(ejected(on), []);
});

test("attempts: five errors in a row eject, or five broken answers, or some of each", () => {
  for (const [answers, reason] of [
    [[500, 502, 503, 500, 599], "errors"],
    [["broken", "broken", "broken", "broken", "broken"], "broken"],
    [["broken", 500, "broken", 500, 500], "errors"],
  ] as const) {
    const on = bench("a", "b");
    for (const answer of answers) {
      assert.deepEqual(ejected(on), []);
      assert.equal(ask(on, answer), "a");
      assert.equal(ask(on, 200), "b");
    }
    assert.deepEqual(on.traffic.ejections.current, [{ id: "a:1", untilMs: 1000, reason }]);
    assert.equal(ask(on, 200), "b");
    on.traffic.ejections.due(1000, 1);
    on.traffic.ejections.checked("a:1", "passed", 1000);
    on.now = 1000;
    const later = { ...on, lane: openLane(on.lane.pool, () => 0) };
    for (const answer of answers.slice(0, 4)) {
      assert.equal(ask(later, answer), "a");
      assert.equal(ask(later, 200), "b");
    }
    assert.deepEqual(ejected(on), [], "it has five again");
  }
});

test("attempts: four errors and a good answer, again and again, eject nobody", () => {
  const on = bench("a", "b");
  for (let round = 0; round < 5; round += 1) {
    for (const status of [500, 500, 500, 500, 404]) {
      ask(on, status);
      ask(on, 200);
    }
  }
  assert.deepEqual(ejected(on), []);
});

test("attempts: when all upstreams answer with errors nobody is ejected for it", () => {
  const on = bench("a", "b", "c");
  for (let count = 0; count < 60; count += 1) ask(on, 500);
  assert.deepEqual(ejected(on), []);
});

test("attempts: a client that asks for errors of most replicas has at most half of them ejected", () => {
  const on = bench("a", "b", "c", "d");
  for (let round = 0; round < 8; round += 1) {
    const statuses = new Map(["a", "b", "c", "d"].map((id) => [id, id === "d" ? 200 : 500]));
    for (let count = 0; count < 4; count += 1) {
      const attempts = new Attempts(on.traffic, on.lane, NOBODY);
      attempts.answered(statuses.get(attempts.next()?.replica ?? "") ?? 200);
      attempts.finished();
    }
  }
  assert.equal(ejected(on).length, 2);
});

test("attempts: upstreams that die of requests in a row are ejected", () => {
  const on = bench("a", "b");
  for (let count = 0; count < 5; count += 1) {
    const attempts = new Attempts(on.traffic, on.lane, NOBODY);
    assert.equal(attempts.next()?.replica, "a");
    assert.equal(attempts.failed("died", GET, REFUSED), true);
    assert.equal(attempts.next()?.replica, "b");
    attempts.answered(200);
    attempts.finished();
    assert.deepEqual(attempts.retries, ["died"]);
  }
  assert.deepEqual(ejected(on), ["a:1"]);
});

test("attempts: how an ejected upstream is checked depends on how it failed and on the protocol", () => {
  for (const [protocol, recheckOfLate, recheckOfConnect] of [
    ["http", "request", "connect"],
    ["tcp", "connect", "connect"],
    ["udp", undefined, undefined],
  ] as const) {
    const rechecks = (["late", "connect"] as const).map((how) => {
      const on = bench("a", "b");
      on.lane.pool = { ...on.lane.pool, protocol };
      const attempts = new Attempts(on.traffic, on.lane, NOBODY);
      attempts.next();
      if (how === "late") attempts.leavesLate(GET);
      else attempts.failed("connect", GET, REFUSED);
      assert.equal(ejected(on).length, 1);
      return on.traffic.ejections.due(1000, 1)[0]?.recheck;
    });
    assert.deepEqual(rechecks, [recheckOfLate, recheckOfConnect], protocol);
  }
});

test("attempts: the first byte may take as long as the service says, else as long as the daemon says", () => {
  const on = bench("a");
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  assert.equal(attempts.firstByteMs, TIMES.firstByteMs);
  for (const firstByteMs of [5000, 0]) {
    on.lane.pool = { ...on.lane.pool, traffic: { ...on.lane.pool.traffic, firstByteMs } };
    assert.equal(attempts.firstByteMs, firstByteMs);
  }
});

test("attempts: an upstream is in use from its choice until the next one or the end", () => {
  const on = bench("a", "b");
  const countOf = (id: string): number => on.traffic.active.loadOf(upstream(id, 1)).count;
  const attempts = new Attempts(on.traffic, on.lane, NOBODY);
  attempts.next();
  assert.deepEqual([countOf("a"), countOf("b")], [1, 0]);
  attempts.failed("connect", GET, REFUSED);
  attempts.next();
  assert.deepEqual([countOf("a"), countOf("b")], [0, 1]);
  attempts.succeeded();
  attempts.finished();
  attempts.finished();
  assert.deepEqual([countOf("a"), countOf("b")], [0, 0]);
});

test("attempts: whoever uses an upstream that is gone is told", () => {
  const on = bench("a");
  let told = 0;
  const attempts = new Attempts(on.traffic, on.lane, { client: "192.0.2.1", gone: () => (told += 1) });
  attempts.next();
  on.traffic.active.keepOnly([], 0);
  on.traffic.active.tick(500);
  assert.equal(told, 1);
  attempts.finished();
  on.traffic.active.keepOnly([], 1000);
  on.traffic.active.tick(1500);
  assert.equal(told, 1);
});

test("attempts: each counts for the upstream it is made at: as what, whether it failed, and whether it went on", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane, { ...NOBODY, counts: "requests" });
  attempts.next();
  attempts.failed("connect", GET, REFUSED);
  attempts.next();
  attempts.answered(503);
  attempts.broke();
  attempts.finished();
  const other = new Attempts(on.traffic, on.lane, { ...NOBODY, counts: "connections" });
  other.next();
  // Over a kept connection that had ended: no error of the upstream, and again no second one.
  other.failed("stale", GET, REFUSED);
  other.next();
  other.succeeded();
  other.finished();
  const told = on.traffic.active
    .carried()
    .map(({ upstream: { replica }, ...tally }) => [
      replica,
      tally.requests,
      tally.connections,
      tally.errors,
      tally.retries,
    ]);
  assert.deepEqual(told, [
    ["a", 1, 0, 1, 1],
    ["b", 1, 1, 1, 1],
  ]);
});
