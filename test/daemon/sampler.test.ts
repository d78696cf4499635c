// Sampler: it looks while somebody asks, and is still when nobody does.

import assert from "node:assert/strict";
import { mock, test, type TestContext } from "node:test";

import { Sampler } from "../../src/daemon/sampler.ts";

interface Made {
  readonly sampler: Sampler<number, readonly [number, number]>;
  readonly looks: () => number;
  /** Looks fail from now on, or no more. */
  readonly fail: (isFailing: boolean) => void;
  readonly failures: readonly unknown[];
  /** Lets time pass, a quarter of a second at a time. */
  readonly pass: (ms: number) => Promise<void>;
}

/** Each look is a number; a window is its two looks. Time passes only as told. */
function openSampler(t: TestContext): Made {
  let [count, nowMs] = [0, 1_000_000];
  mock.timers.enable({ apis: ["setInterval"] });
  mock.method(performance, "now", () => nowMs);
  let isFailing = false;
  const failures: unknown[] = [];
  const sampler = new Sampler<number, readonly [number, number]>({
    look() {
      count += 1;
      return isFailing ? Promise.reject(new Error("no look")) : Promise.resolve(count);
    },
    between: (before, after) => [before, after],
    onFailed: (thrown) => void failures.push(thrown),
  });
  t.after(() => {
    sampler.close();
    mock.reset();
    mock.timers.reset();
  });
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 250) {
      nowMs += 250;
      mock.timers.tick(250);
      // A look settles before the next one begins.
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    }
  };
  return { sampler, looks: () => count, fail: (is) => void (isFailing = is), failures, pass };
}

test("sampler: it looks at nothing until it is asked, and the first answer is a window of its own", async (t) => {
  const { sampler, looks, pass } = openSampler(t);
  await pass(5000);
  assert.equal(looks(), 0);
  const first = sampler.window();
  await pass(1000);
  assert.deepEqual(await first, [1, 2]);
  await pass(1000);
  assert.deepEqual(await sampler.window(), [2, 3], "whoever asks then gets the last one at once");
});

test("sampler: ten seconds after the last question it stops, and begins anew with the next", async (t) => {
  const { sampler, looks, pass } = openSampler(t);
  assert.equal(sampler.peek(), null);
  await pass(11_000);
  const before = looks();
  assert.ok(before >= 10 && before <= 12, `${before} looks`);
  await pass(60_000);
  assert.equal(looks(), before);
  assert.equal(sampler.peek(), null, "what was is no window any more");
  const next = sampler.window();
  await pass(1000);
  assert.deepEqual(await next, [before + 1, before + 2]);
});

test("sampler: who waits when it is closed is told, and who asks after that", async (t) => {
  const { sampler } = openSampler(t);
  const first = sampler.window();
  sampler.close();
  await assert.rejects(first, /traffic is not measured any more/);
  await assert.rejects(sampler.window(), /traffic is not measured any more/);
});

test("sampler: a look that fails is told of and ends nothing; the next window is the longer", async (t) => {
  const { sampler, fail, failures, pass } = openSampler(t);
  const first = sampler.window();
  fail(true);
  await pass(1000);
  fail(false);
  await pass(1000);
  assert.deepEqual([await first, failures.length], [[1, 3], 1]);
});
