/**
 * State: what overlay networks are in the kernel's words: devices, forwarding entries, neighbours, routes, rules.
 *
 * One set of nouns for what should be and for what is, so that the difference is one of values. What is ours is told
 * from what is not by three marks: our devices begin with `sk-`, our routes and rules carry a number of ours as their
 * protocol (ip-route(8), ip-rule(8)), and our tables and preferences lie in ranges of their own. Nothing else is ever
 * looked at.
 *
 * Pure.
 */

/** The metric of our refusing routes: whatever else leads to the same prefix goes first. */
export const REFUSING_METRIC = 2_147_483_647;

/** What the kernel gives an IPv6 route without one (linux/ipv6_route.h, IP6_RT_PRIO_USER). */
export const METRIC6 = 1024;

/** The range that all our rules are in; what of it is the user's has no protocol number of ours. */
export const RULES_FIRST = 5300;
export const RULES_LAST = 59_999;

/** Linux's own tables (ip-route(8)), in the order in which its own rules ask them. */
export const MAIN_TABLE = 254;
export const DEFAULT_TABLE = 253;

/** The tables that names.ts gives out. */
export const TABLES_FIRST = 0x2000_0000;
export const TABLES_LAST = 0x3fff_ffff;

/** A VXLAN device. */
export interface VxlanDevice {
  readonly kind: "device";
  readonly name: string;
  readonly vni: number;
  readonly mac: string;
  /** The address that its packets come from, and the device that they must leave by; null for any. */
  readonly local: string | null;
  readonly lower: string | null;
  readonly port: number;
  readonly mtu: number;
  /** False in what is ours: who is where is told, not learnt from what strangers send (RFC 7348 4.1). */
  readonly learning: boolean;
  /** False in what is ours: a group or a host to which all goes that is known of nobody. */
  readonly hasDefault: boolean;
  readonly isUp: boolean;
}

/**
 * The IPv4 address of a device. Without one Linux drops whatever comes in from addresses that no route over the device
 * leads to, also where it checks sources loosely (rp_filter 2): that is, every client whose own address was kept.
 */
export interface DeviceAddress {
  readonly kind: "address";
  readonly device: string;
  readonly address: string;
}

/** Where frames to a far VTEP are sent: an entry of the device's forwarding database (bridge-fdb(8)). */
export interface ForwardEntry {
  readonly kind: "entry";
  readonly device: string;
  readonly mac: string;
  /** IPv4 address on the underlay, or within WireGuard. */
  readonly to: string;
}

/** Which VTEP has the address that routes lead over. */
export interface Neighbour {
  readonly kind: "neighbour";
  readonly device: string;
  readonly address: string;
  readonly mac: string;
}

/** A route; its family is that of its prefix. */
export interface Route {
  readonly kind: "route";
  /** Always with its length: `10.160.4.0/24`, `0.0.0.0/0`. */
  readonly to: string;
  /** Null for the main table. */
  readonly table: number | null;
  readonly metric: number;
  /** False for one that refuses ("unreachable"); then the rest is null. */
  readonly leads: boolean;
  readonly via: string | null;
  readonly device: string | null;
  readonly source: string | null;
  /** Where it is smaller than the device's. */
  readonly mtu: number | null;
}

/** What a routing rule does with a packet that it fits. */
export type RuleAction =
  | { readonly kind: "goto"; readonly preference: number }
  | { readonly kind: "table"; readonly table: number }
  | { readonly kind: "nop" };

/** A routing rule. */
export interface Rule {
  readonly kind: "rule";
  readonly family: 4 | 6;
  readonly preference: number;
  /** True for one that fits what does not have the mark. */
  readonly inverts: boolean;
  readonly mark: { readonly value: number; readonly mask: number } | null;
  /** The bridge that a packet came in by, `lo` for what this host itself sends; null for any. */
  readonly device: string | null;
  readonly action: RuleAction;
}

/** One thing of the kernel. */
export type LinkThing = VxlanDevice | DeviceAddress | ForwardEntry | Neighbour | Route | Rule;

/** All that is ours, or should be, in no particular order. */
export type LinkState = readonly LinkThing[];

/** What is to be done with one thing; `replace`: something of ours is in its place. */
export interface LinkCommand {
  readonly verb: "add" | "replace" | "remove";
  readonly thing: LinkThing;
}

/** A command that the kernel would not follow. */
export interface Refusal {
  readonly command: LinkCommand;
  /** In the words of the program. */
  readonly text: string;
}

/** Where links are made: Linux, or what stands for it in tests. */
export interface LinkKernel {
  /**
   * What is there of ours.
   *
   * @throws Failure where it cannot be read
   */
  observe(): Promise<LinkState>;
  /**
   * Follows commands in their order, each on its own: one that is refused stops no other. What is to be removed and is
   * gone is no refusal.
   *
   * @throws Failure `not-found` without the program, `not-allowed` without the right to any of it
   */
  execute(commands: readonly LinkCommand[]): Promise<readonly Refusal[]>;
}
