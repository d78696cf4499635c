/**
 * Listening: at which addresses of this host are sockets wanted?
 *
 * A UDP socket bound to a wildcard (`0.0.0.0`, `::`) takes queries to every address of the host, but Node cannot choose
 * the address that an answer leaves from (no IP_PKTINFO): the kernel takes that of the route back. On a host with
 * several addresses a client is thus answered from one that it never asked, and drops it. So a wildcard is a wish for
 * one socket at each address that the host has at the moment. It also leaves alone what is not the host's: VIPs, which
 * a local route makes it accept, and the loopback addresses where other resolvers live (127.0.0.53).
 *
 * Pure. listeners.ts opens and closes the sockets, and looks again as addresses come and go.
 */

import { isIpv4, isIpv6, isWildcard, type HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";

/** What one wish comes to. */
export interface Places {
  /** Where sockets are wanted, without repetition. */
  readonly places: readonly HostPort[];
  /** How many more the host has than are served. */
  readonly left: number;
}

/**
 * Where sockets are wanted for one address of `dns.listen`: at itself, or for a wildcard at each address of the host.
 *
 * @param wanted  `0.0.0.0` means every IPv4 address, `::` every one of both kinds, as the system has it
 * @param own  the host's addresses, without link-local IPv6 ones: those mean nothing without their interface
 */
export function placesFor({ host, port }: HostPort, own: readonly string[]): Places {
  if (!isWildcard(host)) return { places: [{ host, port }], left: 0 };
  const fitting = [...new Set(own)].filter(
    (address) => isIpv4(address) || (host === "::" && isIpv6(address)),
  );
  const served = fitting.slice(0, LIMITS.dnsAddressesMax);
  return {
    places: served.map((address) => ({ host: address, port })),
    left: fitting.length - served.length,
  };
}
