/**
 * View: the cluster as one picture, as one node sees it.
 *
 * A view is whole and immutable. DNS, the proxy, the kernel plan and the admin API are projections of it and decide
 * nothing about readiness: `tier` says it all, set in one place (view/tier.ts). Consumers take the newest view, may
 * skip any, and compare their own plan by value before acting.
 *
 * Pure.
 */

import type { Problem, Reach } from "./endpoint.ts";
import type { NodeId, ReplicaId, ServiceKey } from "./ids.ts";
import type { Member } from "./member.ts";
import type { Network } from "./network.ts";
import type { ReplicaState } from "./record.ts";
import type { Delivery, ServiceDeclaration, ServicePort } from "./service.ts";

/**
 * How a replica may be used: `eligible` takes traffic; `draining` only when no eligible one is left; `panic` (unready,
 * or its node is suspect) only when neither is; `never` (its node is dead or gone, it is starting, its weight is 0)
 * not at all.
 */
export type Tier = "eligible" | "draining" | "panic" | "never";

/** Tiers in the order in which they are tried. */
export const TIERS: readonly Tier[] = ["eligible", "draining", "panic"];

/** One copy of a service, wherever it runs. */
export interface Replica {
  readonly id: ReplicaId;
  readonly name: string;
  readonly slot: number | null;
  readonly node: NodeId;
  readonly nodeName: string;
  /** True when it runs on the node whose view this is. */
  readonly local: boolean;
  readonly address: string;
  readonly address6?: string;
  readonly reach: Reach;
  /** Its own ports: where this copy listens for each service port. */
  readonly ports: readonly ServicePort[];
  readonly weight: number;
  readonly delivery: Delivery;
  readonly state: ReplicaState;
  readonly drainApplied: boolean;
  /** Names of members that have not applied it, where its owner tells them. */
  readonly drainPending: readonly string[];
  readonly tier: Tier;
  /** False when it is gone for good: connections that it had lead nowhere any more. */
  readonly keepsConnections: boolean;
  /** Why it is in that tier, in words. */
  readonly reason: string;
  /** Who says so: the name of its node, or of this node for a verdict on a member. */
  readonly saidBy: string;
  /** When the tier last changed, by this node's clock, Unix milliseconds. */
  readonly sinceMs: number;
}

/** A service of one network, with every replica known of it, sorted by id. */
export interface Service extends ServiceDeclaration {
  readonly key: ServiceKey;
  readonly network: string;
  readonly name: string;
  readonly stack: string | null;
  /** Its stable address; null in `dnsrr` mode, without ports, and while the pool is used up. */
  readonly vip: string | null;
  /** Its IPv6 address beside it; nothing where this node gives out none. */
  readonly vip6?: string;
  /** True while the claim is so new that the address may still be lost: nobody is to remember it. */
  readonly vipTentative: boolean;
  /** Addresses that it had a while ago: still served, not advertised. */
  readonly aliasVips: readonly string[];
  readonly replicas: readonly Replica[];
  /** What is wrong with it, in words: a published port taken by another service, replicas that disagree. */
  readonly problems: readonly string[];
}

/** The picture. */
export interface View {
  /** Rises by one with each change, on this node only. */
  readonly version: number;
  /** False until the first full exchange or the grace period: till then consumers add and never remove. */
  readonly complete: boolean;
  readonly self: NodeId;
  /** Sorted by name, then id. */
  readonly members: readonly Member[];
  /** Sorted by key. */
  readonly services: readonly Service[];
  /** Networks with a range of their own and who has which slice of it, sorted by name. */
  readonly networks: readonly Network[];
  /** What is wrong with the cluster as a whole: ranges that overlap. */
  readonly problems: readonly Problem[];
}
