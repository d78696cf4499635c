/**
 * Step: what a node is told, and what it wants done.
 *
 * The two sides of `Node.step(input, nowMs)`, as data: the daemon makes the inputs from sockets, timers and Docker, the
 * simulator from its script; both carry the effects out.
 *
 * Pure.
 */

import type { HostPort, Prefix } from "./base/ip.ts";
import type { Random } from "./base/random.ts";
import type { GossipEffects } from "./gossip/effects.ts";
import type { ProbeRequest } from "./health/schedule.ts";
import type { ProbeOutcome } from "./health/verdict.ts";
import type { Charter } from "./model/charter.ts";
import type { Discovery } from "./model/endpoint.ts";
import type { NodeId, ReplicaId } from "./model/ids.ts";
import type { KeptState } from "./model/kept.ts";
import type { NodeOverlay, NodeRecord } from "./model/record.ts";
import type { Seals } from "./model/seal.ts";
import type { View } from "./model/view.ts";
import type { Vip6Rule } from "./model/vip6.ts";

/** What a node is told. */
export type Input =
  /**
   * `delayMs`: the event loop's delay, 99th percentile over the last seconds, where the shell measures it. `aheadMs`:
   * views of that time and later are not followed yet by this host's own kernel; absent where it follows all.
   */
  | { readonly kind: "tick"; readonly delayMs?: number; readonly aheadMs?: number }
  | { readonly kind: "discovered"; readonly discovery: Discovery }
  | { readonly kind: "probed"; readonly probe: ProbeRequest; readonly outcome: ProbeOutcome }
  | {
      readonly kind: "linkUp";
      readonly link: number;
      readonly dialled: HostPort | null;
      readonly remote: string;
      /** Who is at the other end, by its certificate. */
      readonly peer: NodeId;
    }
  | { readonly kind: "linkDown"; readonly link: number; readonly reason: string }
  | { readonly kind: "dialFailed"; readonly address: HostPort; readonly refused: boolean }
  | { readonly kind: "frame"; readonly link: number; readonly frame: Uint8Array }
  /** A drain of any replica of the cluster: published here, or asked of its owner. */
  | { readonly kind: "drain"; readonly replica: ReplicaId; readonly draining: boolean }
  /** The same of all that a node runs, now and later, until it is taken back. */
  | { readonly kind: "drainNode"; readonly node: NodeId; readonly draining: boolean }
  /** What this host's routing table leads to, as prefixes; told again when it changes. */
  | { readonly kind: "prefixes"; readonly prefixes: readonly string[] }
  /** How this host is reached by others' overlay networks, and whether it encrypts; null where it carries none. */
  | { readonly kind: "overlay"; readonly overlay: NodeOverlay | null }
  /** A charter that came by another way than a log: a command given here, what a manager answered. It is merged in. */
  | { readonly kind: "charter"; readonly charter: Charter }
  /** A clean stop begins: what ends with this daemon drains. */
  | { readonly kind: "stop"; readonly farewell: Farewell }
  /** A clean stop ends: farewell to all. */
  | { readonly kind: "leave"; readonly farewell: Farewell };

/** `left`: for good; `away`: a restart or an upgrade, back soon. */
export type Farewell = "left" | "away";

/** What a step wants done. */
export interface Effects extends GossipEffects {
  readonly probe: readonly ProbeRequest[];
  /** The newest view: the same object as before when nothing changed. */
  readonly view: View;
  /** Set when it changed: to be on disk soon. */
  readonly keep: KeptState | null;
  /** Set when it changed: to be acted on at once, and to be on disk soon. */
  readonly charter: Charter | null;
  /** Set when a tick is wanted sooner than usual. */
  readonly wakeInMs: number | null;
}

/** What a node is made of. */
export interface NodeOptions {
  readonly id: NodeId;
  readonly record: Omit<NodeRecord, "kind">;
  readonly seeds: readonly HostPort[];
  /** The sources that will tell what runs here. */
  readonly sources: readonly string[];
  readonly pool: Prefix;
  /** Which services have an IPv6 address on this node; none unless told. */
  readonly vip6?: Vip6Rule | null;
  readonly kept: KeptState;
  /** Replicas of this host that were ready in the eyes of the daemon that this one takes over from; none at a start. */
  readonly trusted?: readonly ReplicaId[];
  readonly seals: Seals;
  /** What is known of the cluster's decisions; `clusterId` is for good. */
  readonly charter: Charter;
  readonly random: Random;
  readonly nowMs: number;
}
