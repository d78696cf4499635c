// Runs a script in namespaces of its own (network, mounts, processes) that end with it, whatever it started.

import assert from "node:assert/strict";

import { run } from "../../src/runtime/exec.ts";

const DEADLINE_MS = 60_000;
const APART = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
// Locks and sockets of programs are in /run, which all namespaces share unless it is another one.
const PREPARE = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"';

/** Why scripts cannot be run apart here; false when they can. */
export async function whyNotApart(programs: readonly string[]): Promise<string | false> {
  if (process.getuid?.() !== 0) return "namespaces need root";
  for (const program of ["ip", "unshare", "nsenter", ...programs]) {
    const found = await run("sh", ["-c", 'command -v "$1"', "sh", program], { deadlineMs: DEADLINE_MS });
    if (found.status !== 0) return `the program ${program} is not here`;
  }
  return false;
}

/** Runs a script, told by its path. @throws with all it printed unless it ends with 0 */
export async function runApart(path: string): Promise<void> {
  const command = ["sh", "-c", PREPARE, "sh", process.execPath, path];
  const { status, stdout, stderr } = await run("unshare", [...APART, ...command], {
    deadlineMs: DEADLINE_MS,
  });
  assert.equal(status, 0, `${path} ended with ${status}\n${stdout}\n${stderr}`);
}
