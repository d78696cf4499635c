/**
 * Seen: what it means that a view shows something.
 */

import type { ReplicaId } from "../../../src/model/ids.ts";
import type { Member } from "../../../src/model/member.ts";
import type { Replica, View } from "../../../src/model/view.ts";

import type { Host } from "../host.ts";

/** The replica with this id, of this service; undefined when the view has none. */
export function replicaOf(view: View, service: string, id: ReplicaId): Replica | undefined {
  const key = `default/${service}`;
  let low = 0;
  let high = view.services.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((view.services[middle]?.key ?? "") < key) low = middle + 1;
    else high = middle;
  }
  const found = view.services[low];
  return found?.key === key ? found.replicas.find((replica) => replica.id === id) : undefined;
}

/** A host's node as a member of a view; undefined when it is not known there. */
export function memberOf(view: View, host: Host): Member | undefined {
  return view.members.find(({ id }) => id === host.id);
}

/** True when a view holds a host's node in this state. */
export function holds(view: View, host: Host, state: string): boolean {
  return memberOf(view, host)?.state === state;
}

/** True when a view has a host's node as alive, with all that it offers ready for traffic. */
export function hasWhole(view: View, host: Host): boolean {
  if (!holds(view, host, "alive")) return false;
  return host.endpoints.every(({ service, id, weight }) => {
    const tier = replicaOf(view, service, id)?.tier;
    return weight === 0 ? tier === "never" : tier === "eligible";
  });
}

/** True when a view knows nothing of a host's replicas any more. */
export function hasNothing(view: View, host: Host): boolean {
  return view.services.every(({ replicas }) => replicas.every(({ node }) => node !== host.id));
}
