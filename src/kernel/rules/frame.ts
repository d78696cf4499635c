/**
 * Frame: the chains that every packet meets, and how they lead to those of services and networks.
 *
 * Base chains stand just before those of others at the same hook, so that Docker's and the firewall's rules find what
 * we did and have the last word on what is not ours. A VIP that no chain takes is translated to itself: nothing
 * changes, but no other table (Docker's, for a port that it publishes) may then lead it elsewhere. What we let through
 * gets our mark, by which one rule in Docker's own chain lets it through too. Connections that we lead carry our mark
 * themselves.
 *
 * Pure.
 */

import type { Bridged } from "../carried.ts";
import type { Forwarding, KernelGiven } from "../given.ts";
import { DEVICE_PREFIX, MARK_MASK, MARK_OURS, VXLAN_PORT, vxlanDevice, WIREGUARD_DEVICE } from "../names.ts";
import { chain, MARK_LED, MARK_LED_MASK, type Chain } from "./ruleset.ts";
import {
  addressWord,
  deviceWord,
  markWord,
  prefixWord,
  protocolWord,
  vniWord,
  type Family,
} from "./words.ts";

/** Marks of connections that came in through another host: ours, and by which (names.ts). */
const ENTERED = `${markWord(MARK_OURS + 1)}-${markWord(MARK_LED - 1)}`;
/** Connections that we lead. */
const IS_LED = `ct status dnat ct mark & ${markWord(MARK_LED_MASK)} == ${markWord(MARK_LED)}`;
/** Protocols by their numbers (RFC 790, 8200): nft knows their names only where /etc/protocols is. */
const TCP_UDP = `${protocolWord("tcp")}, ${protocolWord("udp")}`;
const ICMP = 1;
const ICMP6 = 58;
/** Addresses at which there is more than one. */
const TO_MANY = "fib daddr type { broadcast, multicast, anycast }";
const OWN = `"${DEVICE_PREFIX}*"`;
const VXLANS = `"${vxlanDevice(0).slice(0, -1)}*"`;
/** Bits of a VXLAN packet that hold the network's number (RFC 7348 5): behind 8 bytes of UDP and 4 of its own. */
const VNI_BITS = "@th,96,24";

/** What the frame is made of. */
export interface FrameGiven {
  readonly given: Pick<KernelGiven, "pool" | "pool6" | "ingressAddress" | "forwards">;
  readonly bridged: readonly Bridged[];
}

/** The chains that are always there. Rules that name a network are there with its bridge. */
export function planFrame({ given, bridged }: FrameGiven): readonly Chain[] {
  const pool = prefixWord("ip", given.pool);
  const pool6 = given.pool6 === null ? null : prefixWord("ip6", given.pool6);
  const staying = stayingHere(given.forwards, pool, pool6);
  return [
    chain("mask", ["snat ip to oifname map @gateways", "snat ip6 to oifname map @gateways6", "masquerade"]),
    chain("outside", [`${TO_MANY} counter drop`, "goto mask"]),
    chain("ours", [`meta mark set meta mark & ${inverse(MARK_MASK)} | ${markWord(MARK_OURS)}`, "accept"]),
    chain("questions", questions(bridged, pool, pool6)),
    chain("lead", lead(given.ingressAddress, pool, pool6)),
    chain("led", led()),
    chain("prerouting", [`meta l4proto { ${TCP_UDP} } th dport 53 jump questions`, ...staying, "jump lead"], {
      hook: hookOf("nat", "prerouting", -105),
    }),
    chain("output", ["jump lead"], { hook: hookOf("nat", "output", -105) }),
    chain("postrouting", postrouting(bridged), { hook: hookOf("nat", "postrouting", 95) }),
    chain("arriving", arriving(), { hook: hookOf("filter", "prerouting", -150) }),
    chain("forward", forward(), { hook: hookOf("filter", "forward", -10) }),
    chain("input", input(), { hook: hookOf("filter", "input", -10) }),
    chain("telling", telling(), { hook: hookOf("filter", "output", -150) }),
    chain("tunnels-in", tunnels(bridged), { hook: hookOf("filter", "prerouting", -300) }),
    chain("tunnels-out", tunnels(bridged), { hook: hookOf("filter", "output", -300) }),
  ];
}

function hookOf(type: "nat" | "filter", hook: string, priority: number): string {
  return `type ${type} hook ${hook} priority ${priority}; policy accept;`;
}

/**
 * Questions for names, to whomever, go to the daemon. Not those to a VIP or to a container of the same network: whoever
 * names them runs a DNS service there and wants that one.
 */
function questions(bridged: readonly Bridged[], pool: string, pool6: string | null): readonly string[] {
  const others = bridged.map(({ network, bridge }) => {
    const device = deviceWord(bridge.device);
    const range = prefixWord("ip", network?.range ?? bridge.prefix);
    return `iifname ${device} ip daddr ${range} ip daddr != ${addressWord("ip", bridge.gateway)} return`;
  });
  return [
    `ip daddr ${pool} return`,
    ...(pool6 === null ? [] : [`ip6 daddr ${pool6} return`]),
    ...others,
    `meta l4proto { ${TCP_UDP} } dnat ip to iifname map @asking`,
    `meta l4proto { ${TCP_UDP} } dnat ip6 to iifname map @asking6`,
    `meta l4proto { ${TCP_UDP} } dnat ip to ip saddr map @askers`,
  ];
}

/** From VIPs and published ports to the chains of services. Published ports of loopback are the proxy's. */
function lead(ingressAddress: string, pool: string, pool6: string | null): readonly string[] {
  const key = "meta l4proto . th dport";
  const where = publishedAt(ingressAddress);
  const notPool6 = pool6 === null ? "" : ` ip6 daddr != ${pool6}`;
  return [
    `ip daddr . ${key} vmap @vips`,
    `ip6 daddr . ${key} vmap @vips6`,
    `ip daddr ${pool} dnat ip to ip daddr`,
    ...(pool6 === null ? [] : [`ip6 daddr ${pool6} dnat ip6 to ip6 daddr`]),
    ...(where.ip === null ? [] : [`${where.ip} ip daddr != 127.0.0.0/8 ${key} vmap @ports`]),
    ...(where.ip6 === null ? [] : [`${where.ip6} ip6 daddr != ::1${notPool6} ${key} vmap @ports6`]),
  ];
}

/**
 * What comes from elsewhere in a family that this host does not forward stays with the proxy: led to a replica, it
 * would be lost. No other table may lead a VIP elsewhere for all that.
 */
function stayingHere({ v4, v6 }: Forwarding, pool: string, pool6: string | null): readonly string[] {
  const six = pool6 === null ? [] : [`ip6 daddr ${pool6} dnat ip6 to ip6 daddr`];
  return [
    ...(v4 ? [] : [`ip daddr ${pool} dnat ip to ip daddr`, "meta nfproto ipv4 accept"]),
    ...(v6 ? [] : [...six, "meta nfproto ipv6 accept"]),
  ];
}

/** How packets to a published port are told, in each family; null where it is not open in one. */
export function publishedAt(ingressAddress: string): Readonly<Record<Family, string | null>> {
  const isLocal = "fib daddr type local";
  if (ingressAddress === "0.0.0.0") return { ip: `${isLocal} meta nfproto ipv4`, ip6: null };
  if (ingressAddress === "::")
    return { ip: `${isLocal} meta nfproto ipv4`, ip6: `${isLocal} meta nfproto ipv6` };
  if (ingressAddress.includes(":"))
    return { ip: null, ip6: `ip6 daddr ${addressWord("ip6", ingressAddress)}` };
  return { ip: `ip daddr ${addressWord("ip", ingressAddress)}`, ip6: null };
}

/**
 * Whose address the replica sees, of connections that we lead: the client's, unless its answer would not come back
 * through this host. Its own calls come with the VIP as their source, and stay as they are on the way to itself; who
 * is on the replica's own bridge would be answered directly, and so would the replica's own host.
 */
function led(): readonly string[] {
  const key = "meta l4proto . th dport";
  // Of homes there is a costly look-up, for hosts alone.
  return [
    'oifname "lo" accept',
    `ip daddr . ${key} @masked goto outside`,
    `ip6 daddr . ${key} @masked6 goto outside`,
    "fib saddr type local goto mask",
    "update @selves { oifname . oifname }",
    "iifname . oifname @selves goto mask",
    "ip saddr @hosts ip saddr . ip daddr @homes goto mask",
    "ip6 saddr . ip6 daddr @homes6 goto mask",
    "accept",
  ];
}

/** Containers of overlay networks go out into the world under the host's address: Docker is told not to see to it. */
function postrouting(bridged: readonly Bridged[]): readonly string[] {
  const outward = bridged.flatMap(({ bridge }) => [
    `ip saddr ${prefixWord("ip", bridge.prefix)} oifname != ${OWN} masquerade`,
    ...(bridge.prefix6 === undefined
      ? []
      : [`ip6 saddr ${prefixWord("ip6", bridge.prefix6)} oifname != ${OWN} masquerade`]),
  ]);
  return [`${IS_LED} goto led`, ...outward];
}

/**
 * What comes over an overlay network is marked by the host it came from; from a host that the network does not have,
 * nothing is taken. Answers take the mark with them, and the routing rules of links send them back that way. The VIPs
 * of a network are for those who are on it.
 */
function arriving(): readonly string[] {
  // What is cheap to tell comes first: the first two rules are all that most packets meet, and names are dear.
  return [
    `ct direction reply ct mark ${ENTERED} iifname ${OWN} meta mark set ct mark accept`,
    "ct state != new accept",
    `iifname ${VXLANS} ct mark set iifname . ether saddr map @entries`,
    `iifname ${VXLANS} ct mark != ${ENTERED} counter drop`,
    'iifname != "lo" ip daddr vmap @owners',
    'iifname != "lo" ip6 daddr vmap @owners6',
  ];
}

/**
 * What is forwarded to, from and within overlay networks; all else is none of our business. Into a network comes only
 * what we or Docker led there by a published port, and what answers; out of it to other containers what Docker led to
 * one by a port that it publishes.
 */
function forward(): readonly string[] {
  return [
    `tcp flags & (syn | rst) == syn oifname ${VXLANS} tcp option maxseg size set rt mtu`,
    `ct state established,related iifname ${OWN} goto ours`,
    `ct state established,related oifname ${OWN} goto ours`,
    `${IS_LED} goto ours`,
    "iifname . oifname @within goto ours",
    `iifname ${OWN} oifname != ${OWN} ct status dnat goto ours`,
    `iifname ${VXLANS} counter drop`,
    `iifname "${WIREGUARD_DEVICE}" counter drop`,
    `iifname ${OWN} oifname ${OWN} counter drop`,
    `oifname ${OWN} ct status dnat accept`,
    `oifname ${OWN} counter drop`,
  ];
}

/**
 * Over an overlay network nobody reaches the host itself: what comes for it is for containers. Nor does anybody whom we
 * lead reach all of a LAN at once.
 */
function input(): readonly string[] {
  return [
    `ct state new ${IS_LED} ${TO_MANY} counter drop`,
    `iifname ${VXLANS} ct state established,related accept`,
    `iifname ${VXLANS} meta l4proto { ${ICMP}, ${ICMP6} } accept`,
    `iifname ${VXLANS} counter drop`,
  ];
}

/**
 * A replica that is gone from its network is not told of to who was led to it (ICMP host unreachable, RFC 1812 5.2.7.1;
 * address unreachable, RFC 4443 3.1): a client gives up for it, while its next SYN finds another replica as soon as
 * this one is known to be gone.
 */
function telling(): readonly string[] {
  const isOurs = `ct mark & ${markWord(MARK_MASK)} == ${markWord(MARK_OURS)}`;
  return [
    `icmp type 3 icmp code 1 ${isOurs} counter drop`,
    `icmpv6 type 1 icmpv6 code 3 ${isOurs} counter drop`,
  ];
}

/**
 * Each inner connection is an outer one of its own (RFC 7348 5: the source port is a hash), that nothing ever answers:
 * to remember these would cost every packet, and fill the table.
 */
function tunnels(bridged: readonly Bridged[]): readonly string[] {
  const vnis = bridged.flatMap(({ network }) => (network === null ? [] : vniWord(network.vni))).join(", ");
  return vnis === "" ? [] : [`udp dport ${VXLAN_PORT} ${VNI_BITS} { ${vnis} } notrack`];
}

function inverse(mask: number): string {
  return markWord(~mask >>> 0);
}
