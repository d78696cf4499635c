// Outlier: how long a failing upstream is left alone, and what brings it back.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../../src/model/limits.ts";
import { Ejections, type Fault, type Recheck } from "../../../src/proxy/choice/outlier.ts";
import type { Upstream } from "../../../src/proxy/routes.ts";

import { upstream } from "../fixtures.ts";

const A = upstream("a", 1);

function fault(nowMs: number, changes: Partial<Fault> = {}): Fault {
  return { reason: "connect", recheck: "connect", sentAtMs: nowMs, nowMs, ...changes };
}

/** A request was sent, and nobody was answered by the upstream for long. */
function silence(nowMs: number): Fault {
  return fault(nowMs, { reason: "late", recheck: "request" });
}

function untilMs(ejections: Ejections): number | undefined {
  return ejections.current[0]?.untilMs;
}

/** Fails every probe of an upstream; how long each ejection was. */
function durations(ejections: Ejections, count: number, fromMs = 0): readonly number[] {
  ejections.failed(A, fault(fromMs));
  let nowMs = fromMs;
  return Array.from({ length: count }, () => {
    const lasted = (untilMs(ejections) ?? nowMs) - nowMs;
    nowMs += lasted;
    assert.deepEqual(ejections.due(nowMs, 9), [{ id: A.id, recheck: "connect" }]);
    ejections.checked(A.id, "failed", nowMs);
    return lasted;
  });
}

test("failed: ejects for a second, doubling with each failed probe up to thirty seconds", () => {
  assert.deepEqual(durations(new Ejections(), 7), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

test("failed: requests that fail together count as one", () => {
  const ejections = new Ejections();
  assert.equal(ejections.failed(A, fault(0)), true);
  assert.equal(ejections.failed(A, fault(1)), false);
  assert.deepEqual(ejections.current, [{ id: "a:1", untilMs: 1000, reason: "connect" }]);
  assert.equal(ejections.failedAtMs("a:1"), 1, "it has failed once more all the same");
});

test("due: an upstream stays away until a probe has passed, however long that takes", () => {
  const ejections = new Ejections();
  ejections.failed(A, fault(0));
  assert.deepEqual(ejections.due(999, 9), []);
  assert.equal(ejections.isEjected("a:1"), true);
  assert.equal(ejections.due(1000, 9).length, 1);
  assert.deepEqual(ejections.due(50_000, 9), [], "it is given out once");
  assert.equal(ejections.isEjected("a:1"), true);
  ejections.checked("a:1", "passed", 50_000);
  assert.equal(ejections.isEjected("a:1"), false);
  assert.equal(ejections.isEmpty, true);
});

test("due: half a minute after its return nothing is remembered of an upstream", () => {
  const ejections = new Ejections();
  ejections.failed(A, fault(500));
  ejections.due(2000, 9);
  ejections.checked("a:1", "passed", 2000);
  ejections.due(31_999, 9);
  assert.equal(ejections.failedAtMs("a:1"), 500);
  ejections.due(32_000, 9);
  assert.equal(ejections.failedAtMs("a:1"), 0);
});

test("due: no more than asked for, and the others next time", () => {
  const ejections = new Ejections();
  for (const id of ["a", "b", "c"]) ejections.failed(upstream(id, 1), fault(0));
  assert.deepEqual(
    [2, 2, 2].map((countMax) => ejections.due(1000, countMax).map(({ id }) => id)),
    [["a:1", "b:1"], ["c:1"], []],
  );
});

test("due: what cannot be probed is back when its time is over", () => {
  const ejections = new Ejections();
  ejections.failed(A, fault(0, { recheck: "none" }));
  assert.deepEqual(ejections.due(999, 9), []);
  assert.equal(ejections.isEjected("a:1"), true);
  assert.deepEqual(ejections.due(1000, 9), []);
  assert.equal(ejections.isEjected("a:1"), false);
});

test("checked: a probe that this host could not make is neither good nor bad news", () => {
  const ejections = new Ejections();
  ejections.failed(A, fault(0));
  ejections.due(1000, 9);
  ejections.checked("a:1", "unknown", 1000);
  assert.equal(untilMs(ejections), 2000);
});

test("checked: means nothing for an upstream that is not waiting for it", () => {
  const ejections = new Ejections();
  ejections.checked("a:1", "failed", 0);
  assert.equal(ejections.isEjected("a:1"), false);
  ejections.failed(A, fault(0));
  ejections.checked("a:1", "passed", 1);
  assert.equal(ejections.isEjected("a:1"), true);
});

test("failed: soon after its return an upstream is out for twice as long, half a minute later for a second", () => {
  for (const [servedMs, lastsMs] of [
    [29_999, 2000],
    [30_000, 1000],
  ] as const) {
    const ejections = new Ejections();
    ejections.failed(A, fault(0));
    ejections.due(1000, 9);
    ejections.checked("a:1", "passed", 1000);
    const nowMs = 1000 + servedMs;
    assert.equal(ejections.failed(A, fault(nowMs)), true);
    assert.equal(untilMs(ejections), nowMs + lastsMs);
  }
});

test("failed: what was sent before an upstream came back says nothing about it", () => {
  const ejections = new Ejections();
  ejections.failed(A, fault(0));
  ejections.due(1000, 9);
  ejections.checked("a:1", "passed", 1200);
  assert.equal(ejections.failed(A, fault(1500, { sentAtMs: 1100 })), false);
  assert.equal(ejections.isEjected("a:1"), false);
});

test("succeeded: an answer brings an upstream back, unless it was sent for before the failure", () => {
  const ejections = new Ejections();
  ejections.failed(A, fault(100));
  ejections.succeeded("a:1", { sentAtMs: 50, nowMs: 200 });
  assert.equal(ejections.isEjected("a:1"), true);
  ejections.succeeded("a:1", { sentAtMs: 150, nowMs: 200 });
  assert.equal(ejections.isEjected("a:1"), false);
  ejections.failed(A, fault(300));
  assert.equal(untilMs(ejections), 2300, "its doubling is remembered");
});

test("acquit: takes back what was for being late, and nothing else", () => {
  const ejections = new Ejections();
  ejections.failed(A, fault(0, { reason: "late", recheck: "request" }));
  ejections.acquit("a:1");
  assert.equal(ejections.isEjected("a:1"), false);
  ejections.failed(A, fault(1));
  assert.equal(untilMs(ejections), 1001);
  ejections.acquit("a:1");
  assert.equal(ejections.isEjected("a:1"), true);
});

test("acquit: does not take back what a probe has confirmed", () => {
  const ejections = new Ejections();
  ejections.failed(A, silence(0));
  ejections.due(0, 9);
  ejections.checked("a:1", "failed", 3000);
  ejections.acquit("a:1");
  assert.equal(ejections.isEjected("a:1"), true);
});

test("failed: who is silent is probed at once; silent again without an answer to anybody, it is out for longer", () => {
  const ejections = new Ejections();
  const lasting = [0, 1, 2, 3].map((nowMs) => {
    assert.equal(ejections.failed(A, silence(nowMs * 10_000)), true);
    const until = untilMs(ejections) ?? 0;
    assert.equal(ejections.due(until, 9).length, 1);
    ejections.checked("a:1", "passed", until);
    return until - nowMs * 10_000;
  });
  assert.deepEqual(lasting, [0, 1000, 2000, 4000]);
  ejections.answered("a:1");
  ejections.failed(A, silence(40_000));
  assert.equal(untilMs(ejections), 40_000);
});

test("checked: who is silent and fails its probe is out for a second, then for longer", () => {
  const ejections = new Ejections();
  ejections.failed(A, silence(0));
  const lasting = ["unknown", "failed", "failed"].map((outcome) => {
    const nowMs = untilMs(ejections) ?? 0;
    ejections.due(nowMs, 9);
    ejections.checked("a:1", outcome === "unknown" ? "unknown" : "failed", nowMs);
    return (untilMs(ejections) ?? 0) - nowMs;
  });
  assert.deepEqual(lasting, [1000, 2000, 4000]);
});

test("answered: an answer of any time ends an ejection for silence, and no other", () => {
  const ejections = new Ejections();
  const B = upstream("b", 1);
  ejections.failed(A, silence(0));
  ejections.failed(B, fault(0));
  for (const { id } of [A, B]) ejections.answered(id);
  assert.deepEqual(
    [A, B].map(({ id }) => ejections.reasonOf(id)),
    [null, "connect"],
  );
  assert.equal(ejections.failedAtMs("a:1"), 0);
});

test("isHung: of one that is ejected for silence once its probe has failed, until it is back", () => {
  const ejections = new Ejections();
  const isHung = (): boolean => ejections.isHung("a:1");
  ejections.failed(A, silence(0));
  assert.equal(isHung(), false);
  ejections.due(0, 9);
  ejections.checked("a:1", "failed", 3000);
  assert.equal(isHung(), true);
  ejections.due(4000, 9);
  assert.equal(isHung(), true);
  ejections.checked("a:1", "passed", 4000);
  assert.equal(isHung(), false);
});

/** What keepOnly asks, for upstreams that are all eligible. */
function knowing(...upstreams: readonly Upstream[]) {
  return (id: string): { readonly upstream: Upstream; readonly isEligible: boolean } | null => {
    const found = upstreams.find((one) => one.id === id);
    return found === undefined ? null : { upstream: found, isEligible: true };
  };
}

test("keepOnly: forgets upstreams that have left, and those that live anew elsewhere", () => {
  const ejections = new Ejections();
  for (const id of ["a", "b", "c"]) ejections.failed(upstream(id, 1), fault(100));
  ejections.streaks.bad("a:1");
  ejections.keepOnly(knowing(upstream("b", 1), upstream("c", 1, { address: "127.0.0.2" })));
  assert.deepEqual(
    ejections.current.map(({ id }) => id),
    ["b:1"],
  );
  assert.equal(ejections.streaks.countOf("a:1"), 0);
});

test("keepOnly: an upstream that its owner has found well since it failed is probed at once", () => {
  const ejections = new Ejections();
  durations(ejections, 4);
  const nowMs = 20_000;
  ejections.keepOnly(knowing(upstream("a", 1, { sinceMs: 10 })));
  ejections.keepOnly(() => ({ upstream: upstream("a", 1, { sinceMs: nowMs }), isEligible: false }));
  assert.deepEqual(ejections.due(nowMs, 9), []);
  ejections.keepOnly(knowing(upstream("a", 1, { sinceMs: nowMs })));
  assert.equal(ejections.due(nowMs, 9).length, 1);
});

test("failed: beyond the bound the oldest ejection is forgotten", () => {
  const ejections = new Ejections();
  for (let at = 0; at <= LIMITS.ejectionsMax; at += 1) ejections.failed(upstream(`u${at}`, 1), fault(0));
  assert.equal(ejections.current.length, LIMITS.ejectionsMax);
  assert.equal(ejections.isEjected("u0:1"), false);
});

test("due: whatever happens, no ejection lasts longer than thirty seconds before it is probed", () => {
  const happening = fc.record({
    what: fc.constantFrom("failed", "succeeded", "passed", "unanswered", "unknown", "table"),
    recheck: fc.constantFrom<Recheck>("connect", "request", "none"),
    waitMs: fc.integer({ min: 0, max: 40_000 }),
  });
  fc.assert(
    fc.property(fc.array(happening), (happenings) => {
      const ejections = new Ejections();
      let nowMs = 0;
      for (const { what, recheck, waitMs } of happenings) {
        nowMs += waitMs;
        const outBefore = ejections.isEjected("a:1");
        if (what === "failed") assert.equal(ejections.failed(A, fault(nowMs, { recheck })), !outBefore);
        else if (what === "succeeded") ejections.succeeded("a:1", { sentAtMs: nowMs, nowMs });
        else if (what === "table") ejections.keepOnly(knowing(A));
        else {
          ejections.due(nowMs, 9);
          ejections.checked("a:1", what === "unanswered" ? "failed" : what, nowMs);
        }
        assert.equal(ejections.isEmpty, ejections.current.length === 0);
      }
      ejections.checked("a:1", "unknown", nowMs);
      ejections.due(nowMs + 30_000, 9);
      ejections.checked("a:1", "passed", nowMs + 30_000);
      assert.equal(ejections.isEjected("a:1"), false);
    }),
  );
});

test("Ejections: who watches is told when one more or one less is left alone, and of nothing else", () => {
  let told = 0;
  const ejections = new Ejections(() => void (told += 1));
  const one = upstream("a", 1);
  const fault = { reason: "connect", recheck: "connect", sentAtMs: 1000, nowMs: 1000 } as const;
  ejections.failed(one, fault);
  assert.equal(told, 1);
  ejections.failed(one, fault);
  ejections.due(2000, 10);
  ejections.checked(one.id, "failed", 2000);
  assert.equal(told, 1);
  ejections.due(5000, 10);
  ejections.checked(one.id, "passed", 5000);
  assert.equal(told, 2);
  ejections.due(60_000, 10);
  assert.equal(told, 2, "forgiven, it is in use as before");
});
