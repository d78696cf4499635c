// What is on disk between two runs is checked whole before any of it counts.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { NOTHING_KEPT, parseKept, type KeptState } from "../../src/model/kept.ts";
import { LIMITS } from "../../src/model/limits.ts";

import { label, port } from "./arbitraries.ts";

const kept: fc.Arbitrary<KeptState> = fc
  .record({
    incarnation: fc.maxSafeNat(),
    claims: fc.array(fc.record({ key: label, address: fc.ipV4(), order: fc.maxSafeNat() }), { maxLength: 4 }),
    slices: fc.array(fc.record({ network: label, index: fc.maxSafeNat(), order: fc.maxSafeNat() }), {
      maxLength: 4,
    }),
    releases: fc.array(fc.record({ name: label, holder: label, atMs: fc.maxSafeNat() }), { maxLength: 4 }),
    addresses: fc.array(fc.record({ host: fc.domain(), port }), { maxLength: 4 }),
    drains: fc.array(fc.record({ id: label, startedAtMs: fc.maxSafeNat() }), { maxLength: 4 }),
    isDrained: fc.boolean(),
  })
  .map((state) => structuredClone(state));

test("kept: whatever was kept comes back from JSON", () => {
  fc.assert(
    fc.property(kept, (state) => {
      assert.deepEqual(parseKept(JSON.parse(JSON.stringify(state))), { ok: true, value: state });
    }),
  );
  assert.ok(parseKept(NOTHING_KEPT).ok);
});

test("kept: a state file of a version that knew neither slices, releases nor drains of hosts is read", () => {
  const { incarnation, claims, addresses, drains } = NOTHING_KEPT;
  assert.deepEqual(parseKept({ incarnation, claims, addresses, drains }), { ok: true, value: NOTHING_KEPT });
});

test("kept: anything else is corrupt, named by its field, and never thrown at", () => {
  const bad: readonly (readonly [string, unknown])[] = [
    ["incarnation", -1],
    ["incarnation", 1.5],
    ["isDrained", 1],
    ["incarnation", "1"],
    ["claims", null],
    ["claims", [{ key: "default/web", address: "::1", order: 1 }]],
    ["claims", [{ key: "default/web", address: "10.96.0.300", order: 1 }]],
    ["claims", [{ key: 5, address: "10.96.0.3", order: 1 }]],
    ["claims", [{ key: "default/web", address: "10.96.0.3" }]],
    [
      "claims",
      Array.from({ length: LIMITS.claimsRemembered + 1 }, () => ({
        key: "a/b",
        address: "10.0.0.1",
        order: 1,
      })),
    ],
    ["addresses", [{ host: "a", port: 0 }]],
    ["addresses", [{ port: 1 }]],
    ["addresses", ["a:7650"]],
    ["slices", [{ network: "front", index: -1, order: 1 }]],
    ["slices", {}],
    ["releases", [{ name: "10.96.0.3", holder: 5, atMs: 1 }]],
    ["releases", [{ name: "10.96.0.3", holder: "a/b", atMs: 1.5 }]],
    ["releases", null],
    ["drains", [{ id: "x" }]],
    ["drains", {}],
  ];
  for (const [field, value] of bad) {
    const parsed = parseKept({ ...NOTHING_KEPT, [field]: value });
    assert.ok(
      !parsed.ok && parsed.failure.code === "corrupt",
      `${field} ${JSON.stringify(value).slice(0, 40)}`,
    );
    assert.ok(parsed.failure.message.includes(`"${field}"`) && parsed.failure.message.length < 300);
  }
  for (const value of [null, undefined, 5, "x", [], { incarnation: 1 }])
    assert.equal(parseKept(value).ok, false);
  fc.assert(fc.property(fc.anything(), (value) => void parseKept(value)));
});
