// First: the oldest of a set, and of an empty one nothing.

import assert from "node:assert/strict";
import { test } from "node:test";

import { first } from "../../src/base/first.ts";

test("first: of a set it is what came first and is still there, of an empty one null", () => {
  const items = new Set(["old", "middle", "new"]);
  assert.equal(first(items), "old");
  items.delete("old");
  assert.equal(first(items), "middle");
  assert.equal(first(new Map([["key", 1]]).values()), 1);
  assert.equal(first([]), null);
});
