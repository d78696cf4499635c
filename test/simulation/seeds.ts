/**
 * Seeds: chaos, seed after seed, on all cores.
 *
 * A failure is one line with its seed and the command that shows it again. Workers take the next seed when they are
 * done with one, since some clusters take longer than others.
 */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

import { commandOf, type Options } from "./options.ts";
import type { Result } from "./run.ts";

/** What a search found. */
export interface Found {
  readonly options: Options;
  readonly result: Result;
}

/** What a search is told. */
export interface Search {
  /** What to run, in this order. */
  readonly runs: readonly Options[];
  readonly workersMax?: number;
  /** No new run begins after this long; all by default. */
  readonly withinMs?: number;
  readonly onDone?: (found: Found, doneCount: number) => void;
}

/** Runs all, some at a time. @returns those that broke something, in the order of the runs */
export async function search({ runs, workersMax, withinMs, onDone }: Search): Promise<readonly Found[]> {
  const count = Math.max(1, Math.min(workersMax ?? availableParallelism(), runs.length));
  const endsAtMs = performance.now() + (withinMs ?? Number.POSITIVE_INFINITY);
  const founds: Found[] = [];
  const waiting = [...runs];
  let doneCount = 0;
  const work = async (): Promise<void> => {
    const worker = new Worker(new URL("worker.ts", import.meta.url), { stderr: false });
    try {
      for (let options = waiting.shift(); options !== undefined; options = waiting.shift()) {
        if (performance.now() > endsAtMs) break;
        const found = { options, result: await runIn(worker, options) };
        doneCount += 1;
        onDone?.(found, doneCount);
        if (found.result.violations.length > 0) founds.push(found);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: count }, work));
  return founds.toSorted((one, other) => runs.indexOf(one.options) - runs.indexOf(other.options));
}

async function runIn(worker: Worker, options: Options): Promise<Result> {
  return new Promise((resolve, reject) => {
    const fail = (thrown: Error): void => {
      worker.off("message", done);
      reject(thrown);
    };
    const done = (result: Result): void => {
      worker.off("error", fail);
      resolve(result);
    };
    worker.once("message", done);
    worker.once("error", fail);
    worker.postMessage(options, []);
  });
}

/** A failure as text: what was broken, and the command that shows it again. */
export function renderFound({ options, result }: Found): string {
  return result.violations
    .map((text) => `BROKEN: ${text}\nseed ${options.seed}; again: ${commandOf(options)}`)
    .join("\n");
}
