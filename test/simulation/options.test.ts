// The arguments of `npm run simulate`: what they mean, and what is said to bad ones.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import * as fc from "fast-check";

import { commandOf, DEFAULTS, isScenario, parseRequest, SCENARIOS, type Options } from "./options.ts";

function parsed(text: string): ReturnType<typeof parseRequest> {
  return parseRequest(text.split(" ").filter((word) => word !== ""));
}

test("simulate: flags are taken in either form, and what is not said has a default", () => {
  const result = parsed("--nodes 1000 --seed=7 --loss 0.02 --latency 1..5ms --scenario churn --raw");
  assert.ok(result.ok);
  const { nodes, seed, loss, latencyMs, scenario, raw, drift, isNamed } = result.value;
  assert.deepEqual([nodes, seed, loss, latencyMs, scenario], [1000, 7, 0.02, { low: 1, high: 5 }, "churn"]);
  assert.deepEqual([raw, drift, isNamed], [true, false, true]);
});

for (const [words, expected] of [
  ["--nodes 0", /--nodes is "0"; expected a whole number, 1 to 5000/],
  ["--nodes", /--nodes is ""; expected a whole number/],
  ["--seed -1", /--seed is "-1"/],
  ["--loss 2", /--loss is "2"; expected a part from 0 to 0.9/],
  ["--latency 5..1ms", /--latency is "5..1ms"; expected a range such as 1..5ms/],
  ["--scenario nothing", /--scenario is "nothing"; expected one of create, /],
  ["--seconds 0", /--seconds is "0"/],
  ["--quick", /argument is "--quick"; expected one of --nodes/],
  ["--json=yes", /argument is "--json=yes"/],
  ["--scenario oneway --nodes 2", /--nodes is "2"; expected at least 3 for oneway/],
] as const) {
  test(`simulate: ${words} is refused by name, with its value and what was expected`, () => {
    const result = parsed(words);
    assert.ok(!result.ok);
    assert.match(result.failure.message, expected);
  });
}

test("simulate: a bad argument ends the program with 2 and a text on standard error", () => {
  const program = fileURLToPath(new URL("simulate.ts", import.meta.url));
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, "--nodes", "many"], {
    encoding: "utf8",
  });
  assert.equal(status, 2);
  assert.match(stderr, /^--nodes is "many"; expected a whole number/);
  assert.equal(stdout, "");
});

test("simulate: --json prints one object with what it promises", () => {
  const program = fileURLToPath(new URL("simulate.ts", import.meta.url));
  const words = [program, "--scenario", "change", "--nodes", "3", "--seconds", "2", "--json"];
  const { status, stdout } = spawnSync(process.execPath, words, { encoding: "utf8" });
  assert.equal(status, 0);
  const told = JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  const promised = ["nodes", "scenario", "seed", "convergenceMs", "detectionMs", "healMs", "falseDeaths"];
  promised.push("copiesPerChange", "bytesPerNodePerSecond", "violations", "wallMs", "virtualMs");
  for (const key of promised) assert.ok(key in told, key);
  assert.deepEqual(Object.keys(told["convergenceMs"] as object), ["p50", "p90", "p99", "max"]);
});

test("simulate: the command that is printed runs the same again", () => {
  const options = fc.record<Options>({
    nodes: fc.integer({ min: 3, max: 5000 }),
    seed: fc.nat(),
    scenario: fc.constantFrom(...Object.keys(SCENARIOS).filter(isScenario)),
    loss: fc.constantFrom(0, 0.02, 0.5),
    latencyMs: fc.constantFrom({ low: 1, high: 5 }, { low: 0.5, high: 200 }),
    seconds: fc.option(fc.integer({ min: 1, max: 100 })),
    replicas: fc.nat(9),
    raw: fc.boolean(),
    drift: fc.boolean(),
    nodeHours: fc.option(fc.integer({ min: 1, max: 9 })),
  });
  fc.assert(
    fc.property(options, (value) => {
      const result = parsed(commandOf(value).replace("npm run simulate -- ", ""));
      assert.ok(result.ok);
      const { isNamed, isSized, json, seeds, trace, ...again } = result.value;
      assert.deepEqual(again, { ...value, latencyMs: { ...value.latencyMs } });
      assert.deepEqual([isNamed, isSized, json, seeds, trace], [true, true, false, null, false]);
    }),
  );
  assert.deepEqual(parsed("").ok, true);
  assert.equal(DEFAULTS.scenario, "chaos");
});
