// A busy consumer sees the newest value only, one at a time, whatever it throws.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { latest, type Latest } from "../../src/base/latest.ts";

/** A consumer that waits for its test to let it go on. */
function openConsumer() {
  const seen: number[] = [];
  const waiting: { resolve: () => void; reject: (thrown: unknown) => void }[] = [];
  const failures: unknown[] = [];
  let running = 0;
  let runningMost = 0;
  const cell = latest<number>(
    async (value) => {
      seen.push(value);
      running += 1;
      runningMost = Math.max(runningMost, running);
      try {
        await new Promise<void>((resolve, reject) => waiting.push({ resolve, reject }));
      } finally {
        running -= 1;
      }
    },
    (thrown) => failures.push(thrown),
  );
  return { cell, seen, waiting, failures, runningMost: () => runningMost };
}

function refuseFailure(thrown: unknown): void {
  assert.fail(`the consumer failed: ${String(thrown)}`);
}

/** Lets everything that is only waiting for promises go on. */
async function settle(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}

test("latest: any mix of sets and failures is consumed one at a time, in order, up to the newest", async () => {
  const step = fc.constantFrom("set", "end", "fail");
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { cell, seen, waiting, failures, runningMost } = openConsumer();
      let newest = 0;
      for (const what of steps) {
        if (what === "set") cell.set((newest += 1));
        else if (what === "end") waiting.shift()?.resolve();
        else waiting.shift()?.reject(new Error("refused"));
        if (what !== "set") await settle();
      }
      // The value being consumed and the one that waits behind it.
      for (let round = 0; round < 2; round += 1) {
        await settle();
        waiting.shift()?.resolve();
      }
      await cell.idle();
      assert.ok(runningMost() <= 1);
      assert.ok(seen.every((value, index) => index === 0 || value > (seen[index - 1] ?? 0)));
      assert.equal(seen.at(-1) ?? 0, newest);
      assert.ok(failures.length <= seen.length);
    }),
    { numRuns: 60 },
  );
});

test("latest: values that come while the consumer is busy are skipped but for the newest", async () => {
  const { cell, seen, waiting } = openConsumer();
  cell.set(1);
  await settle();
  for (const value of [2, 3, 4]) cell.set(value);
  waiting.shift()?.resolve();
  await settle();
  assert.deepEqual(seen, [1, 4]);
  waiting.shift()?.resolve();
  await cell.idle();
});

test("latest: a consumer that rejects is told of, and the next value is consumed all the same", async () => {
  const { cell, seen, waiting, failures } = openConsumer();
  cell.set(1);
  await settle();
  cell.set(2);
  waiting.shift()?.reject(new Error("first"));
  await settle();
  waiting.shift()?.resolve();
  await cell.idle();
  assert.deepEqual(seen, [1, 2]);
  assert.equal(failures.length, 1);
});

test("latest: a consumer that throws before it returns a promise does not stop the cell", async () => {
  const seen: number[] = [];
  const failures: unknown[] = [];
  const cell: Latest<number> = latest(
    (value) => {
      seen.push(value);
      if (value === 1) throw new Error("at once");
      return Promise.resolve();
    },
    (thrown) => failures.push(thrown),
  );
  cell.set(1);
  await cell.idle();
  cell.set(2);
  await cell.idle();
  assert.deepEqual(seen, [1, 2]);
  assert.equal(failures.length, 1);
});

test("latest: a value set from within the consumer waits for its turn", async () => {
  const trail: string[] = [];
  const cell: Latest<number> = latest(async (value) => {
    trail.push(`begin ${value}`);
    if (value < 3) cell.set(value + 1);
    await settle();
    trail.push(`end ${value}`);
  }, refuseFailure);
  cell.set(1);
  await cell.idle();
  assert.deepEqual(trail, ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
});

test("latest: idle settles at once where nothing was set", async () => {
  await latest<number>(() => Promise.resolve(), refuseFailure).idle();
});

test("latest: who waits for what was set so far waits for nothing that is set after it", async () => {
  const { cell, waiting } = openConsumer();
  await cell.soFar();
  cell.set(1);
  await settle();
  cell.set(2);
  let isSettled = false;
  const soFar = cell.soFar().then(() => (isSettled = true));
  for (const later of [3, 4]) {
    assert.equal(isSettled, false, `before ${later}`);
    waiting.shift()?.resolve();
    await settle();
    cell.set(later);
  }
  assert.equal(isSettled, true, "2 is consumed, others wait");
  await soFar;
  for (let left = 2; left > 0; left -= 1) {
    waiting.shift()?.resolve();
    await settle();
  }
  await cell.idle();
});
