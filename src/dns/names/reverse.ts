/**
 * Reverse: what the name of an address means (`4.3.2.1.in-addr.arpa`, RFC 1035 3.5; `ip6.arpa`, RFC 3596 2.5).
 *
 * Ranges that the cluster gives addresses from (the VIP pool, networks' ranges) are ours as a whole: whether anybody
 * has an address or not, nobody outside could know, and asking there would tell what is used here. Their zones begin
 * where names of addresses can: at whole octets (10.96.0.0/12 is sixteen zones) or nibbles. Other addresses (a host's
 * own network, a bridge) are ours one by one, while we know whose they are; what else is in their network the host's
 * own resolver may know.
 *
 * Names are found by looking through the zone, 10,000 replicas in a fraction of a millisecond: reverse names are asked
 * for seldom, and an index of addresses would have to be kept with each change.
 *
 * Pure. answer.ts makes records of it.
 */

import { canonicalIpv6, contains, groupsOf, isIpv4, isIpv6, isLoopback, unmapped } from "../../base/ip.ts";
import { contains6 } from "../../base/ip6.ts";

import { addressesOfCopy } from "./entry.ts";
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

/** Names of one kind of address. Labels are told with the widest first, as addresses are read. */
interface Family {
  readonly suffix: string;
  /** Labels of a whole address. */
  readonly count: number;
  /** How many of them stand for the network that the zone of an unknown range is taken to be: a /24, a /64. */
  readonly networkCount: number;
  readonly isLabel: (label: string) => boolean;
  /** The address that so many labels spell. */
  readonly addressOf: (labels: readonly string[]) => string;
  /** How many labels the apexes have of the ranges of ours that hold an address. */
  readonly apexCounts: (zone: Zone, address: string) => readonly number[];
  /** An address of this family as its labels; null for another's. */
  readonly labelsOf: (address: string) => readonly string[] | null;
}

const IN_ADDR: Family = {
  suffix: ".in-addr.arpa",
  count: 4,
  networkCount: 3,
  isLabel: (label) => /^(?:0|[1-9]\d{0,2})$/.test(label) && Number(label) <= 255,
  addressOf: (octets) => octets.join("."),
  apexCounts: ({ reverseRanges }, address) =>
    reverseRanges.filter((range) => contains(range, address)).map(({ bits }) => labelCount(bits, 8)),
  labelsOf: (address) => (isIpv4(address) ? address.split(".") : null),
};

const IP6: Family = {
  suffix: ".ip6.arpa",
  count: 32,
  networkCount: 16,
  isLabel: (label) => /^[0-9a-f]$/.test(label),
  addressOf: (nibbles) => canonicalIpv6((nibbles.join("").match(/.{4}/g) ?? []).join(":")),
  apexCounts: ({ reverseRanges6 }, address) =>
    reverseRanges6.filter((range) => contains6(range, address)).map(({ bits }) => labelCount(bits, 4)),
  labelsOf: (address) => {
    if (!isIpv6(address)) return null;
    return groupsOf(address).flatMap((group) => group.toString(16).padStart(4, "0").split(""));
  },
};

/** In how many labels a prefix ends. */
function labelCount(bits: number, bitsPerLabel: number): number {
  return Math.max(1, Math.ceil(bits / bitsPerLabel));
}

/**
 * Finds what the reverse name of an address means; `name` in lower case, without a dot at the end.
 *
 * @returns null when it is not ours: no name of an address, malformed, or of an address that we do not know
 */
export function lookUpReverse(zone: Zone, name: string, asker: Asker): ReverseMeaning | null {
  const family = [IN_ADDR, IP6].find(({ suffix }) => name.endsWith(suffix));
  if (family === undefined) return null;
  const { suffix, count, networkCount } = family;
  const told = name.slice(0, -suffix.length).split(".").reverse();
  const malformed = told.findIndex((label, at) => at >= count || !family.isLabel(label));
  const labels = malformed === -1 ? told : told.slice(0, malformed);
  const isExact = malformed === -1;
  const apexCount = ownCount(zone, family, labels);
  const isWhole = isExact && labels.length === count;
  const owned = isWhole ? ownersOf(zone, family.addressOf(labels), asker) : null;
  if (apexCount === null) {
    if (owned === null || !owned.isKnown) return null;
    return found(owned, nameOf(family, labels.slice(0, networkCount)));
  }
  // A range that ends within the last label has no name of its own: its addresses are names in the zone around it.
  const apex = nameOf(family, labels.slice(0, Math.min(apexCount, count - 1)));
  if (owned !== null) return found(owned, apex);
  const isApex = isExact && labels.length === apexCount;
  const exists = isApex || (isExact && hasAddressBelow(zone, family, { labels, asker }));
  return { kind: "reverse", apex, isApex, exists, names: [], ttlSeconds: zone.ttlSeconds };
}

/** The reverse name of an address; null for text that is none. */
export function reverseNameOf(text: string): string | null {
  const address = unmapped(text);
  for (const family of [IN_ADDR, IP6]) {
    const labels = family.labelsOf(address);
    if (labels !== null) return nameOf(family, labels);
  }
  return null;
}

function found({ names, ttlSeconds }: Owned, apex: string): ReverseMeaning {
  return { kind: "reverse", apex, isApex: false, exists: names.length > 0, names, ttlSeconds };
}

function nameOf({ suffix }: Family, labels: readonly string[]): string {
  return labels.toReversed().join(".") + suffix;
}

/** How many labels the apex has that encloses these, in a range of ours; null when they lie in none. */
function ownCount(zone: Zone, family: Family, labels: readonly string[]): number | null {
  const zeros = Array.from({ length: family.count - labels.length }, () => "0");
  const sizes = family.apexCounts(zone, family.addressOf([...labels, ...zeros]));
  return sizes.find((size) => labels.length >= size) ?? null;
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
    const { vip, vip6, formerVips, instances } = service;
    const copies = instances.filter((copy) => copy.reversible && addressesOfCopy(copy).includes(address));
    const isFormer = formerVips.includes(address);
    const isVip = vip === address || vip6 === address;
    if (!isVip && copies.length === 0 && !isFormer) continue;
    isKnown = true;
    if (!sees(asker, service.network)) continue;
    if (isVip) {
      names.push(serviceName(zone, service));
      ttlSeconds = Math.min(ttlSeconds, service.addresses.ttlSeconds);
    } else if (isFormer) former.push(serviceName(zone, service));
    if (copies.length > 0) names.push(...copies.map(copyNames(zone, service)));
  }
  // Who has it now counts before who had it.
  const told = names.length > 0 ? names : former;
  return { names: [...new Set(told)].filter(isTellable), ttlSeconds, isKnown: isKnown || names.length > 0 };
}

/** Whether the asker sees an address that begins with these labels. */
function hasAddressBelow(
  { nodes, services }: Zone,
  { labelsOf }: Family,
  { labels, asker }: { readonly labels: readonly string[]; readonly asker: Asker },
): boolean {
  const isBelow = (address: string): boolean => {
    const own = labelsOf(address);
    return own !== null && labels.every((label, at) => label === own[at]);
  };
  if ([...nodes.addressesByName.values()].some(({ v4, v6 }) => v4.some(isBelow) || v6.some(isBelow)))
    return true;
  return services.some(({ network, vip, vip6, formerVips, instances }) => {
    if (!sees(asker, network)) return false;
    if ([vip, vip6, ...formerVips].some((address) => address !== null && isBelow(address))) return true;
    return instances.some((copy) => copy.reversible && addressesOfCopy(copy).some(isBelow));
  });
}
