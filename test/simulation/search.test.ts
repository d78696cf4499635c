// The search that each run of the tests makes: every seed that ever broke something, and some that did not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { commandOf, DEFAULTS, type Options } from "./options.ts";
import { renderFound, search } from "./seeds.ts";

/** A failure that was found once. */
interface Seed {
  readonly name: string;
  readonly seed: number;
  readonly nodes: number;
  readonly options: Partial<Options>;
  /** What it showed. */
  readonly found: string;
}

const SEEDS_PATH = new URL("seeds.json", import.meta.url);
const KNOWN = JSON.parse(readFileSync(SEEDS_PATH, "utf8")) as readonly Seed[];
/** No new run begins after this long: a busy machine gets through fewer of them. */
const SEARCH_MS = 30_000;
const SEARCHED = 120;

test("simulation: nothing that ever broke breaks again", async () => {
  const runs = KNOWN.map(({ seed, nodes, options }): Options => {
    return { ...DEFAULTS, ...options, scenario: "chaos", seed, nodes };
  });
  const founds = await search({ runs, workersMax: 2 });
  const told = founds.map((found) => {
    const known = KNOWN[runs.indexOf(found.options)];
    return `${known?.name}: ${renderFound(found)}\nit once showed: ${known?.found}`;
  });
  assert.equal(told.join("\n\n"), "");
});

test("simulation: chaos breaks nothing that must hold, and all agree once it ends (n=2..7)", async () => {
  const runs = Array.from({ length: SEARCHED }, (_, at): Options => {
    const weather =
      at % 5 === 4 ? { raw: true } : at % 5 === 3 ? { loss: 0.03, latencyMs: { low: 1, high: 60 } } : {};
    return {
      ...DEFAULTS,
      ...weather,
      scenario: "chaos",
      seed: 1000 + at,
      nodes: 2 + (at % 6),
      drift: at % 2 === 1,
    };
  });
  const founds = await search({ runs, workersMax: 2, withinMs: SEARCH_MS });
  assert.equal(founds.map(renderFound).join("\n\n"), "");
});

test("simulation: a seed gives the same run again, event by event", async () => {
  const options: Options = { ...DEFAULTS, scenario: "chaos", seed: 5, nodes: 4, raw: true, drift: true };
  const results: unknown[] = [];
  const onDone = ({ result }: { result: object }): void => void results.push({ ...result, wallMs: 0 });
  await search({ runs: [options, { ...options }], workersMax: 1, onDone });
  assert.deepEqual(results[0], results[1], commandOf(options));
});
