/**
 * Exec: runs a program of the host (ip, nft, ...) and gives back what it said.
 *
 * Always by its arguments, never through a shell: names that come from labels or peers end up in arguments,
 * and no shell means nothing to quote. Always with a deadline and a bound on the output, after which the
 * program is killed with all it started. It runs in a process group of its own, so that Ctrl-C on the
 * daemon's terminal does not cut a change of the kernel's tables in half. What a non-zero exit means is the
 * caller's to judge.
 *
 * Touches: processes.
 */

import { spawn } from "node:child_process";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";

/** What run needs besides the program. */
export interface RunOptions {
  readonly deadlineMs: number;
  /** Written to the program's standard input; empty unless told. */
  readonly stdin?: string;
  /** Its environment; ours unless told, which may hold secrets that one which stays has no business to keep. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** How a program ended. */
export interface Ran {
  /** Its exit status; 128 plus the signal's number when a signal ended it, as shells have it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end.
 *
 * @param program  a name on the PATH or a path
 * @throws Failure `not-found` when there is no such program, `not-allowed` when it may not be run, `timeout`
 *   past the deadline, `invalid` when it writes more than LIMITS.programOutputBytes to stdout or to stderr
 */
export function run(program: string, args: readonly string[], options: RunOptions): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
      // What these programs print is parsed: no translations.
      env: { ...(options.env ?? process.env), LC_ALL: "C" },
    });
    const fail = (failure: Failure): void => {
      clearTimeout(timer);
      killGroup(child.pid);
      // A descendant that left the group could hold these open, and us with them.
      for (const stream of child.stdio) stream?.destroy();
      reject(failure);
    };
    const timer = setTimeout(
      () =>
        fail(new Failure("timeout", `${program} took longer than ${options.deadlineMs} ms and was killed`)),
      options.deadlineMs,
    );
    const tooLong = (): void => {
      const expected = `expected at most ${LIMITS.programOutputBytes}`;
      fail(new Failure("invalid", `${program} wrote too many bytes and was killed; ${expected}`));
    };
    const stdout = collect(child.stdout, tooLong);
    const stderr = collect(child.stderr, tooLong);
    child.once("error", (cause) => fail(spawnFailure(program, cause)));
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      const status = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
      resolve({ status, stdout: stdout(), stderr: stderr() });
    });
    feed(child.stdin, options.stdin ?? "");
  });
}

function feed(stdin: Writable, text: string): void {
  // A program may end without having read its input (EPIPE); its status tells whether that was wrong.
  stdin.on("error", () => undefined);
  stdin.end(text);
}

/** Collects what a stream carries, up to the bound; the returned function gives it as text. */
function collect(stream: Readable, tooLong: () => void): () => string {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  stream.on("data", (chunk: Buffer) => {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > LIMITS.programOutputBytes) tooLong();
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

/** Kills a program and all it started that stayed in its group. */
function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (thrown) {
    // ESRCH: it is gone already, as was wanted. EPERM: it became another user's; nothing more is in our
    // power.
    if (!["ESRCH", "EPERM"].includes(systemCodeOf(thrown) ?? "")) throw thrown;
  }
}

function spawnFailure(program: string, cause: unknown): Failure {
  switch (systemCodeOf(cause) ?? "") {
    case "ENOENT":
      return new Failure("not-found", `program "${program}" is not installed, or not on the PATH`, { cause });
    case "EACCES":
    case "EPERM":
      return new Failure("not-allowed", `program "${program}" may not be run by this user`, { cause });
    default:
      return new Failure("invalid", `program "${program}" cannot be run: ${textOf(cause)}`, { cause });
  }
}
