/**
 * Words: how names, addresses and numbers are written in nft's language, and which are refused.
 *
 * What a rule is made of comes from labels, peers and files. Each kind of word has one writer here that lets through
 * nothing but its own form, so that no text of anybody can end a rule and begin another. A word that cannot be written
 * is a Failure that names it: it costs the service or network it belongs to, and no other.
 *
 * Pure.
 */

import { createHash } from "node:crypto";

import { Failure } from "../../base/failure.ts";
import { canonicalIpv6, isIpv4, isIpv6, parseHostPort } from "../../base/ip.ts";
import { isPort } from "../../model/service.ts";

/** The two families of addresses, and what nft calls them. */
export type Family = "ip" | "ip6";

/** Names of chains may be 127 bytes (NFT_CHAIN_MAXNAMELEN less the end). */
const CHAIN_LENGTH_MAX = 120;

/** An address of a family. */
export function addressWord(family: Family, address: string): string {
  if (family === "ip" && isIpv4(address)) return address;
  // A zone is a device of one host, and nft knows none.
  if (family === "ip6" && isIpv6(address) && !address.includes("%")) return canonicalIpv6(address);
  throw refused("address", address, family === "ip" ? "an IPv4 address" : "an IPv6 address");
}

/** A prefix of a family, `10.96.0.0/12`. */
export function prefixWord(family: Family, prefix: string): string {
  const [address = "", bits = ""] = prefix.split("/");
  const isBits = /^\d{1,3}$/.test(bits) && Number(bits) <= (family === "ip" ? 32 : 128);
  if (!isBits || prefix.split("/").length !== 2) throw refused("prefix", prefix, "an address and its bits");
  return `${addressWord(family, address)}/${Number(bits)}`;
}

/** A port. */
export function portWord(port: number): string {
  if (!isPort(port)) throw refused("port", String(port), "1..65535");
  return String(port);
}

/** A transport by its number (RFC 790): nft knows names only where /etc/protocols is, which many images lack. */
export function protocolWord(transport: "tcp" | "udp"): string {
  return transport === "tcp" ? "6" : "17";
}

/** A network device, in quotes; at most 15 characters (IFNAMSIZ). */
export function deviceWord(device: string): string {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$/.test(device))
    throw refused("device", device, 'letters, digits, "-", "_" and ".", at most 15');
  return `"${device}"`;
}

/** The address of a network card. */
export function macWord(mac: string): string {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) throw refused("MAC address", mac, "02:00:5e:10:00:01");
  return mac;
}

/** A mark, as nft lists it. */
export function markWord(mark: number): string {
  if (!Number.isInteger(mark) || mark < 0 || mark > 0xffff_ffff)
    throw refused("mark", String(mark), "a number of 32 bits");
  return `0x${mark.toString(16).padStart(8, "0")}`;
}

/** The number of an overlay network, as nft lists raw bits of a packet. */
export function vniWord(vni: number): string {
  if (!Number.isInteger(vni) || vni < 1 || vni > 0xff_ffff)
    throw refused("network number", String(vni), "1..16777215");
  return `0x${vni.toString(16)}`;
}

/** Where DNS listens, `10.160.3.1:53` or `[fd12::1]:53`, as address and port. */
export function socketWord(family: Family, text: string): string {
  const parsed = parseHostPort(text, 53);
  if (!parsed.ok) throw parsed.failure;
  return `${addressWord(family, parsed.value.host)} . ${portWord(parsed.value.port)}`;
}

/** The name of a network, as it stands in the name of a chain. */
export function networkWord(name: string): string {
  if (!/^[a-z0-9_][a-z0-9_-]{0,62}$/.test(name))
    throw refused("network", name, 'letters, digits, "-" or "_", at most 63');
  return name;
}

/** The name of a chain for a service port: readable where that fits, else a hash of it. */
export function chainWord(prefix: string, service: string, rest: string): string {
  if (!/^[a-z0-9_][a-z0-9_-]{0,62}\/[a-z0-9_][a-z0-9_-]{0,62}$/.test(service))
    throw refused("service", service, 'network and name of letters, digits, "-" or "_"');
  const name = `${prefix}-${service}/${rest}`;
  if (name.length <= CHAIN_LENGTH_MAX) return name;
  return `${prefix}-${createHash("sha256").update(name).digest("hex").slice(0, 24)}`;
}

/** The name of the counter of what is led to a service's replicas: readable where that fits, else with a hash of it. */
export function counterWord(service: string): string {
  return chainWord("led", service, "all").replace(/\/all$/, "");
}

function refused(thing: string, value: string, expected: string): Failure {
  return new Failure("invalid", `${thing} is ${JSON.stringify(value.slice(0, 80))}; expected ${expected}`);
}
