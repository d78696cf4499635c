// The schedule of probes: none too many, none forgotten, and what they find kept.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../src/base/random.ts";
import { ProbeSchedule, type Checked, type ProbeRequest } from "../../src/health/schedule.ts";
import type { ProbeOutcome } from "../../src/health/verdict.ts";
import type { ProbePlan } from "../../src/model/endpoint.ts";
import { DEFAULT_DELIVERY } from "../../src/model/service.ts";

const PASSED: ProbeOutcome = { kind: "passed" };
const REFUSED: ProbeOutcome = { kind: "failed", reason: "connection refused", refused: true };
const SLOW: ProbeOutcome = { kind: "failed", reason: "timeout", refused: false };
const half = (): number => 0.5;

const PROBE: ProbePlan = {
  kind: "tcp",
  port: 80,
  path: "",
  intervalMs: 1000,
  timeoutMs: 1000,
  rise: 1,
  fall: 2,
};

function endpoint(id: string, over: Partial<ProbePlan> = {}, rest: Partial<Checked> = {}): Checked {
  return {
    id,
    service: "web",
    address: "10.0.0.1",
    startedAtMs: 1,
    health: { kind: "probe", probe: { ...PROBE, ...over } },
    delivery: DEFAULT_DELIVERY,
    ...rest,
  };
}

/** A schedule of one endpoint that has passed its first probe at 0. */
function proven(checked = endpoint("a")): ProbeSchedule {
  const schedule = new ProbeSchedule(10);
  schedule.set([checked], 0);
  answer(schedule, PASSED, 0);
  return schedule;
}

/** Lets all that is due now end with one outcome. */
function answer(schedule: ProbeSchedule, outcome: ProbeOutcome, nowMs: number): readonly ProbeRequest[] {
  const requests = schedule.due(nowMs, half);
  for (const request of requests) schedule.result(request, outcome, nowMs, half);
  return requests;
}

const stateOf = (schedule: ProbeSchedule, id = "a") => schedule.verdicts().get(id)?.state;

test("schedule: never are more probes out than the bound, and no endpoint is left out for long", () => {
  const settings = fc.record({
    seed: fc.integer(),
    count: fc.integer({ min: 1, max: 40 }),
    bound: fc.integer({ min: 1, max: 6 }),
    answered: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(settings, ({ seed, count, bound, answered }) => {
      const random = seededRandom(seed);
      const schedule = new ProbeSchedule(bound);
      let all = Array.from({ length: count }, (_, index) => endpoint(`e${index}`, { timeoutMs: 100 }));
      schedule.set(all, 0);
      const startsById = new Map<string, number[]>(all.map(({ id }) => [id, []]));
      for (let nowMs = 0; nowMs <= 60_000; nowMs += 100) {
        // Now and then the set changes under way: some of the endpoints are restarted, their probes still out.
        if (random() < 0.01) {
          all = all.map((one) => (random() < 0.5 ? one : { ...one, startedAtMs: nowMs }));
          schedule.set(all, nowMs);
          // A restart takes its place at the end of the queue: it waits from then on.
          for (const { id } of all.filter((one) => one.startedAtMs === nowMs))
            startsById.get(id)?.push(nowMs);
        }
        const requests = schedule.due(nowMs, random);
        assert.ok(schedule.inFlight <= bound);
        for (const request of requests) {
          startsById.get(request.id)?.push(nowMs);
          if (random() < answered) schedule.result(request, random() < 0.5 ? PASSED : SLOW, nowMs, random);
        }
      }
      // Every probe ends within 100 ms and its 500 ms of grace, so a round of all takes at most this long.
      const roundMs = Math.ceil(count / bound) * 700 + 1100 + 200;
      for (const [id, starts] of startsById) {
        const gaps = [...starts, 60_000].map((at, index, list) => at - (list[index - 1] ?? 0));
        assert.ok(Math.max(...gaps) <= roundMs, `${id} waited ${Math.max(...gaps)} of ${roundMs} ms`);
      }
    }),
    { numRuns: 60 },
  );
});

test("schedule: at most one probe of an endpoint is out at a time", () => {
  const schedule = new ProbeSchedule(10);
  schedule.set([endpoint("a")], 0);
  assert.equal(schedule.due(0, half).length, 1);
  for (let nowMs = 0; nowMs < 1500; nowMs += 10)
    assert.equal(schedule.due(nowMs, half).length, 0, String(nowMs));
});

test("schedule: a thousand endpoints found in one moment do not stay in step", () => {
  const random = seededRandom(1);
  const schedule = new ProbeSchedule(5000);
  schedule.set(
    Array.from({ length: 1000 }, (_, index) => endpoint(`e${index}`)),
    0,
  );
  for (const request of schedule.due(0, random)) schedule.result(request, PASSED, 0, random);
  let most = 0;
  for (let nowMs = 10; nowMs <= 5000; nowMs += 10) {
    const requests = schedule.due(nowMs, random);
    most = Math.max(most, requests.length);
    for (const request of requests) schedule.result(request, PASSED, nowMs, random);
  }
  assert.ok(most < 40, `${most} in one 10 ms slot of 100, where 10 is the mean`);
});

test("schedule: a new endpoint is probed at once, then often until it passes, then at its own pace", () => {
  const schedule = new ProbeSchedule(10);
  schedule.set([endpoint("a")], 0);
  const starts: number[] = [];
  for (let nowMs = 0; nowMs <= 4000; nowMs += 10) {
    if (answer(schedule, nowMs < 350 ? REFUSED : PASSED, nowMs).length > 0) starts.push(nowMs);
  }
  assert.deepEqual(starts, [0, 100, 200, 300, 400, 900, 1900, 2900, 3900]);
});

test("schedule: one that does not come up is starting for some seconds, then unready and probed at its pace", () => {
  const schedule = new ProbeSchedule(10);
  schedule.set([endpoint("a")], 0);
  let count = 0;
  for (let nowMs = 0; nowMs < 5000; nowMs += 100) answer(schedule, REFUSED, nowMs);
  assert.equal(stateOf(schedule), "starting");
  answer(schedule, REFUSED, 5000);
  assert.equal(stateOf(schedule), "unready");
  for (let nowMs = 5000; nowMs < 10_000; nowMs += 100) count += answer(schedule, REFUSED, nowMs).length;
  assert.equal(count, 5);
});

test("schedule: an endpoint whose interval is shorter than the pace of a start keeps its own", () => {
  const schedule = new ProbeSchedule(10);
  schedule.set([endpoint("a", { intervalMs: 50 })], 0);
  answer(schedule, REFUSED, 0);
  assert.equal(schedule.due(50, half).length, 1);
});

test("schedule: a probe whose result does not come counts as failed, and what it says later is ignored", () => {
  const schedule = proven(endpoint("a", { fall: 1, timeoutMs: 200 }));
  const [lost] = schedule.due(500, half);
  assert.ok(lost !== undefined);
  schedule.due(1199, half);
  assert.equal(stateOf(schedule), "ready");
  schedule.due(1200, half);
  assert.deepEqual(schedule.verdicts().get("a"), { state: "unready", reason: "probe: no result in time" });
  assert.equal(schedule.result(lost, PASSED, 1300, half), false);
  assert.equal(stateOf(schedule), "unready");
});

test("schedule: result tells whether it changed anything", () => {
  const schedule = new ProbeSchedule(10);
  schedule.set([endpoint("a")], 0);
  const tell = (outcome: ProbeOutcome, nowMs: number) =>
    schedule.due(nowMs, half).map((request) => schedule.result(request, outcome, nowMs, half));
  assert.deepEqual(tell(PASSED, 0), [true]);
  assert.deepEqual(tell(PASSED, 1000), [false]);
  assert.deepEqual(tell(SLOW, 2000), [false], "one failure of two");
  assert.deepEqual(tell(SLOW, 3000), [true]);
  assert.deepEqual(tell(SLOW, 4000), [false]);
});

test("schedule: a reason that alternates is not told each time", () => {
  const schedule = proven(endpoint("a", { fall: 1 }));
  const other: ProbeOutcome = { kind: "failed", reason: "http status 503", refused: false };
  const reasons = new Set<string | undefined>();
  for (let turn = 1; turn < 10; turn += 1) {
    answer(schedule, turn % 2 === 0 ? SLOW : other, turn * 1000);
    reasons.add(schedule.verdicts().get("a")?.reason);
  }
  assert.deepEqual([...reasons], ["probe: http status 503"]);
  answer(schedule, SLOW, 20_000);
  answer(schedule, SLOW, 21_000);
  assert.equal(schedule.verdicts().get("a")?.reason, "probe: timeout");
});

test("schedule: a new set keeps what is known of endpoints that did not change", () => {
  const schedule = proven();
  schedule.set([endpoint("b"), endpoint("a")], 100);
  assert.equal(stateOf(schedule), "ready");
  assert.equal(stateOf(schedule, "b"), "starting");
});

test("schedule: a reload of pace and thresholds takes nobody out", () => {
  const schedule = proven();
  schedule.set([endpoint("a", { intervalMs: 5000, timeoutMs: 1, rise: 9, fall: 9 })], 100);
  assert.equal(stateOf(schedule), "ready");
});

test("schedule: a restart, another address and another question begin anew", () => {
  for (const changed of [
    endpoint("a", {}, { startedAtMs: 2 }),
    endpoint("a", {}, { address: "10.0.0.2" }),
    endpoint("a", { port: 81 }),
    endpoint("a", { kind: "http", path: "/" }),
  ]) {
    const schedule = proven();
    schedule.set([changed], 100);
    assert.equal(stateOf(schedule), "starting");
    assert.equal(schedule.due(100, half).length, 1);
  }
});

test("schedule: the result of a probe of the run before does not count for the new one", () => {
  const schedule = new ProbeSchedule(10);
  schedule.set([endpoint("a")], 0);
  const [old] = schedule.due(0, half);
  assert.ok(old !== undefined);
  schedule.set([endpoint("a", {}, { startedAtMs: 2 })], 10);
  assert.equal(schedule.inFlight, 1, "its socket is out all the same");
  assert.equal(schedule.result(old, PASSED, 20, half), false);
  assert.equal(stateOf(schedule), "starting");
  assert.equal(schedule.inFlight, 0);
});

test("schedule: an endpoint that is gone is neither probed nor spoken of", () => {
  const schedule = proven();
  schedule.set([], 100);
  assert.equal(schedule.due(10_000, half).length, 0);
  assert.equal(schedule.verdicts().size, 0);
});

test("schedule: endpoints that others have the say over are in the verdicts, and are not probed", () => {
  const schedule = new ProbeSchedule(10);
  schedule.set(
    [
      endpoint("a", {}, { health: { kind: "reported", status: "healthy" } }),
      endpoint("b", {}, { health: { kind: "none" } }),
    ],
    0,
  );
  assert.deepEqual(schedule.due(0, half), []);
  assert.deepEqual([stateOf(schedule, "a"), stateOf(schedule, "b")], ["ready", "ready"]);
});

test("schedule: what a predecessor found ready stays so until a probe, or its next run, says otherwise", () => {
  const schedule = new ProbeSchedule(10, ["a", "b"]);
  schedule.set([endpoint("a"), endpoint("b"), endpoint("c")], 0);
  assert.deepEqual(
    ["a", "b", "c"].map((id) => stateOf(schedule, id)),
    ["ready", "ready", "starting"],
  );
  answer(schedule, REFUSED, 0);
  assert.deepEqual(
    ["a", "b"].map((id) => stateOf(schedule, id)),
    ["unready", "unready"],
  );
  const again = new ProbeSchedule(10, ["a"]);
  again.set([endpoint("a")], 0);
  again.set([endpoint("a", {}, { startedAtMs: 2 })], 1);
  assert.equal(stateOf(again), "starting");
});
