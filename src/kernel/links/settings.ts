/**
 * Settings: what Linux must be told of a device before packets with strangers' addresses may come in by it.
 *
 * A client's own address arrives over the tunnel, where no route leads back to it: a strict check of sources
 * (rp_filter 1, RFC 3704) would drop it. It is made loose on the device where it is strict, and left alone otherwise:
 * a loose one wants some route to the client and an address on the device, none wants nothing. IPv6 is switched on
 * where it is off for new devices. A container may see these settings read-only; then what is wrong is told, with what
 * to set.
 *
 * Touches: /proc/sys/net.
 */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { systemCodeOf } from "../../base/failure.ts";

/** The settings of devices. */
export interface LinkSettings {
  /**
   * Sets what the devices want, where it is not so already.
   *
   * @param devices  those by which clients' own addresses come in; `devices6`: those of them that carry IPv6
   * @returns what could not be set, in words
   */
  apply(devices: readonly string[], devices6: readonly string[]): Promise<readonly string[]>;
}

const STRICT = "1";
const LOOSE = "2";

/** The settings of this network namespace. @param root  where they are; for tests */
export function openSettings(root = "/proc/sys/net"): LinkSettings {
  return {
    async apply(devices, devices6) {
      const problems: string[] = [];
      const ofAll = await valueOf(join(root, "ipv4/conf/all/rp_filter"));
      for (const device of devices) {
        const path = `ipv4/conf/${device}/rp_filter`;
        const own = await valueOf(join(root, path));
        // The kernel takes the larger of the two (ip-sysctl): 2 is loose even where all others are strict.
        const isStrict = own !== null && [own, ofAll].includes(STRICT) && ![own, ofAll].includes(LOOSE);
        if (isStrict) problems.push(...(await set(root, path, LOOSE)));
      }
      for (const device of devices6) {
        const path = `ipv6/conf/${device}/disable_ipv6`;
        if ((await valueOf(join(root, path))) === "1") problems.push(...(await set(root, path, "0")));
      }
      return problems;
    },
  };
}

async function valueOf(path: string): Promise<string | null> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch {
    // No such device any more, or no IPv6 at all: nothing to set.
    return null;
  }
}

async function set(root: string, path: string, value: string): Promise<readonly string[]> {
  try {
    await writeFile(join(root, path), `${value}\n`);
    return [];
  } catch (thrown) {
    const code = systemCodeOf(thrown);
    if (code === "ENOENT") return [];
    const name = `net.${path.replaceAll("/", ".")}`;
    const effect = value === LOOSE ? "clients of other hosts get no answer" : "it carries no IPv6";
    return [`${name} cannot be set (${code ?? "refused"}): ${effect}; set ${name}=${value} on the host`];
  }
}
