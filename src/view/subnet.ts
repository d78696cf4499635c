/**
 * Subnet: which slice of a network's range a node has, agreed without a leader.
 *
 * As for VIPs: a node's candidates are hashes of its id and the network's name, it claims one in its own log with a
 * Lamport order, and of two nodes that claim one slice the lower (order, node id) has it; the other moves to its next
 * candidate. A node has one claim a network, which nobody else can hold for it: so a slice lives as long as its owner's
 * record, and a dead owner's slice stays its own until the node is forgotten. What it ran there may still be running.
 *
 * Pure. merge.ts shows the slices, claims.ts makes this node's claims.
 */

import { hash48 } from "../base/bytes.ts";
import { numberToIpv4 } from "../base/ip.ts";
import { slicePrefix6 } from "../base/ip6.ts";
import { compareText } from "../base/sorted.ts";
import type { NodeId } from "../model/ids.ts";
import type { KeptSlice } from "../model/kept.ts";
import { LIMITS } from "../model/limits.ts";
import type { Member } from "../model/member.ts";
import type { Network, NetworkRange, Slice } from "../model/network.ts";
import { ORDER_MAX, type SubnetRecord } from "../model/record.ts";

import { chooseFree } from "./free.ts";
import { isSoundWith, NO_FAULTS, type Faults } from "./soundness.ts";

/** A claim of a slice, and whose it is. */
export interface SliceClaim extends KeptSlice {
  readonly node: NodeId;
  /** Its claimant knows that every alive member has heard of it. */
  readonly settled: boolean;
}

/** The outcome for one network. */
export interface SliceAssignment {
  readonly range: NetworkRange;
  readonly claimByNode: ReadonlyMap<NodeId, SliceClaim>;
  readonly nodeByIndex: ReadonlyMap<number, NodeId>;
  /** Nodes without a slice though they claimed one: by whom it is held; null where there is no such slice. */
  readonly lostByNode: ReadonlyMap<NodeId, { readonly index: number; readonly holder: NodeId | null }>;
  /** The highest order of all claims; 0 for none. */
  readonly orderMax: number;
  /** False where no more slices are to be claimed: the network must not be made real. */
  readonly isSound: boolean;
}

/** How many slices a network has; 0 for one that is not cut as NetworkRange tells. */
export function sliceCount({ range, sliceBits }: NetworkRange): number {
  const isCut = Number.isInteger(sliceBits) && sliceBits >= range.bits && sliceBits <= 30;
  const count = isCut ? 2 ** (sliceBits - range.bits) : 0;
  return count <= LIMITS.slicesPerNetwork ? count : 0;
}

/** The addresses of a slice: `10.160.3.0/24`. */
export function slicePrefix({ range, sliceBits }: NetworkRange, index: number): string {
  return `${numberToIpv4(range.base + index * 2 ** (32 - sliceBits))}/${sliceBits}`;
}

/** The name of a slice in quarantine. */
export function sliceName(network: string, index: number): string {
  return `${network}/${index}`;
}

/** Settles the claims of one network; equal claims in any order give equal outcomes. */
export function assignSlices(
  claims: Iterable<SliceClaim>,
  range: NetworkRange,
  faults: Faults = NO_FAULTS,
): SliceAssignment {
  const count = sliceCount(range);
  const claimByNode = new Map<NodeId, SliceClaim>();
  const nodeByIndex = new Map<number, NodeId>();
  const lostByNode = new Map<NodeId, { readonly index: number; readonly holder: NodeId | null }>();
  let orderMax = 0;
  for (const claim of [...claims].sort(compareClaims)) {
    const { node, index, order } = claim;
    orderMax = Math.max(orderMax, order);
    const holder = nodeByIndex.get(index) ?? null;
    if (holder === null && index < count) {
      nodeByIndex.set(index, node);
      claimByNode.set(node, claim);
    } else lostByNode.set(node, { index, holder });
  }
  const isSound = isSoundWith(faults, { hasSlices: claimByNode.size > 0 });
  return { range, claimByNode, nodeByIndex, lostByNode, orderMax, isSound };
}

/**
 * The slice that a node should claim.
 *
 * @param own  what else it knows: its claim of an earlier run, used where nobody holds that slice, and which slices
 * were let go lately
 * @returns null when all slices are held, or the network is not sound and the node has none yet
 */
export function claimSlice(
  node: NodeId,
  assignment: SliceAssignment,
  own: {
    readonly remembered: KeptSlice | undefined;
    readonly releasedAtMs: (index: number) => number | null;
  },
): KeptSlice | null {
  const { range, claimByNode, nodeByIndex, lostByNode, orderMax, isSound } = assignment;
  const network = range.name;
  const size = sliceCount(range);
  const granted = claimByNode.get(node);
  if (granted !== undefined) return { network, index: granted.index, order: granted.order };
  if (!isSound) return null;
  const isFree = (index: number): boolean => index < size && !nodeByIndex.has(index);
  const kept = lostByNode.has(node) ? undefined : own.remembered;
  if (kept !== undefined && isFree(kept.index) && own.releasedAtMs(kept.index) === null) return kept;
  const index = nodeByIndex.size >= size ? null : freeSlice(node, assignment, own.releasedAtMs);
  return index === null ? null : { network, index, order: Math.min(orderMax + 1, ORDER_MAX) };
}

function freeSlice(
  node: NodeId,
  { range, nodeByIndex }: SliceAssignment,
  releasedAtMs: (index: number) => number | null,
): number | null {
  const size = sliceCount(range);
  return chooseFree({
    size,
    candidate: (index) => hash48(`${node}/${range.name}#${index}`) % size,
    isTaken: (index) => nodeByIndex.has(index),
    releasedAtMs,
  });
}

/** Slices of every network: what members claim, settled, and as the view shows it. */
export interface Slices {
  readonly assignmentByNetwork: ReadonlyMap<string, SliceAssignment>;
  readonly networks: readonly Network[];
}

/**
 * Settles the slices of all networks.
 *
 * @param ranges  the networks there are; claims of others are kept out
 * @param claimed  each member that has not left, with the subnet records of its log
 * @param faultsByNetwork  what is wrong with ranges; nothing for one that is not in it
 */
export function planSlices(
  ranges: readonly NetworkRange[],
  claimed: Iterable<readonly [Member, readonly SubnetRecord[]]>,
  faultsByNetwork: ReadonlyMap<string, Faults> = new Map(),
): Slices {
  const claimsByNetwork = new Map<string, SliceClaim[]>(ranges.map(({ name }) => [name, []]));
  const memberById = new Map<NodeId, Member>();
  for (const [member, records] of claimed) {
    memberById.set(member.id, member);
    for (const { network, index, order, settled } of records)
      claimsByNetwork.get(network)?.push({ network, node: member.id, index, order, settled });
  }
  const assignmentByNetwork = new Map<string, SliceAssignment>();
  const networks: Network[] = [];
  for (const range of ranges) {
    const faults = faultsByNetwork.get(range.name) ?? NO_FAULTS;
    const assignment = assignSlices(claimsByNetwork.get(range.name) ?? [], range, faults);
    assignmentByNetwork.set(range.name, assignment);
    networks.push(shown(assignment, faults, memberById));
  }
  return { assignmentByNetwork, networks: networks.sort((one, other) => compareText(one.name, other.name)) };
}

function shown(
  assignment: SliceAssignment,
  faults: Faults,
  memberById: ReadonlyMap<NodeId, Member>,
): Network {
  const { range, claimByNode, lostByNode, nodeByIndex, isSound } = assignment;
  const nameOf = (id: NodeId): string => memberById.get(id)?.name ?? id;
  const slices = Array.from(claimByNode.values())
    .sort((one, other) => one.index - other.index)
    .map(({ node, index, settled }): Slice => {
      const prefix6 = range.range6 === undefined ? null : { prefix6: slicePrefix6(range.range6, index) };
      const prefix = slicePrefix(range, index);
      return { node, nodeName: nameOf(node), index, prefix, ...prefix6, tentative: !settled };
    });
  const problems = Array.from(lostByNode, ([node, { index, holder }]) => {
    if (holder === null) return `slice ${index} of ${nameOf(node)} does not exist; ${cutText(range)}`;
    const prefix = slicePrefix(range, index);
    const loser = nameOf(node);
    return `slice ${prefix} belongs to ${nameOf(holder)}, which claimed it first; ${loser} has to move`;
  });
  const without = Array.from(memberById.values()).filter(({ id, state }) => {
    return state === "alive" && !claimByNode.has(id);
  });
  if (without.length > 0 && nodeByIndex.size >= sliceCount(range)) problems.push(usedUp(range, without));
  problems.push(...faults.clashes, ...faults.overlaps);
  const { range: prefix, ...told } = range;
  return { ...told, range: prefix.text, slices, problems: problems.sort(), isSound };
}

function usedUp(range: NetworkRange, without: readonly Member[]): string {
  const [first = "", ...rest] = without.map(({ name }) => name).sort();
  const hosts = rest.length === 0 ? first : `${first} and ${rest.length} more`;
  const remedy = "make the network anew with a larger range, or remove nodes that are gone for good";
  return `${range.range.text} has no slice left for ${hosts}: ${cutText(range)}; ${remedy}`;
}

function cutText(range: NetworkRange): string {
  return `it has ${sliceCount(range)} slices of /${range.sliceBits}`;
}

function compareClaims(one: SliceClaim, other: SliceClaim): number {
  return one.order - other.order || compareText(one.node, other.node) || one.index - other.index;
}
