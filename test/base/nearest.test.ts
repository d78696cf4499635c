// Nearest: guesses at what a mistyped name was meant to be.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { editDistance, nearest } from "../../src/base/nearest.ts";

const KNOWN = ["skein.port", "skein.publish", "skein.service", "skein.health.http"];

test("nearest: a letter wrong, missing, doubled or swapped still finds the name that was meant", () => {
  for (const typo of ["skein.prot", "skein.por", "skein.portt", "skein.Port", "skein-port"]) {
    assert.equal(nearest(typo, KNOWN), "skein.port", typo);
  }
});

test("nearest: there is no guess for a name like none of the known ones", () => {
  assert.equal(nearest("skein.something-else", KNOWN), null);
  assert.equal(nearest("x", KNOWN), null);
  assert.equal(nearest("anything", []), null);
});

test("nearest: a known name is nearest to itself", () => {
  for (const name of KNOWN) assert.equal(nearest(name, KNOWN), name);
});

test("nearest: a name of a million characters is answered like any other", () => {
  assert.equal(nearest("skein.port".repeat(100_000), KNOWN), null);
});

test("editDistance: is a metric over any texts", () => {
  const text = fc.string({ maxLength: 12 });
  fc.assert(
    fc.property(text, text, text, (one, other, third) => {
      const distance = editDistance(one, other);
      assert.equal(distance === 0, one === other);
      assert.equal(distance, editDistance(other, one));
      assert.ok(distance <= Math.max(one.length, other.length));
      assert.ok(distance <= editDistance(one, third) + editDistance(third, other));
    }),
  );
});
