/**
 * Upstream: which servers answer for the rest of the world, and which of them would be ourselves.
 *
 * `auto` means what the host itself uses, from its resolv.conf. On a host whose resolver is this daemon that file
 * names us; and a server that forwards to itself multiplies each query until its bounds stop it. So our own listen
 * addresses are left out of `auto`, and refused where somebody wrote them down.
 *
 * Touches: the given file, the list of the host's interfaces.
 */

import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";

import { Failure, systemCodeOf } from "../base/failure.ts";
import { isLoopback, unmapped, type HostPort } from "../base/ip.ts";

/** resolv.conf's servers beyond the third are not used by anybody (resolv.conf(5), MAXNS). */
const SERVERS_MAX = 3;

const DNS_PORT = 53;

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
  const servers: HostPort[] = [];
  for (const line of text.split("\n")) {
    const [, host = ""] = /^\s*nameserver\s+(\S+)/.exec(line) ?? [];
    if (isIP(host) !== 0) servers.push({ host, port: DNS_PORT });
  }
  return servers.slice(0, SERVERS_MAX).filter((server) => !isOurself(server, listening));
}

/** True when a query sent to `upstream` would come back to one of the `listening` sockets of this host. */
export function isOurself(upstream: HostPort, listening: readonly HostPort[]): boolean {
  const host = unmapped(upstream.host);
  return listening.some((own) => {
    if (own.port !== upstream.port) return false;
    return unmapped(own.host) === host || (isWildcard(own.host) && isOfThisHost(host));
  });
}

function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

function isOfThisHost(host: string): boolean {
  if (isLoopback(host) || isWildcard(host)) return true;
  const addresses = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
  return addresses.some(({ address }) => address === host);
}
