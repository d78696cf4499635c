// What was let go is left alone for ten minutes, but for who had it.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { NOTHING_KEPT, parseKept } from "../../src/model/kept.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { Quarantine, QUARANTINE_MS } from "../../src/view/quarantine.ts";

const held = (holders: Readonly<Record<string, string>>) => new Map(Object.entries(holders));

test("quarantine: what a service let go is barred for others for ten minutes, and free for itself at once", () => {
  const quarantine = new Quarantine([], 0);
  quarantine.observe(held({ "10.96.1.1": "default/a" }), 1000);
  assert.equal(quarantine.releasedAtMs("10.96.1.1", "default/b", 1000), null);
  quarantine.observe(held({}), 2000);
  assert.equal(quarantine.releasedAtMs("10.96.1.1", "default/b", 2000), 2000);
  assert.equal(quarantine.releasedAtMs("10.96.1.1", "default/a", 2000), null);
  assert.equal(quarantine.releasedAtMs("10.96.1.1", "default/b", 2000 + QUARANTINE_MS - 1), 2000);
  assert.equal(quarantine.releasedAtMs("10.96.1.1", "default/b", 2000 + QUARANTINE_MS), null);
});

test("quarantine: a first picture lets nothing go, and what is held again, by whomever, is not barred later", () => {
  const quarantine = new Quarantine([], 0);
  quarantine.observe(held({ x: "a" }), 1000);
  assert.deepEqual(quarantine.releases, []);
  quarantine.observe(held({}), 2000);
  quarantine.observe(held({ x: "b" }), 3000);
  assert.deepEqual(quarantine.releases, []);
  quarantine.observe(held({}), 4000);
  assert.deepEqual(quarantine.releases, [{ name: "x", holder: "b", atMs: 4000 }]);
});

test("quarantine: a restart does not end it, and a clock set back does not make it longer", () => {
  const first = new Quarantine([], 0);
  first.observe(held({ x: "a", y: "b" }), 1000);
  first.observe(held({}), 5000);
  const second = new Quarantine(first.releases, 6000);
  assert.equal(second.releasedAtMs("x", "c", 6000), 5000);
  const behind = new Quarantine(first.releases, 2000);
  assert.equal(behind.releasedAtMs("y", "c", 2000 + QUARANTINE_MS), null);
});

test("quarantine: what it keeps can be read back, whatever fractions the clock has", () => {
  const quarantine = new Quarantine([], 0);
  quarantine.observe(held({ x: "a" }), 1000.126);
  quarantine.observe(held({}), 5000.987);
  const again = new Quarantine(quarantine.releases, 5000.5);
  for (const { releases } of [quarantine, again]) {
    const state = JSON.parse(JSON.stringify({ ...NOTHING_KEPT, releases })) as unknown;
    assert.deepEqual(parseKept(state), { ok: true, value: { ...NOTHING_KEPT, releases } });
  }
});

test("quarantine: what is over is forgotten, and past the bound the oldest", () => {
  const quarantine = new Quarantine([], 0);
  const many = Array.from({ length: LIMITS.quarantined + 3 }, (_, index) => [`n${index}`, "a"] as const);
  quarantine.observe(new Map(many), 1);
  quarantine.observe(new Map(many.slice(3)), 2);
  quarantine.observe(new Map(), 3);
  assert.equal(quarantine.releases.length, LIMITS.quarantined);
  assert.equal(quarantine.releases[0]?.atMs, 3);
  quarantine.observe(new Map(), 3 + QUARANTINE_MS);
  assert.deepEqual(quarantine.releases, []);
});

test("quarantine: the revision tells when there is something else to keep, and only then", () => {
  const quarantine = new Quarantine([], 0);
  const seen: number[] = [];
  const see = (holders: Readonly<Record<string, string>>, nowMs: number) => {
    quarantine.observe(held(holders), nowMs);
    seen.push(quarantine.revision);
  };
  see({ x: "a" }, 1);
  see({ x: "a" }, 2);
  see({}, 3);
  see({}, 4);
  see({}, 3 + QUARANTINE_MS);
  assert.deepEqual(seen, [0, 0, 1, 1, 2]);
});

test("quarantine: whatever comes and goes, nobody is given what another let go within ten minutes", () => {
  const step = fc.record({
    holders: fc.dictionary(fc.constantFrom("x", "y", "z"), fc.constantFrom("a", "b"), {
      noNullPrototype: true,
    }),
    pauseMs: fc.constantFrom(1, QUARANTINE_MS / 2, QUARANTINE_MS),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const quarantine = new Quarantine([], 0);
      const lastByName = new Map<string, { holder: string; goneAtMs: number | null }>();
      let nowMs = 0;
      for (const { holders, pauseMs } of steps) {
        nowMs += pauseMs;
        quarantine.observe(held(holders), nowMs);
        for (const [name, last] of lastByName) if (!(name in holders)) last.goneAtMs ??= nowMs;
        for (const [name, holder] of Object.entries(holders))
          lastByName.set(name, { holder, goneAtMs: null });
        for (const name of ["x", "y", "z"]) {
          const last = lastByName.get(name);
          const isRecent =
            last !== undefined && last.goneAtMs !== null && nowMs - last.goneAtMs < QUARANTINE_MS;
          for (const asker of ["a", "b"]) {
            const expected = isRecent && last.holder !== asker ? last.goneAtMs : null;
            assert.equal(quarantine.releasedAtMs(name, asker, nowMs), expected);
          }
        }
      }
    }),
  );
});
