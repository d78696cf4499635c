// What a node says of its own life survives its record, and a record that makes no sense says nothing.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { FIRST_LIFE, parseLife, REFUTATION_MAX, renderLife, type Life } from "../../src/gossip/life.ts";
import { LIMITS } from "../../src/model/limits.ts";

const HOUR_MS = 3_600_000;

const life: fc.Arbitrary<Life> = fc.record({
  refutation: fc.integer({ min: 0, max: REFUTATION_MAX - 1 }),
  said: fc.constantFrom("alive", "away", "left"),
  forMs: fc.nat({ max: HOUR_MS }),
});

test("life: what is said is what is read; only who is away says for how long", () => {
  fc.assert(
    fc.property(life, (life) => {
      const body = renderLife(life);
      assert.deepEqual(parseLife(body), { ...life, forMs: life.said === "away" ? life.forMs : 0 });
      assert.ok(body.length < LIMITS.recordBytes);
    }),
  );
});

test("life: a node without the record, or that deleted it, was never accused", () => {
  assert.deepEqual(parseLife(undefined), FIRST_LIFE);
  assert.deepEqual(parseLife(null), FIRST_LIFE);
});

test("life: nobody is away for longer than an hour, whatever he says", () => {
  const forMs = parseLife(renderLife({ refutation: 1, said: "away", forMs: Number.MAX_SAFE_INTEGER })).forMs;
  assert.equal(forMs, HOUR_MS);
});

test("life: a body of any text or value never throws, and never says more than it may", () => {
  const odd = fc.record({
    refutation: fc.oneof(fc.integer(), fc.double(), fc.string(), fc.constant(null)),
    said: fc.oneof(fc.constantFrom("alive", "away", "left", "dead"), fc.string()),
    forMs: fc.oneof(fc.integer(), fc.double(), fc.constant(-1)),
  });
  const body = fc.oneof(
    fc.string(),
    fc.json(),
    odd.map((value) => JSON.stringify(value)),
  );
  fc.assert(
    fc.property(body, (body) => {
      const { refutation, said, forMs } = parseLife(body);
      assert.ok(Number.isInteger(refutation) && refutation >= 0 && refutation <= REFUTATION_MAX);
      assert.ok(["alive", "away", "left"].includes(said));
      assert.ok(forMs >= 0 && forMs <= HOUR_MS && (forMs === 0 || said === "away"));
    }),
  );
});
