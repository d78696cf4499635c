// Lag: who waits until the kernel follows what is known, and for how long.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openLag } from "../../src/kernel/lag.ts";
import { until } from "../support/wait.ts";

const LONG_MS = 600_000;

/** Whether a promise has settled by the next turn. */
async function isSettled(promise: Promise<void>): Promise<boolean> {
  return await Promise.race([
    promise.then(() => true),
    new Promise<boolean>((resolve) => setImmediate(() => resolve(false))),
  ]);
}

test("lag: with nothing noted nobody waits", async () => {
  const lag = openLag(LONG_MS);
  assert.equal(lag.isBehind, false);
  await lag.caughtUp();
});

test("lag: who waits is let go by the change set that holds what was noted, not by an earlier one", async (t) => {
  const lag = openLag(LONG_MS);
  t.after(() => lag.close());
  lag.note();
  const first = lag.begin();
  lag.note();
  const waiting = lag.caughtUp();
  first.ended(true);
  assert.deepEqual([lag.isBehind, await isSettled(waiting)], [true, false]);
  lag.begin().ended(true);
  await waiting;
  assert.equal(lag.isBehind, false);
});

test("lag: a change set that brought nothing about leaves them to the next, with what came since", async (t) => {
  const lag = openLag(LONG_MS);
  t.after(() => lag.close());
  lag.note();
  const first = lag.caughtUp();
  lag.begin().ended(false);
  lag.note();
  const second = lag.caughtUp();
  assert.deepEqual([await isSettled(first), await isSettled(second)], [false, false]);
  lag.begin().ended(true);
  await Promise.all([first, second]);
  assert.equal(lag.isBehind, false);
});

test("lag: nobody waits for longer than is allowed", async () => {
  const lag = openLag(10);
  lag.note();
  await lag.caughtUp();
  await until(() => !lag.isBehind);
});

test("lag: closed, it lets everybody go, and nothing is behind any more", async () => {
  const lag = openLag(LONG_MS);
  lag.note();
  const waiting = lag.caughtUp();
  lag.close();
  await waiting;
  lag.note();
  assert.equal(lag.isBehind, false);
});
