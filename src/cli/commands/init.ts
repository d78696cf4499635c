/**
 * Init: `skein init`, makes a cluster of this host.
 *
 * Seldom needed: a daemon that is started for the first time, and told of no cluster to join, makes one by itself. It
 * is for who wants the tokens before the first start, and for scripts that say so anyway: where there is a cluster it
 * changes nothing.
 *
 * Touches: the daemon, through the session, or the data dir, through its surroundings.
 */

import type { Command } from "commander";

import type { StatusReport } from "../../admin/contract.ts";
import { show, type Act, type ClusterMade, type Session } from "../context.ts";
import { printable } from "../render.ts";
import { unlessNoDaemon } from "../client.ts";

import { configFlagsOf } from "./run.ts";

const EXAMPLES = `
Examples:
  skein init
  skein init --data-dir ./state && skein run --data-dir ./state

A daemon that runs has a cluster already: its own since its first start, or the one that it joined.`;

/** Adds the command. */
export function addInit(program: Command, act: Act): void {
  program
    .command("init")
    .description("make a cluster of this host; the first start of a daemon does so by itself")
    .option("--config <file>", "config file; as of skein run")
    .option("--data-dir <path>", "folder of the daemon's state (node.dataDir)")
    .addHelpText("after", EXAMPLES)
    .action(act((session, command) => init(session, command)));
}

async function init(session: Session, command: Command): Promise<number> {
  const running = await unlessNoDaemon(session.client.get<StatusReport>("/api/v1/status"));
  const found =
    running === null
      ? await session.surroundings.initCluster(configFlagsOf(command, []))
      : { clusterId: running.cluster.id, made: false, dataDir: null };
  await show(session, {
    value: { clusterId: found.clusterId, made: found.made },
    table: () => `${printable(textOf(found))}\n`,
    names: [found.clusterId],
  });
  return 0;
}

function textOf({
  clusterId,
  made,
  dataDir,
}: Omit<ClusterMade, "dataDir"> & { dataDir: string | null }): string {
  if (dataDir === null)
    return `this host's daemon is in cluster ${clusterId}; for others to join: skein token worker`;
  return made
    ? `made cluster ${clusterId} in ${dataDir}; start its daemon with: skein run`
    : `${dataDir} is in cluster ${clusterId} already; start its daemon with: skein run`;
}
