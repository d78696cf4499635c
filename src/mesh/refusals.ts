/**
 * Refusals: who was turned away from the mesh or was turned away by us, and why.
 *
 * Each is counted; each kind from one address is told once a minute, since whoever is refused comes back each second.
 * The reasons are a closed set: they label a metric. A link that ended because its peer broke the rules counts here
 * too, for it is the same question to whoever reads it: who does what he should not?
 *
 * Touches: metrics, the clock.
 */

import { networkOf } from "../base/ip.ts";
import { Repeats } from "../base/repeats.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";

/** Why a connection was refused or ended. */
export type RefusalReason =
  /** It spoke no TLS. */
  | "plaintext"
  /** Its handshake failed: another version of TLS, no protocol of ours, or junk. */
  | "handshake"
  | "no-certificate"
  /** Of another cluster or authority, expired, or otherwise not ours. */
  | "certificate"
  /** Of a node that was removed. */
  | "revoked"
  /** The host at an address is another member than the one that was meant. */
  | "another-member"
  /** It chose no protocol, or asked for what its protocol is not for. */
  | "protocol"
  /** Too many strangers: it gave way to a newer one. */
  | "strangers"
  /** It did not say in time what it wants. */
  | "slow"
  /** No HTTP/1.1, or none of our requests. */
  | "junk"
  | "request"
  /** A WebSocket handshake that is none of ours. */
  | "upgrade"
  /** Too many links in all, from its address, or that have said nothing yet. */
  | "links"
  | "address"
  | "silent"
  /** Too many relayed streams, or kept-ready connections of one member. */
  | "streams"
  | "ready"
  /** Too many requests to join at once. */
  | "joins"
  /** A link that was up: its peer broke the rules, or did not read. */
  | "violation"
  | "overfull";

/** One refusal. */
export interface MeshRefusal {
  readonly reason: RefusalReason;
  /** Of the peer, without the port that it dialled from; with the port where we dialled. */
  readonly address: string;
  /** Who it is, as far as it proved that. */
  readonly peer: NodeId | null;
  readonly text: string;
}

/** Where refusals are told. */
export interface Refusals {
  tell(refusal: MeshRefusal): void;
}

/** How long the same is not told again. */
const TOLD_EVERY_MS = 60_000;

/** What openRefusals needs. */
export interface RefusalsOptions {
  readonly metrics: Pick<Metrics, "meshRefused">;
  /** Called for the first of each kind from an address (or of a peer) in a minute. */
  readonly onRefused: (refusal: MeshRefusal) => void;
}

/** Opens what counts and tells; links, listener and dialler share one. */
export function openRefusals({ metrics, onRefused }: RefusalsOptions): Refusals {
  const told = new Repeats(TOLD_EVERY_MS, LIMITS.repeatsKept);
  return {
    tell(refusal) {
      const { reason, address, peer } = refusal;
      metrics.meshRefused.inc({ reason });
      // Not the text: it may hold what the peer makes up, or a duration.
      if (told.isNew(`${reason} ${networkOf(address)} ${peer ?? ""}`, nowMs())) onRefused(refusal);
    },
  };
}
