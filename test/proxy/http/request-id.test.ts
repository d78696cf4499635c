// Request id: made here, or taken over from those who are believed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../../src/base/random.ts";
import { newRequestId, requestIdOf } from "../../../src/proxy/http/request-id.ts";

test("newRequestId: twelve letters, none of which is mistaken for another, and hardly ever the same", () => {
  const random = seededRandom(1);
  const ids = Array.from({ length: 2000 }, () => newRequestId(random));
  for (const id of ids) assert.match(id, /^[0-9a-hjkmnp-tv-z]{12}$/);
  assert.equal(new Set(ids).size, ids.length);
});

test("requestIdOf: a trusted proxy's is kept when it is sane, a stranger's never", () => {
  const random = seededRandom(1);
  const id = (value: string, isTrusted = true): string =>
    requestIdOf(["X-Request-ID", value], isTrusted, random);
  assert.equal(id("7b1f-0a.b:c"), "7b1f-0a.b:c");
  for (const bad of ["", "a b", 'a"b', "x".repeat(129), "<script>"]) assert.notEqual(id(bad), bad);
  assert.notEqual(id("mine", false), "mine");
  assert.notEqual(requestIdOf(["X-Request-Id", "a", "x-request-id", "b"], true, random), "a");
});
