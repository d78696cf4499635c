/**
 * Network plan: what a new overlay network is to be: its range, its slices, its number.
 *
 * What is asked for is checked against all that is known: other networks, the VIP pool, what every member's routing
 * table leads to. A range that shares addresses with any of it is refused here, where somebody reads why, since it
 * would hide a part of that host's networks. Where no range was asked for, one is taken from `overlay.pool`, from a
 * place that follows from the name on: so two managers who make two networks at the same moment seldom meet.
 *
 * Slices are /24, as many as fit; smaller ones where fewer than four would fit, or fewer than there are members.
 *
 * Pure. networks.ts has what follows from the decision.
 */

import { hash48 } from "../base/bytes.ts";
import { failed, success, type Result } from "../base/failure.ts";
import { numberToIpv4, overlaps, parsePrefix, type Prefix } from "../base/ip.ts";
import type { Charter, NetworkDecision, NetworkDefinition } from "../model/charter.ts";
import { DEFAULT_NETWORK } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { sharedPrefixes, type Member } from "../model/member.ts";
import { shortNumber, type NetworkRange } from "../model/network.ts";

import {
  decisionsFor,
  isNetworkName,
  isPrivateRange,
  networkRanges,
  SLICE_BITS_MAX,
  VNI_MAX,
  VNI_MIN,
} from "./networks.ts";

/** What somebody asks for. */
export interface NetworkWish {
  readonly name: string;
  /** A range, `10.50.0.0/16`; null for one out of the pool. */
  readonly subnet: string | null;
  readonly encrypted: boolean;
  /** True for IPv6 addresses beside the IPv4 ones. */
  readonly ipv6: boolean;
}

/** What it must fit. */
export interface NetworkGiven {
  readonly charter: Pick<Charter, "clusterId" | "networks">;
  /** What ranges are taken from. */
  readonly overlayPool: Prefix;
  /** The VIPs' own. */
  readonly pool: Prefix;
  readonly members: readonly Member[];
  /** Networks that services name and that are none of ours. */
  readonly foreign: ReadonlySet<string>;
}

/** What comes of it. */
export interface NetworkPlan {
  readonly definition: NetworkDefinition;
  /** To be merged into the charter; none when that network is there already. */
  readonly decisions: readonly NetworkDecision[];
}

/** Networks that Docker has on every host, and that of services that name none. */
const RESERVED: ReadonlySet<string> = new Set([DEFAULT_NETWORK, "host", "bridge", "none", "node"]);

/** The range of a network out of the pool, where that is at least so large. */
const RANGE_BITS = 16;
const SLICE_BITS = 24;
/** As many slices as two bits count, where smaller ones leave room for them. */
const SPARE_BITS = 2;

/** Numbers tried: of 65,535 that differ in what counts at most `networksMax` are taken. */
const NUMBERS_TRIED = 1024;

/**
 * Plans a network.
 *
 * @returns `invalid` for a name or a range that cannot be, `busy` for one that is taken: names what by whom
 */
export function planNetwork(wish: NetworkWish, given: NetworkGiven): Result<NetworkPlan> {
  const { name, encrypted, ipv6 } = wish;
  const named = checkName(wish, given);
  if (!named.ok) return named;
  const asked = wish.subnet === null ? null : parseRange(wish.subnet);
  if (asked?.ok === false) return asked;
  const known = given.charter.networks.find((decision) => decision.name === name)?.definition ?? null;
  if (known !== null) return planAgain(wish, known, asked?.value ?? null);
  const networks = networkRanges(given.charter);
  if (networks.length >= LIMITS.networksMax)
    return failed("busy", `there are ${networks.length} networks; expected at most ${LIMITS.networksMax}`);
  const range = asked === null ? freeRange(name, networks, given) : asked;
  if (!range.ok) return range;
  const conflict = asked === null ? null : conflictOf(range.value, networks, given);
  if (conflict !== null)
    return failed(
      "busy",
      `subnet ${range.value.text} overlaps ${conflict}; expected a range that nothing else uses`,
    );
  const sliceBits = sliceBitsOf(range.value, given.members);
  if (!sliceBits.ok) return sliceBits;
  const vni = freeNumber(`${given.charter.clusterId}/${name}`, networks);
  if (vni === null) return failed("busy", `no number is left for network "${name}"`);
  const definition = { range: range.value.text, sliceBits: sliceBits.value, vni, encrypted, ipv6 };
  return success({ definition, decisions: decisionsFor(given.charter.networks, name, definition) });
}

/** True for a member for which a slice has to be there. */
function isCounted({ state }: Member): boolean {
  return state !== "dead" && state !== "left";
}

function checkName({ name }: NetworkWish, { foreign }: NetworkGiven): Result<null> {
  if (!isNetworkName(name)) {
    const expected = `expected lower-case letters, digits and inner hyphens, at most ${LIMITS.labelBytes}`;
    return failed("invalid", `network name is "${name.slice(0, 80)}"; ${expected}`);
  }
  if (RESERVED.has(name))
    return failed("invalid", `network name is "${name}", which is reserved; expected another`);
  if (!foreign.has(name)) return success(null);
  const why = `services name "${name}" already, and their containers are on other networks`;
  return failed("busy", `${why}; expected another name, or those services to be gone first`);
}

function parseRange(text: string): Result<Prefix> {
  const parsed = parsePrefix(text);
  if (!parsed.ok) return failed("invalid", `subnet: ${parsed.failure.message}`);
  if (isPrivateRange(parsed.value)) return parsed;
  const expected = "expected a part of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10";
  return failed("invalid", `subnet is "${text}"; ${expected}`);
}

/** The same wish twice is harmless; another one under the same name is refused. */
function planAgain(
  { name, encrypted, ipv6 }: NetworkWish,
  definition: NetworkDefinition,
  asked: Prefix | null,
): Result<NetworkPlan> {
  const isSame =
    (asked === null || asked.text === definition.range) &&
    encrypted === definition.encrypted &&
    ipv6 === definition.ipv6;
  if (isSame) return success({ definition, decisions: [] });
  const what = [definition.range, definition.encrypted ? "encrypted" : "not encrypted"];
  const told = [...what, definition.ipv6 ? "with IPv6" : "without IPv6"].join(", ");
  return failed(
    "busy",
    `network "${name}" is there already: ${told}; expected the same, or that it is removed first`,
  );
}

function freeRange(name: string, networks: readonly NetworkRange[], given: NetworkGiven): Result<Prefix> {
  const { overlayPool } = given;
  const bits = Math.max(RANGE_BITS, overlayPool.bits);
  const count = 2 ** (bits - overlayPool.bits);
  const start = hash48(`network ${name}`) % count;
  let first: string | null = null;
  for (let tried = 0; tried < count; tried += 1) {
    const base = overlayPool.base + ((start + tried) % count) * 2 ** (32 - bits);
    const range = { text: `${numberToIpv4(base)}/${bits}`, base, size: 2 ** (32 - bits), bits };
    const conflict = isPrivateRange(range) ? conflictOf(range, networks, given) : "what is not private";
    if (conflict === null) return success(range);
    first ??= `${range.text} overlaps ${conflict}`;
  }
  const text = `overlay.pool ${overlayPool.text} has no free /${bits} left: ${first}`;
  return failed("busy", `${text}; expected another range by --subnet, or a larger overlay.pool`);
}

/** What shares addresses with a range, in words; null for nothing. */
function conflictOf(
  range: Prefix,
  networks: readonly NetworkRange[],
  { pool, members }: NetworkGiven,
): string | null {
  if (overlaps(range, pool)) return `vip.pool ${pool.text}`;
  const network = networks.find((one) => overlaps(range, one.range));
  if (network !== undefined) return `${network.range.text} of network ${network.name}`;
  for (const member of members) {
    const [prefix] = sharedPrefixes(member, range);
    if (prefix !== undefined) return `${prefix} of ${member.name}`;
  }
  return null;
}

function sliceBitsOf(range: Prefix, members: readonly Member[]): Result<number> {
  const nodes = Math.max(2, members.filter(isCounted).length);
  const needed = range.bits + Math.ceil(Math.log2(nodes));
  const most = range.bits + Math.log2(LIMITS.slicesPerNetwork);
  const roomy = Math.min(range.bits + SPARE_BITS, SLICE_BITS_MAX);
  const sliceBits = Math.min(Math.max(SLICE_BITS, needed, roomy), most);
  if (sliceBits <= SLICE_BITS_MAX && sliceBits >= needed) return success(sliceBits);
  const expected = `expected at least a /${SLICE_BITS_MAX - (needed - range.bits)}`;
  return failed("invalid", `subnet ${range.text} has no slice for each of ${nodes} hosts; ${expected}`);
}

/** A number whose low 16 bits no other network has; they are 0 for none, as subnet 0 is the VIPs'. */
function freeNumber(seed: string, networks: readonly NetworkRange[]): number | null {
  const taken = new Set([0, ...networks.map(({ vni }) => shortNumber(vni))]);
  for (let at = 0; at < NUMBERS_TRIED; at += 1) {
    const vni = VNI_MIN + (hash48(`vni ${seed}#${at}`) % (VNI_MAX - VNI_MIN + 1));
    if (!taken.has(shortNumber(vni))) return vni;
  }
  return null;
}
