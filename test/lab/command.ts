/**
 * Command: run one program to its end and hand back what it said.
 *
 * Every program gets a deadline and its own process group, so that a stuck one is ended with all its children by
 * one signal to that group. It gets a clean environment too: a DOCKER_HOST, an XDG_RUNTIME_DIR or the test
 * runner's NODE_TEST_CONTEXT of the person who runs the tests would change what the programs in the lab do.
 *
 * Touches: child processes.
 */

import { spawn } from "node:child_process";
import { dirname } from "node:path";

export type Output = { readonly code: number; readonly stdout: string; readonly stderr: string };

export type CommandOptions = {
  readonly timeoutMs?: number;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
};

const OUTPUT_BYTES_MAX = 32 * 1024 * 1024;

// Our own Node first, as a machine may have an older one; then the distribution's, whose docker client fits its
// dockerd.
export const LAB_PATH = [
  dirname(process.execPath),
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
  "/usr/local/bin",
];

/** The environment of everything the lab starts; `extra` wins. */
export function labEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const coverage = process.env["NODE_V8_COVERAGE"];
  return {
    PATH: LAB_PATH.join(":"),
    HOME: "/root",
    LANG: "C.UTF-8",
    ...(coverage === undefined ? {} : { NODE_V8_COVERAGE: coverage }),
    ...extra,
  };
}

/**
 * Runs a program to its end. A program ended by a signal has code -1.
 *
 * @throws when it cannot be started, says more than 32 MiB or does not end within `timeoutMs` (default 30 s)
 */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<Output> {
  const [program = "", ...args] = argv;
  const { timeoutMs = 30_000, input, env = {}, cwd = "/" } = options;
  const child = spawn(program, args, { cwd, env: labEnvironment(env), detached: true, stdio: "pipe" });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let sizeBytes = 0;
  return await new Promise<Output>((resolve, reject) => {
    const text = (): Output => ({
      code: child.exitCode ?? -1,
      stdout: Buffer.concat(stdout).toString(),
      stderr: Buffer.concat(stderr).toString(),
    });
    const giveUp = (why: string): void => {
      endGroup(child.pid);
      reject(new Error(`${argv.join(" ")}: ${why}\n${text().stdout}${text().stderr}`));
    };
    const timer = setTimeout(() => giveUp(`not done within ${timeoutMs} ms`), timeoutMs);
    const collect = (chunks: Buffer[], chunk: Buffer): void => {
      chunks.push(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes > OUTPUT_BYTES_MAX) giveUp(`more than ${OUTPUT_BYTES_MAX} bytes of output`);
    };
    child.stdout.on("data", (chunk: Buffer) => collect(stdout, chunk));
    child.stderr.on("data", (chunk: Buffer) => collect(stderr, chunk));
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new Error(`${program} cannot be started`, { cause: error }));
    });
    child.on("close", () => {
      clearTimeout(timer);
      resolve(text());
    });
    // A program that ends without reading its input is judged by its exit code, not by our broken pipe.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input ?? "");
  });
}

/** As `runCommand`, for programs that must succeed: returns what they said on stdout, trimmed. */
export async function mustRun(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await runCommand(argv, options);
  if (code !== 0) throw new Error(`${argv.join(" ")}: exit code ${code}\n${stderr}${stdout}`);
  return stdout.trim();
}

/** Sends SIGKILL to the process group led by `pid`; one that has ended already is fine. */
export function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
