/**
 * Plan: which packets of tunnels are refused, whatever becomes of the rules that lead traffic.
 *
 * A VXLAN device takes whatever comes to its port with its network's number. So a packet of an encrypted network that
 * did not come out of WireGuard is dropped, and one of another network that no member sent; and nothing of an encrypted
 * network leaves but by WireGuard. The same goes for what this host passes on, for a container may forge such packets,
 * and leave under this host's address at that. It has a table of its own, since the rules may be given up, and must be
 * in force before there is any device. Only numbers of networks that are on this host are looked at: others speak VXLAN
 * on this port too.
 *
 * Pure. guard.ts makes it so.
 */

import { createHash } from "node:crypto";

import { compareText } from "../../base/sorted.ts";
import { farEndFlaw, nearEnd } from "../far-end.ts";
import type { KernelGiven } from "../given.ts";
import { GUARD_TABLE, VXLAN_PORT, WIREGUARD_DEVICE } from "../names.ts";

/** All of it. */
export interface GuardPlan {
  /** Numbers of encrypted networks, and of the others, sorted; none is in both. */
  readonly sealed: readonly number[];
  readonly plain: readonly number[];
  /** IPv4 addresses of members, from which packets of the others may come, sorted. */
  readonly hosts: readonly string[];
  /** By which device packets of members come; null where that is not known. */
  readonly device: string | null;
}

/** A table as it is there. */
export interface ObservedGuard extends Omit<GuardPlan, "device"> {
  /** Digests of its rules, in their order. */
  readonly digests: readonly string[];
}

/** Nothing is on this host. */
export const NO_GUARD: GuardPlan = { sealed: [], plain: [], hosts: [], device: null };

/** Bits of a VXLAN packet that hold the network's number (RFC 7348 5): behind 8 bytes of UDP and 4 of its own. */
const VNI = "@th,96,24";
const VNI_END = 2 ** 24;
/** What a name of a device may be that is written into a rule. */
const DEVICE = /^[A-Za-z0-9_.@-]{1,15}$/;
/** Before the rules' own filters, and those of others. */
const PRIORITY = -20;

/** The plan of a moment. */
export function planGuard({
  view,
  bridges,
  overlay: own,
}: Pick<KernelGiven, "view" | "bridges" | "overlay">): GuardPlan {
  const bridged = new Set(bridges.map(({ network }) => network));
  const here = view.networks.filter(({ name, vni, slices }) => {
    const isHere = bridged.has(name) || slices.some(({ node }) => node === view.self);
    return isHere && Number.isInteger(vni) && vni >= 1 && vni < VNI_END;
  });
  const near = nearEnd(view, own?.address ?? null);
  const hosts = view.members.flatMap(({ overlay, self }) => {
    // A member says itself where it is, and what it says becomes words of a program.
    const isUsable = overlay !== undefined && !self && farEndFlaw(overlay.address, near) === null;
    return isUsable ? [overlay.address] : [];
  });
  const numbersOf = (encrypted: boolean): readonly number[] =>
    here.filter((network) => network.encrypted === encrypted).map(({ vni }) => vni);
  const device = own !== null && DEVICE.test(own.device) ? own.device : null;
  return { ...ordered({ sealed: numbersOf(true), plain: numbersOf(false), hosts }), device };
}

/** Both together: what should be, and what is there and may not be taken away. */
export function mergeGuards(wanted: GuardPlan, observed: ObservedGuard): GuardPlan {
  const both = ordered({
    sealed: [...wanted.sealed, ...observed.sealed],
    plain: [...wanted.plain, ...observed.plain],
    hosts: [...wanted.hosts, ...observed.hosts],
  });
  return { ...both, device: wanted.device };
}

function ordered({ sealed, plain, hosts }: Omit<GuardPlan, "device">): Omit<GuardPlan, "device"> {
  const refused = new Set(sealed);
  return {
    sealed: [...refused].sort((one, other) => one - other),
    plain: [...new Set(plain)].filter((vni) => !refused.has(vni)).sort((one, other) => one - other),
    hosts: [...new Set(hosts)].sort(compareText),
  };
}

/** The script for nft that puts the table in the place of the one that is there, at once; or only takes that away. */
export function renderGuard(plan: GuardPlan): string {
  const away = [`table inet ${GUARD_TABLE} { }`, `delete table inet ${GUARD_TABLE}`];
  if (isNothing(plan)) return `${away.join("\n")}\n`;
  const hosts = plan.hosts.length === 0 ? "" : ` elements = { ${plan.hosts.join(", ")} }`;
  const body = [
    `  set hosts { type ipv4_addr;${hosts} }`,
    ...chainsOf(plan).map(({ name, hook, rules }) => {
      const begin = hook === null ? [] : [`type filter hook ${hook} priority ${PRIORITY}; policy accept;`];
      const lines = [...begin, ...rules.map((rule) => `${rule} comment "${digestOf(rule)}"`)];
      return `  chain ${name} {\n    ${lines.join("\n    ")}\n  }`;
    }),
  ];
  return `${[...away, `table inet ${GUARD_TABLE} {`, ...body, "}"].join("\n")}\n`;
}

/** What nft lists of the table, as values. */
export function parseGuard(listing: string): ObservedGuard {
  const numbers = { sealed: [] as number[], plain: [] as number[] };
  for (const [, number = "", kind] of listing.matchAll(/(0x[0-9a-f]+|\d+) : goto (sealed|plain)\b/g)) {
    numbers[kind === "sealed" ? "sealed" : "plain"].push(Number(number));
  }
  const hosts = Array.from(listing.matchAll(/\b\d+\.\d+\.\d+\.\d+\b/g), ([address]) => address);
  const digests = Array.from(listing.matchAll(/comment "([0-9a-f]{16})"/g), ([, digest = ""]) => digest);
  return { ...ordered({ ...numbers, hosts }), digests };
}

/** Whether a table is all that a plan says; null for none. */
export function isAsPlanned(observed: ObservedGuard | null, plan: GuardPlan): boolean {
  if (observed === null || isNothing(plan)) return observed === null && isNothing(plan);
  const digests = chainsOf(plan).flatMap(({ rules }) => rules.map(digestOf));
  return isSame(observed.digests, digests) && isSame(observed.hosts, plan.hosts);
}

interface GuardChain {
  readonly name: string;
  readonly hook: "input" | "forward" | "output" | null;
  readonly rules: readonly string[];
}

function chainsOf({ sealed, plain, device }: GuardPlan): readonly GuardChain[] {
  const vxlan = `udp dport ${VXLAN_PORT} ${VNI} vmap`;
  const coming = [
    ...sealed.map((vni) => `${vni} : goto sealed`),
    ...plain.map((vni) => `${vni} : goto plain`),
  ];
  const leaving = sealed.map((vni) => `${vni} : goto leaving-sealed`);
  const isElsewhere = device === null ? "" : `iifname != "${device}" `;
  return [
    { name: "sealed", hook: null, rules: [`iifname != "${WIREGUARD_DEVICE}" counter drop`] },
    {
      name: "plain",
      hook: null,
      rules: [
        "ip saddr != @hosts counter drop",
        // A container that says it were a member; two ways to one LAN are let pass.
        `${isElsewhere}fib saddr . iif oif missing counter drop`,
        "meta nfproto ipv6 counter drop",
      ],
    },
    { name: "leaving-sealed", hook: null, rules: [`oifname != "${WIREGUARD_DEVICE}" counter drop`] },
    { name: "coming", hook: "input", rules: [`${vxlan} { ${coming.join(", ")} }`] },
    // What this host only passes on: to others it would come from this host, or from whom it says.
    { name: "passing", hook: "forward", rules: [`${vxlan} { ${coming.join(", ")} }`] },
    {
      name: "leaving",
      hook: "output",
      rules: leaving.length === 0 ? [] : [`${vxlan} { ${leaving.join(", ")} }`],
    },
  ];
}

function isNothing({ sealed, plain }: GuardPlan): boolean {
  return sealed.length === 0 && plain.length === 0;
}

function digestOf(rule: string): string {
  return createHash("sha256").update(rule).digest("hex").slice(0, 16);
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, at) => text === other[at]);
}
