/**
 * Rights: what this process may do to the host's network.
 *
 * Asked of the system and not tried out: trying would change something.
 *
 * Touches: /proc/self/status.
 */

import { readFile } from "node:fs/promises";

import type { Right } from "../model/right.ts";

/** Bits of the rights that make a difference (capabilities(7)). */
const BITS: Readonly<Record<Right, bigint>> = { NET_BIND_SERVICE: 10n, NET_ADMIN: 12n, NET_RAW: 13n };

/** Which of them this process has; null where it cannot be told: not Linux, or /proc is hidden from us. */
export async function rightsHeld(): Promise<ReadonlySet<Right> | null> {
  try {
    const status = await readFile("/proc/self/status", "utf8");
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
    const all = ["NET_BIND_SERVICE", "NET_ADMIN", "NET_RAW"] as const;
    return new Set(all.filter((right) => ((effective >> BITS[right]) & 1n) === 1n));
  } catch {
    return null;
  }
}

/** Whether this process may change links, routes and rules. False where it cannot be told: nothing to administer. */
export async function hasNetAdmin(): Promise<boolean> {
  return (await rightsHeld())?.has("NET_ADMIN") === true;
}
