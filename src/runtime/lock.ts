/**
 * Lock: one daemon to a data dir.
 *
 * Two daemons on one data dir would have one identity, and write over each other's state. The lock is a file
 * with the holder's pid, put in place whole by a hard link, which fails when there is one already. A holder
 * that died without letting go (kill -9, power) leaves a stale lock; so the file also tells when the holder
 * started (from /proc), because a pid alone comes round again: in a container the next daemon often has the
 * very pid of the last one.
 *
 * Not flock(2): Node has no call for it. The price: two containers with own pid spaces on one volume do not
 * see each other's holder; that is told in the documentation.
 *
 * Touches: the data dir, /proc, signal 0.
 */

import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { Failure, systemCodeOf } from "../base/failure.ts";

import { nowMs } from "./clock.ts";
import { fileFailure } from "./files.ts";

/** A lock that is held. */
export interface Lock {
  /** Lets go. May be called again. */
  release(): Promise<void>;
}

/** Stale locks met in a row before giving up: each try removes one, and others are starting as well. */
const TRIES_MAX = 8;

/** Between two looks at a lock that is waited for. */
const LOOK_MS = 50;

/**
 * Takes the lock of a data dir, which must exist.
 *
 * @param options.waitMs  for how long a holder that lives is waited for, 0 unless told
 * @throws Failure `busy`, which names the pid of the holder, when another daemon that lives holds it
 */
export async function lockFolder(
  dataDir: string,
  { waitMs = 0 }: { readonly waitMs?: number } = {},
): Promise<Lock> {
  const untilMs = nowMs() + waitMs;
  for (;;) {
    try {
      return await lockedNow(dataDir);
    } catch (thrown) {
      if (nowMs() >= untilMs || !(thrown instanceof Failure) || thrown.code !== "busy") throw thrown;
      await delay(LOOK_MS);
    }
  }
}

async function lockedNow(dataDir: string): Promise<Lock> {
  const path = join(dataDir, "skein.lock");
  const minePath = `${path}.${process.pid}`;
  const mine = `${process.pid} ${await startIn(await statOf(process.pid))}\n`;
  try {
    await writeFile(minePath, mine, { mode: 0o600 });
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      if (await linked(minePath, path)) return held(path, mine);
      await clearStale(path, dataDir);
    }
  } catch (thrown) {
    throw fileFailure(path, "taken", thrown);
  } finally {
    await rm(minePath, { force: true });
  }
  throw new Failure("busy", `data dir ${dataDir} is being taken by other daemons; start one at a time`);
}

function held(path: string, mine: string): Lock {
  return {
    async release() {
      // Only our own: after a mistaken takeover the lock may be somebody else's.
      if ((await textAt(path)) === mine) await rm(path, { force: true });
    },
  };
}

/** Removes the lock when its holder is dead; fails with `busy` when it lives. */
async function clearStale(path: string, dataDir: string): Promise<void> {
  const text = await textAt(path);
  if (text === null) return;
  const [pidText = "", start = ""] = text.trim().split(" ");
  const pid = Number(pidText);
  if (await lives(pid, start)) {
    const remedy = "stop it first, or set --data-dir to another folder";
    throw new Failure("busy", `data dir ${dataDir} is in use by the skein daemon with pid ${pid}; ${remedy}`);
  }
  // Two that find one stale lock must not remove each other's fresh one: rename takes exactly one file, and
  // if that is not the stale one it goes back. (A third that links in between would win twice; three starts
  // within microseconds of each other on a stale lock are left uncovered.)
  const asidePath = `${path}.stale.${process.pid}`;
  try {
    await rename(path, asidePath);
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return;
    throw thrown;
  }
  if ((await textAt(asidePath)) !== text) await linked(asidePath, path);
  await rm(asidePath, { force: true });
}

/**
 * True when the process that wrote the lock still runs. A lock with no pid in it was written by no daemon.
 */
async function lives(pid: number, start: string): Promise<boolean> {
  if (!Number.isInteger(pid) || pid < 1) return false;
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    // EPERM: it runs, as another user.
    if (systemCodeOf(thrown) !== "EPERM") return false;
  }
  const stat = await statOf(pid);
  // It has ended, and its parent was not told yet.
  if (stat[STAT_STATE] === "Z" || stat[STAT_STATE] === "X") return false;
  const now = await startIn(stat);
  return now === UNKNOWN_START || start === UNKNOWN_START || now === start;
}

const UNKNOWN_START = "-";

/** Where the fields of proc_pid_stat(5) stand in `statOf`: the third and the 22nd of them. */
const STAT_STATE = 0;
const STAT_START = 19;

/** What /proc tells of a process behind its name, which stands in parentheses and may hold anything; none of nobody. */
async function statOf(pid: number): Promise<readonly string[]> {
  const stat = await textAt(`/proc/${pid}/stat`);
  return stat === null ? [] : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/**
 * When a process started, as a token to compare: the boot's id and the start in clock ticks since (proc(5)).
 */
async function startIn(stat: readonly string[]): Promise<string> {
  const boot = await textAt("/proc/sys/kernel/random/boot_id");
  const ticks = stat[STAT_START];
  return boot === null || ticks === undefined ? UNKNOWN_START : `${boot.trim()}:${ticks}`;
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (thrown) {
    if (systemCodeOf(thrown) === "EEXIST") return false;
    throw thrown;
  }
}

async function textAt(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (thrown) {
    const code = systemCodeOf(thrown);
    // ESRCH: the process ended while its /proc file was read.
    if (code === "ENOENT" || code === "ESRCH") return null;
    throw thrown;
  }
}
