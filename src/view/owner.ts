/**
 * Owner: what one member's log was found to hold, as the merger keeps it between two views.
 *
 * Records are parsed once and their text is left to the log; of a replica only what the view does not show is kept
 * beside the replica itself. Lists are sorted arrays and empty ones are shared: a member that runs nothing is a few
 * fields, since a cluster has a thousand members and a simulator a thousand such clusters.
 *
 * These objects change in place and are the merger's own; what it hands out never changes.
 *
 * Pure.
 */

import { compareText, positionIn } from "../base/sorted.ts";
import type { ReplicaId, ServiceKey } from "../model/ids.ts";
import type { Entry, OwnerLog } from "../model/log.ts";
import type { Member, MemberState } from "../model/member.ts";
import type { SubnetRecord } from "../model/record.ts";
import type { ServiceDeclaration } from "../model/service.ts";
import type { Replica } from "../model/view.ts";

import type { PublishedClaim } from "./vip.ts";

/** A replica's record at its owner: the replica of the view that it makes, and what that does not show. */
export interface Placed {
  readonly owner: Owner;
  readonly key: ServiceKey;
  /** The write that it was read from. */
  entry: Entry;
  /** The reason in its owner's words; the replica's may be this node's. */
  reason: string;
  stack: string | null;
  declaration: ServiceDeclaration;
  startedAtMs: number;
  replica: Replica;
}

/** A member and what was read of its log. */
export interface Owner {
  member: Member;
  /** The write that its node record was read from. */
  nodeEntry: Entry;
  /** What was read last and how far; null when its records do not count. */
  log: OwnerLog | null;
  version: number;
  /** Sorted by replica id. */
  placed: readonly Placed[];
  /** Sorted by service key. */
  claims: readonly PublishedClaim[];
  /** Sorted by network. */
  slices: readonly SubnetRecord[];
  /** Keys of records that make no sense, the node record's left out. */
  malformedKeys: ReadonlySet<string>;
}

const NO_PLACED: readonly Placed[] = [];
const NO_CLAIMS: readonly PublishedClaim[] = [];
const NO_SLICES: readonly SubnetRecord[] = [];
const NO_KEYS: ReadonlySet<string> = new Set();

/** A member of whose log nothing was read yet. */
export function newOwner(member: Member, nodeEntry: Entry): Owner {
  // Not by spreading: an object made of another's fields takes half as much memory again.
  return {
    member,
    nodeEntry,
    log: null,
    version: 0,
    placed: NO_PLACED,
    claims: NO_CLAIMS,
    slices: NO_SLICES,
    malformedKeys: NO_KEYS,
  };
}

/** A replica of an owner, as its record says. */
export function placedAt(
  owner: Owner,
  key: ServiceKey,
  { entry, reason, stack, declaration, startedAtMs, replica }: Omit<Placed, "owner" | "key">,
): Placed {
  return { owner, key, entry, reason, stack, declaration, startedAtMs, replica };
}

/** Takes what was read of a log as never read: its records do not count any more. */
export function forgetLog(owner: Owner): void {
  owner.log = null;
  owner.version = 0;
  owner.placed = NO_PLACED;
  owner.claims = NO_CLAIMS;
  owner.slices = NO_SLICES;
  owner.malformedKeys = NO_KEYS;
}

/** The replica of an owner that has this id. */
export function placedOf(owner: Owner, id: ReplicaId): Placed | undefined {
  const found = owner.placed[positionIn(owner.placed, ({ replica }) => compareText(replica.id, id))];
  return found?.replica.id === id ? found : undefined;
}

/** An owner's claim of an address for a service. */
export function claimOf(owner: Owner, key: ServiceKey): PublishedClaim | undefined {
  const found = owner.claims[positionIn(owner.claims, (claim) => compareText(claim.key, key))];
  return found?.key === key ? found : undefined;
}

/** An owner's claim of a slice of a network. */
export function sliceOf(owner: Owner, network: string): SubnetRecord | undefined {
  return owner.slices.find((slice) => slice.network === network);
}

/**
 * Whether a member's daemon, or what it runs, is there as far as is known. One that is away is: it restarts, and that
 * must not move a published port or a declaration to another service or replica and back.
 */
export function isPresent(state: MemberState): boolean {
  return state === "alive" || state === "suspect" || state === "away";
}

/** Whether a member's word on a service counts before that of others: not that of one who does not answer. */
export function isHeard(state: MemberState): boolean {
  return state === "alive" || state === "away";
}
