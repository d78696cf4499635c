/**
 * Program: one that goes on running inside a host, as our daemon does, or an engine.
 *
 * It is entered with nsenter, which stays outside as its parent; so two process ids are at play. `pid` is that of
 * the program itself: signals go straight to it, as from an init system, and /proc/<pid> tells of it.
 *
 * nsenter copies a stop: when its child is stopped it stops itself, and then no longer notices the child's end.
 * So whoever continues the program or waits for its end must continue nsenter too.
 *
 * Touches: child processes, log files.
 */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";

import { labEnvironment } from "./command.ts";
import { childOf } from "./namespaces.ts";
import type { Namespaces } from "./namespaces.ts";
import { until } from "../support/wait.ts";

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type ProgramOptions = {
  readonly env?: Readonly<Record<string, string>>;
  /** The folder to start in, as seen from inside. */
  readonly cwd?: string;
  /** Where stdout and stderr go, appended. */
  readonly logPath: string;
};

// What the new process runs before it becomes the program.
const WAY_IN = ["", "nsenter", "setsid"];

// No process has this number.
const ENDED = -1;

const START_MS = 10_000;
const STOP_MS = 15_000;

export class LabProgram {
  readonly pid: number;
  readonly logPath: string;
  readonly #argv: readonly string[];
  readonly #nsenter: ChildProcess;

  /** Use `startProgram`. */
  constructor(argv: readonly string[], ids: { pid: number; nsenter: ChildProcess }, logPath: string) {
    this.pid = ids.pid;
    this.logPath = logPath;
    this.#argv = argv;
    this.#nsenter = ids.nsenter;
  }

  /** How it ended; null while it runs. */
  get exit(): Exit | null {
    return exitOf(this.#nsenter);
  }

  /** All it has written so far, stdout and stderr. */
  log(): string {
    return readFileSync(this.logPath, "utf8");
  }

  /** Sends a signal to the program; SIGSTOP and SIGCONT freeze and thaw it. One that has ended is left alone. */
  signal(signal: NodeJS.Signals): void {
    if (this.exit !== null) return;
    sendTo(this.pid, signal);
    if (signal === "SIGCONT") sendTo(this.#nsenter.pid ?? 0, "SIGCONT");
  }

  /** Returns once it has ended, whoever ended it (a frozen one is thawed); throws when the deadline passes first. */
  async ended(timeoutMs: number = STOP_MS): Promise<Exit> {
    const hasEnded = (): Exit | null => {
      if (this.exit === null) sendTo(this.#nsenter.pid ?? 0, "SIGCONT");
      return this.exit;
    };
    return await until(hasEnded, { what: `"${this.#argv.join(" ")}" has ended`, deadlineMs: timeoutMs });
  }

  /**
   * Sends `signal` (default SIGTERM) and returns how it ended.
   *
   * @throws when it has not ended within `timeoutMs`; it is ended by SIGKILL then
   */
  async stop(signal: NodeJS.Signals = "SIGTERM", timeoutMs: number = STOP_MS): Promise<Exit> {
    this.signal(signal);
    try {
      return await this.ended(timeoutMs);
    } catch (error) {
      this.signal("SIGKILL");
      await this.ended();
      throw error;
    }
  }
}

/** Starts a program inside; throws, with its log, when it ends before it can be seen. */
export async function startProgram(
  namespaces: Namespaces,
  argv: readonly string[],
  options: ProgramOptions & { readonly mark: Readonly<Record<string, string>> },
): Promise<LabProgram> {
  const { env = {}, mark, cwd, logPath } = options;
  const [program = "", ...args] = [...namespaces.enter(cwd), "setsid", ...argv];
  const log = openSync(logPath, "a");
  const nsenter = spawn(program, args, {
    cwd: "/",
    env: labEnvironment({ ...env, ...mark }),
    detached: true,
    stdio: ["ignore", log, log],
  });
  let failed: Error | null = null;
  nsenter.on("error", (error) => {
    failed = error;
  });
  closeSync(log);
  nsenter.unref();
  const name = argv.join(" ");
  const started = (): number | null => {
    if (failed !== null || exitOf(nsenter) !== null) return ENDED;
    const child = childOf(nsenter.pid ?? 0);
    return child !== null && !WAY_IN.includes(programOf(child)) ? child : null;
  };
  const pid = await until(started, { what: `"${name}" has started`, deadlineMs: START_MS, everyMs: 5 });
  if (pid === ENDED) {
    throw new Error(`"${name}" ended at once: ${readFileSync(logPath, "utf8")}`, { cause: failed });
  }
  return new LabProgram(argv, { pid, nsenter }, logPath);
}

function programOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0] ?? "";
  } catch {
    return "";
  }
}

function exitOf(child: ChildProcess): Exit | null {
  const { exitCode: code, signalCode: signal } = child;
  return code === null && signal === null ? null : { code, signal };
}

function sendTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended between our look and our signal.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
