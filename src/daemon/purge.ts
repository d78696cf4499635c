/**
 * Purge: takes all that is ours out of the kernel and out of Docker, so that the host is as it was.
 *
 * A running daemon does it when it was told to (`skein run --purge`, `skein leave`), once nothing goes through it any
 * more. Without one, `skein doctor --clean` does: from the names that our things have, not from a memory, so that it
 * also finds what a daemon left that cannot start any more. What cannot be removed, or not in time, is told, and the
 * rest goes all the same.
 *
 * Touches: the kernel and Docker, through their parts; the data dir's lock.
 */

import { stat } from "node:fs/promises";

import { Failure, textOf } from "../base/failure.ts";
import type { Config } from "../config/schema.ts";
import { openParts } from "../kernel/parts.ts";
import { removalsOf, type Removal } from "../kernel/planned.ts";
import { removePoolRoutes } from "../kernel/pool.ts";
import { hasNetAdmin } from "../kernel/rights.ts";
import { nowMs } from "../runtime/clock.ts";
import { lockFolder } from "../runtime/lock.ts";
import type { Log } from "../runtime/log.ts";
import { locateDocker } from "../source/docker/client.ts";
import { removeDockerNetworks } from "../source/docker/networks.ts";

import type { Kernel } from "./kernel-ground.ts";
import type { Pools } from "./pools.ts";

/** The ranges that VIPs come from where nothing is configured (kernel/pool.ts). */
const USUAL_POOLS: readonly string[] = ["10.96.0.0/12"];

/** While a daemon ends: Docker kills ten seconds after its signal, and it is some milliseconds on a host in order. */
const ENDING_MS = 4000;
/** Without a daemon nobody waits but who asked. */
const OFFLINE_MS = 30_000;

/** Takes away what a daemon has made that is about to end. Never rejects: what is left goes to the log. */
export async function purge(parts: {
  readonly kernel: Pick<Kernel, "removals">;
  readonly pools: Pick<Pools, "remove">;
  readonly log: Log;
}): Promise<void> {
  const { kernel, pools, log } = parts;
  const ofPools = { what: "routes of VIPs", remove: () => pools.remove() };
  const left = await takeAway([...kernel.removals, ofPools], ENDING_MS);
  for (const text of left) log.warn(`left behind: ${text}`);
  if (left.length === 0) log.info("rules, links, routes and networks of this host are removed");
}

/**
 * Takes away what daemons of this data dir have left.
 *
 * @returns what is left, in words
 * @throws Failure `busy` while a daemon uses the data dir, `not-allowed` without the right to change anything
 */
export async function purgeOffline(
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
): Promise<readonly string[]> {
  if (!config.vip.listen)
    throw new Failure("not-allowed", "vip.listen is off: what is in the kernel is another daemon's");
  const lock = await lockOf(config.node.dataDir);
  try {
    if (!(await hasNetAdmin()))
      throw new Failure("not-allowed", "rules and links cannot be removed without NET_ADMIN");
    const pools = config.vip.pool === "auto" ? USUAL_POOLS : [config.vip.pool.text];
    const docker = locateDocker(config.docker.socket, env);
    // Without the key of the host: what is only taken away needs none.
    const { all } = await openParts({ nowMs, wireguard: null });
    const networks = async (): Promise<readonly string[]> =>
      docker === null ? [] : await removeDockerNetworks(docker);
    return await takeAway(
      [
        ...removalsOf(all),
        { what: "Docker's networks", remove: networks },
        { what: "routes of VIPs", remove: () => removePoolRoutes(pools) },
      ],
      OFFLINE_MS,
    );
  } finally {
    await lock?.release();
  }
}

/** A host that never had a data dir has no daemon that uses it, and gets none by being cleaned. */
async function lockOf(dataDir: string): Promise<Awaited<ReturnType<typeof lockFolder>> | null> {
  const isThere = await stat(dataDir).then(
    () => true,
    () => false,
  );
  return isThere ? await lockFolder(dataDir) : null;
}

/**
 * Takes away one after the other. Never rejects.
 *
 * @param withinMs  for all together: what has not begun by then is not begun
 * @returns what is left, or why something could not be taken away
 */
export async function takeAway(removals: readonly Removal[], withinMs: number): Promise<readonly string[]> {
  const left: string[] = [];
  const late = Promise.withResolvers<"late">();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    late.resolve("late");
  }, withinMs);
  for (const { what, remove } of removals) {
    const removed = isLate ? "late" : await Promise.race([remove().catch(reasonOf(what)), late.promise]);
    left.push(...(removed === "late" ? [`${what}: not removed within ${withinMs / 1000} s`] : removed));
  }
  clearTimeout(timer);
  return left;
}

function reasonOf(what: string): (thrown: unknown) => readonly string[] {
  return (thrown) => [`${what}: ${textOf(thrown)}`];
}
