// What is left to a successor arrives as it was told, and nothing else is taken for it.

import assert from "node:assert/strict";
import test from "node:test";

import * as fc from "fast-check";

import { parseLegacy, renderLegacy, type Legacy } from "../../src/daemon/legacy.ts";

const legacies: fc.Arbitrary<Legacy> = fc.record({
  sockets: fc.array(fc.nat().map(String)),
  endpoints: fc.array(
    fc.record({
      id: fc.string(),
      address: fc.ipV4(),
      declaration: fc.record({
        ports: fc.array(
          fc.record({
            target: fc.integer({ min: 1, max: 65_535 }),
            protocol: fc.constantFrom("tcp", "udp", "http"),
          }),
        ),
      }),
    }),
  ),
  ready: fc.array(fc.string()),
});

test("legacy: what is rendered is one line, and is read as it was", () => {
  fc.assert(
    fc.property(legacies, (legacy) => {
      const line = renderLegacy(legacy);
      assert.ok(!line.includes("\n"));
      // Through JSON: what fast-check makes has no prototype.
      assert.deepEqual(parseLegacy(line), { ok: true, value: JSON.parse(JSON.stringify(legacy)) as Legacy });
    }),
  );
});

test("legacy: whatever else comes is refused, and never throws", () => {
  for (const text of ["", "{", "null", "[]", '{"sockets":[1],"endpoints":[],"ready":[]}']) {
    const parsed = parseLegacy(text);
    assert.ok(!parsed.ok && parsed.failure.code === "invalid", text);
  }
  fc.assert(
    fc.property(fc.json(), (text) => {
      const parsed = parseLegacy(text);
      assert.ok(parsed.ok || parsed.failure.code === "invalid");
    }),
  );
});

test("legacy: one endpoint that cannot be read spoils all, as half a picture would take replicas out", () => {
  const bad = { id: "a", address: "192.0.2.1", ports: [[80, "sctp"]] };
  const parsed = parseLegacy(JSON.stringify({ sockets: [], endpoints: [bad], ready: [] }));
  assert.ok(!parsed.ok);
});
