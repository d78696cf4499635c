/**
 * Relay: by way of whom a stream to a replica on another host goes.
 *
 * Straight to the daemon of that host, unless this node's own link to it is broken while another member has one
 * (`via`): then through that member. The same view answers for others: a node passes on what it can reach itself, and
 * nothing else, so no stream is sent to somebody who would have to send it back.
 *
 * Pure.
 */

import type { HostPort } from "../base/ip.ts";
import type { OwnerWay, StreamOwner, StreamPeer } from "../mesh/stream.ts";
import type { NodeId } from "../model/ids.ts";
import type { Member } from "../model/member.ts";

/** The mesh listener to ask for a stream; `owner` is set when it is not that of the replica's own host. */
export interface StreamRoute {
  readonly peer: StreamPeer;
  readonly owner?: StreamOwner;
}

/** How a stream to a replica of `member` begins. */
export function routeTo(member: Member, members: readonly Member[]): StreamRoute {
  const via = member.via === null ? undefined : members.find(({ id }) => id === member.via);
  // A relay that is not there any more is worse than a link that may have healed.
  if (via === undefined || via.self || !isReached(via)) return { peer: peerOf(member) };
  return { peer: peerOf(via), owner: { node: member.id, hop: 0 } };
}

/** How this node itself reaches a member, for a stream that it is to pass on. */
export function wayTo(node: NodeId, members: readonly Member[]): OwnerWay {
  const member = members.find(({ id }) => id === node);
  if (member === undefined || member.state === "left") return { kind: "unknown" };
  if (member.self) return { kind: "self" };
  return isReached(member) ? { kind: "peer", address: addressOf(member) } : { kind: "unlinked" };
}

/** Where a member listens, whether this node reaches it or not; null for one that is gone or has not said. */
export function addressIn(node: NodeId, members: readonly Member[]): HostPort | null {
  const member = members.find(({ id }) => id === node);
  return member === undefined || member.state === "left" || member.host === "" ? null : addressOf(member);
}

function isReached({ state, via, host }: Member): boolean {
  return state === "alive" && via === null && host !== "";
}

/** Who must answer there: at an address that changed hands, another member would. */
function peerOf(member: Member): StreamPeer {
  return { id: member.id, address: addressOf(member) };
}

function addressOf({ host, port }: Member): HostPort {
  return { host, port };
}
