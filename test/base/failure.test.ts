// Failures carry a code of the table; whatever was thrown has a text.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { CODES, Failure, failed, success, systemCodeOf, textOf } from "../../src/base/failure.ts";

test("failure: every code has an error status for HTTP, a failing exit status and a meaning", () => {
  for (const [code, { http, exit, meaning }] of Object.entries(CODES)) {
    assert.ok(http >= 400 && http <= 599, code);
    assert.ok(exit >= 1 && exit <= 5, code);
    assert.notEqual(meaning, "", code);
  }
});

test("failure: the interface's exit statuses are those of the codes they belong to", () => {
  const exits = { usage: 2, "not-found": 3, unreachable: 4, timeout: 4, "not-allowed": 5 } as const;
  for (const [code, exit] of Object.entries(exits))
    assert.equal(CODES[code as keyof typeof exits].exit, exit);
});

test("failure: carries its code, its text and its cause", () => {
  const cause = new Error("below");
  const failure = new Failure("busy", "port 80 is taken", { cause });
  assert.ok(failure instanceof Error);
  assert.deepEqual([failure.code, failure.message, failure.cause], ["busy", "port 80 is taken", cause]);
});

test("failure: a result is a value or a failure", () => {
  assert.deepEqual(success(5), { ok: true, value: 5 });
  const refusal = failed("invalid", "weight is 101; expected 0..100");
  assert.equal(refusal.ok, false);
  assert.equal(refusal.failure.code, "invalid");
});

test("textOf: anything that can be thrown has a text, and asking for it never throws", () => {
  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  const hostile = {
    toJSON() {
      throw new Error("no");
    },
  };
  const bare: unknown = Object.create(null);
  const shouts = new Proxy(new Error("x"), {
    get() {
      throw new Error("no");
    },
  });
  for (const thrown of [circular, hostile, bare, shouts, 10n, Symbol("s"), undefined, null, () => 1, NaN, ""])
    assert.equal(typeof textOf(thrown), "string");
  fc.assert(fc.property(fc.anything(), (thrown) => assert.equal(typeof textOf(thrown), "string")));
});

test("textOf: an error's text is its message, or its name when it has none", () => {
  assert.equal(textOf(new TypeError("bad")), "bad");
  assert.equal(textOf(new TypeError("")), "TypeError");
  assert.equal(textOf("plain"), "plain");
  assert.equal(textOf({ why: "x" }), '{"why":"x"}');
});

test("systemCodeOf: finds the code of a system error, and null where there is none", () => {
  assert.equal(systemCodeOf(Object.assign(new Error("x"), { code: "ECONNREFUSED" })), "ECONNREFUSED");
  for (const thrown of [null, undefined, "ENOENT", {}, { code: 5 }, new Error("x")])
    assert.equal(systemCodeOf(thrown), null);
});
