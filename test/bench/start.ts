/**
 * Start: how long from starting the process until it serves, from the sources and from the bundle.
 *
 * Both with a warm compile cache, as from the second start on, or from the first where an image brings it. A first
 * start makes the host's keys and a cluster; a later one finds them. Beside them the two commands that are run most:
 * `status --quiet`, which is the image's health check, and `version`.
 *
 * Touches: child processes, temporary folders.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { roundOf, untold, type OnStep } from "../support/steps.ts";

import { PROGRAMS, startDaemon, type MeasuredDaemon, type Program } from "./daemon.ts";
import { settled } from "./memory.ts";
import { quantile } from "./statistics.ts";

const ROUNDS = 10;
const ADDRESS = "127.0.41.1";

/** Times in milliseconds of wall clock, but `cpu`: of processor time until it is ready. */
export interface StartFigures {
  readonly program: Program;
  readonly rounds: number;
  readonly first: Spread;
  readonly later: Spread;
  /** Resident memory after a later start, once it has settled, in megabytes (10^6 bytes). */
  readonly idleRssMb: number;
  /** Of it, what is no file's. */
  readonly ownRssMb: number;
  readonly statusCpuMs: number;
  readonly versionCpuMs: number;
}

interface Spread {
  readonly medianMs: number;
  readonly slowestMs: number;
  readonly cpuMs: number;
}

/** Measures each program that is there; the bundle is when it was built. */
export async function measureStart(
  rounds = ROUNDS,
  onStep: OnStep = untold,
): Promise<readonly StartFigures[]> {
  const figures: StartFigures[] = [];
  for (const program of ["source", "bundle"] as const) {
    if (existsSync(PROGRAMS[program])) figures.push(await measure(program, rounds, onStep));
  }
  return figures;
}

async function measure(program: Program, rounds: number, onStep: OnStep): Promise<StartFigures> {
  const dir = mkdtempSync(join(tmpdir(), "skein-start-"));
  const compileCache = join(dir, "cache");
  const dataDir = join(dir, "state");
  const usual = { program, compileCache };
  try {
    await (await startDaemon(ADDRESS, { ...usual, dataDir })).end("SIGTERM");
    await (await startDaemon(ADDRESS, usual)).end("SIGTERM");
    const first = await starts(
      rounds,
      () => startDaemon(ADDRESS, usual),
      (text) => onStep(`${program}, a first start, ${text}`),
    );
    const later = await starts(
      rounds,
      () => startDaemon(ADDRESS, { ...usual, dataDir }),
      (text) => onStep(`${program}, a later start, ${text}`),
    );
    onStep(`${program}, until its memory has settled`);
    const idle = await startDaemon(ADDRESS, { ...usual, dataDir });
    const idleRssMb = await settled(idle);
    const ownRssMb = ownBytesOf(idle) / 1e6;
    const command = (...args: string[]): number => cpuOf(program, compileCache, args);
    const statusCpuMs = command("status", "--quiet", "--socket", idle.socket);
    await idle.end();
    const versionCpuMs = command("--version");
    return { program, rounds, first, later, idleRssMb, ownRssMb, statusCpuMs, versionCpuMs };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function starts(rounds: number, start: () => Promise<MeasuredDaemon>, onStep: OnStep): Promise<Spread> {
  const timesMs: number[] = [];
  const cpusMs: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    onStep(roundOf(round, rounds));
    const daemon = await start();
    timesMs.push(daemon.readyMs);
    cpusMs.push(processorMsOf(daemon.child.pid ?? 0));
    await daemon.end();
  }
  return {
    medianMs: quantile(timesMs, 0.5),
    slowestMs: Math.max(...timesMs),
    cpuMs: quantile(cpusMs, 0.5),
  };
}

/** Processor time of a process so far; proc(5) counts in ticks of 10 ms. */
function processorMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Resident memory that is no file's: the program of Node itself is shared by all that run it. */
function ownBytesOf({ child }: MeasuredDaemon): number {
  const status = readFileSync(`/proc/${child.pid ?? 0}/status`, "utf8");
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Processor time of a command, of several one after the other. */
function cpuOf(program: Program, compileCache: string, args: readonly string[]): number {
  const call = ["--max-semi-space-size=2", PROGRAMS[program], ...args];
  const script = 'for _ in 1 2 3 4 5 6 7 8 9 10; do "$@" >/dev/null || exit; done; times';
  const env = { ...process.env, NODE_COMPILE_CACHE: compileCache };
  const told = spawnSync("bash", ["-c", script, "bash", process.execPath, ...call], {
    env,
    encoding: "utf8",
  });
  // The second line of `times`: of children, user and system, as 0m1.234s each.
  const spent = [...(told.stdout.split("\n")[1] ?? "").matchAll(/(\d+)m([\d.]+)s/g)];
  if (spent.length !== 2) throw new Error(`skein ${args.join(" ")} failed: ${told.stderr}`);
  return (
    (spent.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0) * 1000) / 10
  );
}
