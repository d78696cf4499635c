/**
 * Migration: connections that wait at a listener when it closes go to its successor, instead of being reset.
 *
 * Where two daemons listen at one place each has a queue of its own of connections under way, and the kernel resets
 * what is in the queue of a listener that closes: for as long as a handshake takes, so for clients far away a good part
 * of a second. With net.ipv4.tcp_migrate_req (Linux 5.14) the other listener gets them. It is switched on for the
 * moment of a handover and back afterwards, for it is the host's. A container sees it read-only unless it may write to
 * /proc/sys; then those few connections are lost.
 *
 * Touches: /proc/sys.
 */

import { readFile, writeFile } from "node:fs/promises";

const SETTING = "/proc/sys/net/ipv4/tcp_migrate_req";

/** The setting, as it is for now. */
export interface Migration {
  /** False where nothing migrates: connections under way are lost when a listener closes. */
  readonly isOn: boolean;
  /** Sets it back to what it was. Never rejects. */
  restore(): Promise<void>;
}

/** Switches migration on, where this process may. Never rejects. @param path  the setting; for tests */
export async function openMigration(path = SETTING): Promise<Migration> {
  const unchanged = (isOn: boolean): Migration => ({ isOn, restore: async () => undefined });
  try {
    const before = (await readFile(path, "utf8")).trim();
    if (before !== "0") return unchanged(true);
    await writeFile(path, "1\n");
    return {
      isOn: true,
      async restore() {
        // It could be written a moment ago; when it cannot any more, on is harmless.
        await writeFile(path, "0\n").catch(() => null);
      },
    };
  } catch {
    // Another system, an older kernel, or not allowed: told by `isOn`.
    return unchanged(false);
  }
}
