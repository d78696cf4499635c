// Tallies: counts that the registry sees like any other metric.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Counter, Histogram, Registry } from "prom-client";
import * as fc from "fast-check";

import { openTalliedCounter, openTalliedHistogram, ServiceTallies } from "../../src/runtime/tally.ts";

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

test("tally: counts and histograms of services read as the library's own of the same observations", async () => {
  const service = fc.constantFrom("default/web", 'x"y', "");
  const seen = fc.array(fc.tuple(service, fc.constantFrom("200", "502"), fc.constantFrom(0.01, 0.5)), {
    maxLength: 30,
  });
  await fc.assert(
    fc.asyncProperty(seen, async (all) => {
      const [ours, theirs] = [new Registry(), new Registry()];
      const tallies = new ServiceTallies(ours);
      const [answers, took, lost] = [
        { name: "answers_total", help: "Answers." },
        { name: "took_seconds", help: "Took." },
        { name: "lost_total", help: "Lost." },
      ] as const;
      const tallied = [
        tallies.counter(answers, "code"),
        tallies.histogram(took, [0.1, 1]),
        tallies.counter(lost),
      ] as const;
      const registers = [theirs];
      const usual = [
        new Counter({ ...answers, labelNames: ["service", "code"], registers }),
        new Histogram({ ...took, labelNames: ["service"], buckets: [0.1, 1], registers }),
        new Counter({ ...lost, labelNames: ["service"], registers }),
      ] as const;
      for (const [of, code, seconds] of all) {
        for (const counts of [tallied, usual]) {
          counts[0].inc({ service: of, code });
          counts[1].observe({ service: of }, seconds);
          counts[2].inc({ service: of }, 2);
        }
      }
      const lines = async (registry: Registry) => (await registry.metrics()).split("\n").toSorted();
      assert.deepEqual(await lines(ours), await lines(theirs));
    }),
  );
});

test("tally: the series of a service that has left are told for ten minutes, unless it comes back", async () => {
  const registry = new Registry();
  const tallies = new ServiceTallies(registry);
  const answers = tallies.counter({ name: "answers_total", help: "Answers." }, "code");
  const took = tallies.histogram({ name: "took_seconds", help: "Took." }, [1]);
  for (const service of ["gone", "back", "here"]) {
    answers.inc({ service, code: "200" });
    took.observe({ service }, 0.5);
  }
  const minute = 60_000;
  const told = async (service: string) => (await registry.metrics()).includes(`service="${service}"`);
  tallies.keepOnly(new Set(["here"]), 0);
  tallies.keepOnly(new Set(["here", "back"]), 5 * minute);
  tallies.keepOnly(new Set(["here"]), 9 * minute);
  assert.deepEqual([await told("gone"), await told("back"), await told("here")], [true, true, true]);
  tallies.keepOnly(new Set(["here"]), 10 * minute);
  assert.deepEqual([await told("gone"), await told("back"), await told("here")], [false, true, true]);
  tallies.keepOnly(new Set(["here"]), 19 * minute);
  assert.deepEqual([await told("back"), await told("here")], [false, true]);
});
