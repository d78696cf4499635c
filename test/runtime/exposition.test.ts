// Exposition: what a scrape gets is what prom-client would have written, without holding up everything else.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";
import { Counter, Histogram, Registry } from "prom-client";

import { openExposition } from "../../src/runtime/exposition.ts";
import { openTalliedHistogram, registerRead, ServiceTallies } from "../../src/runtime/tally.ts";

const linesOf = (text: string): readonly string[] => text.split("\n").filter((line) => line !== "");

test("exposition: whatever labels and values there are, it says what prom-client says", async () => {
  const label = fc.string({ unit: "grapheme", maxLength: 12 });
  const extremes = fc.constantFrom(0, -0, Infinity, -Infinity, 1e21, 5e-324);
  const value = fc.oneof(fc.double({ noNaN: true }), extremes);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(label, value), { maxLength: 5 }), async (samples) => {
      const registry = new Registry();
      const about = { name: "a", help: "One \\ two\nthree.", labelNames: ["x", "y"], type: "gauge" } as const;
      registerRead(registry, about, () => samples.map(([x, seen]) => ({ labels: { x, y: x }, value: seen })));
      const counter = new Counter({ name: "b_total", help: "B.", registers: [registry] });
      const bounds = { name: "c_seconds", help: "C.", buckets: [0.1, 1], registers: [registry] };
      const histogram = new Histogram(bounds);
      for (const [, seen] of samples) {
        counter.inc();
        if (Number.isFinite(seen)) histogram.observe(Math.abs(seen));
      }
      assert.deepEqual(
        linesOf(await openExposition(registry)()).toSorted(),
        linesOf(await registry.metrics()).toSorted(),
      );
    }),
    { numRuns: 50 },
  );
});

test("exposition: metrics of ours are told as prom-client tells them", async () => {
  const registry = new Registry();
  const tallies = new ServiceTallies(registry);
  tallies.counter({ name: "a_total", help: "A." }, "code").inc({ service: 'default/"x"', code: "200" });
  tallies.counter({ name: "b_total", help: "B." }).inc({ service: "default/y" }, 3);
  tallies.histogram({ name: "c_seconds", help: "C." }, [0.1, 1]).observe({ service: "default/y" }, 0.5);
  openTalliedHistogram(registry, { name: "d_seconds", help: "D.", bounds: [1] }).observe(2);
  assert.deepEqual(
    linesOf(await openExposition(registry)()).toSorted(),
    linesOf(await registry.metrics()).toSorted(),
  );
});

test("exposition: while a long text is written others have their turns; who asks meanwhile gets the same", async () => {
  const registry = new Registry();
  let reads = 0;
  registerRead(registry, { name: "a", help: "A.", labelNames: ["x"], type: "gauge" }, function* () {
    reads += 1;
    for (let x = 0; x < 20_000; x += 1) yield { labels: { x }, value: x };
  });
  const write = openExposition(registry);
  let turns = 0;
  let isWriting = true;
  const turn = (): void => {
    turns += 1;
    if (isWriting) setImmediate(turn);
  };
  setImmediate(turn);
  const [one, other] = await Promise.all([write(), write()]);
  isWriting = false;
  assert.equal(linesOf(one).length, 20_002);
  assert.ok(one === other && reads === 1, "written once");
  assert.ok(turns >= 5, `${turns} turns`);
  await write();
  assert.equal(reads, 2, "and anew for who asks later");
});
