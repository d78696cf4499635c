/**
 * Run: the identity of one open lab, by which all it makes on this machine is found again.
 *
 * Every trace of a lab carries its run id: the folder in its name, the processes in their environment
 * (LAB_RUN_ID), the link in its alias, the cgroups in their path. So a lab is removed by looking for the mark,
 * not by remembering what was made: a list kept in memory dies with a killed test, and one kept in a file lags
 * behind by what was made last.
 *
 * The folder holds who owns the run, so that a later test may tell an abandoned run from one that goes on.
 *
 * Touches: the temp folder, /proc.
 */

import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Not SKEIN_...: that prefix is our daemon's, which refuses settings it does not know.
export const RUN_MARK = "LAB_RUN_ID";

const FOLDER_PREFIX = "skein-lab-";

// A folder without its owner's file is one just being made, unless it is older than this.
const NASCENT_MS = 60_000;

export type Run = { readonly id: string; readonly folder: string };

type Owner = { readonly pid: number; readonly startTicks: string };

/** A run id no other process on this machine has or gets: this process's id and six random hex digits. */
export function newRunId(): string {
  return `${process.pid}-${randomBytes(3).toString("hex")}`;
}

export function runOf(id: string): Run {
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(id))
    throw new Error(`run id is "${id}"; expected 1 to 32 of a-z 0-9 -`);
  return { id, folder: join(tmpdir(), FOLDER_PREFIX + id) };
}

/** Creates the run's folder with this process as its owner; throws when the run id is in use. */
export function claimRun(id: string): Run {
  const run = runOf(id);
  mkdirSync(run.folder, { mode: 0o755 });
  const owner: Owner = { pid: process.pid, startTicks: startTicksOf(process.pid) ?? "" };
  writeFileSync(join(run.folder, "owner.json"), JSON.stringify(owner));
  return run;
}

/** The runs in the temp folder whose owner is gone. */
export function staleRuns(nowMs: number): Run[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(FOLDER_PREFIX))
    .map((name) => runOf(name.slice(FOLDER_PREFIX.length)))
    .filter((run) => isStale(run, nowMs));
}

function isStale(run: Run, nowMs: number): boolean {
  try {
    const owner = JSON.parse(readFileSync(join(run.folder, "owner.json"), "utf8")) as Owner;
    // Not the pid alone: pids are used again, and the tests of a busy machine use many.
    return startTicksOf(owner.pid) !== owner.startTicks;
  } catch {
    // No owner's file, or half of one: the run is being claimed right now, or its owner died doing so.
    return olderThan(run.folder, nowMs - NASCENT_MS);
  }
}

function olderThan(path: string, timeMs: number): boolean {
  try {
    return statSync(path).mtimeMs < timeMs;
  } catch {
    // Gone meanwhile: its owner closed it.
    return false;
  }
}

/** When a process started, in clock ticks since boot; null when there is no such process. */
function startTicksOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in parentheses, and a name may hold spaces and parentheses.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}
