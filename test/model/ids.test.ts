// Names that become DNS labels are checked once, here.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { isLabel, isNodeId, labelFrom, parseLabel, serviceKey } from "../../src/model/ids.ts";
import { LIMITS } from "../../src/model/limits.ts";

import { label } from "./arbitraries.ts";

test("label: letters, digits, underscores and inner hyphens, up to 63", () => {
  for (const text of ["a", "_", "a-b", "my_stack_web", "0", "a".repeat(63), "_a", "a--b"])
    assert.ok(isLabel(text), text);
  const bad = ["", "-", "-a", "a-", "A", "a.b", "a b", "ä", "a".repeat(64), "a/b", "a\n", "*"];
  for (const text of bad) assert.equal(isLabel(text), false, JSON.stringify(text));
});

test("label: what is parsed is a label, and is the text itself in lower case", () => {
  fc.assert(
    fc.property(fc.oneof(label, fc.string()), (text) => {
      const parsed = parseLabel("name", text);
      if (parsed.ok) assert.ok(isLabel(parsed.value) && parsed.value === text.toLowerCase());
      else assert.ok(!isLabel(text) && parsed.failure.code === "invalid");
    }),
  );
  assert.deepEqual(parseLabel("name", "Web-1"), { ok: true, value: "web-1" });
});

test("label: a refusal names the thing, the value and what was expected", () => {
  const parsed = parseLabel('label "skein.service"', "my web");
  assert.ok(!parsed.ok);
  assert.match(parsed.failure.message, /label "skein\.service" is "my web"; expected .*63/);
});

test("label: free text becomes a label or nothing, and a label stays as it is", () => {
  fc.assert(
    fc.property(fc.oneof(label, fc.string({ unit: "binary", maxLength: 200 })), (text) => {
      const made = labelFrom(text);
      assert.ok(made === null || isLabel(made), JSON.stringify({ text, made }));
      if (isLabel(text)) assert.equal(made, text);
      if (made === null) assert.doesNotMatch(text, /[a-z0-9_]/i);
    }),
  );
  assert.equal(labelFrom("Web Server #1"), "web-server-1");
  assert.equal(labelFrom("--"), null);
  assert.equal(labelFrom(`${"a".repeat(62)}-${"b".repeat(9)}`), "a".repeat(62));
});

test("label: a hostile name of a million characters costs no time worth speaking of", () => {
  labelFrom("-".repeat(1_000_000));
  labelFrom(`a${"-".repeat(1_000_000)}`);
  isLabel("a".repeat(1_000_000));
});

test("node id: twenty base32 characters", () => {
  assert.ok(isNodeId("abcdefghij234567abcd"));
  for (const text of [
    "",
    "abcdefghij234567abc",
    "abcdefghij234567abcde",
    "abcdefghij234567abc1",
    "ABCDEFGHIJ234567ABCD",
  ])
    assert.equal(isNodeId(text), false, text);
  assert.equal(isNodeId("abcdefghij234567abcd\n"), false);
});

test("service key: two services share a key only when network and name are equal", () => {
  fc.assert(
    fc.property(label, label, label, label, (network, name, otherNetwork, otherName) => {
      const isSame = network === otherNetwork && name === otherName;
      assert.equal(serviceKey(network, name) === serviceKey(otherNetwork, otherName), isSame);
    }),
  );
  assert.ok(LIMITS.labelBytes === 63);
});
