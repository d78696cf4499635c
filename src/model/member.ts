/**
 * Member: a node as the others see it.
 *
 * What a member is (name, address, zone) it says itself, in its `node` record. Whether it lives each node judges for
 * itself from its links. A dead member's records are hidden, not deleted: on its return they count again at once.
 *
 * Pure.
 */

import type { NodeId } from "./ids.ts";

/** `alive`, `suspect` (does not answer), `dead` (given up), `left` (said goodbye). */
export type MemberState = "alive" | "suspect" | "dead" | "left";

/** A node as one node sees it. */
export interface Member {
  readonly id: NodeId;
  readonly name: string;
  /** Host and port of its mesh listener; empty and 0 while unknown. */
  readonly host: string;
  readonly port: number;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly role: "manager" | "worker";
  /** Version of the Skein software it runs. */
  readonly software: string;
  readonly state: MemberState;
  readonly incarnation: number;
  /** When the state last changed, by this node's clock, Unix milliseconds. */
  readonly sinceMs: number;
  /** Round trip of the last answered ping; null for oneself and before the first. */
  readonly rttMs: number | null;
  /** True for the node whose view this is. */
  readonly self: boolean;
}

/** What the links tell of a node: whether it lives, and where it was last reached. */
export interface Standing {
  readonly id: NodeId;
  readonly state: MemberState;
  readonly sinceMs: number;
  readonly rttMs: number | null;
}

/** Where a node says it can be reached. */
export interface Acquaintance {
  readonly id: NodeId;
  readonly name: string;
  readonly host: string;
  readonly port: number;
}
