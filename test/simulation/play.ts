/**
 * Play: a scenario by its name, and what came of it.
 */

import { Violation } from "./observer.ts";
import type { ScenarioName } from "./options.ts";
import type { Result, Run } from "./run.ts";
import { SCENARIO_BY_NAME } from "./scenarios/catalogue.ts";

/** Runs a scenario. A broken invariant ends it and is told in the result; anything else that is thrown goes on. */
export function runScenario(name: ScenarioName, run: Run, clock: () => number): Result {
  const startedMs = clock();
  const violations: string[] = [];
  try {
    SCENARIO_BY_NAME[name](run);
  } catch (thrown) {
    if (!(thrown instanceof Violation)) throw thrown;
    const cause =
      thrown.cause instanceof Error ? `\n${thrown.cause.stack?.split("\n").slice(1, 4).join("\n")}` : "";
    violations.push(`${thrown.message}${cause}`);
  }
  return run.result(name, violations, clock() - startedMs);
}
