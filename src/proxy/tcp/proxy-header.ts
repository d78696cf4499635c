/**
 * Proxy header: the line or block in front of a connection that says who called (PROXY protocol, versions 1 and 2).
 *
 * Written toward replicas that ask for it, read from proxies in front of us that are trusted. What is read comes from
 * outside, perhaps a byte at a time: a reader asks for more until the header is whole or cannot become one, and its
 * length is bounded before a byte of it is waited for. What a header says beyond addresses (TLVs) is skipped, and one
 * that tells of no caller we could name (LOCAL, UNKNOWN, Unix sockets) leaves the connection's own ends to count. Facts
 * from the HAProxy project's `proxy-protocol.txt`, 2.1 for version 1 and 2.2 for version 2.
 *
 * Pure. arrival.ts reads what comes, connect.ts writes.
 */

import { canonicalIpv6, groupsOf, ipv4ToNumber, isIpv4, isIpv6, numberToIpv4 } from "../../base/ip.ts";
import { LIMITS } from "../../model/limits.ts";
import type { Delivery } from "../../model/service.ts";

/** Who called, and where: the two ends of a client's connection as they were at the first proxy that is trusted. */
export interface Caller {
  /** The client's address, without `::ffff:`; empty when it is not known. */
  readonly address: string;
  readonly port: number;
  /** The address and port that it called. */
  readonly toAddress: string;
  readonly toPort: number;
}

/** What the first bytes of a connection are. */
export type HeaderReading =
  /** As yet it may be a header: more bytes will tell. */
  | { readonly kind: "more" }
  /** No header. */
  | { readonly kind: "none" }
  | { readonly kind: "malformed"; readonly reason: string }
  /** `caller` is null when the proxy speaks for itself, or knows nothing that could be said in an address. */
  | { readonly kind: "whole"; readonly bytes: number; readonly caller: Caller | null };

/** What to write. */
export interface HeaderContent {
  readonly version: Exclude<Delivery["proxyProtocol"], "off">;
  /** Null when the proxy speaks for itself. */
  readonly caller: Caller | null;
  /** Of the connection behind it; version 1 knows no datagrams. */
  readonly transport?: "tcp" | "udp";
}

const V1_START = Buffer.from("PROXY ");
/** With its line's end. */
const V1_BYTES_MAX = 107;
const V1_UNKNOWN = Buffer.from("PROXY UNKNOWN\r\n");

const V2_SIGNATURE = Buffer.from([13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]);
const V2_FIXED_BYTES = 16;
const LOCAL = 0x20;
const PROXY = 0x21;
const FAMILY = { ipv4: 0x10, ipv6: 0x20 } as const;
const TRANSPORT = { tcp: 0x1, udp: 0x2 } as const;
/** Two addresses and two ports. */
const BLOCK_BYTES = { ipv4: 12, ipv6: 36 } as const;
type Family = keyof typeof BLOCK_BYTES;

/** Reads the header at the start of what a connection has sent so far. */
export function readProxyHeader(bytes: Buffer): HeaderReading {
  if (isStartOf(bytes, V2_SIGNATURE)) return readV2(bytes);
  if (isStartOf(bytes, V1_START)) return readV1(bytes);
  return { kind: "none" };
}

/** True when the bytes begin with the signature, or are too few to tell. */
function isStartOf(bytes: Buffer, signature: Buffer): boolean {
  const count = Math.min(bytes.length, signature.length);
  return bytes.compare(signature, 0, count, 0, count) === 0;
}

function readV1(bytes: Buffer): HeaderReading {
  const end = bytes.subarray(0, V1_BYTES_MAX).indexOf("\r\n");
  if (end === -1) {
    if (bytes.length < V1_BYTES_MAX) return { kind: "more" };
    return { kind: "malformed", reason: `no line's end in ${V1_BYTES_MAX} bytes` };
  }
  const size = end + 2;
  const [, family = "", address = "", toAddress = "", port = "", toPort = "", ...rest] = bytes
    .toString("latin1", 0, end)
    .split(" ");
  if (family === "UNKNOWN") return { kind: "whole", bytes: size, caller: null };
  const isOfFamily = family === "TCP4" ? isIpv4 : isPlainIpv6;
  const isWellFormed =
    (family === "TCP4" || family === "TCP6") &&
    rest.length === 0 &&
    [address, toAddress].every((text) => isOfFamily(text)) &&
    [port, toPort].every(isPortText);
  if (!isWellFormed)
    return { kind: "malformed", reason: "expected PROXY TCP4|TCP6 <from> <to> <port> <port>" };
  const ends = { address: plain(address), toAddress: plain(toAddress) };
  return { kind: "whole", bytes: size, caller: { ...ends, port: Number(port), toPort: Number(toPort) } };
}

/** Without a zone: it would mean nothing here. */
function isPlainIpv6(text: string): boolean {
  return isIpv6(text) && !text.includes("%");
}

function isPortText(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

function readV2(bytes: Buffer): HeaderReading {
  if (bytes.length < V2_FIXED_BYTES) return { kind: "more" };
  const [command = 0, family = 0] = bytes.subarray(V2_SIGNATURE.length);
  if (command !== LOCAL && command !== PROXY) {
    const reason = `version and command are 0x${command.toString(16)}; expected 0x20 or 0x21`;
    return { kind: "malformed", reason };
  }
  const size = V2_FIXED_BYTES + bytes.readUInt16BE(V2_SIGNATURE.length + 2);
  if (size > LIMITS.proxyHeaderBytes) {
    return { kind: "malformed", reason: `${size} bytes; expected at most ${LIMITS.proxyHeaderBytes}` };
  }
  if (bytes.length < size) return { kind: "more" };
  const told = command === LOCAL ? null : blockOf(family);
  if (told === null) return { kind: "whole", bytes: size, caller: null };
  const block = bytes.subarray(V2_FIXED_BYTES, size);
  if (block.length < BLOCK_BYTES[told]) {
    return { kind: "malformed", reason: `${block.length} bytes of addresses; expected ${BLOCK_BYTES[told]}` };
  }
  return { kind: "whole", bytes: size, caller: told === "ipv4" ? callerIn4(block) : callerIn6(block) };
}

/** What the address block holds; null for what says nothing of use: Unix sockets, and what is not defined. */
function blockOf(family: number): Family | null {
  const transport = family & 0xf;
  if (transport !== TRANSPORT.tcp && transport !== TRANSPORT.udp) return null;
  const addresses = family & 0xf0;
  if (addresses === FAMILY.ipv4) return "ipv4";
  return addresses === FAMILY.ipv6 ? "ipv6" : null;
}

function callerIn4(block: Buffer): Caller {
  const [address, toAddress] = [numberToIpv4(block.readUInt32BE(0)), numberToIpv4(block.readUInt32BE(4))];
  return { address, toAddress, port: block.readUInt16BE(8), toPort: block.readUInt16BE(10) };
}

function callerIn6(block: Buffer): Caller {
  const [address, toAddress] = [ipv6At(block, 0), ipv6At(block, 16)];
  return { address, toAddress, port: block.readUInt16BE(32), toPort: block.readUInt16BE(34) };
}

function ipv6At(block: Buffer, at: number): string {
  const groups = [0, 2, 4, 6, 8, 10, 12, 14].map((offset) => block.readUInt16BE(at + offset).toString(16));
  return plain(groups.join(":"));
}

/** One text for each address, and none for IPv4 in IPv6's clothes. */
function plain(address: string): string {
  if (isIpv4(address)) return address;
  const groups = groupsOf(address);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return numberToIpv4((groups[6] ?? 0) * 65_536 + (groups[7] ?? 0));
  return canonicalIpv6(address);
}

/** Writes a header. Where nothing can be said of the caller it says so, in a form that any reader skips. */
export function renderProxyHeader({ version, caller, transport = "tcp" }: HeaderContent): Buffer {
  const family = caller === null ? null : familyOf(caller);
  const isSayable = caller !== null && family !== null;
  if (version === "v1") {
    return isSayable && transport === "tcp" ? renderV1(caller, family) : V1_UNKNOWN;
  }
  const block = isSayable ? renderBlock(caller, family) : Buffer.alloc(0);
  const fixed = Buffer.alloc(V2_FIXED_BYTES);
  V2_SIGNATURE.copy(fixed);
  fixed[12] = caller === null ? LOCAL : PROXY;
  fixed[13] = isSayable ? FAMILY[family] | TRANSPORT[transport] : 0;
  fixed.writeUInt16BE(block.length, 14);
  return Buffer.concat([fixed, block]);
}

/** The family in which both ends can be said: IPv4 has a form in IPv6, for the case that they differ. */
function familyOf({ address, toAddress }: Caller): Family | null {
  const ends = [address, toAddress];
  if (ends.every(isIpv4)) return "ipv4";
  return ends.every((text) => isIpv4(text) || isIpv6(text)) ? "ipv6" : null;
}

function renderV1({ address, toAddress, port, toPort }: Caller, family: Family): Buffer {
  const textOf = (end: string): string => {
    if (family === "ipv4") return end;
    return isIpv4(end) ? `::ffff:${end}` : canonicalIpv6(end);
  };
  const name = family === "ipv4" ? "TCP4" : "TCP6";
  return Buffer.from(`PROXY ${name} ${textOf(address)} ${textOf(toAddress)} ${port} ${toPort}\r\n`);
}

function renderBlock({ address, toAddress, port, toPort }: Caller, family: Family): Buffer {
  const addressBytes = family === "ipv4" ? 4 : 16;
  const block = Buffer.alloc(BLOCK_BYTES[family]);
  for (const [index, end] of [address, toAddress].entries()) {
    const at = index * addressBytes;
    if (!isIpv4(end)) groupsOf(end).forEach((group, nth) => block.writeUInt16BE(group, at + 2 * nth));
    else block.writeUInt32BE(ipv4ToNumber(end), at + addressBytes - 4);
    if (isIpv4(end) && family === "ipv6") block.writeUInt16BE(0xffff, at + 10);
  }
  block.writeUInt16BE(port, 2 * addressBytes);
  block.writeUInt16BE(toPort, 2 * addressBytes + 2);
  return block;
}
