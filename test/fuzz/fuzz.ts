/**
 * Fuzz: throws hostile input at what takes bytes from peers and clients, until something breaks or the time is up.
 *
 *     npm run fuzz                                a minute, from a seed that is printed
 *     npm run fuzz -- --seconds 600 --seed 7      longer, from this seed
 *     npm run fuzz -- --only frames --seconds 0   one case of one fuzzer: how a finding is seen again
 *
 * Exit status 0 when nothing was found, 1 with the seed and the frame when something was, 2 for wrong usage.
 *
 * Touches: standard output and error, the clock; what the fuzzers touch that need programs and sockets.
 */

import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";

import { floodFuzzer } from "./flood.ts";
import { frameFuzzer } from "./frames.ts";
import {
  renderFailed,
  runCases,
  runLateCases,
  type Failed,
  type Fuzzer,
  type LateFuzzer,
  type OpenFuzzer,
  type Outcomes,
} from "./fuzzer.ts";
import { gossipFuzzer } from "./gossip.ts";
import { answerFuzzer } from "./http-answers.ts";
import { httpFuzzer } from "./http.ts";
import { helloFuzzer } from "./hellos.ts";
import { queryFuzzer } from "./queries.ts";
import { storeFuzzer } from "./store.ts";

/** A fuzzer that is ready. */
interface Ready {
  readonly name: string;
  readonly run: (
    seed: number,
    how: { readonly goesOn: (index: number) => boolean; readonly outcomes: Outcomes },
  ) => Promise<Failed | null>;
  readonly close: () => Promise<void>;
}

/** A fuzzer that can be asked for. */
interface Choice {
  readonly name: string;
  readonly obstacle: () => string | false;
  readonly open: () => Promise<Ready>;
}

const FUZZERS: readonly Choice[] = [
  ...[frameFuzzer(), storeFuzzer(), gossipFuzzer(), floodFuzzer(), queryFuzzer(), helloFuzzer()].map(
    plainChoice,
  ),
  lateChoice(httpFuzzer()),
  lateChoice(answerFuzzer()),
];
/** Fuzzers take turns of this length, so that a short run has something of each. */
const TURN_MS = 1000;
const SECONDS = 60;

function plainChoice(fuzzer: Fuzzer): Choice {
  const { name } = fuzzer;
  const run: Ready["run"] = (seed, how) => Promise.resolve(runCases(fuzzer, seed, how));
  const ready = { name, run, close: () => Promise.resolve() };
  return { name, obstacle: () => false, open: () => Promise.resolve(ready) };
}

function lateChoice({ name, obstacle, open }: LateFuzzer): Choice {
  const opened = (fuzzer: OpenFuzzer): Ready => ({
    name,
    run: (seed, how) => runLateCases({ name, fuzzer }, seed, how),
    close: () => fuzzer.close(),
  });
  return { name, obstacle, open: async () => opened(await open()) };
}

/** What one fuzzer has done. */
interface Tally {
  readonly fuzzer: Ready;
  readonly outcomes: Outcomes;
  cases: number;
  spentMs: number;
}

interface Asked {
  readonly seconds: number;
  readonly seed: number;
  readonly fuzzers: readonly Choice[];
}

function parseAsked(): Asked | null {
  const options = {
    seconds: { type: "string" },
    seed: { type: "string" },
    only: { type: "string" },
  } as const;
  try {
    const { values } = parseArgs({ options });
    const seconds = Number(values.seconds ?? SECONDS);
    const seed = Number(values.seed ?? randomInt(2 ** 32));
    const fuzzers = FUZZERS.filter(({ name }) => values.only === undefined || name === values.only);
    const isSeed = Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32;
    return seconds >= 0 && isSeed && fuzzers.length > 0 ? { seconds, seed, fuzzers } : null;
  } catch {
    // Whatever parseArgs disliked, the usage says what would be right.
    return null;
  }
}

/** Runs one fuzzer for a turn, one case at least. */
async function takeTurn(tally: Tally, seed: number, turnMs: number): Promise<Failed | null> {
  const startMs = performance.now();
  const goesOn = (index: number): boolean => {
    if (index > 0 && performance.now() - startMs >= turnMs) return false;
    tally.cases += 1;
    return true;
  };
  const { fuzzer, outcomes } = tally;
  const failed = await fuzzer.run((seed + tally.cases) >>> 0, { goesOn, outcomes });
  tally.spentMs += performance.now() - startMs;
  return failed;
}

/** What a run has come to. */
interface Ran {
  readonly tallies: readonly Tally[];
  readonly failed: Failed | null;
}

async function run({ seconds, seed, fuzzers }: Asked): Promise<Ran> {
  const ready: Ready[] = [];
  for (const { name, obstacle, open } of fuzzers) {
    const reason = obstacle();
    if (reason === false) ready.push(await open());
    else process.stderr.write(`${name}: skipped, ${reason}\n`);
  }
  const tallies = ready.map((fuzzer): Tally => ({ fuzzer, outcomes: new Map(), cases: 0, spentMs: 0 }));
  const endMs = performance.now() + seconds * 1000;
  let failed: Failed | null = null;
  do {
    for (const tally of tallies) {
      failed ??= await takeTurn(tally, seed, Math.min(TURN_MS, (seconds * 1000) / tallies.length));
    }
    const cases = tallies.map(({ fuzzer, cases }) => `${fuzzer.name} ${cases}`).join(", ");
    process.stderr.write(`${Math.max(0, (endMs - performance.now()) / 1000).toFixed(0)} s left: ${cases}\n`);
  } while (failed === null && performance.now() < endMs);
  for (const fuzzer of ready) await fuzzer.close();
  return { tallies, failed };
}

function renderTallies(tallies: readonly Tally[]): string {
  const rows = tallies.map(({ fuzzer, outcomes, cases, spentMs }) => {
    const shares = Array.from(outcomes, ([outcome, count]) => `${outcome} ${count}`).toSorted();
    return [fuzzer.name, `${cases}`, (cases / (spentMs / 1000)).toFixed(0), shares.join(", ")];
  });
  const table = [["fuzzer", "cases", "a second", "outcomes"], ...rows];
  return table
    .map(([name = "", cases = "", rate = "", shares = ""]) =>
      `${name.padEnd(8)} ${cases.padStart(10)} ${rate.padStart(9)}  ${shares}`.trimEnd(),
    )
    .join("\n");
}

async function main(): Promise<number> {
  const asked = parseAsked();
  if (asked === null) {
    const names = FUZZERS.map(({ name }) => name).join("|");
    process.stderr.write(
      `usage: npm run fuzz -- [--seconds N] [--seed 0..${2 ** 32 - 1}] [--only ${names}]\n`,
    );
    return 2;
  }
  process.stderr.write(`seed ${asked.seed}, ${asked.seconds} s\n`);
  const { tallies, failed } = await run(asked);
  process.stdout.write(`${renderTallies(tallies)}\n`);
  const rssMb = (process.memoryUsage.rss() / 1e6).toFixed(0);
  process.stdout.write(
    `seed ${asked.seed}, ${rssMb} MB resident, ${failed === null ? "nothing found" : "1 found"}\n`,
  );
  if (failed !== null) process.stdout.write(`\n${renderFailed(failed)}\n`);
  return failed === null ? 0 : 1;
}

process.exitCode = await main();
