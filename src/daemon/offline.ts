/**
 * Offline: what may be done with a data dir while no daemon uses it: make a cluster, join one, forget it.
 *
 * The same functions as a daemon's first start, under the same lock: whoever is first has the data dir, and the other
 * is told who.
 *
 * Touches: the data dir, the mesh port of other hosts.
 */

import { Failure } from "../base/failure.ts";
import { parseHostPort } from "../base/ip.ts";
import type { JoinRequest, JoinResult } from "../admin/contract-trust.ts";
import { MESH_PORT } from "../model/mesh-port.ts";
import { wallMs } from "../runtime/clock.ts";
import { ensureFolder } from "../runtime/files.ts";
import { lockFolder } from "../runtime/lock.ts";
import type { CredentialsOptions } from "../trust/credentials.ts";
import { joinCluster } from "../trust/joining.ts";
import { openIdentity } from "../trust/keyfile.ts";
import { adopt, foundCluster, openCredentials } from "../trust/membership.ts";

import { forgetMembership, tokenFrom } from "./membership.ts";
import { keepAddresses, openStateOffline } from "./state.ts";

/** Which data dir, and what its node is called. */
export interface Place {
  readonly dataDir: string;
  readonly name: string;
}

/** Makes a cluster of the host of this data dir, unless it is in one. */
export function initOffline({ dataDir }: Place): Promise<{
  readonly clusterId: string;
  readonly made: boolean;
  readonly dataDir: string;
}> {
  return locked(dataDir, async () => {
    const options = await optionsOf(dataDir);
    const held = await openCredentials(options);
    const { clusterId } = held ?? (await foundCluster(options));
    return { clusterId, made: held === null, dataDir };
  });
}

/** Joins a cluster. @throws Failure `busy` when the data dir is in another one, else as joinCluster */
export function joinOffline(
  { dataDir, name }: Place,
  { host, token: text }: JoinRequest,
): Promise<JoinResult> {
  const token = tokenFrom(text);
  const at = parseHostPort(host, MESH_PORT);
  if (!at.ok) throw at.failure;
  return locked(dataDir, async () => {
    const options = await optionsOf(dataDir);
    const held = await openCredentials(options);
    if (held !== null) {
      const { clusterId, role, charter } = held;
      const isOurs = charter.roots.some(({ fingerprint }) => fingerprint === token.fingerprint);
      if (isOurs) return { node: name, clusterId, role, joined: false };
      const remedy = 'start its daemon and join there, or forget it first: "skein leave --force"';
      throw new Failure("busy", `${dataDir} is in cluster ${clusterId}; ${remedy}`);
    }
    const { identity } = options;
    const joined = await joinCluster({ seeds: [at.value], token, identity, name, now: wallMs });
    // Its first start finds the others there, whatever the configuration says.
    await keepAddresses(await openStateOffline(dataDir), joined.members);
    const { clusterId, role } = await adopt(options, joined);
    return { node: name, clusterId, role, joined: true };
  });
}

/** Makes a data dir forget its cluster. @returns the data dir */
export function forgetOffline({ dataDir }: Place): Promise<string> {
  return locked(dataDir, async () => {
    await forgetMembership(dataDir);
    return dataDir;
  });
}

async function optionsOf(dataDir: string): Promise<CredentialsOptions> {
  const identity = await openIdentity(dataDir);
  const saveFailed = (thrown: unknown): void => {
    throw thrown;
  };
  return { dataDir, identity, now: wallMs, saveFailed };
}

async function locked<T>(dataDir: string, work: () => Promise<T>): Promise<T> {
  await ensureFolder(dataDir);
  const lock = await lockFolder(dataDir);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}
