/**
 * Ruleset: what our nftables table should hold, as values: chains of rules, and maps that lead into them.
 *
 * One form for all of it, so that it is checked, compared and changed by one code. Every rule carries a digest of its
 * text as its comment: what the kernel lists is compared by these, never by the text, which each release of nft writes
 * in its own way. Maps are compared by their elements, which all write alike.
 *
 * Pure. plan.ts makes rulesets; changes.ts tells two of them apart; rules.ts puts them into the kernel.
 */

import { createHash } from "node:crypto";

import type { ServiceKey } from "../../model/ids.ts";

import { MARK_OURS } from "../names.ts";

/** A rule: nft's words without the comment, and the digest that becomes the comment. */
export interface Rule {
  readonly text: string;
  readonly digest: string;
}

/** A chain: a base chain where it has a hook, else one that is jumped to. */
export interface Chain {
  readonly name: string;
  /** `type nat hook prerouting priority -105; policy accept;`; null for none. */
  readonly hook: string | null;
  readonly rules: readonly Rule[];
  /** Whose it is: without it everything else stands; null for the chains that all lean on. */
  readonly service: ServiceKey | null;
  /** The counter that its rules count with, by name; null where none does. */
  readonly counter: string | null;
}

/** The elements of a set or map: what stands for a key; empty text in a set. */
export type Elements = ReadonlyMap<string, string>;

/** One element and where it belongs. */
export interface Element {
  readonly set: SetName;
  readonly key: string;
  readonly value: string;
}

/**
 * The mark of a connection that we lead to an upstream: this and the number of the slot that it was given. Above all
 * that say by which host one came in (names.ts).
 */
export const MARK_LED = MARK_OURS + 0x80_0000;
/** The bits that tell the two apart. */
export const MARK_LED_MASK = 0xff80_0000;

/** Our sets and maps and their definitions; a change of them rebuilds the table (see LAYOUT). */
export const SETS = {
  /** Address and port of a VIP to the chain of its service port. */
  vips: "map { type ipv4_addr . inet_proto . inet_service : verdict; }",
  vips6: "map { type ipv6_addr . inet_proto . inet_service : verdict; }",
  /** A published port to the chain of the service port that it leads to. */
  ports: "map { type inet_proto . inet_service : verdict; }",
  ports6: "map { type inet_proto . inet_service : verdict; }",
  /** The VIP of a service on an overlay network to the chain that knows who may use it. */
  owners: "map { type ipv4_addr : verdict; }",
  owners6: "map { type ipv6_addr : verdict; }",
  /** Who came in by which VXLAN device to the mark of connections that come in so. */
  entries: "map { type ifname . ether_addr : mark; }",
  /** Pairs of devices between which an overlay network's packets are forwarded. */
  within: "set { type ifname . ifname; }",
  /** The devices of an overlay network to this host's address on it. */
  gateways: "map { type ifname : ipv4_addr; }",
  gateways6: "map { type ifname : ipv6_addr; }",
  /** The hosts that have homes. */
  hosts: "set { type ipv4_addr; }",
  /** Upstreams that must see this host's address, for their answers would go elsewhere. */
  masked: "set { type ipv4_addr . inet_proto . inet_service; }",
  masked6: "set { type ipv6_addr . inet_proto . inet_service; }",
  /** The address of a host together with what runs on it: that one's answers would not leave the host again. */
  homes: "set { type ipv4_addr . ipv4_addr; flags interval; }",
  homes6: "set { type ipv6_addr . ipv6_addr; flags interval; }",
  /** Whose questions for names go to which address and port: all of a device, or one address. */
  asking: "map { type ifname : ipv4_addr . inet_service; }",
  asking6: "map { type ifname : ipv6_addr . inet_service; }",
  askers: "map { type ipv4_addr : ipv4_addr . inet_service; }",
  /**
   * Pairs of one device with itself, filled by the rules as packets come by: nft cannot compare two devices, but it can
   * look a pair up. So it is known that a packet leaves by the device it came in by. Devices come and go with
   * containers' networks, so a pair that was not seen for a while goes too.
   */
  selves: "set { type ifname . ifname; size 4096; flags dynamic,timeout; timeout 10m; }",
} as const;

/** The name of one of them. */
export type SetName = keyof typeof SETS;

/** All names. */
export const SET_NAMES = Object.keys(SETS) as readonly SetName[];

/** Sets whose elements may not overlap: an address and a prefix each. */
export const INTERVALS: ReadonlySet<string> = new Set<SetName>(["homes", "homes6"]);

/** Sets whose elements the rules add themselves. */
export const SELF_FILLED: ReadonlySet<string> = new Set<SetName>(["selves"]);

/**
 * An empty chain of this name marks a table whose sets are defined as above: definitions cannot be changed, so a table
 * of another layout is made anew.
 */
export const LAYOUT = `layout-${digestOf(JSON.stringify(SETS))}`;

/** Where the flows of an upstream may go on. */
export interface Endpoint {
  readonly address: string;
  readonly transport: "tcp" | "udp";
  readonly port: number;
}

/** The whole table. */
export interface Ruleset {
  /** In the order in which they are written. */
  readonly chains: ReadonlyMap<string, Chain>;
  readonly sets: ReadonlyMap<SetName, Elements>;
  /** Names of chains that there would be, had the proxy not to serve their upstreams. */
  readonly left: ReadonlySet<string>;
  /**
   * Upstreams that may keep the flows they have, by key. Flows of one that was here and is here no more are forgotten,
   * so that the next packet finds another.
   */
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  /** What was left out, in words. */
  readonly problems: readonly string[];
  /** When it should be planned again though nothing changed, Unix milliseconds; null for never. */
  readonly againAtMs: number | null;
}

/** Eight hexadecimal digits that follow from a text: enough to tell what changed, no secret. */
export function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}

/** A rule of these words. */
export function rule(text: string): Rule {
  return { text, digest: digestOf(text) };
}

/** A chain of these rules. */
export function chain(
  name: string,
  texts: readonly string[],
  options: { readonly hook?: string; readonly service?: ServiceKey; readonly counter?: string } = {},
): Chain {
  const { hook = null, service = null, counter = null } = options;
  return { name, hook, rules: texts.map(rule), service, counter };
}

/** The key of an endpoint. */
export function endpointKey({ address, transport, port }: Endpoint): string {
  return `${address} ${transport} ${port}`;
}
