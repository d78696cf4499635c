/**
 * Allow: whose foreign names are forwarded?
 *
 * A resolver open to the world is a tool for amplification, so only named networks are served; `private` are those that
 * the internet does not route, and loopback.
 *
 * Pure.
 */

import { contains, isPrivate, parsePrefix, unmapped } from "../base/ip.ts";

/**
 * Makes the test of an address.
 *
 * @param networks  `private`, `any`, IPv4 addresses or prefixes; checked by the configuration
 */
export function allowOf(networks: readonly string[]): (address: string) => boolean {
  const prefixes = networks.flatMap((network) => {
    const parsed = parsePrefix(network);
    return parsed.ok ? [parsed.value] : [];
  });
  const addresses = new Set(networks);
  return (given) => {
    const address = unmapped(given);
    if (addresses.has("any") || addresses.has(address)) return true;
    if (addresses.has("private") && isPrivate(address)) return true;
    return prefixes.some((prefix) => contains(prefix, address));
  };
}
