/**
 * Credentials: the way into a daemon's cluster for members that exist only here.
 *
 * They come in as any host does: by a token, over the mesh port. So what they load the daemon with afterwards, it takes
 * for what members say, and checks.
 *
 * Touches: the mesh port of a daemon, temporary folders.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { HostPort } from "../../src/base/ip.ts";
import { nowMs } from "../../src/runtime/clock.ts";
import type { Credentials } from "../../src/trust/credentials.ts";
import { joinCluster } from "../../src/trust/joining.ts";
import { openIdentity } from "../../src/trust/keyfile.ts";
import { adopt } from "../../src/trust/membership.ts";
import { parseToken } from "../../src/trust/token.ts";

/** Joins the cluster of a daemon; what is kept on disk of it is gone before this settles. */
export async function joinAs(name: string, daemon: HostPort, tokenText: string): Promise<Credentials> {
  const token = parseToken(tokenText);
  if (!token.ok) throw token.failure;
  const dataDir = mkdtempSync(join(tmpdir(), "skein-bench-member-"));
  try {
    const identity = await openIdentity(dataDir);
    const given = { seeds: [daemon], token: token.value, identity, name, now: nowMs };
    const joined = await joinCluster(given);
    return await adopt({ dataDir, identity, now: nowMs, saveFailed: () => undefined }, joined);
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}
