/**
 * Member: a node as the others see it.
 *
 * What a member is (name, address, zone) it says itself, in its `node` record. Whether it lives each node judges for
 * itself from its links. A dead member's records are hidden, not deleted: on its return they count again at once.
 *
 * Pure.
 */

import { overlaps, parsePrefix, type Prefix } from "../base/ip.ts";

import type { Role } from "./credential.ts";
import type { NodeId } from "./ids.ts";
import type { NodeOverlay } from "./record.ts";

/**
 * `alive`; `suspect` (does not answer, and nobody else reaches it); `dead` (given up); `away` (its daemon said that it
 * will be back soon: a restart or an upgrade); `left` (said goodbye for good).
 */
export type MemberState = "alive" | "suspect" | "dead" | "away" | "left";

/** A node as one node sees it. */
export interface Member {
  readonly id: NodeId;
  readonly name: string;
  /** Host and port of its mesh listener; empty and 0 while unknown. */
  readonly host: string;
  readonly port: number;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly role: Role;
  /** Version of the Skein software it runs. */
  readonly software: string;
  /** What its routing table leads to, as IPv4 prefixes: no range of ours may share an address with any. */
  readonly prefixes: readonly string[];
  /** How it carries overlay networks; nothing where it cannot. */
  readonly overlay?: NodeOverlay;
  /** Said only while all that it runs is drained by command; it lives all the same. */
  readonly draining?: true;
  readonly state: MemberState;
  readonly incarnation: number;
  /** When the state last changed, by this node's clock, Unix milliseconds. */
  readonly sinceMs: number;
  /** Round trip of the last answered ping; null for oneself, before the first, and for a member without a link. */
  readonly rttMs: number | null;
  /**
   * Set while this node's own link to it is broken though it lives: the member that reaches it, through which its
   * replicas are reached meanwhile.
   */
  readonly via: NodeId | null;
  /** While it settles after it came and went too often: until then its replicas are not eligible. */
  readonly settlesAtMs: number | null;
  /** True for the node whose view this is. */
  readonly self: boolean;
}

/**
 * What a member's routing table leads to that shares addresses with a range; none for one that is gone: what a dead
 * host leads to is nobody's trouble now, and if it returns, so does the trouble.
 */
export function sharedPrefixes(
  { state, prefixes }: Pick<Member, "state" | "prefixes">,
  range: Prefix,
): readonly string[] {
  if (state === "dead" || state === "left") return [];
  return prefixes.filter((text) => {
    const parsed = parsePrefix(text);
    return parsed.ok && overlaps(parsed.value, range);
  });
}

/** What gossip tells of a node: whether it lives, and how it is reached. Fields as in Member. */
export interface Standing {
  readonly id: NodeId;
  readonly state: MemberState;
  readonly sinceMs: number;
  readonly rttMs: number | null;
  readonly via: NodeId | null;
  readonly settlesAtMs: number | null;
}

/** Where a node says it can be reached. */
export interface Acquaintance {
  readonly id: NodeId;
  readonly name: string;
  readonly host: string;
  readonly port: number;
}
