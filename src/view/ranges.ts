/**
 * Ranges: the networks with a range of their own, and whether ranges are used twice, brought up to date where needed.
 *
 * Both follow from facts that change seldom: claims of slices, members' prefixes and names, whether they are there. A
 * thousand members publish some ten thousand prefixes, so each member's are held against the pool and the networks
 * when they change, and only those that share addresses with one are looked at again.
 *
 * Pure: the memory of one node. subnet.ts settles the slices, overlap.ts and soundness.ts say what overlaps.
 */

import type { Prefix } from "../base/ip.ts";
import { compareText } from "../base/sorted.ts";
import type { Problem } from "../model/endpoint.ts";
import type { NodeId } from "../model/ids.ts";
import { sharedPrefixes, type Member } from "../model/member.ts";
import type { Network, NetworkRange } from "../model/network.ts";

import type { Owner } from "./owner.ts";
import { poolOverlaps } from "./overlap.ts";
import { networkFaults } from "./soundness.ts";
import { planSlices, type SliceAssignment, type Slices } from "./subnet.ts";

/** What the ranges of a cluster are. */
export interface RangesGiven {
  readonly pool: Prefix;
  /** In the order in which they were made: of two that clash the first counts. */
  readonly networks: readonly NetworkRange[];
}

const NO_SLICES: Slices = { assignmentByNetwork: new Map(), networks: [] };

/** Remembers what concerns ranges of each member. */
export class Ranges {
  /** Members with a prefix that shares addresses with the pool or a network. */
  readonly #overlapping = new Map<NodeId, Member>();
  #given: RangesGiven;
  #slices: Slices = NO_SLICES;
  #problems: readonly Problem[] = [];
  #slicesAreDue = true;
  #networksAreDue = true;
  #problemsAreDue = true;

  constructor(given: RangesGiven) {
    this.#given = given;
  }

  /** By network; the same object while the claims of slices, and which networks are sound, are the same. */
  get assignmentByNetwork(): ReadonlyMap<string, SliceAssignment> {
    return this.#slices.assignmentByNetwork;
  }

  /** Sorted by name; the same object while nothing in it changed. */
  get networks(): readonly Network[] {
    return this.#slices.networks;
  }

  /** What overlaps; the same object while nothing in it changed. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Claims of slices changed. */
  touchSlices(): void {
    this.#slicesAreDue = true;
  }

  /** A member came, changed or is gone: null for what is not there. */
  setMember(before: Member | null, after: Member | null): void {
    const isPlaceSame = before?.state === after?.state && before?.name === after?.name;
    if (!isPlaceSame) this.#networksAreDue = true;
    if (isPlaceSame && before?.prefixes === after?.prefixes) return;
    if (after !== null && this.#overlaps(after)) this.#overlapping.set(after.id, after);
    else if (!this.#overlapping.delete(before?.id ?? after?.id ?? "")) return;
    this.#problemsAreDue = true;
    this.#networksAreDue = true;
  }

  /** Brings everything up to date. `ownerById`: all members, with what they claim. */
  settle(given: RangesGiven, ownerById: ReadonlyMap<NodeId, Owner>): void {
    if (!isSameGiven(given, this.#given)) this.#reset(given, ownerById);
    if (this.#slicesAreDue || this.#networksAreDue) this.#plan(ownerById);
    if (!this.#problemsAreDue) return;
    this.#problemsAreDue = false;
    this.#problems = kept(this.#problems, poolOverlaps(given.pool, this.#overlappers(), given.networks));
  }

  #overlappers(): readonly Member[] {
    return [...this.#overlapping.values()].sort(compareMembers);
  }

  #reset(given: RangesGiven, ownerById: ReadonlyMap<NodeId, Owner>): void {
    this.#slicesAreDue ||= !isSameNetworks(given.networks, this.#given.networks);
    this.#given = given;
    this.#overlapping.clear();
    for (const { member } of ownerById.values())
      if (this.#overlaps(member)) this.#overlapping.set(member.id, member);
    this.#problemsAreDue = true;
    this.#networksAreDue = true;
  }

  #plan(ownerById: ReadonlyMap<NodeId, Owner>): void {
    const areClaimsSame = !this.#slicesAreDue;
    this.#slicesAreDue = false;
    this.#networksAreDue = false;
    const { networks: ranges, pool } = this.#given;
    if (ranges.length === 0) {
      this.#slices = NO_SLICES;
      return;
    }
    const before = this.#slices;
    const counted = Array.from(ownerById.values()).filter(({ member }) => member.state !== "left");
    const claimed = counted.map(({ member, slices }) => [member, slices] as const);
    const faults = networkFaults(ranges, { pool, members: this.#overlappers(), claimed });
    const planned = planSlices(ranges, claimed, faults);
    const isSame = areClaimsSame && isSameSoundness(before, planned);
    const { assignmentByNetwork } = isSame ? before : planned;
    this.#slices = { assignmentByNetwork, networks: kept(before.networks, planned.networks) };
  }

  #overlaps(member: Member): boolean {
    if (member.prefixes.length === 0) return false;
    const { pool, networks } = this.#given;
    return [pool, ...networks.map(({ range }) => range)].some(
      (range) => sharedPrefixes(member, range).length > 0,
    );
  }
}

function isSameSoundness(before: Slices, planned: Slices): boolean {
  return Array.from(planned.assignmentByNetwork).every(([name, { isSound }]) => {
    return before.assignmentByNetwork.get(name)?.isSound === isSound;
  });
}

/** The last list where the next one says the same. */
function kept<T>(last: readonly T[], next: readonly T[]): readonly T[] {
  return JSON.stringify(last) === JSON.stringify(next) ? last : next;
}

/** Members as the view sorts them: by name, then id. */
export function compareMembers(one: Member, other: Member): number {
  return compareText(one.name, other.name) || compareText(one.id, other.id);
}

function isSameGiven(one: RangesGiven, other: RangesGiven): boolean {
  if (one === other) return true;
  return one.pool.text === other.pool.text && isSameNetworks(one.networks, other.networks);
}

function isSameNetworks(one: readonly NetworkRange[], other: readonly NetworkRange[]): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  return one.every((network, index) => JSON.stringify(network) === JSON.stringify(other[index]));
}
