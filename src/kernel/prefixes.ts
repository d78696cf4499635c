/**
 * Prefixes: which addresses mean something on this host, read from its routing table.
 *
 * Every network of the host has a route: its LAN, its VPNs, the bridges of its Docker networks, also while nothing is
 * on them. What is left out leads nowhere in particular: the default route, also in the halves or quarters that VPN
 * clients write it in; loopback, and with it the pool's own local route; routes that refuse; and the bridges and
 * tunnels of our own networks, for what they lead to is no stranger's. Of a router's many thousands, those are kept
 * first that share addresses with a range of ours, or one that networks are taken from, then the widest private ones:
 * such a range is always a private one.
 *
 * Pure. observe.ts reads the table.
 */

import { isPrivate, numberToIpv4, overlaps, parsePrefix, type Prefix } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";

import { DEVICE_PREFIX } from "./names.ts";

/** Flags of a route (linux/route.h). */
const RTF_UP = 0x1;
const RTF_REJECT = 0x200;

/** A prefix this wide stands for "everything else". */
const DEFAULT_BITS_MAX = 3;

/** Devices whose routes lead to no network: loopback, and none at all (a route that drops what it is sent). */
const NO_NETWORK: readonly string[] = ["lo", "*"];

/**
 * The prefixes that a routing table leads to, at most `LIMITS.prefixesPerNode`, in the order of their addresses.
 *
 * @param table  text of /proc/net/route, whole or cut off at some line
 * @param ranges  what is ours, or may be: the pools of VIPs and of networks, and networks made elsewhere
 * @param littleEndian  byte order of this machine, in which the kernel prints addresses
 */
export function prefixesFrom(
  table: string,
  { ranges, littleEndian }: { readonly ranges: readonly Prefix[]; readonly littleEndian: boolean },
): readonly string[] {
  const prefixByText = new Map<string, Prefix>();
  for (const line of table.split("\n")) {
    const prefix = prefixFrom(line, littleEndian);
    if (prefix !== null) prefixByText.set(prefix.text, prefix);
  }
  const concerns = (prefix: Prefix): boolean => ranges.some((range) => overlaps(prefix, range));
  const worth = [...prefixByText.values()].filter((prefix) => {
    return isPrivate(numberToIpv4(prefix.base)) || concerns(prefix);
  });
  const concerning = new Set(worth.filter(concerns));
  const rank = (prefix: Prefix): number => (concerning.has(prefix) ? 0 : 1);
  worth.sort((one, other) => rank(one) - rank(other) || one.bits - other.bits || one.base - other.base);
  const kept = worth.slice(0, LIMITS.prefixesPerNode);
  return kept.sort((one, other) => one.base - other.base || one.bits - other.bits).map(({ text }) => text);
}

/** The prefix of one line (interface, destination, gateway, flags, ..., mask); null for one that does not count. */
function prefixFrom(line: string, littleEndian: boolean): Prefix | null {
  const [device, destination, , flagsText = "", , , , mask] = line.split(/\s+/);
  const base = numberFrom(destination, littleEndian);
  const maskNumber = numberFrom(mask, littleEndian);
  const flags = /^[0-9A-F]{1,8}$/i.test(flagsText) ? Number.parseInt(flagsText, 16) : 0;
  if (device === undefined || base === null || maskNumber === null) return null;
  if (NO_NETWORK.includes(device) || device.startsWith(DEVICE_PREFIX)) return null;
  if ((flags & RTF_UP) === 0 || (flags & RTF_REJECT) !== 0) return null;
  const bits = bitsOf(maskNumber);
  if (bits === null || bits <= DEFAULT_BITS_MAX) return null;
  const parsed = parsePrefix(`${numberToIpv4(base)}/${bits}`);
  return parsed.ok ? parsed.value : null;
}

function numberFrom(text: string | undefined, littleEndian: boolean): number | null {
  if (text === undefined || !/^[0-9A-F]{8}$/i.test(text)) return null;
  const bytes = Buffer.from(text, "hex");
  return littleEndian ? bytes.readUInt32LE(0) : bytes.readUInt32BE(0);
}

/** How many leading ones a mask has; null for one with a gap. */
function bitsOf(mask: number): number | null {
  const bits = Math.clz32(~mask);
  return mask === (bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0) ? bits : null;
}
