// Durations: spans of time as labels and the config file write them.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { parseDuration, parseDurationOrOff, renderDuration } from "../../src/base/duration.ts";

const RANGE = { leastMs: 1, mostMs: 3_600_000 };
const parsed = (text: string): number | string => {
  const result = parseDuration("interval", text, RANGE);
  return result.ok ? result.value : result.failure.code;
};

test("duration: what is rendered parses to the same span", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3_600_000 }), (ms) => {
      assert.equal(parsed(renderDuration(ms)), ms);
    }),
  );
});

test("duration: any text gives a span within the range or a refusal, never a crash", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const value = parsed(text);
      assert.ok(value === "invalid" || (typeof value === "number" && value >= 1 && value <= 3_600_000));
    }),
  );
});

test("duration: units may be combined, as Compose writes them", () => {
  assert.equal(parsed("500ms"), 500);
  assert.equal(parsed("1.5s"), 1500);
  assert.equal(parsed("1m30s"), 90_000);
  assert.equal(parsed(" 1h "), 3_600_000);
});

test("duration: a bare number, a stranger's unit and an empty text are refused", () => {
  for (const text of ["1", "1d", "", "-1s", "1 s", "s", "1e3ms"]) assert.equal(parsed(text), "invalid", text);
});

test("duration: a refusal names the thing, its value and the range", () => {
  const result = parseDuration('label "x"', "2h", { leastMs: 100, mostMs: 3_600_000 });
  assert.ok(!result.ok);
  assert.match(result.failure.message, /label "x" is "2h"; expected 100ms\.\.1h/);
});

test("duration: off is none at all where it is allowed, and what is neither is told with both", () => {
  const orOff = (text: string) => parseDurationOrOff("ramp", text, { leastMs: 100, mostMs: 1000 });
  assert.deepEqual(orOff(" OFF "), { ok: true, value: 0 });
  assert.deepEqual(orOff("500ms"), { ok: true, value: 500 });
  const messages = ["on", "2s", "0s"].map((text) => {
    const result = orOff(text);
    return result.ok ? null : result.failure.message;
  });
  assert.deepEqual(messages, [
    'ramp is "on"; expected a duration such as 500ms or 1m30s, or off',
    'ramp is "2s"; expected 100ms..1s',
    'ramp is "0s"; expected 100ms..1s',
  ]);
});
