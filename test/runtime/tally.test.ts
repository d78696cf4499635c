// Tallies: counts that the registry sees like any other metric.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Histogram, Registry } from "prom-client";
import * as fc from "fast-check";

import { openTalliedCounter, openTalliedHistogram } from "../../src/runtime/tally.ts";

test("tally: a counter is scraped with a line for each set of labels, each at its count", async () => {
  const registry = new Registry();
  const counter = openTalliedCounter(registry, {
    name: "answers_total",
    help: "Answers.",
    labelNames: ["code", "by"],
  });
  counter.cell({ code: "OK", by: "a" }).count += 2;
  counter.cell({ code: "OK", by: "a" }).count += 3;
  counter.cell({ code: "NO", by: 'b"' }).count += 1;
  const lines = (await registry.metrics()).trim().split("\n");
  assert.deepEqual(lines, [
    "# HELP answers_total Answers.",
    "# TYPE answers_total counter",
    'answers_total{code="OK",by="a"} 5',
    'answers_total{code="NO",by="b\\""} 1',
  ]);
});

test("tally: a histogram reads as the library's own of the same observations", async () => {
  const values = fc.array(fc.constantFrom(0, 0.001, 0.0011, 0.05, 0.1, 7), { minLength: 1, maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(values, async (seconds) => {
      const about = { name: "took_seconds", help: "Took." };
      const [ours, theirs] = [new Registry(), new Registry()];
      const tallied = openTalliedHistogram(ours, { ...about, bounds: [0.001, 0.05, 0.1] });
      const usual = new Histogram({ ...about, buckets: [0.001, 0.05, 0.1], registers: [theirs] });
      for (const value of seconds) {
        tallied.observe(value);
        usual.observe(value);
      }
      assert.deepEqual((await ours.metrics()).split("\n"), (await theirs.metrics()).split("\n"));
    }),
  );
});
