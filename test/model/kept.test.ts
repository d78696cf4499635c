// Kept: what a state file may hold.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { NOTHING_KEPT, parseKept, type KeptState } from "../../src/model/kept.ts";

const KEPT: KeptState = {
  incarnation: 7,
  claims: [{ key: "default/web", address: "10.96.3.4", order: 2 }],
  addresses: [{ host: "192.0.2.1", port: 7650 }],
  drains: [{ id: "web-1", startedAtMs: 12 }],
};

test("kept: what was written is read again", () => {
  for (const state of [KEPT, NOTHING_KEPT]) {
    assert.deepEqual(parseKept(JSON.parse(JSON.stringify(state))), { ok: true, value: state });
  }
});

test("kept: a field that is missing or of another form is refused by name", () => {
  const broken = [
    { ...KEPT, incarnation: -1 },
    { ...KEPT, claims: [{ key: "default/web", address: "10.96.3", order: 2 }] },
    { ...KEPT, addresses: [{ host: "192.0.2.1", port: 0 }] },
    { ...KEPT, drains: [{ id: 5, startedAtMs: 12 }] },
  ];
  for (const [index, field] of ["incarnation", "claims", "addresses", "drains"].entries()) {
    const parsed = parseKept(broken[index]);
    assert.ok(
      !parsed.ok && parsed.failure.code === "corrupt" && parsed.failure.message.includes(`"${field}"`),
    );
  }
});

test("kept: whatever a file holds is read or refused, never thrown at", () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      assert.equal(typeof parseKept(value).ok, "boolean");
    }),
  );
});
