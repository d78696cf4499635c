/**
 * Peer: what this node knows of another one.
 *
 * One object a member, for life, so that links, verdicts and pings can point at it. Who may change what: membership.ts
 * the state and what leads to it, watch.ts the pulse, gossip.ts the link and where the peer is found.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import type { Acquaintance, MemberState, Standing } from "../model/member.ts";

import type { Life } from "./life.ts";
import { positionOf } from "./ring.ts";

/** How a member that this node watches answers. */
export interface Pulse {
  sequence: number;
  sentAtMs: number;
  /** A ping is out that may still be answered in time. */
  awaiting: boolean;
  /** Pings in a row that were not. */
  misses: number;
  /** The last sign of life over a link. */
  heardAtMs: number;
  /** Smoothed round trip; null before the first. */
  roundTripMs: number | null;
  /** Since when there is no link though there should be one; null while there is, or need not be. */
  lostAtMs: number | null;
  /** Others are being asked whether they reach it. */
  inquiry: Inquiry | null;
  askAgainAtMs: number;
  /** It is to be pinged with the next tick, whatever was heard of it. */
  pingsNow: boolean;
  /** It is to be told with the next ping that it is suspected. */
  warns: boolean;
}

/** Others, asked whether they reach a member. */
export interface Inquiry {
  readonly sequence: number;
  readonly deadlineMs: number;
  /** Who has not answered yet. */
  readonly open: Set<NodeId>;
}

/** Why a member is suspected. */
export interface Suspicion {
  readonly sinceMs: number;
  /** Members that were there when it began, this node included. */
  readonly members: number;
  /** Members that do not reach it, nor know of one who does. */
  readonly accusers: Set<NodeId>;
  /** Members whom its host told that nobody listens. */
  readonly refusers: Set<NodeId>;
  /** This node has told its own accusation a second time. */
  isRepeated: boolean;
}

/** A node other than this one. */
export interface Peer {
  readonly id: NodeId;
  /** Its place on the id ring. */
  readonly position: number;
  name: string;
  /** Where it is dialled; an empty host while that is not known. */
  host: string;
  port: number;
  /** Its newest life that is known, of its own word or from accusations. */
  incarnation: number;
  refutation: number;
  said: Life["said"];
  /** The log that is held of it ends with a farewell for good. A later life may have come and gone without a word. */
  logSaysLeft: boolean;
  /** For `away`: until when it is waited for. */
  awayUntilMs: number;
  state: MemberState;
  sinceMs: number;
  suspicion: Suspicion | null;
  settlesAtMs: number | null;
  /** As in Member. */
  via: NodeId | null;
  link: number | null;
  /** Of the run that said hello last. */
  nonce: number;
  /** Nonces of its earlier runs, the newest last. */
  pastNonces: readonly number[];
  pulse: Pulse | null;
  /** Version of this node's own log that the peer has applied, of incarnation `appliedIncarnation`. */
  appliedVersion: number;
  appliedIncarnation: number;
}

/** A member of whom only the id is known. It counts as alive on the word of whoever told of it. */
export function strangerOf(id: NodeId, nowMs: number): Peer {
  return {
    id,
    position: positionOf(id),
    name: id,
    host: "",
    port: 0,
    incarnation: 0,
    refutation: 0,
    said: "alive",
    logSaysLeft: false,
    awayUntilMs: 0,
    state: "alive",
    sinceMs: nowMs,
    suspicion: null,
    settlesAtMs: null,
    via: null,
    link: null,
    nonce: 0,
    pastNonces: [],
    pulse: null,
    appliedVersion: 0,
    appliedIncarnation: 0,
  };
}

/** A point in a member's lives. */
export interface Moment {
  readonly incarnation: number;
  readonly refutation: number;
}

/** True when one moment of a member is before another one. */
export function isBefore(one: Moment, other: Moment): boolean {
  return (
    one.incarnation < other.incarnation ||
    (one.incarnation === other.incarnation && one.refutation < other.refutation)
  );
}

/** True when a peer is where somebody says he is. */
export function isAt(peer: Peer, { host, port }: Pick<Acquaintance, "host" | "port">): boolean {
  return peer.host === host && peer.port === port;
}

/** What the view shows of a peer. */
export function standingOf({ id, state, sinceMs, pulse, via, settlesAtMs }: Peer): Standing {
  const rttMs = pulse?.roundTripMs ?? null;
  return { id, state, sinceMs, rttMs, via, settlesAtMs };
}

/** True while a member counts: it is there, or only just out of sight. */
export function isPresent({ state }: Pick<Peer, "state">): boolean {
  return state === "alive" || state === "suspect" || state === "away";
}
