/**
 * Allow: whose foreign names are forwarded?
 *
 * A resolver open to the world is a tool for amplification, so only named networks are served; `private` are those that
 * the internet does not route, and loopback.
 *
 * Pure.
 */

import { canonicalIpv6, contains, isIpv6, isPrivate, parsePrefix, unmapped } from "../base/ip.ts";
import { contains6, parsePrefix6 } from "../base/ip6.ts";

/**
 * Makes the test of an address.
 *
 * @param networks  `private`, `any`, addresses or prefixes, IPv4 and IPv6; checked by the configuration
 */
export function allowOf(networks: readonly string[]): (address: string) => boolean {
  const prefixes = networks.flatMap((network) => {
    const parsed = parsePrefix(network);
    return parsed.ok ? [parsed.value] : [];
  });
  const prefixes6 = networks.flatMap((network) => {
    const parsed = parsePrefix6(network);
    return parsed.ok ? [parsed.value] : [];
  });
  const addresses = new Set(networks.map(plain));
  return (given) => {
    const address = plain(given);
    if (addresses.has("any") || addresses.has(address)) return true;
    if (addresses.has("private") && isPrivate(address)) return true;
    if (!isIpv6(address)) return prefixes.some((prefix) => contains(prefix, address));
    return prefixes6.some((prefix) => contains6(prefix, address));
  };
}

/** One text for equal addresses; a zone (`fe80::1%eth0`) is left out, as no list names one. */
function plain(text: string): string {
  const address = unmapped(text);
  return isIpv6(address) ? canonicalIpv6(address) : address;
}
