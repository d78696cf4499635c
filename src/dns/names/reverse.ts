/**
 * Reverse: what the name of an address means (`4.3.2.1.in-addr.arpa`, RFC 1035 3.5; `ip6.arpa`, RFC 3596 2.5).
 *
 * Ranges that the cluster gives addresses from (the VIP pool, networks' ranges) are ours as a whole: whether anybody
 * has an address or not, nobody outside could know, and asking there would tell what is used here. Their zones begin
 * where names of addresses can: at whole octets, so 10.96.0.0/12 is sixteen zones. Other addresses (a host's own
 * network, a bridge) are ours one by one, while we know whose they are; what else is in their network the host's own
 * resolver may know.
 *
 * Names are found by looking through the zone, 10,000 replicas in a fraction of a millisecond: reverse names are asked
 * for seldom, and an index of addresses would have to be kept with each change.
 *
 * Pure. answer.ts makes records of it.
 */

import { canonicalIpv6, contains, isIpv4, isIpv6, isLoopback, unmapped } from "../../base/ip.ts";

import { copyNames, isTellable, sees, serviceName, type Asker } from "./lookup.ts";
import { NODE_LABEL, type Zone } from "./zone.ts";

/** A reverse name that is ours. */
export interface ReverseMeaning {
  readonly kind: "reverse";
  /** The zone that it belongs to, for SOA: the name itself or one that encloses it. */
  readonly apex: string;
  readonly isApex: boolean;
  /** Whether there is such a name, be it only with names below it. */
  readonly exists: boolean;
  /** Full names of who has the address, as far as the asker sees them. */
  readonly names: readonly string[];
  readonly ttlSeconds: number;
}

const IN_ADDR = ".in-addr.arpa";
const IP6 = ".ip6.arpa";

/** How many labels of an address's name stand for the network that its zone is taken to be: a /24, a /64. */
const NETWORK_OCTETS = 3;
const NETWORK_NIBBLES = 16;

/**
 * Finds what the reverse name of an address means; `name` in lower case, without a dot at the end.
 *
 * @returns null when it is not ours: no name of an address, malformed, or of an address that we do not know
 */
export function lookUpReverse(zone: Zone, name: string, asker: Asker): ReverseMeaning | null {
  if (name.endsWith(IN_ADDR)) return reverseIpv4(zone, name, asker);
  if (!name.endsWith(IP6)) return null;
  const nibbles = name.slice(0, -IP6.length).split(".");
  const address = nibbles.length === 32 ? addressOfNibbles(nibbles) : null;
  const owned = address === null ? null : ownersOf(zone, address, asker);
  if (owned === null || !owned.isKnown) return null;
  return found(owned, nibbles.slice(-NETWORK_NIBBLES).join(".") + IP6);
}

/** The reverse name of an address; null for text that is none. */
export function reverseNameOf(text: string): string | null {
  const address = unmapped(text);
  if (isIpv4(address)) return address.split(".").reverse().join(".") + IN_ADDR;
  if (!isIpv6(address)) return null;
  const [before = "", after = ""] = canonicalIpv6(address).split("::");
  const [head, tail] = [before, after].map((part) => (part === "" ? [] : part.split(":")));
  const zeros = Array.from({ length: 8 - (head?.length ?? 0) - (tail?.length ?? 0) }, () => "0");
  const groups = [...(head ?? []), ...zeros, ...(tail ?? [])];
  const nibbles = groups.map((group) => group.padStart(4, "0")).join("");
  return nibbles.split("").reverse().join(".") + IP6;
}

function reverseIpv4(zone: Zone, name: string, asker: Asker): ReverseMeaning | null {
  const labels = name.slice(0, -IN_ADDR.length).split(".").reverse();
  const malformed = labels.findIndex((label, at) => at > 3 || !isOctet(label));
  const octets = malformed === -1 ? labels : labels.slice(0, malformed);
  const isExact = malformed === -1;
  const apexOctets = ownOctets(zone, octets);
  const address = isExact && octets.length === 4 ? octets.join(".") : null;
  const owned = address === null ? null : ownersOf(zone, address, asker);
  if (apexOctets === null) {
    if (owned === null || !owned.isKnown) return null;
    return found(owned, nameOf(octets.slice(0, NETWORK_OCTETS)));
  }
  // A range smaller than a /24 has no name of its own: its addresses are names in the zone around it.
  const apex = nameOf(octets.slice(0, Math.min(apexOctets, NETWORK_OCTETS)));
  if (owned !== null) return found(owned, apex);
  const isApex = isExact && octets.length === apexOctets;
  const exists = isApex || (isExact && hasAddressBelow(zone, octets, asker));
  return { kind: "reverse", apex, isApex, exists, names: [], ttlSeconds: zone.ttlSeconds };
}

function found({ names, ttlSeconds }: Owned, apex: string): ReverseMeaning {
  return { kind: "reverse", apex, isApex: false, exists: names.length > 0, names, ttlSeconds };
}

function nameOf(octets: readonly string[]): string {
  return [...octets].reverse().join(".") + IN_ADDR;
}

function isOctet(label: string): boolean {
  return /^(?:0|[1-9]\d{0,2})$/.test(label) && Number(label) <= 255;
}

/** How many octets the apex has that encloses these, in a range of ours; null when they lie in none. */
function ownOctets(zone: Zone, octets: readonly string[]): number | null {
  const first = [...octets, "0", "0", "0"].slice(0, 4).join(".");
  for (const prefix of zone.reverseRanges) {
    const size = octetsOf(prefix.bits);
    if (octets.length >= size && contains(prefix, first)) return size;
  }
  return null;
}

function octetsOf(bits: number): number {
  return Math.max(1, Math.ceil(bits / 8));
}

/** The address that 32 nibbles spell, last first; null for what is no nibble. */
function addressOfNibbles(nibbles: readonly string[]): string | null {
  if (!nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble))) return null;
  const digits = nibbles.toReversed().join("");
  return canonicalIpv6((digits.match(/.{4}/g) ?? []).join(":"));
}

/** Whose an address is. */
interface Owned {
  readonly names: readonly string[];
  readonly ttlSeconds: number;
  /** Whether anybody has it, seen by the asker or not. */
  readonly isKnown: boolean;
}

function ownersOf(zone: Zone, address: string, asker: Asker): Owned {
  const names: string[] = [];
  const former: string[] = [];
  let { ttlSeconds } = zone;
  let isKnown = false;
  // A node that others never reach may tell a loopback address, which is not it to anybody else.
  const nodes = isLoopback(address) ? [] : zone.nodes.addressesByName;
  for (const [node, { v4, v6 }] of nodes) {
    if (v4.includes(address) || v6.includes(address)) names.push(`${node}.${NODE_LABEL}.${zone.domain}`);
  }
  for (const service of zone.services) {
    const { vip, formerVips, instances } = service;
    const copies = instances.filter((copy) => copy.address === address && copy.reversible);
    const isFormer = formerVips.includes(address);
    if (vip !== address && copies.length === 0 && !isFormer) continue;
    isKnown = true;
    if (!sees(asker, service.network)) continue;
    if (vip === address) {
      names.push(serviceName(zone, service));
      ttlSeconds = Math.min(ttlSeconds, service.addresses.ttlSeconds);
    } else if (isFormer) former.push(serviceName(zone, service));
    if (copies.length > 0) names.push(...copies.map(copyNames(zone, service)));
  }
  // Who has it now counts before who had it.
  const told = names.length > 0 ? names : former;
  return { names: [...new Set(told)].filter(isTellable), ttlSeconds, isKnown: isKnown || names.length > 0 };
}

/** Whether the asker sees an address that begins with these octets. */
function hasAddressBelow(zone: Zone, octets: readonly string[], asker: Asker): boolean {
  const start = `${octets.join(".")}.`;
  const isBelow = (address: string): boolean => address.startsWith(start);
  if ([...zone.nodes.addressesByName.values()].some(({ v4 }) => v4.some(isBelow))) return true;
  return zone.services.some(({ network, vip, formerVips, instances }) => {
    if (!sees(asker, network)) return false;
    if ((vip !== null && isBelow(vip)) || formerVips.some(isBelow)) return true;
    return instances.some(({ address, reversible }) => reversible && isBelow(address));
  });
}
