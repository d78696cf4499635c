/**
 * Upstream: which servers answer for the rest of the world, and which of them would be ourselves.
 *
 * `auto` means what the host itself uses, from its resolv.conf. On a host whose resolver is this daemon that file
 * names us; and a server that forwards to itself multiplies each query until its bounds stop it. So our own listen
 * addresses are left out of `auto`, and refused where somebody wrote them down. Circles through others are found by
 * loop.ts.
 *
 * Touches: the given file, the list of the host's interfaces.
 */

import { unwatchFile, watchFile } from "node:fs";
import { readFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";

import { Failure, systemCodeOf } from "../../base/failure.ts";
import { canonicalIpv6, groupsOf, isIpv6, isWildcard, numberToIpv4, type HostPort } from "../../base/ip.ts";
import { DNS_PORT, nameserversOf } from "../../base/nameservers.ts";

/** resolv.conf's servers beyond the third are not used by anybody (resolv.conf(5), MAXNS). */
const SERVERS_MAX = 3;

/** How often to look whether the file is another: one call of stat(2). */
const LOOK_EVERY_MS = 2000;

/**
 * The servers of a resolv.conf, in its order, without those that are ourselves.
 *
 * @param listening  where this daemon answers; the host may be a wildcard
 * @returns none when the file is missing: a host without a resolver has no upstream
 * @throws Failure `unreachable` when the file is there and cannot be read
 */
export async function readUpstreams(
  path: string,
  listening: readonly HostPort[],
): Promise<readonly HostPort[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (systemCodeOf(cause) === "ENOENT") return [];
    throw new Failure("unreachable", `file "${path}" cannot be read; expected a resolv.conf`, { cause });
  }
  const servers = nameserversOf(text).slice(0, SERVERS_MAX);
  return servers.map((host) => ({ host, port: DNS_PORT })).filter((server) => !isOurself(server, listening));
}

/**
 * Calls `changed` whenever the file was written, replaced, made or removed. By looking, not by inotify: the file is
 * mostly a link to another, in a folder of others', which is replaced whole.
 *
 * @returns ends it
 */
export function watchResolver(path: string, changed: () => void, everyMs = LOOK_EVERY_MS): () => void {
  const look = (): void => changed();
  watchFile(path, { interval: everyMs, persistent: false }, look);
  return () => unwatchFile(path, look);
}

/** True when a query sent to `upstream` would come back to one of the `listening` sockets of this host. */
export function isOurself(upstream: HostPort, listening: readonly HostPort[]): boolean {
  const host = reachedBy(upstream.host);
  return listening.some((own) => {
    if (own.port !== upstream.port) return false;
    return isWildcard(plain(own.host)) ? isOfThisHost(host) : plain(own.host) === host;
  });
}

/** Not all of 127/8: a wildcard is the addresses of interfaces (places.ts), and 127.0.0.53 is another resolver. */
function isOfThisHost(host: string): boolean {
  const addresses = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
  const [bare = ""] = host.split("%");
  return addresses.some(({ address }) => plain(address) === bare);
}

/** Where a datagram to an address goes: to the wildcard, it goes to the host itself (Linux, ip(7)). */
function reachedBy(host: string): string {
  const address = plain(host);
  if (!isWildcard(address)) return address;
  return address === "::" ? "::1" : "127.0.0.1";
}

/** An address in its one form, however it was written; with its zone, since it is another place in each. */
function plain(host: string): string {
  if (!isIpv6(host)) return host;
  const [address = "", zone] = host.split("%");
  const groups = groupsOf(address);
  // RFC 4291 2.5.5.2.
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return numberToIpv4((groups[6] ?? 0) * 0x1_0000 + (groups[7] ?? 0));
  return zone === undefined ? canonicalIpv6(address) : `${canonicalIpv6(address)}%${zone}`;
}
