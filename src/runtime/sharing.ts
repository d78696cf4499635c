/**
 * Sharing: an address on which a daemon listens, and its successor beside it, and nobody else.
 *
 * While one daemon takes over from another both listen at the same places, so that no moment is without a listener
 * (SO_REUSEPORT, socket(7)). The price of that option is that the kernel lets any program of the same user that sets
 * it join in, and gives it a share. So before a place is shared it is bound without the option, which fails when
 * anybody is there; and when somebody is, it must be the predecessor, who has told which sockets are its own. By their
 * inodes, not by its process id: that means nothing in another container.
 *
 * Touches: sockets for a moment, /proc.
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer } from "node:net";

import { systemCodeOf } from "../base/failure.ts";
import { isIpv6, type HostPort } from "../base/ip.ts";

/** Sockets of a predecessor, by inode; empty where there is none. */
export type SharedSockets = ReadonlySet<string>;

type Protocol = "tcp" | "udp";

const TABLES: Readonly<Record<Protocol, readonly string[]>> = {
  tcp: ["/proc/net/tcp", "/proc/net/tcp6"],
  udp: ["/proc/net/udp", "/proc/net/udp6"],
};
/** TCP_LISTEN of the kernel, as its tables have it; a UDP socket without a peer is 07. */
const OPEN: ReadonlySet<string> = new Set(["0A", "07"]);

/**
 * Returns when a place is free, or held by nobody but the predecessor: then it may be bound with `reusePort`.
 *
 * Port 0 is always free, and must not be bound so: the kernel may then choose one that another program shares.
 *
 * @throws what binding threw
 */
export async function expectShareable(
  at: HostPort,
  protocol: Protocol,
  shared: SharedSockets,
): Promise<void> {
  if (at.port === 0) return;
  try {
    await (protocol === "tcp" ? tryTcp(at) : tryUdp(at));
  } catch (thrown) {
    if (systemCodeOf(thrown) !== "EADDRINUSE" || shared.size === 0) throw thrown;
    const holders = (await readSockets(protocol)).filter(({ port }) => port === at.port);
    // Who is there beside the predecessor, on another address or without the option, the kernel sorts out when binding.
    if (!holders.some(({ inode }) => shared.has(inode))) throw thrown;
  }
}

/** The inodes of all sockets of this process that listen, or are bound to a UDP port; none where there is no /proc. */
export async function ownSockets(): Promise<readonly string[]> {
  const own = new Set<string>();
  for (const file of await readdir("/proc/self/fd").catch(() => [])) {
    const target = await readlink(`/proc/self/fd/${file}`).catch(() => {
      // Closed meanwhile.
      return "";
    });
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined) own.add(inode);
  }
  const sockets = [...(await readSockets("tcp")), ...(await readSockets("udp"))];
  return sockets.map(({ inode }) => inode).filter((inode) => own.has(inode));
}

async function tryTcp({ host, port }: HostPort): Promise<void> {
  const server = createServer((socket) => socket.destroy());
  server.listen({ host, port, exclusive: true });
  await once(server, "listening");
  server.close();
  await once(server, "close");
}

async function tryUdp({ host, port }: HostPort): Promise<void> {
  const socket = createSocket(isIpv6(host) ? "udp6" : "udp4");
  try {
    socket.bind({ address: host, port, exclusive: true });
    await once(socket, "listening");
  } finally {
    socket.close();
  }
}

async function readSockets(protocol: Protocol): Promise<readonly { inode: string; port: number }[]> {
  const texts = await Promise.all(
    TABLES[protocol].map((path) =>
      readFile(path, "utf8").catch(() => {
        // No /proc, or no IPv6.
        return "";
      }),
    ),
  );
  return texts.flatMap((text) =>
    text
      .split("\n")
      .slice(1)
      .flatMap((line) => {
        const [, local = "", , state = "", , , , , , inode = ""] = line.trim().split(/\s+/);
        const port = Number.parseInt(local.slice(local.lastIndexOf(":") + 1), 16);
        return OPEN.has(state) ? [{ inode, port }] : [];
      }),
  );
}
