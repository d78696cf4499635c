/**
 * Soundness: may a network be made real, or are its addresses or its number somebody else's?
 *
 * Managers refuse such networks when they are made, but two may be made at the same moment, and a host may get a
 * network of its own at any time. Of two networks that clash the one made first counts, on every host; the other is
 * never made real. Where a host's own networks overlap it, a network in use goes on, since services that work must not
 * stop because of it; one that nobody has a slice of yet is not begun.
 *
 * Pure. ranges.ts brings it up to date.
 */

import { ipv4ToNumber, overlaps, type Prefix } from "../base/ip.ts";
import { sharedPrefixes, type Member } from "../model/member.ts";
import { shortNumber, type NetworkRange } from "../model/network.ts";
import type { SubnetRecord } from "../model/record.ts";

import { listed } from "./overlap.ts";

/** What is wrong with one network, in words. */
export interface Faults {
  /** With networks made before: it must never be made real. */
  readonly clashes: readonly string[];
  /** With what hosts have, and the VIP pool. */
  readonly overlaps: readonly string[];
}

/** A network with which all is well. */
export const NO_FAULTS: Faults = { clashes: [], overlaps: [] };

/** Hosts told of one network. */
const MEMBERS_TOLD = 10;

/** Whether a network with these faults is made real. @param use  `hasSlices`: somebody holds a slice of it */
export function isSoundWith(faults: Faults, use: { readonly hasSlices: boolean }): boolean {
  return faults.clashes.length === 0 && (faults.overlaps.length === 0 || use.hasSlices);
}

/**
 * Looks for what is wrong with each network.
 *
 * @param ranges  in the order in which they were made
 * @param around  `members`: at least those whose prefixes share addresses with a network, sorted; `claimed`: whose
 * slices there are: those are in their hosts' routing tables themselves
 * @returns only networks with faults
 */
export function networkFaults(
  ranges: readonly NetworkRange[],
  around: {
    readonly pool: Prefix;
    readonly members: readonly Member[];
    readonly claimed: readonly (readonly [Member, readonly SubnetRecord[]])[];
  },
): ReadonlyMap<string, Faults> {
  const faultsByNetwork = new Map<string, Faults>();
  const standing: NetworkRange[] = [];
  for (const network of ranges) {
    const clashes = standing.flatMap((earlier) => clashText(network, earlier));
    // Those with one that has no right to be itself do not count.
    if (clashes.length === 0) standing.push(network);
    const overlapping = overlapTexts(network, around);
    if (clashes.length + overlapping.length > 0)
      faultsByNetwork.set(network.name, { clashes, overlaps: overlapping });
  }
  return faultsByNetwork;
}

function clashText({ range, vni }: NetworkRange, earlier: NetworkRange): readonly string[] {
  const first = `network ${earlier.name}, which was made before; remove it and make it anew`;
  if (overlaps(range, earlier.range)) return [`${range.text} overlaps ${earlier.range.text} of ${first}`];
  return shortNumber(vni) === shortNumber(earlier.vni) ? [`number ${vni} is that of ${first}`] : [];
}

function overlapTexts(
  { name, range, sliceBits }: NetworkRange,
  { pool, members, claimed }: Parameters<typeof networkFaults>[1],
): readonly string[] {
  const texts = overlaps(range, pool) ? [`${range.text} overlaps vip.pool ${pool.text}`] : [];
  const heldIndexes = new Set(
    claimed.flatMap(([, records]) => {
      return records.filter(({ network }) => network === name).map(({ index }) => index);
    }),
  );
  const isSlice = (text: string): boolean => heldIndexes.has(sliceIndex(text, range, sliceBits));
  let untold = 0;
  for (const member of members) {
    const shared = sharedPrefixes(member, range).filter((text) => !isSlice(text));
    if (shared.length === 0) continue;
    if (texts.length < MEMBERS_TOLD) texts.push(`${range.text} overlaps ${listed(shared)} of ${member.name}`);
    else untold += 1;
  }
  return untold === 0 ? texts : [...texts, `${range.text} overlaps ranges of ${untold} more hosts`];
}

/** Which slice of a range a prefix is; -1 for none. */
function sliceIndex(text: string, range: Prefix, sliceBits: number): number {
  const [address = "", bits] = text.split("/");
  if (Number(bits) !== sliceBits) return -1;
  const offset = ipv4ToNumber(address) - range.base;
  return offset < 0 ? -1 : Math.floor(offset / 2 ** (32 - sliceBits));
}
