/**
 * Holder: which program of this host has a port?
 *
 * "Address in use" leaves a person to find out by whom. Linux tells: /proc/net has each socket with its inode, and the
 * files of a process say which inodes it holds. Those of other users are hidden from all but root, and those of other
 * process namespaces from everybody; then nothing is known, and that is no failure. Looking through all processes costs
 * tens of milliseconds on a busy host, so it is for when somebody asks.
 *
 * Touches: /proc.
 */

import { readdir, readFile, readlink } from "node:fs/promises";
import { basename } from "node:path";

import { ipv4ToNumber, isIpv4, type HostPort } from "../base/ip.ts";

/** Where the kernel lists sockets that can be in the way of a name server. */
const TABLES = ["udp", "udp6", "tcp", "tcp6"];

/** TCP_LISTEN of the kernel, as its tables have it; a UDP socket without a peer is 07. */
const LISTENING: ReadonlySet<string> = new Set(["0A", "07"]);

/**
 * The program that has an IPv4 address and port, or the port on every address: `dnsmasq (process 812)`.
 *
 * @returns null when nobody has it, or who has it cannot be seen
 */
export async function holderOf(place: HostPort): Promise<string | null> {
  if (!isIpv4(place.host)) return null;
  const tables = await Promise.all(TABLES.map((table) => textOrNone(`/proc/net/${table}`)));
  const inodes = new Set(tables.flatMap((table) => inodesIn(table, place)));
  if (inodes.size === 0) return null;
  for (const pid of await namesIn("/proc")) {
    if (!/^\d+$/.test(pid) || !(await holdsOneOf(pid, inodes))) continue;
    const program = await readlink(`/proc/${pid}/exe`).catch(() => {
      // Gone, or not to be seen: its number says enough.
      return "a program";
    });
    return `${basename(program)} (process ${pid})`;
  }
  return null;
}

/** Inodes of the sockets in a table that are in the way of one at this place. */
function inodesIn(table: string, { host, port }: HostPort): readonly string[] {
  const own = hexOf(host);
  const lines = table.split("\n").slice(1);
  return lines.flatMap((line) => {
    const [, local = "", , state = "", , , , , , inode = ""] = line.trim().split(/\s+/);
    const [address = "", portHex = ""] = local.split(":");
    const isThere = address === own || /^0+$/.test(address);
    return isThere && Number.parseInt(portHex, 16) === port && LISTENING.has(state) ? [inode] : [];
  });
}

/** An IPv4 address as the kernel's tables have it: its bytes from the last to the first. */
function hexOf(host: string): string {
  const hex = ipv4ToNumber(host).toString(16).padStart(8, "0").toUpperCase();
  return (hex.match(/../g) ?? []).reverse().join("");
}

async function holdsOneOf(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  for (const file of await namesIn(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => {
      // Closed meanwhile.
      return "";
    });
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined && inodes.has(inode)) return true;
  }
  return false;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch(() => {
    // Not ours to see, or gone.
    return [];
  });
}

async function textOrNone(path: string): Promise<string> {
  return await readFile(path, "utf8").catch(() => {
    // No /proc, or no IPv6.
    return "";
  });
}
