// Runs a few lines of TypeScript in their own process, to see from outside how it ends and what it writes.

import { spawn, type ChildProcess } from "node:child_process";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** No script of a test takes so long: it hangs, and whoever waits for its end is told SIGKILL. */
const SCRIPT_DEADLINE_MS = 60_000;

/** A script that runs, and what it has printed so far. */
export interface Script {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Settles with the exit status, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

/**
 * Starts a script; `@/` in it stands for the `src/` folder. It is killed when the test ends.
 *
 * @param text  an ES module; TypeScript's types are stripped
 */
export function startScript(t: Pick<TestContext, "after">, text: string): Script {
  const src = pathToFileURL(join(import.meta.dirname, "../../src/")).href;
  const code = text.replaceAll('"@/', `"${src}`);
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", code], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: SCRIPT_DEADLINE_MS,
    killSignal: "SIGKILL",
  });
  t.after(() => child.kill("SIGKILL"));
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (part: Buffer) => (stdout += part.toString()));
  child.stderr.on("data", (part: Buffer) => (stderr += part.toString()));
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once("close", (status, signal) => resolve(status ?? signal)),
  );
  return { child, stdout: () => stdout, stderr: () => stderr, ended };
}
