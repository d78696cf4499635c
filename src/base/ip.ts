/**
 * Ip: addresses, prefixes and host:port pairs as text and as numbers.
 *
 * IPv4 is parsed strictly (four decimal octets, no leading zeros: `010.0.0.1` means different things to different
 * programs). IPv6 is told apart and compared as text in its usual form; arithmetic on it is not needed yet.
 *
 * Pure.
 */

import { isIP } from "node:net";

import { failed, success, type Result } from "./failure.ts";

/** An IPv4 prefix: `base` is the first address as a 32-bit number, `size` how many addresses it holds. */
export interface Prefix {
  readonly text: string;
  readonly base: number;
  readonly size: number;
  readonly bits: number;
}

/** A host (name or address, without brackets) and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** True for an IPv4 address in strict dotted form. */
export function isIpv4(text: string): boolean {
  return isIP(text) === 4;
}

/** True for an IPv6 address, with or without a zone. */
export function isIpv6(text: string): boolean {
  return isIP(text) === 6;
}

/** An IPv4 address as a 32-bit number; the text must be a valid one. */
export function ipv4ToNumber(text: string): number {
  return text.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

/** A 32-bit number as dotted text. */
export function numberToIpv4(value: number): string {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join(".");
}

/** `::ffff:a.b.c.d`, as dual-stack sockets show IPv4 clients, to `a.b.c.d`; other text as it is. */
export function unmapped(address: string): string {
  return address.startsWith("::ffff:") && isIpv4(address.slice(7)) ? address.slice(7) : address;
}

/** Parses `10.96.0.0/12`; the host bits must be zero. */
export function parsePrefix(text: string): Result<Prefix> {
  const [address = "", bitsText = ""] = text.split("/");
  const bits = /^(0|[1-9]\d?)$/.test(bitsText) ? Number(bitsText) : Number.NaN;
  if (!isIpv4(address) || !(bits <= 32) || text.split("/").length !== 2) {
    return failed("invalid", `prefix is "${text}"; expected an IPv4 prefix such as 10.96.0.0/12`);
  }
  const size = 2 ** (32 - bits);
  const base = ipv4ToNumber(address);
  if (base % size !== 0) {
    const first = numberToIpv4(base - (base % size));
    return failed("invalid", `prefix is "${text}"; expected its first address, ${first}/${bits}`);
  }
  return success({ text, base, size, bits });
}

/** True when the IPv4 address lies in the prefix; false for anything that is not IPv4. */
export function contains(prefix: Prefix, address: string): boolean {
  if (!isIpv4(address)) return false;
  const value = ipv4ToNumber(address);
  return value >= prefix.base && value < prefix.base + prefix.size;
}

/** True when two prefixes share an address. */
export function overlaps(one: Prefix, other: Prefix): boolean {
  return one.base < other.base + other.size && other.base < one.base + one.size;
}

/** True for loopback addresses (RFC 1122 127/8, RFC 4291 ::1). */
export function isLoopback(address: string): boolean {
  const plain = unmapped(address);
  return plain === "::1" || (isIpv4(plain) && plain.startsWith("127."));
}

const PRIVATE_V4 = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"];
const PRIVATE_PREFIXES = PRIVATE_V4.map((text) => parsePrefix(text)).flatMap((parsed) =>
  parsed.ok ? [parsed.value] : [],
);

/** True for addresses that are not routed on the internet (RFC 1918, 3927, 6598, 4193, 4291) and for loopback. */
export function isPrivate(address: string): boolean {
  const plain = unmapped(address);
  if (isLoopback(plain)) return true;
  // Four digits: `fc::1` is 00fc::1, which is not in fc00::/7.
  if (isIpv6(plain)) return /^(f[cd][0-9a-f]{2}|fe[89ab][0-9a-f]):/i.test(plain);
  return PRIVATE_PREFIXES.some((prefix) => contains(prefix, plain));
}

/**
 * What an address counts as where each may do so much: itself, or the /64 of an IPv6 address, which one host has all
 * of. Other text is itself.
 */
export function networkOf(address: string): string {
  const plain = unmapped(address);
  if (!isIpv6(plain)) return plain;
  const groups = groupsOf(plain).slice(0, 4);
  return `${groups.map((group) => group.toString(16)).join(":")}::/64`;
}

/**
 * True for an address that means another machine on each host that uses it, or no single one: unspecified, loopback,
 * link-local, multicast, what IPv4 has set aside together with its broadcast, and every IPv6 form of an IPv4 address
 * (RFC 1122 3.2.1.3, 1112 4, 3927, 4291 2.5 and 2.7), however it is written.
 */
export function isLocalToHost(address: string): boolean {
  if (isIpv4(address)) return /^(0|127|169\.254|22[4-9]|2[3-5]\d)\./.test(address);
  if (!isIpv6(address)) return false;
  const [first = 0, ...rest] = groupsOf(address);
  if ((first & 0xffc0) === 0xfe80 || (first & 0xff00) === 0xff00) return true;
  const holdsIpv4 = rest.slice(0, 3).every((group) => group === 0) && [0, 0xffff].includes(rest[3] ?? 0);
  return first === 0 && holdsIpv4;
}

/**
 * An IPv6 address in the one text form of RFC 5952 (lower case, the longest run of zeros as `::`, no dotted tail, no
 * zone), so that equal addresses are equal texts; the text must be a valid one.
 */
export function canonicalIpv6(address: string): string {
  const groups = groupsOf(address);
  const [at, size] = longestZeros(groups);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  // RFC 5952 4.2.2: a single zero is written out.
  return size < 2 ? hex(groups) : `${hex(groups.slice(0, at))}::${hex(groups.slice(at + size))}`;
}

/** Where the longest run of zeros begins, the first of several, and how long it is. */
function longestZeros(groups: readonly number[]): readonly [number, number] {
  let longest: readonly [number, number] = [0, 0];
  for (let at = 0; at < groups.length; at += 1) {
    const size = [...groups.slice(at), 1].findIndex((group) => group !== 0);
    if (size > longest[1]) longest = [at, size];
  }
  return longest;
}

/** The eight groups of an IPv6 address; the text must be a valid one. */
export function groupsOf(address: string): readonly number[] {
  // Not split and parseInt, which take ten times as long: DNS answers are thousands of addresses.
  const text = address.includes(".") ? withoutDottedTail(address) : address;
  const groups = [0, 0, 0, 0, 0, 0, 0, 0];
  let count = 0;
  let gapAt = -1;
  let digits = 0;
  for (let at = 0; at <= text.length; at += 1) {
    const character = text[at] ?? "%";
    const isEnd = character === "%";
    if (!isEnd && character !== ":") {
      groups[count] = (groups[count] ?? 0) * 16 + hexDigit(text.charCodeAt(at));
      digits += 1;
      continue;
    }
    if (digits > 0) count += 1;
    else if (!isEnd) gapAt = count;
    digits = 0;
    if (isEnd) break;
  }
  if (gapAt === -1) return groups;
  const missing = 8 - count;
  groups.copyWithin(gapAt + missing, gapAt, count);
  return groups.fill(0, gapAt, gapAt + missing);
}

function hexDigit(code: number): number {
  return code <= 57 ? code - 48 : (code | 32) - 87;
}

/** `64:ff9b::10.0.0.1` to `64:ff9b::a00:1`. */
function withoutDottedTail(address: string): string {
  return address.replace(/[0-9.]+\.[0-9.]+/, (dotted) => hexGroups(ipv4ToNumber(dotted)));
}

function hexGroups(value: number): string {
  return `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
}

/** True for an address that stands for all of a host's. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** True for one place: the texts of hosts are compared, not what they mean. */
export function isSamePlace(one: HostPort, other: HostPort): boolean {
  return one.host === other.host && one.port === other.port;
}

/** Renders host and port, with brackets around an IPv6 address. */
export function renderHostPort(pair: HostPort): string {
  return isIpv6(pair.host) ? `[${pair.host}]:${pair.port}` : `${pair.host}:${pair.port}`;
}

/**
 * Parses `host:port`, `[v6]:port` or, when `defaultPort` is given, a bare host.
 *
 * @param defaultPort  the port of a bare host; without it a bare host is refused
 */
export function parseHostPort(text: string, defaultPort?: number): Result<HostPort> {
  const refusal = failed("invalid", `address is "${text}"; expected host:port, with a port in 1..65535`);
  if (defaultPort !== undefined && isIpv6(text)) return success({ host: text, port: defaultPort });
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return refusal;
  const host = match[1] ?? match[2] ?? "";
  if (match[1] !== undefined && !isIpv6(host)) return refusal;
  // A host that ends in a number is an address or nothing (WHATWG URL 3.5): resolvers read `010.1` each in their way.
  const endsInNumber = match[2] !== undefined && /(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/i.test(host);
  if (endsInNumber && !isIpv4(host)) return refusal;
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port === undefined || port < 1 || port > 65_535) return refusal;
  return success({ host, port });
}
