/**
 * Replica: what one record and the verdict on its owner make of one copy.
 *
 * The same object comes out as long as it says the same, since consumers compare by ===. The moment of the last change
 * of tier outlives everything else about a replica: it is what people ask for.
 *
 * Pure.
 */

import { isSameDelivery } from "../model/declared.ts";
import type { Member } from "../model/member.ts";
import type { Replica } from "../model/view.ts";

import { rule } from "./tier.ts";

/** What an owner says of a copy. */
export type Copy = Pick<
  Replica,
  | "id"
  | "name"
  | "slot"
  | "address"
  | "address6"
  | "reach"
  | "ports"
  | "weight"
  | "delivery"
  | "state"
  | "drainApplied"
  | "drainPending"
>;

/** What a replica is made of beside the copy itself. */
export interface Circumstances {
  /** Why the copy is in its state, in its owner's words. */
  readonly reason: string;
  readonly owner: Member;
  /** Name of the node whose view this is. */
  readonly observer: string;
  /** The replica as it was shown last; null for a new one. */
  readonly last: Replica | null;
  readonly nowMs: number;
}

/** The replica as it is to be shown: the last one when nothing about it has changed. */
export function replicaOf(copy: Copy, { reason, owner, observer, last, nowMs }: Circumstances): Replica {
  const { id, name, slot, address, address6, reach, ports, weight, delivery, state } = copy;
  const { drainApplied, drainPending } = copy;
  const ruling = rule({ state, reason, weight, reach }, owner, observer);
  // Every field by itself: an object made by spreading takes half as much memory again.
  const replica: Replica = {
    id,
    name,
    slot,
    node: owner.id,
    nodeName: owner.name,
    local: owner.self,
    address,
    ...(address6 === undefined ? null : { address6 }),
    reach,
    ports,
    weight,
    delivery,
    state,
    drainApplied,
    drainPending,
    tier: ruling.tier,
    keepsConnections: ruling.keepsConnections,
    reason: ruling.reason,
    saidBy: ruling.saidBy,
    sinceMs: last !== null && last.tier === ruling.tier ? last.sinceMs : nowMs,
  };
  return last !== null && isSame(last, replica) ? last : replica;
}

function isSame(one: Replica, other: Replica): boolean {
  return (
    one.name === other.name &&
    one.slot === other.slot &&
    one.nodeName === other.nodeName &&
    one.address === other.address &&
    one.address6 === other.address6 &&
    one.reach === other.reach &&
    one.ports === other.ports &&
    one.weight === other.weight &&
    (one.delivery === other.delivery || isSameDelivery(one.delivery, other.delivery)) &&
    one.state === other.state &&
    one.drainApplied === other.drainApplied &&
    (one.drainPending === other.drainPending || one.drainPending.join() === other.drainPending.join()) &&
    one.tier === other.tier &&
    one.keepsConnections === other.keepsConnections &&
    one.reason === other.reason &&
    one.saidBy === other.saidBy
  );
}
