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

import { ipv4ToNumber, isIpv4 } from "../../base/ip.ts";
import type { Protocol } from "../../model/service.ts";

import type { ListenAddress } from "./listener.ts";

/** What listens on this host at one moment. */
export interface Survey {
  /**
   * The inode of the socket that has exactly this address and port; null when there is none.
   *
   * @param at  an IPv4 address, or `::`; of other IPv6 addresses nothing is known. By its kind for TCP, or for UDP
   */
  inodeAt(at: ListenAddress & { readonly kind?: Protocol }): string | null;
  /** The process that holds a socket, as `nginx (pid 812)`; `another process` where we may not look. */
  describeHolder(inode: string): Promise<string>;
}

/** A socket that listens for TCP, as the kernel's tables have it; and one of UDP without a peer. */
const STATE = { tcp: "0A", udp: "07" } as const;
type Transport = keyof typeof STATE;

/** Looks at what listens in this network namespace. Processes are looked through once, and only if asked for. */
export async function survey(): Promise<Survey> {
  // No such file: no IPv6, or not Linux. Then a taken port is noticed when listening fails.
  const [tcp, udp] = await Promise.all([readTables("tcp"), readTables("udp")]);
  let holders: Promise<ReadonlyMap<string, string>> | null = null;
  return {
    inodeAt({ address, port, kind = "tcp" }) {
      const inodeByAddress = kind === "udp" ? udp : tcp;
      const portText = port.toString(16).toUpperCase().padStart(4, "0");
      return inodeByAddress.get(`${hexOf(address)}:${portText}`) ?? null;
    },
    async describeHolder(inode) {
      holders ??= readHolders();
      return (await holders).get(inode) ?? "another process";
    },
  };
}

async function readTables(transport: Transport): Promise<ReadonlyMap<string, string>> {
  const paths = [`/proc/net/${transport}`, `/proc/net/${transport}6`];
  const tables = paths.map((path) => readTable(path, STATE[transport]).catch(() => []));
  return new Map((await Promise.all(tables)).flat());
}

/** The listening sockets of one table of the kernel's: hexadecimal address and port, and inode. */
async function readTable(path: string, wanted: string): Promise<readonly (readonly [string, string])[]> {
  const found: [string, string][] = [];
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
    if (state === wanted) found.push([local, inode]);
    // Listening sockets of TCP come first; behind them may be tens of thousands of connections.
    else if (state !== "st" && wanted === STATE.tcp) break;
  }
  return found;
}

/** IPv4 as the kernel prints it: a number in host byte order, which is little-endian wherever we run. */
function hexOf(address: string): string {
  if (!isIpv4(address)) return address === "::" ? "0".repeat(32) : address;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(ipv4ToNumber(address));
  return bytes.toString("hex").toUpperCase();
}

/** Name and id of the process by the inode of each socket it holds, as far as we may look. */
async function readHolders(): Promise<ReadonlyMap<string, string>> {
  const holderByInode = new Map<string, string>();
  for (const pid of (await entriesOf("/proc")).filter((entry) => /^\d+$/.test(entry))) {
    const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "process");
    for (const descriptor of await entriesOf(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode !== undefined) holderByInode.set(inode, `${name.trim()} (pid ${pid})`);
    }
  }
  return holderByInode;
}

/** A directory's entries; none when it is gone or not ours to read. */
async function entriesOf(path: string): Promise<readonly string[]> {
  return readdir(path).catch(() => []);
}
