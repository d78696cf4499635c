/**
 * Greeting: what a hello tells, before anything else of its link is believed.
 *
 * Is it a peer at all, or this node's own voice, or a second node with its id? Which of two links to one peer stays?
 * Does the peer remember more of this node than it knows itself? Each question has one answer that both ends of the
 * link reach alike.
 *
 * Pure. gossip.ts acts on the answers.
 */

import type { NodeId } from "../model/ids.ts";

import { WIRE_VERSION, type Digest, type Hello } from "./message.ts";

/** Who a hello comes from. */
export type Greeter =
  | { readonly kind: "peer" }
  | { readonly kind: "myself" }
  /** Not to be talked to, and why; `sharesId` when it claims to be this node. */
  | { readonly kind: "refused"; readonly reason: string; readonly sharesId: boolean };

/**
 * The highest incarnation to be believed now. An owner raises its own by one a start, so an honest one is far below; a
 * forged one near the end of numbers would shut the owner out for ever, since it could not be outranked. The bound
 * moves on with time, so the owner of a log forged right below it is above it a moment later. A clock that is off by
 * less than a day does no harm.
 */
export function incarnationMax(nowMs: number): number {
  return Math.floor(nowMs / 1000) + 86_400;
}

/** Tells who a hello comes from. */
export function greeterOf(
  hello: Hello,
  self: { readonly id: NodeId; readonly nonce: number },
  remote: string,
): Greeter {
  if (hello.wire !== WIRE_VERSION) {
    const reason = `${hello.name} speaks wire version ${hello.wire}; expected ${WIRE_VERSION}`;
    return { kind: "refused", reason, sharesId: false };
  }
  if (hello.id !== self.id) return { kind: "peer" };
  if (hello.nonce === self.nonce) return { kind: "myself" };
  const expected = "expected one node an id: give it a data dir of its own";
  const reason = `${hello.name} at ${remote} uses this node's id ${self.id}; ${expected}`;
  return { kind: "refused", reason, sharesId: true };
}

/** Two links to one peer: the one that is there, and the one on which the hello came. */
export interface TwoLinks {
  readonly selfId: NodeId;
  readonly peerId: NodeId;
  readonly oldDialledHere: boolean;
  readonly newDialledHere: boolean;
  /** The peer has started anew since the old link: that one leads nowhere. */
  readonly peerRestarted: boolean;
  /** How long the old link has been open. */
  readonly oldAgeMs: number;
}

/** Dials that cross are this close in time: a dial is given up sooner. */
const CROSSING_MS = 2000;

/**
 * Whether the new link stays: of two from one side the newer, else the one dialled by the smaller id. An old link that
 * has been open for longer than dials can cross gives way: nobody dials a peer that he has a link to, so he lost it.
 */
export function keepsNewLink(two: TwoLinks): boolean {
  if (two.peerRestarted || two.oldDialledHere === two.newDialledHere) return true;
  if (two.oldAgeMs > CROSSING_MS) return true;
  return two.newDialledHere === two.selfId < two.peerId;
}

/**
 * Whether the link that does not stay is closed at once. Not when dials crossed: the other side may not have heard
 * hello on the one that stays, and would see its only link go down; so the loser is kept as a spare for a moment.
 */
export function closesAtOnce(two: TwoLinks): boolean {
  return two.peerRestarted || two.oldAgeMs > CROSSING_MS;
}

/**
 * True when a peer says that it remembers more of this node than it knows itself: then its data dir is an old copy. So
 * anybody may say; what counts is a log with this node's own seal.
 */
export function claimsMore(
  digest: Digest,
  own: {
    readonly id: NodeId;
    readonly incarnation: number;
    readonly version: number;
    readonly incarnationMax: number;
  },
): boolean {
  const remembered = digest.find(({ owner }) => owner === own.id);
  if (remembered === undefined || remembered.incarnation < own.incarnation) return false;
  if (remembered.incarnation > own.incarnationMax) return false;
  return remembered.incarnation > own.incarnation || remembered.version > own.version;
}
