// A thread that runs what it is told and posts what was found.

import { parentPort } from "node:worker_threads";

import type { Options } from "./options.ts";
import { runScenario } from "./play.ts";
import { Run } from "./run.ts";

parentPort?.on("message", (options: Options) => {
  const run = new Run(options);
  const result = runScenario(options.scenario, run, () => performance.now());
  parentPort?.postMessage(result, []);
});
