/**
 * Daemon: our daemon as it runs on one host of the lab, in either of two ways, which tests need not tell apart.
 *
 * In a container (container.ts) it is what users have, and so the rule. As a process of the host, from the sources, it
 * is where a test needs what a container keeps from it: another clock, for one.
 *
 * Touches: the host's processes.
 */

import { fileURLToPath } from "node:url";

import type { Output } from "./command.ts";
import type { LabHost } from "./host.ts";
import type { Exit, LabProgram } from "./program.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));

/** How it is started, other than plainly. */
export interface StartOptions {
  /** Words after `run`. */
  readonly words?: readonly string[];
  /** Environment variables. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Linux capabilities that it is to do without, `NET_ADMIN`. */
  readonly without?: readonly string[];
}

/** One that was started. */
export interface Daemon {
  /** How it ended; null while it runs. A container tells of a signal by a code: 137 is SIGKILL. */
  exit(): Promise<Exit | null>;
  /** All it has written so far. */
  log(): string;
  /** Stops it between two instructions, and lets it go on. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Waits for its end, whoever brings it about. */
  ended(): Promise<Exit>;
  /** Ends it by a signal. */
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<Exit>;
}

/** A way to run it on a host. */
export interface Runner {
  start(options: StartOptions): Promise<Daemon>;
  /** Starts a new one beside one that runs, which is to take over from it. */
  startBeside(): Promise<Daemon>;
  /** Runs a command of the CLI, whether or not the daemon runs. */
  cli(words: readonly string[]): Promise<Output>;
  /** Takes the host out of the cluster for good, and the daemon with it. */
  leave(): Promise<Output>;
  /** Takes a program away from the daemon. @returns what gives it back */
  hide(program: string): Promise<() => Promise<void>>;
}

/** A daemon that is a process of the host, run from the sources. */
export class ProcessRunner implements Runner {
  readonly #host: LabHost;
  readonly #env: Readonly<Record<string, string>>;
  readonly #before: readonly string[];

  /**
   * @param env  its environment at each start
   * @param before  words before the command
   */
  constructor(host: LabHost, env: Readonly<Record<string, string>>, before: readonly string[] = []) {
    this.#host = host;
    this.#env = env;
    this.#before = before;
  }

  async start({ words = [], settings = {}, without = [] }: StartOptions): Promise<Daemon> {
    const names = without.map((name) => `-${name.toLowerCase()}`).join(",");
    const rights = names === "" ? [] : ["setpriv", `--bounding-set=${names}`, `--inh-caps=${names}`];
    const env = { ...this.#env, ...settings };
    return await this.#spawn([...this.#before, ...rights], words, { env, log: "skein" });
  }

  async startBeside(): Promise<Daemon> {
    return await this.#spawn(this.#before, ["--replace"], { env: {}, log: "skein-new" });
  }

  async #spawn(
    before: readonly string[],
    words: readonly string[],
    options: { readonly env: Readonly<Record<string, string>>; readonly log: string },
  ): Promise<Daemon> {
    const argv = [...before, process.execPath, "src/main.ts", "run", ...words];
    return daemonOf(await this.#host.spawn(argv, { cwd: REPOSITORY, ...options }));
  }

  async cli(words: readonly string[]): Promise<Output> {
    const argv = [process.execPath, "src/main.ts", ...words];
    return await this.#host.exec(argv, { cwd: REPOSITORY, env: { NO_COLOR: "1" } });
  }

  async leave(): Promise<Output> {
    return await this.cli(["leave", "--force"]);
  }

  async hide(program: string): Promise<() => Promise<void>> {
    return await hideProgram(this.#host, [], program);
  }
}

/**
 * Puts nothing over a program, so that it cannot be run.
 *
 * @param into  words that lead a command of the host to where the program is
 */
export async function hideProgram(
  host: LabHost,
  into: readonly string[],
  program: string,
): Promise<() => Promise<void>> {
  const path = await host.mustExec([...into, "sh", "-c", `command -v ${program}`]);
  await host.mustExec([...into, "mount", "--bind", "/dev/null", path]);
  return async () => void (await host.mustExec([...into, "umount", path]));
}

function daemonOf(program: LabProgram): Daemon {
  return {
    exit: async () => program.exit,
    log: () => program.log(),
    freeze: async () => program.signal("SIGSTOP"),
    thaw: async () => program.signal("SIGCONT"),
    ended: async () => await program.ended(),
    stop: async (signal) => await program.stop(signal),
  };
}
