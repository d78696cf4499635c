// Room: who has none, and how long a page waits for some.

import assert from "node:assert/strict";
import { test } from "node:test";

import { roomAfterMs } from "../../src/dashboard/room.ts";

function after(status: number, headers: Readonly<Record<string, string>>): number | null {
  return roomAfterMs({ status, headers: new Headers(headers) });
}

test("room: a daemon that has none says when to ask again", () => {
  assert.equal(after(503, { "skein-api": "1", "retry-after": "5" }), 5000);
});

test("room: what another server says, and any other refusal, is not about room", () => {
  assert.equal(after(503, { "retry-after": "5" }), null);
  assert.equal(after(403, { "skein-api": "1", "retry-after": "5" }), null);
});

test("room: whatever stands in Retry-After, a page asks neither in a loop nor never", () => {
  for (const told of ["0", "-5", "", "soon", "Sun, 22 Nov 2026 03:00:00 GMT"])
    assert.equal(after(503, { "skein-api": "1", "retry-after": told }), 1000, told);
  for (const told of ["86400", "1e300", "Infinity"])
    assert.equal(after(503, { "skein-api": "1", "retry-after": told }), 60_000, told);
  assert.equal(after(503, { "skein-api": "1" }), 1000);
});
