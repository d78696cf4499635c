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

import { seldom } from "../support/steps.ts";

import { parseRequest, USAGE, type Request } from "./options.ts";
import { renderJson, renderResult } from "./report.ts";
import { runScenario } from "./play.ts";
import { Run } from "./run.ts";
import { renderFound, search } from "./seeds.ts";
import { MOBY_SIZES, runTables } from "./tables.ts";

const clock = (): number => performance.now();

const tellLine = (text: string): void => void process.stderr.write(`  ${text}\n`);

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function one(request: Request): number {
  const run = new Run(request);
  run.onProgress = seldom(tellLine, clock);
  if (request.trace) run.sim.trace = (line) => process.stderr.write(`${line}\n`);
  const result = runScenario(request.scenario, run, clock);
  print(request.json ? renderJson(result) : renderResult(result, request));
  return result.violations.length > 0 ? 1 : 0;
}

async function many(request: Request, seeds: number): Promise<number> {
  const runs = Array.from({ length: seeds }, (_, at) => ({ ...request, seed: at + 1 }));
  const tell = seldom(tellLine, clock);
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
  const tell = request.isSized && request.nodes > 25 ? seldom(tellLine, clock) : tellLine;
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
