/**
 * Places: at which addresses of this host are UDP sockets wanted?
 *
 * A UDP socket bound to a wildcard (`0.0.0.0`, `::`) takes what comes to every address of the host, but Node cannot
 * choose the address that an answer leaves from (no IP_PKTINFO): the kernel takes that of the route back. On a host
 * with several addresses a client is thus answered from one that it never asked, and drops it. So a wildcard is a wish
 * for one socket at each address that the host has at the moment. It also leaves alone what is not the host's: VIPs,
 * which a local route makes it accept, and the loopback addresses where other resolvers live (127.0.0.53).
 *
 * Touches: the list of the host's interfaces.
 */

import { networkInterfaces } from "node:os";

import { isIpv4, isIpv6, isWildcard, type HostPort } from "../base/ip.ts";

/** What one wish comes to. */
export interface Places {
  /** Where sockets are wanted, without repetition. */
  readonly places: readonly HostPort[];
  /** How many more the host has than are served. */
  readonly left: number;
}

/** Those of interfaces that are up, without link-local IPv6 ones: they mean nothing without their interface. */
export function addressesOfHost(): readonly string[] {
  const found = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
  return found.filter((one) => one.family === "IPv4" || one.scopeid === 0).map(({ address }) => address);
}

/**
 * Where sockets are wanted for one address: at itself, or for a wildcard at each address of the host.
 *
 * @param wanted  `0.0.0.0` means every IPv4 address, `::` every one of both kinds, as the system has it
 * @param own  the host's addresses
 * @param addressesMax  how many of them are served
 */
export function placesFor({ host, port }: HostPort, own: readonly string[], addressesMax: number): Places {
  if (!isWildcard(host)) return { places: [{ host, port }], left: 0 };
  const fitting = [...new Set(own)].filter(
    (address) => isIpv4(address) || (host === "::" && isIpv6(address)),
  );
  return {
    places: fitting.slice(0, addressesMax).map((address) => ({ host: address, port })),
    left: Math.max(0, fitting.length - addressesMax),
  };
}
