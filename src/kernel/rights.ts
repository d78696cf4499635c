/**
 * Rights: what this process may do to the host's network.
 *
 * Asked of the system and not tried out: trying would change something.
 *
 * Touches: /proc/self/status.
 */

import { readFile } from "node:fs/promises";

/** Bit of CAP_NET_ADMIN (capabilities(7)). */
const NET_ADMIN_BIT = 12n;

/** Whether this process may change links, routes and rules. False where it cannot be told. */
export async function hasNetAdmin(): Promise<boolean> {
  try {
    const status = await readFile("/proc/self/status", "utf8");
    const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
    return ((BigInt(`0x${effective}`) >> NET_ADMIN_BIT) & 1n) === 1n;
  } catch {
    // No /proc: not Linux, or hidden from us; either way nothing to administer.
    return false;
  }
}
