// Bearer: who has the admin token has full rights over TCP; who guesses is slowed, and told nothing.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Bearer } from "../../src/admin/bearer.ts";

const TOKEN = "correct-horse-battery-staple";
const NOW_MS = 1_700_000_000_000;

function statusOf(judged: ReturnType<Bearer["judge"]>): string | number {
  return typeof judged === "string" ? judged : judged.status;
}

test("bearer: the token gives full rights, none reads, whatever the scheme's capitals", () => {
  const bearer = new Bearer(TOKEN);
  assert.equal(bearer.judge(`Bearer ${TOKEN}`, NOW_MS), "full");
  assert.equal(bearer.judge(`bearer  ${TOKEN} `, NOW_MS), "full");
  assert.equal(bearer.judge(null, NOW_MS), "read");
});

test("bearer: without a token nobody has full rights, and a header that claims one says nothing", () => {
  for (const header of [null, "Bearer ", "Bearer null", `Bearer ${TOKEN}`, "Basic YTpi"])
    assert.equal(new Bearer(null).judge(header, NOW_MS), "read");
});

test("bearer: whatever is not the token is refused, and the refusal does not repeat it", () => {
  const header = fc.oneof(
    fc.string(),
    fc.constantFrom(TOKEN, `Basic ${TOKEN}`, `Bearer ${TOKEN}x`, "Bearer"),
  );
  fc.assert(
    fc.property(header, (text) => {
      const judged = new Bearer(TOKEN).judge(text, NOW_MS);
      assert.equal(statusOf(judged), 401);
      assert.ok(typeof judged !== "string" && !judged.detail.includes(TOKEN));
    }),
  );
});

test("bearer: ten guesses at once, then one a second; meanwhile the right one waits as well", () => {
  const bearer = new Bearer(TOKEN);
  const guess = (atMs: number) => statusOf(bearer.judge("Bearer wrong", NOW_MS + atMs));
  const seen = Array.from({ length: 12 }, () => guess(0));
  assert.deepEqual(seen, [...Array.from({ length: 10 }, () => 401), 429, 429]);
  assert.equal(statusOf(bearer.judge(`Bearer ${TOKEN}`, NOW_MS)), 429);
  assert.equal(bearer.judge(null, NOW_MS), "read", "who claims nothing is not in the way");
  assert.deepEqual([guess(1000), guess(1000)], [401, 429]);
  assert.equal(bearer.judge(`Bearer ${TOKEN}`, NOW_MS + 2000), "full");
});

test("bearer: over an hour of guessing without a pause no more than 3,610 are judged", () => {
  const bearer = new Bearer(TOKEN);
  let judged = 0;
  for (let atMs = 0; atMs < 3_600_000; atMs += 50) {
    if (statusOf(bearer.judge(`Bearer ${atMs}`, NOW_MS + atMs)) === 401) judged += 1;
  }
  assert.ok(judged > 3000 && judged <= 3610, String(judged));
});
