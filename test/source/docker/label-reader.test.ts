// The label reader: a bad value harms nothing but itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import { failed, success } from "../../../src/base/failure.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { openReader } from "../../../src/source/docker/label-reader.ts";
import { labels } from "./fixture.ts";

const digits = (thing: string, text: string) =>
  /^\d+$/.test(text) ? success(Number(text)) : failed("invalid", `${thing} is "${text}"; expected digits`);

test("label reader: an absent label gives its default, a bad one its default and a problem", () => {
  const reader = openReader(labels({ bad: "x", good: " 7 " }));
  assert.equal(reader.read("absent", digits, 1), 1);
  assert.equal(reader.read("good", digits, 1), 7);
  assert.deepEqual(reader.problems(), []);
  assert.equal(reader.read("bad", digits, 1), 1);
  assert.deepEqual(reader.problems(), ['label "bad" is "x"; expected digits']);
});

test("label reader: a list loses its bad elements only, and what is over its bound", () => {
  const reader = openReader(labels({ list: "1, x,2,,3" }));
  assert.deepEqual(reader.readList("list", digits, 2), [1, 2]);
  assert.equal(reader.problems().length, 2);
  assert.deepEqual(reader.readList("absent", digits, 2), []);
});

test("label reader: a value too long to be looked at counts as absent, and is reported without being repeated", () => {
  const reader = openReader(labels({ long: "1".repeat(LIMITS.labelValueBytes + 1) }));
  assert.equal(reader.read("long", digits, 5), 5);
  assert.deepEqual(reader.readList("long", digits, 5), []);
  assert.equal(reader.problems().length, 1);
  assert.ok((reader.problems()[0]?.length ?? 0) < 100);
});

test("label reader: problems are told once each, and no more than the bound", () => {
  const reader = openReader(labels({}));
  for (let index = 0; index < 1000; index += 1) reader.report(`problem ${index % 100}`);
  assert.equal(reader.problems().length, LIMITS.problemsPerSubject);
  assert.equal(new Set(reader.problems()).size, LIMITS.problemsPerSubject);
});
