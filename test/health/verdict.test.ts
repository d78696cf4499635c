// Verdicts: when an endpoint counts as ready, and the words that say why.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  judge,
  readiness,
  UNPROVEN,
  type ProbeOutcome,
  type Thresholds,
  type Verdict,
} from "../../src/health/verdict.ts";

const PASSED: ProbeOutcome = { kind: "passed" };
const FAILED: ProbeOutcome = { kind: "failed", reason: "http status 503", refused: false };
const REFUSED: ProbeOutcome = { kind: "failed", reason: "connection refused", refused: true };
const READY: Verdict = { ready: true, streak: 0 };

const outcome = fc.constantFrom(PASSED, FAILED, REFUSED);
const thresholds = fc.record({ rise: fc.integer({ min: 1, max: 5 }), fall: fc.integer({ min: 1, max: 5 }) });

const fold = (outcomes: readonly ProbeOutcome[], limits: Thresholds, from: Verdict = UNPROVEN): Verdict =>
  outcomes.reduce((verdict, one) => judge(verdict, one, limits), from);

test("judge: ready means `rise` passes in a row, and since then neither `fall` failures in a row nor a refusal", () => {
  fc.assert(
    fc.property(fc.array(outcome, { maxLength: 40 }), thresholds, (outcomes, limits) => {
      // The rule once more, told over the whole history instead of step by step.
      let ready = false;
      let since = 0;
      for (let end = 1; end <= outcomes.length; end += 1) {
        const last = (count: number) => (end - since >= count ? outcomes.slice(end - count, end) : []);
        const passes = last(limits.rise);
        const failures = last(limits.fall);
        const rises = passes.length > 0 && passes.every((one) => one.kind === "passed");
        const falls = failures.length > 0 && failures.every((one) => one.kind === "failed");
        const refused = outcomes[end - 1] === REFUSED;
        const next: boolean = ready ? !(falls || refused) : rises;
        if (next !== ready) since = end;
        ready = next;
      }
      assert.equal(fold(outcomes, limits).ready, ready);
    }),
    { numRuns: 500 },
  );
});

test("judge: an outcome that agrees and finds no streak gives back the same object", () => {
  fc.assert(
    fc.property(thresholds, (limits) => {
      assert.equal(judge(READY, PASSED, limits), READY);
      assert.equal(judge(UNPROVEN, FAILED, limits), UNPROVEN);
    }),
  );
});

test("judge: two failures, a pass, two failures leave an endpoint ready when fall is 3", () => {
  const verdict = fold([FAILED, FAILED, PASSED, FAILED, FAILED], { rise: 1, fall: 3 }, READY);
  assert.deepEqual(verdict, { ready: true, streak: 2 });
});

test("judge: a refused connection takes an endpoint out at once, whatever fall is", () => {
  assert.deepEqual(judge(READY, REFUSED, { rise: 1, fall: 100 }), { ready: false, streak: 0 });
});

test("judge: a new endpoint earns its first traffic with rise passes in a row", () => {
  assert.equal(fold([PASSED, PASSED], { rise: 3, fall: 1 }).ready, false);
  assert.equal(fold([PASSED, PASSED, FAILED, PASSED, PASSED], { rise: 3, fall: 1 }).ready, false);
  assert.equal(fold([PASSED, PASSED, PASSED], { rise: 3, fall: 1 }).ready, true);
});

test("judge: a threshold lowered below the streak already counted takes effect with the next result", () => {
  const verdict = fold([FAILED, FAILED, FAILED], { rise: 1, fall: 5 }, READY);
  assert.equal(judge(verdict, FAILED, { rise: 1, fall: 2 }).ready, false);
});

test("readiness: Docker's health check is believed as it is reported", () => {
  const of = (status: "starting" | "healthy" | "unhealthy") => readiness({ kind: "reported", status }, null);
  assert.deepEqual(of("starting"), { state: "starting", reason: "docker: health check starting" });
  assert.deepEqual(of("healthy"), { state: "ready", reason: "docker: health check passing" });
  assert.deepEqual(of("unhealthy"), { state: "unready", reason: "docker: health check failing" });
});

test("readiness: an endpoint that nobody checks is ready while it runs", () => {
  assert.equal(readiness({ kind: "none" }, null).state, "ready");
});

test("readiness: a probed endpoint says who says so and why", () => {
  const probe = { kind: "tcp", port: 80, path: "", intervalMs: 1, timeoutMs: 1, rise: 1, fall: 1 } as const;
  const of = (findings: Parameters<typeof readiness>[1]) => readiness({ kind: "probe", probe }, findings);
  assert.deepEqual(of(null), { state: "starting", reason: "probe: not run yet" });
  const fresh = { verdict: UNPROVEN, starting: true, failure: null };
  assert.deepEqual(of(fresh), { state: "starting", reason: "probe: not passed yet" });
  assert.deepEqual(of({ ...fresh, failure: "connection refused" }), {
    state: "starting",
    reason: "probe: connection refused",
  });
  assert.equal(of({ ...fresh, starting: false }).state, "unready");
  assert.deepEqual(of({ verdict: READY, starting: false, failure: "old" }), {
    state: "ready",
    reason: "probe: passing",
  });
});
