/**
 * Purge: takes all that is ours out of the kernel and out of Docker, so that the host is as it was.
 *
 * A running daemon does it when it was told to (`skein run --purge`, `skein leave`), once nothing goes through it any
 * more. Without one, `skein doctor --clean` does: from the names that our things have, not from a memory, so that it
 * also finds what a daemon left that cannot start any more. What cannot be removed is told, and the rest goes all the
 * same.
 *
 * Touches: the kernel and Docker, through their parts; the data dir's lock.
 */

import { Failure, textOf } from "../base/failure.ts";
import type { Config } from "../config/schema.ts";
import { openLinks } from "../kernel/links/links.ts";
import { removePoolRoutes } from "../kernel/pool.ts";
import { hasNetAdmin } from "../kernel/rights.ts";
import { openRules } from "../kernel/rules/rules.ts";
import { openWireguard } from "../kernel/wireguard/wireguard.ts";
import { lockFolder } from "../runtime/lock.ts";
import { ensureFolder } from "../runtime/files.ts";
import type { Log } from "../runtime/log.ts";
import { locateDocker } from "../source/docker/client.ts";
import { removeDockerNetworks } from "../source/docker/networks.ts";

import type { Kernel } from "./kernel-ground.ts";
import type { Pools } from "./pools.ts";

/** The ranges that VIPs come from where nothing is configured (kernel/pool.ts). */
const USUAL_POOLS: readonly string[] = ["10.96.0.0/12"];

/** Takes away what a daemon has made that is about to end. Never rejects: what is left goes to the log. */
export async function purge(parts: {
  readonly kernel: Pick<Kernel, "remove">;
  readonly pools: Pick<Pools, "remove">;
  readonly log: Log;
}): Promise<void> {
  const { kernel, pools, log } = parts;
  const left = await inTurn([() => kernel.remove(), () => pools.remove()]);
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
  const { dataDir } = config.node;
  if (!config.vip.listen)
    throw new Failure("not-allowed", "vip.listen is off: what is in the kernel is another daemon's");
  await ensureFolder(dataDir);
  const lock = await lockFolder(dataDir);
  try {
    if (!(await hasNetAdmin()))
      throw new Failure("not-allowed", "rules and links cannot be removed without NET_ADMIN");
    const pools = config.vip.pool === "auto" ? USUAL_POOLS : [config.vip.pool.text];
    const docker = locateDocker(config.docker.socket, env);
    return await inTurn([
      async () => (await openRules().remove()).problems,
      async () => (await openLinks().remove()).problems,
      async () => (await (await openWireguard({ dataDir })).remove()).problems,
      async () => (docker === null ? [] : await removeDockerNetworks(docker)),
      () => removePoolRoutes(pools),
    ]);
  } finally {
    await lock.release();
  }
}

/** Does one after the other. @returns what each says, or why it failed */
async function inTurn(removals: readonly (() => Promise<readonly string[]>)[]): Promise<readonly string[]> {
  const left: string[] = [];
  for (const remove of removals) {
    try {
      left.push(...(await remove()));
    } catch (thrown) {
      left.push(textOf(thrown));
    }
  }
  return left;
}
