/**
 * Verdicts: what came of judging who lives, for those who act on it.
 *
 * Pure. membership.ts judges; rounds.ts sends, closes and forgets.
 */

import type { MemberState } from "../model/member.ts";

import type { Rumor } from "./message.ts";
import type { Peer } from "./peer.ts";

/** A change of a member's state, with the reason in words. */
export interface Move {
  readonly peer: Peer;
  /** Null for a member that is new here. */
  readonly from: MemberState | null;
  readonly to: MemberState;
  readonly reason: string;
}

/** What came of judging since it was last taken. */
export interface Verdicts {
  readonly moves: readonly Move[];
  /** Own accusations and verdicts, to be told to all. */
  readonly rumors: readonly Rumor[];
  /** Members whose records are to be forgotten; they are members no more. */
  readonly forgotten: readonly Peer[];
  /** Members of whom something else that the view shows has changed. */
  readonly touched: readonly Peer[];
}

/** What an accusation came to. */
export type Accused = "news" | "known" | "doubted";
