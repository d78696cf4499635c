/**
 * Message: what daemons say to each other over a link.
 *
 * Types only; codec.ts gives them their form on the wire. Two ideas run through them. A head says how far a log is
 * held, and a list of heads (a digest) is all a peer needs to send what is lacking. And what is broadcast carries
 * `until`, the end of the part of the id ring that its receiver serves: so each member gets one copy, over a tree that
 * needs no set-up (ring.ts).
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";

/** Version of this wire format; peers of another are refused by name. */
export const WIRE_VERSION = 2;

/** How many parts a digest is compared in; an owner's part is the same on every node. */
export const DIGEST_PARTS = 64;

/** In a head: the owner is forgotten. Above every refutation there is. */
export const FORGOTTEN_AT = 2 ** 31;

/** How far one owner's log is held, and whether its owner counts as dead. */
export interface Head {
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly version: number;
  /**
   * The refutation of this incarnation at which the owner was given up; null while it counts as present, and
   * FORGOTTEN_AT when nothing but the head is remembered.
   */
  readonly deadAt: number | null;
}

/** What a node holds, a head an owner. */
export type Digest = readonly Head[];

/** Which owners a digest speaks of: all, those of some parts (0 to DIGEST_PARTS - 1), or just those it lists. */
export type Scope =
  | { readonly kind: "all" }
  | { readonly kind: "parts"; readonly parts: readonly number[] }
  | { readonly kind: "listed" };

/**
 * A part of one owner's log: all its writes with a version in (from, to], ascending. `floor` as in OwnerLog. With
 * `from` 0 it fits a holder of nothing, of an older incarnation, or of less than the floor, and starts the log anew.
 *
 * Its owner's seal covers the log as it is at `to`. Without one the part is worth nothing by itself: more parts of this
 * log follow, and the seal comes with the last.
 */
export interface Delta {
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly floor: number;
  readonly from: number;
  readonly to: number;
  readonly writes: readonly Write[];
  /** SEAL_BYTES long; null when more parts follow. */
  readonly seal: Uint8Array | null;
}

/** One write of a delta; a null body deletes the key. */
export interface Write {
  readonly key: string;
  readonly version: number;
  readonly body: string | null;
}

/**
 * Who broadcasts to a part of the ring: the receiver passes the message on to all members between itself and this
 * position, exclusive. Null when it is for the receiver alone.
 */
export type Until = number | null;

/**
 * What a member thinks of another life: `suspect`, not reached by it nor by those it asked; `refused`, its host answers
 * that nobody listens; `dead`, given up.
 */
export interface Rumor {
  readonly kind: "suspect" | "refused" | "dead";
  readonly subject: NodeId;
  readonly incarnation: number;
  readonly refutation: number;
  /** Who says so. */
  readonly by: NodeId;
}

/** A rumor as it travels: with the signature of who says so, SEAL_BYTES long (words.ts). */
export interface SignedRumor extends Rumor {
  readonly signature: Uint8Array;
}

/** One who has applied a log; the signature (words.ts) is null where he says so over a link of his own. */
export interface Reporter {
  readonly id: NodeId;
  readonly signature: Uint8Array | null;
}

/** That these members have applied an owner's log up to a version. */
export interface AppliedReport {
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly version: number;
  readonly by: readonly Reporter[];
}

/** Asks the owner of a replica, or of all that a node runs (EVERY_REPLICA), to take it out, or back in. */
export interface DrainAsk {
  readonly owner: NodeId;
  /** The owner's log as the asker holds it: an ask that was kept back is told by it from a new one. */
  readonly incarnation: number;
  readonly version: number;
  readonly replica: string;
  readonly draining: boolean;
  readonly asker: NodeId;
  /** As in Reporter. */
  readonly signature: Uint8Array | null;
}

/** First on every link, from both sides: who I am, what I know of you, what I hold. */
export interface Hello {
  readonly kind: "hello";
  readonly wire: number;
  readonly id: NodeId;
  readonly name: string;
  readonly incarnation: number;
  /** Drawn at each start: tells a link to myself from a second node with my id. */
  readonly nonce: number;
  /** Where my mesh listener can be dialled. */
  readonly host: string;
  readonly port: number;
  /** Whether I believe my own picture: who does not is no measure for others. */
  readonly complete: boolean;
  /** Whether you are to send what I lack; not while another peer is sending me all there is. */
  readonly wanted: boolean;
  readonly digest: Digest;
}

export type Message =
  | Hello
  /** Writes; `acknowledge` asks for an `applied` report to their owner. */
  | {
      readonly kind: "delta";
      readonly deltas: readonly Delta[];
      readonly until: Until;
      readonly acknowledge: boolean;
    }
  /** I hold these, if you lack one: ask. */
  | { readonly kind: "announce"; readonly digest: Digest }
  /** Repair, first step: the sum of what I hold. Answered by `parts` or a `digest` when yours differs. */
  | { readonly kind: "compare"; readonly sum: number }
  /** Repair, second step where there are many owners: a sum a part. Answered by a digest of those that differ. */
  | { readonly kind: "parts"; readonly sums: readonly number[] }
  /** Repair, last step: what I hold. Answered by what I lack; and by yours, when you `want` mine answered. */
  | { readonly kind: "digest"; readonly digest: Digest; readonly scope: Scope; readonly wanted: boolean }
  /** I have the parts of this log up to `version`, of a whole that was begun at this floor: go on. */
  | {
      readonly kind: "more";
      readonly owner: NodeId;
      readonly incarnation: number;
      readonly floor: number;
      readonly version: number;
    }
  | { readonly kind: "rumor"; readonly rumors: readonly SignedRumor[]; readonly until: Until }
  /** `suspected`: I am about to give you up at this refutation of yours; null when I am not. */
  | { readonly kind: "ping"; readonly sequence: number; readonly suspected: number | null }
  | { readonly kind: "pong"; readonly sequence: number }
  /** Asks a third member to reach for another. */
  | { readonly kind: "probe"; readonly sequence: number; readonly subject: NodeId }
  | { readonly kind: "probed"; readonly sequence: number; readonly reached: boolean }
  /** On its way to the owners, which may be some links away. */
  | { readonly kind: "applied"; readonly reports: readonly AppliedReport[]; readonly hops: number }
  /** On its way to the owner. */
  | { readonly kind: "drain"; readonly ask: DrainAsk; readonly hops: number }
  /** I close this link since I need it no more; I am well. */
  | { readonly kind: "part" };
