/**
 * Forwarding: whether this host forwards packets, in each family.
 *
 * What the kernel leads to a replica it has to forward, while the proxy connects anew. So on a host that forwards
 * nothing, as one without containers often does, the proxy serves what comes from elsewhere. The setting is the
 * host's: Docker sets it, and anybody may, at any time; so it is read again and again, and never written.
 *
 * Touches: /proc/sys/net.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";

import type { Forwarding } from "./given.ts";

/** Which families this network namespace forwards. Never rejects. @param root  where the settings are; for tests */
export async function observeForwarding(root = "/proc/sys/net"): Promise<Forwarding> {
  const [v4, v6] = await Promise.all([
    isOn(join(root, "ipv4/ip_forward")),
    isOn(join(root, "ipv6/conf/all/forwarding")),
  ]);
  return { v4, v6 };
}

async function isOn(path: string): Promise<boolean> {
  try {
    // IPv6 knows a 2 as well, of devices that listen for routers nevertheless (ip-sysctl).
    return Number.parseInt(await readFile(path, "latin1"), 10) > 0;
  } catch {
    // No such family, or hidden from us: the proxy serves either way.
    return false;
  }
}
