/**
 * Holder: who listens on an address and port already?
 *
 * Asked for two reasons. A user who reads "address in use" wants to know by whom. And our own listeners share ports:
 * with SO_REUSEPORT a published port on every address and a VIP with the same port can both be listened on, the more
 * specific one getting its connections; but the kernel then also lets a second daemon of the same user share them,
 * and each would get half. So before listening we look whether somebody has exactly that address and port.
 *
 * Touches: /proc.
 */

import { createReadStream } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { createInterface } from "node:readline";

import { ipv4ToNumber, isIpv4 } from "../base/ip.ts";

/** An address and port to listen on. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}

/** The listening sockets of this network namespace: inode by hexadecimal address and port, as in /proc/net/tcp. */
export type Listening = ReadonlyMap<string, string>;

/** Reads what listens on TCP now; empty where the system does not tell. */
export async function readListening(): Promise<Listening> {
  const tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(async (path) => {
    // No such file: no IPv6, or not Linux. Then a taken port is noticed when listening fails.
    return readTable(path).catch(() => []);
  });
  return new Map((await Promise.all(tables)).flat());
}

async function readTable(path: string): Promise<readonly (readonly [string, string])[]> {
  const found: [string, string][] = [];
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
    if (state === "0A") found.push([local, inode]);
    // Listening sockets come first; behind them may be tens of thousands of connections.
    else if (state !== "st") break;
  }
  return found;
}

/** The inode of the socket that has exactly this address and port; null when there is none. */
export function inodeAt(listening: Listening, at: ListenAddress): string | null {
  const port = at.port.toString(16).toUpperCase().padStart(4, "0");
  const addresses = isIpv4(at.address) ? [hexOf(at.address)] : [];
  // A wildcard of either family takes the other's connections too.
  if (at.address === "0.0.0.0" || at.address === "::") addresses.push("00000000", "0".repeat(32));
  for (const address of addresses) {
    const inode = listening.get(`${address}:${port}`);
    if (inode !== undefined) return inode;
  }
  return null;
}

/** IPv4 as the kernel prints it: a number in host byte order, which is little-endian wherever we run. */
function hexOf(address: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(ipv4ToNumber(address));
  return bytes.toString("hex").toUpperCase();
}

/** The process that holds a socket, as `nginx (pid 812)`; `another process` where we may not look. */
export async function describeHolder(inode: string): Promise<string> {
  const wanted = `socket:[${inode}]`;
  for (const pid of await entriesOf("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    for (const descriptor of await entriesOf(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => null);
      if (target !== wanted) continue;
      const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "process");
      return `${name.trim()} (pid ${pid})`;
    }
  }
  return "another process";
}

/** A directory's entries; none when it is gone or not ours to read. */
async function entriesOf(path: string): Promise<readonly string[]> {
  return readdir(path).catch(() => []);
}
