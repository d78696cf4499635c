// A certificate is renewed in good time, not by all at once, and by whoever can.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../src/base/random.ts";
import {
  Renewal,
  ROTATION_GRACE_MS,
  ROTATION_SPREAD_MS,
  type RenewalSituation,
} from "../../src/trust/renewal.ts";

const DAY_MS = 86_400_000;
const LIFE_MS = 90 * DAY_MS;
const ISSUED_MS = 1_800_000_000_000;
const FIRST = "1".repeat(64);
const SECOND = "2".repeat(64);

const situation = (changes: Partial<RenewalSituation> = {}): RenewalSituation => ({
  term: { issuedAtMs: ISSUED_MS, notAfterMs: ISSUED_MS + LIFE_MS, issuer: FIRST },
  newest: FIRST,
  hasKey: false,
  managers: ["m1", "m2"],
  ...changes,
});

const seeds = fc.integer();

/** When the first step that is no wait comes, looking again whenever told to. */
const dueAt = (renewal: Renewal, at: RenewalSituation, fromMs: number): number => {
  let nowMs = fromMs;
  for (;;) {
    const step = renewal.next(at, nowMs);
    if (step.kind !== "wait") return nowMs;
    assert.ok(step.untilMs > nowMs);
    nowMs = step.untilMs;
  }
};

describe("renewal", () => {
  it("renewal: is due between 50 and 80 % of a certificate's life, and stays at what was drawn", () => {
    fc.assert(
      fc.property(seeds, fc.array(fc.nat(44 * DAY_MS)), (seed, looks) => {
        const renewal = new Renewal(seededRandom(seed));
        const first = renewal.next(situation(), ISSUED_MS);
        assert.ok(first.kind === "wait");
        assert.ok(first.untilMs >= ISSUED_MS + 0.5 * LIFE_MS && first.untilMs <= ISSUED_MS + 0.8 * LIFE_MS);
        for (const afterMs of looks) {
          assert.deepEqual(renewal.next(situation(), ISSUED_MS + afterMs), first);
        }
        assert.equal(renewal.next(situation(), first.untilMs).kind, "ask");
      }),
    );
  });

  it("renewal: a hundred hosts that joined together renew in a hundred different hours, not in one", () => {
    const hours = new Set(
      Array.from({ length: 100 }, (_, seed) =>
        Math.floor(dueAt(new Renewal(seededRandom(seed)), situation(), ISSUED_MS) / 3_600_000),
      ),
    );
    assert.ok(hours.size > 80, `${hours.size} hours`);
  });

  it("renewal: whoever has the authority's key issues by itself, others ask one of the managers", () => {
    fc.assert(
      fc.property(seeds, fc.boolean(), (seed, hasKey) => {
        const at = situation({ hasKey });
        const renewal = new Renewal(seededRandom(seed));
        const step = renewal.next(at, dueAt(renewal, at, ISSUED_MS));
        if (hasKey) assert.equal(step.kind, "issue");
        else assert.ok(step.kind === "ask" && at.managers.includes(step.manager));
      }),
    );
  });

  it("renewal: with a new authority it is due once all have heard of it, at different moments, and only once", () => {
    const rotatedMs = ISSUED_MS + 10 * DAY_MS;
    const moments = Array.from({ length: 50 }, (_, seed) => {
      const renewal = new Renewal(seededRandom(seed));
      renewal.next(situation(), ISSUED_MS);
      const dueMs = dueAt(renewal, situation({ newest: SECOND }), rotatedMs);
      assert.ok(dueMs - rotatedMs >= ROTATION_GRACE_MS);
      assert.ok(dueMs - rotatedMs <= ROTATION_GRACE_MS + ROTATION_SPREAD_MS);
      const term = { issuedAtMs: dueMs, notAfterMs: dueMs + LIFE_MS, issuer: SECOND };
      const step = renewal.next(situation({ term, newest: SECOND }), dueMs);
      assert.ok(step.kind === "wait" && step.untilMs >= dueMs + 0.5 * LIFE_MS);
      return dueMs;
    });
    assert.ok(new Set(moments).size > 40);
  });

  it("renewal: a failed try is repeated later and later, up to ten minutes, with another manager", () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 30 }), (seed, tries) => {
        const renewal = new Renewal(seededRandom(seed));
        let nowMs = dueAt(renewal, situation(), ISSUED_MS);
        let last: string | null = null;
        for (let at = 0; at < tries; at += 1) {
          const step = renewal.next(situation(), nowMs);
          assert.ok(step.kind === "ask");
          assert.notEqual(step.manager, last);
          last = step.manager;
          renewal.failed(step.manager, nowMs);
          const retryMs = dueAt(renewal, situation(), nowMs) - nowMs;
          const longestMs = Math.min(600_000, 5000 * 2 ** at);
          assert.ok(retryMs >= longestMs / 2 && retryMs <= longestMs);
          nowMs += retryMs;
        }
      }),
    );
  });

  it("renewal: the only manager is asked again; with none there is nobody to ask, and it is looked again", () => {
    const renewal = new Renewal(seededRandom(1));
    const dueMs = dueAt(renewal, situation(), ISSUED_MS);
    const none = renewal.next(situation({ managers: [] }), dueMs);
    assert.ok(none.kind === "wait" && none.untilMs > dueMs && none.untilMs <= dueMs + 60_000);
    renewal.failed("m1", dueMs);
    const again = dueAt(renewal, situation({ managers: ["m1"] }), dueMs);
    assert.deepEqual(renewal.next(situation({ managers: ["m1"] }), again), { kind: "ask", manager: "m1" });
  });

  it("renewal: once the certificate has ended only whoever has the key can go on", () => {
    const lateMs = ISSUED_MS + LIFE_MS + 1;
    assert.deepEqual(new Renewal(seededRandom(1)).next(situation(), lateMs), { kind: "ended" });
    assert.deepEqual(new Renewal(seededRandom(1)).next(situation({ hasKey: true }), lateMs), {
      kind: "issue",
    });
  });

  it("renewal: when the time of day is set back, what was to come soon still does", () => {
    const weekMs = 7 * DAY_MS;
    const rotated = situation({ newest: SECOND });
    const renewal = new Renewal(seededRandom(1));
    assert.equal(renewal.next(rotated, ISSUED_MS + weekMs).kind, "wait");
    const backMs = ISSUED_MS + 1000;
    assert.equal(renewal.next(rotated, backMs).kind, "wait");
    const dueMs = dueAt(renewal, rotated, backMs);
    assert.ok(dueMs <= backMs + ROTATION_GRACE_MS + ROTATION_SPREAD_MS);
    renewal.failed("m1", dueMs + weekMs);
    assert.ok(dueAt(renewal, rotated, dueMs) <= dueMs + 600_000);
  });
});
