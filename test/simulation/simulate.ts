/**
 * Simulate: whole clusters in virtual time.
 *
 *     npm run simulate                                                     tables for 2 to 25 nodes
 *     npm run simulate -- --nodes 1000                                     the same tables for 1,000
 *     npm run simulate -- --nodes 1000 --seed 7 --loss 0.02 --latency 1..5ms --scenario churn
 *     npm run simulate -- --scenario chaos --seeds 1000                    a search for what breaks
 *
 * Exits with 1 when an invariant was broken, and then prints the seed and the command that shows it again; with 2 when
 * it is not understood.
 *
 * Touches: the arguments, standard output and error, threads.
 */

import { parseRequest, USAGE, type Request } from "./options.ts";
import { renderJson, renderResult } from "./report.ts";
import { runScenario } from "./play.ts";
import { Run } from "./run.ts";
import { renderFound, search } from "./seeds.ts";
import { MOBY_SIZES, runTables } from "./tables.ts";

/** How often a long run tells how far it is. */
const PROGRESS_EVERY_MS = 2000;

const clock = (): number => performance.now();

/** Prints progress to standard error, not too often. */
function progress(): (text: string) => void {
  let toldAtMs = clock();
  return (text) => {
    if (clock() - toldAtMs < PROGRESS_EVERY_MS) return;
    toldAtMs = clock();
    process.stderr.write(`  ${text}\n`);
  };
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function one(request: Request): number {
  const run = new Run(request);
  run.onProgress = progress();
  if (request.trace) run.sim.trace = (line) => process.stderr.write(`${line}\n`);
  const result = runScenario(request.scenario, run, clock);
  print(request.json ? renderJson(result) : renderResult(result, request));
  return result.violations.length > 0 ? 1 : 0;
}

async function many(request: Request, seeds: number): Promise<number> {
  const runs = Array.from({ length: seeds }, (_, at) => ({ ...request, seed: at + 1 }));
  const tell = progress();
  const founds = await search({
    runs,
    onDone: (found, doneCount) => {
      if (request.json) print(renderJson(found.result));
      else if (found.result.violations.length > 0) print(renderFound(found));
      tell(`${doneCount} of ${seeds}`);
    },
  });
  if (!request.json) print(`${seeds} seeds, ${founds.length} broke something`);
  return founds.length > 0 ? 1 : 0;
}

function tables(request: Request): number {
  const sizes = request.isSized ? [request.nodes] : MOBY_SIZES;
  const tell =
    request.isSized && request.nodes > 25
      ? progress()
      : (text: string) => process.stderr.write(`  ${text}\n`);
  const { text, results, broken } = runTables(sizes, request, { clock, onProgress: tell });
  print(request.json ? results.map(renderJson).join("\n") : text);
  for (const what of broken) print(`BROKEN: ${what}`);
  return broken.length > 0 ? 1 : 0;
}

async function main(words: readonly string[]): Promise<number> {
  if (words.includes("--help")) {
    print(USAGE);
    return 0;
  }
  const parsed = parseRequest(words);
  if (!parsed.ok) {
    process.stderr.write(`${parsed.failure.message}\n${USAGE}\n`);
    return 2;
  }
  const request = parsed.value;
  if (request.seeds !== null) return many(request, request.seeds);
  return request.isNamed ? one(request) : tables(request);
}

process.exitCode = await main(process.argv.slice(2));
