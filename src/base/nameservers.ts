/**
 * Nameservers: which servers a resolv.conf names.
 *
 * The daemon reads the host's file to know whom to ask, and those of containers to know whom they ask. Both read as the
 * C libraries do: the keyword first in its line, what follows the address ignored, what is no address no server.
 *
 * Pure.
 */

import { isIP } from "node:net";

/** Where DNS is served, and all that a resolv.conf can name (RFC 1035 4.2). */
export const DNS_PORT = 53;

/** The addresses that a resolv.conf (resolv.conf(5)) names, in its order. */
export function nameserversOf(conf: string): readonly string[] {
  const named = conf.split("\n").flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
  return named.filter((address) => isIP(address) !== 0);
}
