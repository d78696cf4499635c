// Kept: which datagrams a refusal is about.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LIMITS } from "../../../src/model/limits.ts";
import { Kept } from "../../../src/proxy/udp/kept.ts";

const bytes = (text: string): Buffer => Buffer.from(text);
const texts = (kept: readonly Buffer[]): readonly string[] => kept.map(String);

test("kept: a refusal is about what was sent a moment before it, in order, once", () => {
  const kept = new Kept();
  kept.sent(bytes("long ago"), 0);
  kept.sent(bytes("a"), 1000);
  kept.sent(bytes("b"), 1001);
  assert.deepEqual(texts(kept.refused(1002)), ["a", "b"]);
  assert.deepEqual(texts(kept.refused(1002)), []);
});

test("kept: what was sent before an answer was not refused", () => {
  const kept = new Kept();
  kept.sent(bytes("a"), 0);
  kept.answered();
  kept.sent(bytes("b"), 1);
  assert.deepEqual(texts(kept.refused(2)), ["b"]);
});

test("kept: of many the last few are kept, and none that is long", () => {
  const kept = new Kept();
  for (let at = 0; at < 10; at += 1) kept.sent(bytes(String(at)), at);
  kept.sent(Buffer.alloc(LIMITS.udpKeptBytes + 1), 10);
  assert.deepEqual(texts(kept.refused(11)), ["6", "7", "8", "9"]);
});
