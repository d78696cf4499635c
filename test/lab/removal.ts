/**
 * Removal: takes one run off this machine, and tells what of it is still there.
 *
 * There is one removal, used when a lab is closed, when opening it failed halfway, when the test process is
 * interrupted or throws, and for the runs of processes that were killed. Its steps are synchronous, since the exit
 * handler of a dying process may not await anything; only the folder goes in two ways. It asks nobody: it looks for the
 * run's mark.
 *
 * The order is the reverse of opening: processes (and with them, by the kernel, their mounts, interfaces and
 * rules), the link in the machine's own network namespace, cgroups, and last the folder, whose presence is what
 * lets a later sweep find the run.
 *
 * Touches: processes, links, cgroups, mounts, the temp folder.
 */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import { labEnvironment } from "./command.ts";
import { RUN_MARK, runOf, staleRuns } from "./run.ts";
import type { Run } from "./run.ts";
import { until } from "../support/wait.ts";

const REMOVE_MS = 15_000;
const TOOL_MS = 10_000;
const CGROUPS = "/sys/fs/cgroup";
/** What is written to which file of a cgroup to thaw it: version 1, version 2. */
const THAWED = { "freezer.state": "THAWED", "cgroup.freeze": "0" };
const FOLDER_REMOVAL = { recursive: true, force: true, maxRetries: 3 };
const REMOVE_FOLDER = `require("node:fs").promises.rm(process.argv[1], ${JSON.stringify(FOLDER_REMOVAL)})`;

type Link = { readonly ifname: string; readonly ifalias?: string };

/** Removes all of a run; throws, naming what is left, when it takes more than 15 s. Doing it twice is harmless. */
export async function removeRun(run: Run): Promise<void> {
  try {
    await until(() => removeAroundFolder(run), { deadlineMs: REMOVE_MS, everyMs: 20 });
    // Not rmSync: an engine leaves thousands of files, and a busy disk takes milliseconds for each; so they are removed
    // some at a time.
    await rm(run.folder, FOLDER_REMOVAL);
  } catch (error) {
    throw unremoved(run, error);
  }
}

/** As `removeRun`, for exit handlers: nothing that is awaited there is ever resumed. */
export function removeRunNow(run: Run): void {
  const deadlineMs = performance.now() + REMOVE_MS;
  // Each look reads all of /proc; that is pause enough between two of them.
  while (!removeAroundFolder(run)) {
    if (performance.now() > deadlineMs) throw unremoved(run, null);
  }
  // In a process of its own it goes the fast way; what that leaves, the slow one takes.
  spawnTool(process.execPath, "--eval", REMOVE_FOLDER, run.folder);
  rmSync(run.folder, FOLDER_REMOVAL);
}

/** Removes the runs whose owner process is gone, and returns their ids. */
export async function sweepStaleRuns(): Promise<string[]> {
  const stale = staleRuns(Date.now());
  for (const run of stale) await removeRun(run);
  return stale.map((run) => run.id);
}

/** What is still on this machine of a run, in words: processes, mounts, links, cgroups, the folder. */
export function findLeftovers(runId: string): string[] {
  const run = runOf(runId);
  return [
    ...processesOf(run).map((pid) => `process ${pid} (${commandOf(pid)})`),
    ...mountsBelow("self", run.folder).map((path) => `mount ${path}`),
    ...foreignMountsOf(run),
    ...linksOf(run).map((name) => `link ${name}`),
    ...cgroupsOf(run).map((path) => `cgroup ${path}`),
    ...(existsSync(run.folder) ? [`folder ${run.folder}`] : []),
  ];
}

/** The alias by which a link in the machine's network namespace is known as a run's. */
export function linkAlias(run: Run): string {
  return `skein-lab ${run.id}`;
}

/** The cgroup, below each hierarchy's root, that holds all of a run's containers. */
export function cgroupName(run: Run): string {
  return `skein-lab-${run.id}`;
}

function unremoved(run: Run, cause: unknown): Error {
  return new Error(`lab ${run.id} cannot be removed: ${findLeftovers(run.id).join(", ")}`, { cause });
}

/** Removes all but the folder. @returns true when it is all gone */
function removeAroundFolder(run: Run): boolean {
  const processes = processesOf(run);
  for (const pid of processes) endProcess(pid);
  for (const path of cgroupsOf(run)) thaw(path);
  // Not yet the rest: what a live process holds cannot be removed, or is made anew.
  if (processes.length > 0) return false;
  for (const path of mountsBelow("self", run.folder).reverse()) spawnTool("umount", "--lazy", path);
  for (const name of linksOf(run)) spawnTool("ip", "link", "del", name);
  for (const path of cgroupsOf(run)) removeCgroup(path);
  return cgroupsOf(run).length === 0 && linksOf(run).length === 0;
}

function processesOf(run: Run): number[] {
  const mark = `${RUN_MARK}=${run.id}`;
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid > 1 && pid !== process.pid)
    .filter((pid) => readProc(pid, "environ").split("\0").includes(mark));
}

/** A process's command line, shortened to what tells which one it is. */
function commandOf(pid: number): string {
  return readProc(pid, "cmdline")
    .replaceAll(/[\0\s]+/g, " ")
    .trim()
    .slice(0, 100);
}

/** A file of a process; empty when the process is gone or has given up its memory. */
function readProc(pid: number | "self", name: string): string {
  try {
    return readFileSync(join("/proc", String(pid), name), "utf8");
  } catch {
    return "";
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function mountsBelow(pid: number | "self", folder: string): string[] {
  return readProc(pid, "mountinfo")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path === folder || path.startsWith(`${folder}/`));
}

/** Mounts of the run in mount namespaces other than ours: seen only where a process of ours lives on unmarked. */
function foreignMountsOf(run: Run): string[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid))
    .filter((pid) => mountsBelow(pid, run.folder).length > 0)
    .map((pid) => `mounts seen by process ${pid} (${commandOf(pid)})`);
}

function linksOf(run: Run): string[] {
  const { stdout } = spawnTool("ip", "-json", "link", "show");
  const links = JSON.parse(stdout === "" ? "[]" : stdout) as Link[];
  return links.filter((link) => link.ifalias === linkAlias(run)).map((link) => link.ifname);
}

function cgroupsOf(run: Run): string[] {
  if (!existsSync(CGROUPS)) return [];
  const hierarchies = readdirSync(CGROUPS, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [CGROUPS, ...hierarchies.map((entry) => join(CGROUPS, entry.name))]
    .map((root) => join(root, cgroupName(run)))
    .filter((path) => existsSync(path));
}

/** Lets what a pause has frozen below a cgroup go on, for it cannot be ended otherwise. */
function thaw(path: string): void {
  for (const [name, word] of Object.entries(THAWED)) {
    const file = join(path, name);
    if (existsSync(file)) tolerantly(() => writeFileSync(file, word));
  }
  tolerantly(() => {
    const inner = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const entry of inner) thaw(join(path, entry.name));
  });
}

/** Removes a cgroup and those below it; one that still holds processes stays, for the next attempt. */
function removeCgroup(path: string): void {
  tolerantly(() => {
    const inner = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const entry of inner) removeCgroup(join(path, entry.name));
    // Not rm -r: the files in a cgroup cannot be removed, and go with the folder.
    rmdirSync(path);
  });
}

/** Acts on a cgroup that may be gone meanwhile, or be in use still. */
function tolerantly(act: () => void): void {
  try {
    act();
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["EBUSY", "ENOENT", "ENODEV", "ENOTEMPTY"].includes(code)) throw error;
  }
}

function spawnTool(program: string, ...args: readonly string[]): { readonly stdout: string } {
  return spawnSync(program, args, { encoding: "utf8", env: labEnvironment(), timeout: TOOL_MS });
}
