// Attempts: the course of one request over upstreams that fail in every way.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Failure } from "../../../src/base/failure.ts";
import { seededRandom } from "../../../src/base/random.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { Attempts, openLane, type Lane, type Traffic } from "../../../src/proxy/choice/attempts.ts";
import { Deadlines } from "../../../src/proxy/deadlines.ts";
import { Ejections } from "../../../src/proxy/choice/outlier.ts";
import { TIMES } from "../../../src/proxy/proxy.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";

import { pool, SILENT, upstream } from "../fixtures.ts";

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
  for (let spent = 0; spent <= LIMITS.retryTokensMax; spent += 1) if (budget.take()) budget.finished();
  let count = 0;
  while (budget.take()) count += 1;
  return count;
}

function ejected({ traffic, now }: Bench): readonly string[] {
  return traffic.ejections.current(now).map(({ id }) => id);
}

test("attempts: each upstream that refuses is ejected, and each is tried once", () => {
  const on = bench("a", "b", "c");
  const attempts = new Attempts(on.traffic, on.lane);
  const seen: string[] = [];
  for (let next = attempts.next(); next !== null; next = attempts.next()) {
    seen.push(next.replica);
    assert.equal(attempts.failed("connect", POST, REFUSED), true);
  }
  assert.deepEqual(seen, ["a", "b", "c"]);
  assert.deepEqual(ejected(on), ["a:1", "b:1", "c:1"]);
});

test("attempts: when this host has no socket left nobody is ejected for it", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane);
  attempts.next();
  attempts.failed("connect", GET, new Failure("busy", "EMFILE"));
  assert.deepEqual(ejected(on), []);
});

test("attempts: a stale connection is made anew to the same upstream, once", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane);
  const first = attempts.next();
  assert.equal(attempts.failed("stale", GET, REFUSED), true);
  assert.equal(attempts.needsFreshConnection, true);
  assert.equal(attempts.next(), first);
  assert.equal(attempts.failed("connect", GET, REFUSED), true);
  assert.equal(attempts.needsFreshConnection, false);
  assert.notEqual(attempts.next(), first);
});

test("attempts: a late POST stays, a late GET is taken elsewhere where there is somebody better", () => {
  const on = bench("a", "b");
  const post = new Attempts(on.traffic, on.lane);
  post.next();
  assert.equal(post.leavesLate(POST), false);
  const get = new Attempts(on.traffic, on.lane);
  const first = get.next();
  assert.equal(get.leavesLate(GET), true);
  assert.deepEqual(ejected(on), [first?.id]);
  get.next();
  assert.equal(get.leavesLate(GET), false);
});

test("attempts: a late GET whose upstream has left the table meanwhile, or fallen behind, is taken elsewhere", () => {
  for (const rest of [pool([upstream("b", 1)]), pool([upstream("b", 1)], [], [upstream("a", 1)])]) {
    const on = bench("a");
    const attempts = new Attempts(on.traffic, on.lane);
    assert.equal(attempts.next()?.replica, "a");
    on.lane.pool = rest;
    assert.equal(attempts.leavesLate(GET), true);
    assert.equal(attempts.next()?.replica, "b");
  }
});

test("attempts: a late upstream gets the request back when the others refuse, and is then waited for", () => {
  const on = bench("a", "b");
  const attempts = new Attempts(on.traffic, on.lane);
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
    const attempts = new Attempts(on.traffic, on.lane);
    attempts.next();
    attempts.leavesLate(GET);
    attempts.next();
    on.now += tookMs;
    attempts.succeeded();
    // The ejection itself lasts a second: looked at from before it ends.
    assert.equal(on.traffic.ejections.current(10).length, left);
  }
});

test("attempts: retries after sent bytes end with the budget, failed connects do not", () => {
  const on = bench("a", "b");
  while (on.lane.budget.take());
  const attempts = new Attempts(on.traffic, on.lane);
  attempts.next();
  assert.equal(attempts.leavesLate(GET), false);
  assert.equal(attempts.failed("died", GET, REFUSED), false);
  assert.equal(attempts.failed("connect", GET, REFUSED), true);
});

test("attempts: whatever fails, no course is endless, and what retries were taken are given back", () => {
  const end = fc.constantFrom("connect", "stale", "died", "late");
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5 }),
      fc.array(end, { minLength: 40, maxLength: 40 }),
      (size, ends) => {
        const on = bench(...Array.from({ length: size }, (_, at) => `r${at}`));
        const attempts = new Attempts(on.traffic, on.lane);
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
