// Assertions stop the process that broke its promise, and say which one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AssertionFailed, assert as promise, unreachable } from "../../src/base/assert.ts";

test("assert: a promise that holds costs nothing, a broken one is named", () => {
  promise(1 + 1 === 2, "arithmetic holds");
  assert.throws(() => promise(1 + 1 === 3, "versions only rise"), {
    name: "AssertionFailed",
    message: /versions only rise/,
  });
});

test("assert: a value that the types rule out is shown", () => {
  assert.throws(() => unreachable("surprise" as never), AssertionFailed);
  assert.throws(() => unreachable("surprise" as never), /"surprise"/);
});
