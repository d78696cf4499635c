/**
 * Namespaces: one set of Linux namespaces (network, mounts, processes, host name), held open by one process.
 *
 * Not `ip netns add`: a named namespace is a mount that outlives everybody and must be remembered to be removed.
 * Here the first process of a process namespace is the switch for all of it. When it dies the kernel ends every
 * process inside, containers too, and with the last process the mounts, the interfaces and the rules are gone.
 * And it dies with us: `setpriv --pdeathsig` and `unshare --kill-child` chain its life to the test process, so
 * that even a test ended by SIGKILL leaves nothing running and nothing mounted.
 *
 * Processes enter by `nsenter`. Its --net alone would do for sockets (`ip netns exec` would not: that one hides
 * the cgroups, and dockerd does not start), but then /run, /etc and /proc would be those of the machine.
 *
 * Touches: child processes, /proc.
 */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";

import { labEnvironment } from "./command.ts";
import { RUN_MARK } from "./run.ts";
import type { Run } from "./run.ts";
import { until } from "../support/wait.ts";

export type Namespaces = {
  /** The first process, numbered as the machine sees it. */
  readonly pid: number;
  /** The words to put before a command that is to run inside, in folder `cwd` as seen from inside. */
  readonly enter: (cwd?: string) => string[];
  /** Ends every process inside; returns when all are gone. */
  readonly end: () => Promise<void>;
};

export type InitScript = {
  /** What these namespaces are, for messages. */
  readonly name: string;
  /** Shell text (`sh -eu`) that prepares the inside; `$1`, `$2`... are `args`. */
  readonly script: string;
  readonly args?: readonly string[];
};

const OPEN_MS = 15_000;
const END_MS = 15_000;

// docker-init is tini: as the first process it must collect the orphans that containerd's shims leave to it.
const HOLD = "echo ready\nexec docker-init -s -- sleep infinity >/dev/null 2>&1";

const UNSHARE = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"];

/** Opens a set of namespaces and runs `init.script` inside as its first act. */
export async function openNamespaces(run: Run, init: InitScript): Promise<Namespaces> {
  const script = `${init.script}\n${HOLD}`;
  const inner = [...UNSHARE, "--mount-proc", "sh", "-euc", script, "sh", ...(init.args ?? [])];
  const holder = spawn("setpriv", ["--pdeathsig", "KILL", ...inner], {
    cwd: "/",
    env: labEnvironment({ [RUN_MARK]: run.id }),
    // Detached: ^C at a terminal goes to the test process alone, which closes the lab in order.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  try {
    await untilReady(holder, init.name);
    const pid = childOf(holder.pid ?? 0);
    if (pid === null) throw new Error(`${init.name}: the first process is gone`);
    return {
      pid,
      enter: (cwd = "/") => ["nsenter", ...enterFlags(pid), `--wdns=${cwd}`, "--"],
      end: async () => await end(holder, pid),
    };
  } catch (error) {
    holder.kill("SIGKILL");
    throw error;
  } finally {
    // What is said after this has no reader. And a test that forgot to close its lab must still be able to end.
    holder.stdout.destroy();
    holder.stderr.destroy();
    holder.unref();
  }
}

/** The only child of a process; null when it has none (yet, or any more). */
export function childOf(pid: number): number | null {
  try {
    const [first = ""] = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ");
    return first === "" ? null : Number(first);
  } catch {
    return null;
  }
}

function enterFlags(pid: number): string[] {
  return [`--target=${pid}`, "--net", "--mount", "--uts", "--ipc", "--pid"];
}

async function untilReady(holder: ChildProcess, name: string): Promise<void> {
  let said = "";
  let failed: Error | null = null;
  const collect = (chunk: Buffer): void => {
    said += chunk.toString();
  };
  holder.stdout?.on("data", collect);
  holder.stderr?.on("data", collect);
  holder.on("error", (error) => {
    failed = error;
  });
  const ended = (): boolean => failed !== null || holder.exitCode !== null || holder.signalCode !== null;
  const what = `the namespaces of ${name} are ready`;
  await until(() => /^ready$/m.test(said) || ended(), { what, deadlineMs: OPEN_MS });
  if (ended()) throw new Error(`the namespaces of ${name} cannot be opened: ${said}`, { cause: failed });
}

async function end(holder: ChildProcess, pid: number): Promise<void> {
  const ended = (): boolean => holder.exitCode !== null || holder.signalCode !== null;
  if (ended()) return;
  // Not the holder: the kernel would end the first process for us, but we would not know when.
  process.kill(pid, "SIGKILL");
  await until(ended, { what: `all below process ${pid} have ended`, deadlineMs: END_MS });
}
