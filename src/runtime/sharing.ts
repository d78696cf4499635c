/**
 * Sharing: who listens at an address and port of this host, and may we listen there as well?
 *
 * Our listeners share ports (SO_REUSEPORT, socket(7)): a published port on every address and a VIP with the same port
 * are two, and while one daemon takes over from another both listen at the same places, so that no moment is without a
 * listener. The price of that option is that the kernel lets any program of the same user that sets it join in, and
 * gives it a share. So a place is looked up first. Whoever has it, or its port on every address, is in the way, but for
 * the daemon that is taken over from, which has told which sockets are its own: by their inodes, since its process id
 * means nothing in another container. What this process has on every address is in the way of nothing more specific.
 *
 * Looked up, not tried: a trial would take somebody's connections, and one beside a predecessor that closes in the very
 * same moment fails. Who has a socket is told only to root or its own user, and takes tens of milliseconds to find out.
 * Where there is no /proc nothing is known, and the kernel has its say when the place is bound.
 *
 * Touches: /proc.
 */

import { createReadStream } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { basename } from "node:path";
import { createInterface } from "node:readline";

import { Failure } from "../base/failure.ts";
import { groupsOf, ipv4ToNumber, isIpv4, isWildcard, renderHostPort, type HostPort } from "../base/ip.ts";

/** Sockets of a predecessor, by inode; empty where there is none. */
export type SharedSockets = ReadonlySet<string>;

/** What a socket is of; each has ports of its own. */
export type Transport = "tcp" | "udp";

/** What listens in this network namespace at one moment. */
export interface Survey {
  /**
   * Returns when a place may be bound with `reusePort`; port 0, which the system is to choose, always may.
   *
   * @throws Failure `busy`: `0.0.0.0:80 is held by nginx (pid 812)`
   */
  expectShareable(at: HostPort, transport: Transport): Promise<void>;
  /** Who has a place, or its port on every address: `nginx (pid 812)`; null when nobody is seen there. */
  holderOf(at: HostPort, transport: Transport): Promise<string | null>;
}

/** The inodes of listening sockets by address and port, as the kernel's tables have them. */
type Inodes = ReadonlyMap<string, readonly string[]>;

/** TCP_LISTEN of the kernel, as its tables have it; a UDP socket without a peer is 07. */
const STATE: Readonly<Record<Transport, string>> = { tcp: "0A", udp: "07" };
const EVERY_V4 = "0".repeat(8);
const EVERY_V6 = "0".repeat(32);

/** Looks at what listens. @param shared  sockets beside which we may */
export async function survey(shared: SharedSockets = new Set()): Promise<Survey> {
  const [tcp, udp] = await Promise.all([readTables("tcp"), readTables("udp")]);
  const tables: Readonly<Record<Transport, Inodes>> = { tcp, udp };
  const nameOf = namesOfHolders();
  const isOwn = ownSocketsAsked();
  const inodesAt = (address: string, { port }: HostPort, transport: Transport): readonly string[] => {
    const portText = port.toString(16).toUpperCase().padStart(4, "0");
    return tables[transport].get(`${address}:${portText}`) ?? [];
  };
  return {
    async expectShareable(at, transport) {
      if (at.port === 0) return;
      const exact = inodesAt(hexOf(at.host), at, transport);
      // Of its own family: one of IPv6 may have IPv4's port as well or not, which only the kernel knows.
      const every = isWildcard(at.host) ? [] : inodesAt(isIpv4(at.host) ? EVERY_V4 : EVERY_V6, at, transport);
      // Who is there beside the predecessor was let in by it.
      if ([...exact, ...every].some((inode) => shared.has(inode))) return;
      const inTheWay = exact[0] ?? (await firstOfOthers(every, isOwn));
      if (inTheWay === undefined) return;
      const where = `${renderHostPort(at)}${transport === "udp" ? "/udp" : ""}`;
      throw new Failure("busy", `${where} is held by ${await nameOf(inTheWay)}`);
    },
    async holderOf(at, transport) {
      const places = [hexOf(at.host), EVERY_V4, EVERY_V6];
      const inode = places.flatMap((address) => inodesAt(address, at, transport))[0];
      return inode === undefined ? null : await nameOf(inode);
    },
  };
}

/** The inodes of all sockets of this process that listen, or are bound to a UDP port; none where there is no /proc. */
export async function ownSockets(): Promise<readonly string[]> {
  const own = new Set<string>();
  for await (const inode of socketsOf("self")) own.add(inode);
  const tables = await Promise.all([readTables("tcp"), readTables("udp")]);
  const listening = tables.flatMap((table) => [...table.values()].flat());
  return listening.filter((inode) => own.has(inode));
}

/** The first that is not of this process. */
async function firstOfOthers(
  inodes: readonly string[],
  isOwn: (inode: string) => Promise<boolean>,
): Promise<string | undefined> {
  for (const inode of inodes) if (!(await isOwn(inode))) return inode;
  return undefined;
}

/**
 * Tells whether this process has a socket. Its descriptors are looked through once for all that is asked, however many
 * connections there are, and only as far as needed: listeners are opened early and have low numbers.
 */
function ownSocketsAsked(): (inode: string) => Promise<boolean> {
  const seen = new Set<string>();
  const unseen = socketsOf("self");
  return async (inode) => {
    while (!seen.has(inode)) {
      const next = await unseen.next();
      if (next.done === true) return seen.has(inode);
      seen.add(next.value);
    }
    return true;
  };
}

async function readTables(transport: Transport): Promise<Inodes> {
  const inodesByPlace = new Map<string, string[]>();
  for (const path of [`/proc/net/${transport}`, `/proc/net/${transport}6`]) {
    for (const [place, inode] of await readTable(path, transport)) {
      inodesByPlace.set(place, [...(inodesByPlace.get(place) ?? []), inode]);
    }
  }
  return inodesByPlace;
}

/** The listening sockets of one table: hexadecimal address and port, and inode. None without IPv6, or without /proc. */
async function readTable(
  path: string,
  transport: Transport,
): Promise<readonly (readonly [string, string])[]> {
  const found: [string, string][] = [];
  try {
    for await (const line of createInterface({ input: createReadStream(path) })) {
      const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
      if (state === STATE[transport]) found.push([local, inode]);
      // Listening sockets of TCP come first; behind them may be tens of thousands of connections.
      else if (state !== "st" && transport === "tcp") break;
    }
  } catch {
    // No such file, or not ours to read: a place that is taken shows when it is bound.
  }
  return found;
}

/** An address as the kernel prints it: words of 32 bits in host byte order, which is little-endian wherever we run. */
function hexOf(host: string): string {
  if (isIpv4(host)) return wordOf(ipv4ToNumber(host));
  const groups = groupsOf(host);
  return [0, 2, 4, 6].map((at) => wordOf((groups[at] ?? 0) * 0x10000 + (groups[at + 1] ?? 0))).join("");
}

function wordOf(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString("hex").toUpperCase();
}

/** Tells who has a socket, as far as we may look; all processes are looked through once, when it is first asked. */
function namesOfHolders(): (inode: string) => Promise<string> {
  let pids: Promise<ReadonlyMap<string, string>> | null = null;
  return async (inode) => {
    pids ??= readHolders();
    const pid = (await pids).get(inode);
    return pid === undefined ? "another process" : `${await programOf(pid)} (pid ${pid})`;
  };
}

/** The process by the inode of each socket it has. */
async function readHolders(): Promise<ReadonlyMap<string, string>> {
  const pidByInode = new Map<string, string>();
  for (const pid of (await namesIn("/proc")).filter((name) => /^\d+$/.test(name))) {
    for await (const inode of socketsOf(pid)) pidByInode.set(inode, pid);
  }
  return pidByInode;
}

/** Its file's name; not the name of its first thread (comm), which Node and others give a meaning of their own. */
async function programOf(pid: string): Promise<string> {
  try {
    return basename(await readlink(`/proc/${pid}/exe`));
  } catch {
    // Not ours to see, or gone.
    const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "process");
    return name.trim();
  }
}

/** Inodes of the sockets of a process, those with low numbers first. */
async function* socketsOf(pid: string): AsyncGenerator<string> {
  for (const file of await namesIn(`/proc/${pid}/fd`)) {
    // Closed meanwhile: no socket.
    const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => "");
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined) yield inode;
  }
}

/** A folder's entries; none when it is gone or not ours to read. */
async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch(() => []);
}
