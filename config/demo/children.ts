/**
 * Children: the processes a demo starts, and their certain end.
 *
 * Each child is remembered by its handle and ended by its own pid, in reverse order, whatever way the demo ends; what
 * a child wrote is kept for the case that it dies too early.
 *
 * Touches: child processes.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";

/** How much of a child's output is kept to explain its early end. */
const KEPT_CHARS = 4000;

/** One process, its name, and the end of what it said. */
export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  /** The first line on standard output. */
  readonly firstLine: Promise<string>;
  readonly said: () => string;
}

/** All processes of one demo. */
export class Children {
  readonly #children: Child[] = [];

  /** Starts a Node program of this repository. */
  start(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Child {
    const process_ = spawn(process.execPath, [...args], {
      env: { ...process.env, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let said = "";
    const keep = (chunk: Buffer): void => {
      said = (said + chunk.toString()).slice(-KEPT_CHARS);
    };
    process_.stderr.on("data", keep);
    const child: Child = {
      name,
      process: process_,
      firstLine: firstLineOf(process_, name, () => said),
      said: () => said,
    };
    process_.stdout.on("data", keep);
    // A replica that serves says its address; a daemon says nothing: an unread promise must not end the demo.
    child.firstLine.catch(() => undefined);
    this.#children.push(child);
    return child;
  }

  /** Runs a Node program of this repository to its end. */
  async run(
    name: string,
    args: readonly string[],
  ): Promise<{ readonly code: number; readonly said: string }> {
    const child = this.start(name, args);
    const [code] = (await once(child.process, "close")) as [number | null];
    return { code: code ?? -1, said: child.said().trim() };
  }

  /** Sends a signal to one child. */
  signal(child: Child, signal: NodeJS.Signals): void {
    child.process.kill(signal);
  }

  /** Ends one child for certain and waits until the system has taken it back. */
  async end(child: Child, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (child.process.exitCode !== null || child.process.signalCode !== null) return;
    const exited = once(child.process, "exit");
    child.process.kill(signal);
    // A stopped process takes no other signal before it continues.
    child.process.kill("SIGCONT");
    const hurry = setTimeout(() => child.process.kill("SIGKILL"), 12_000);
    await exited;
    clearTimeout(hurry);
  }

  /** Ends all, the last one first. */
  async endAll(): Promise<void> {
    for (const child of [...this.#children].reverse()) await this.end(child);
  }

  /** Ends all without waiting; for the process's own last moment. */
  endAllNow(): void {
    for (const child of this.#children) child.process.kill("SIGKILL");
  }
}

function firstLineOf(process_: ChildProcess, name: string, said: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    process_.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")));
    });
    process_.once("error", reject);
    process_.once("exit", (code, signal) =>
      reject(new Error(`${name} ended (${code ?? signal}): ${said()}`)),
    );
  });
}
