// A thread that runs what it is told and posts what was found.

import { parentPort } from "node:worker_threads";

import type { Options } from "./options.ts";
import { Run, runScenario } from "./run.ts";
import { SCENARIO_BY_NAME } from "./scenarios/catalogue.ts";

parentPort?.on("message", (options: Options) => {
  const run = new Run(options);
  const result = runScenario(SCENARIO_BY_NAME[options.scenario], run, () => performance.now());
  parentPort?.postMessage(result, []);
});
