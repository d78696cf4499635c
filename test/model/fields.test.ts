// Fields: what JSON from peers must be before anything of it is taken.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  isLabelText,
  isObject,
  isPortValue,
  isShort,
  isText,
  isWhole,
  listFrom,
} from "../../src/model/fields.ts";

const NONE = [undefined, null, true, {}, [], Number.NaN] as const;

test("fields: objects are no lists and no null", () => {
  assert.deepEqual([{}, [], null, "x", undefined].map(isObject), [true, false, false, false, false]);
});

test("fields: numbers are whole and within their bounds, ports those of TCP", () => {
  assert.deepEqual(
    [0, 7, 8, -1, 1.5, "1", ...NONE].map((value) => isWhole(value, 7)),
    [true, true, false, false, false, false, ...NONE.map(() => false)],
  );
  assert.deepEqual([0, 1, 65_535, 65_536, "80"].map(isPortValue), [false, true, true, false, false]);
});

test("fields: texts have the form that is asked, labels that of DNS, free texts a bound", () => {
  assert.deepEqual(
    [isText("ab", /^[a-z]+$/), isText("a b", /^[a-z]+$/), isText(7, /./)],
    [true, false, false],
  );
  assert.deepEqual(["web", "Web", "a.b", 7].map(isLabelText), [true, false, false, false]);
  assert.deepEqual(["x".repeat(512), "x".repeat(513), 7].map(isShort), [true, false, false]);
});

test("fields: a list is read whole or not at all", () => {
  const even = (value: unknown): number | null => (isWhole(value, 100) && value % 2 === 0 ? value : null);
  assert.deepEqual(listFrom([2, 4], 2, even), [2, 4]);
  for (const bad of [[2, 3], [2, 4, 6], "24", null, undefined]) assert.equal(listFrom(bad, 2, even), null);
});
