// Waiting: what never comes ends a test with its name, and takes nothing else with it.

import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";

import { readToEnd, until, within } from "./wait.ts";

const NEVER = new Promise<never>(() => undefined);

test("wait: what does not come in time is named, and what comes or fails is passed on", async () => {
  await assert.rejects(within(NEVER, "the end of it", 1), { message: "not within 1 ms: the end of it" });
  assert.equal(await within(Promise.resolve("here"), "it", 1), "here");
  await assert.rejects(within(Promise.reject(new Error("broken")), "it", 1), { message: "broken" });
});

test("wait: a stream without an end is destroyed at the deadline, one that ends is read", async () => {
  const whole = new PassThrough();
  whole.end("all of it");
  assert.equal(await readToEnd(whole, "the text"), "all of it");
  const endless = new PassThrough();
  endless.write("some");
  await assert.rejects(readToEnd(endless, "the text", 1), { message: "not within 1 ms: the text" });
  assert.equal(endless.destroyed, true);
});

test("wait: a look that never ends counts as one that saw nothing", async () => {
  const options = { deadlineMs: 0, lookDeadlineMs: 1, what: "a meeting" };
  await assert.rejects(
    until(() => NEVER, options),
    { message: "not within 0 ms: a meeting", cause: new Error("not within 1 ms: a meeting, by a look") },
  );
});
