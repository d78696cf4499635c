/**
 * Charter: what the managers of a cluster have decided for all of it.
 *
 * Which authorities are trusted, which join tokens are good, who was removed, which networks there are. Each manager
 * writes all that it knows of it into its own log, under keys that begin with `cluster/`, and everybody merges what
 * managers say; so a decision outlives the manager that made it. Every part only grows, so two charters have one merge
 * whatever the order: a later generation of a token outranks an earlier one, a later decision on a network's name the
 * one before; a removal or a retirement is never taken back.
 *
 * Types only. Pure. trust/charter.ts merges, parses and renders.
 */

import type { NodeId } from "./ids.ts";

/** An authority that issues certificates. */
export interface Root {
  /** SHA-256 of its certificate, in hexadecimal digits. */
  readonly fingerprint: string;
  /** Self-signed, DER in base64. */
  readonly certificate: string;
  /**
   * The same name and key, signed by an authority that was there before it: why those who trust that one may trust
   * this. Null for the first.
   */
  readonly cross: string | null;
  /** The highest issues. The first authority has 1. */
  readonly generation: number;
  /** Trusted no more: all members have certificates of a later one. */
  readonly retired: boolean;
}

/** A node that was removed for good. */
export interface Revocation {
  readonly id: NodeId;
  /** Until then it is remembered: when its last certificate has ended for certain. Unix milliseconds. */
  readonly untilMs: number;
}

/** An overlay network as it was made. */
export interface NetworkDefinition {
  /** Its IPv4 range, `10.160.0.0/16`. */
  readonly range: string;
  /** How long the prefixes of its slices are. */
  readonly sliceBits: number;
  /** As in NetworkRange. */
  readonly vni: number;
  readonly encrypted: boolean;
  /** True where it has IPv6 addresses, too: its /64 follows from the cluster's id and its number. */
  readonly ipv6: boolean;
}

/** What was decided last about the network of a name. */
export interface NetworkDecision {
  readonly name: string;
  /** Lamport counter over all decisions on networks: of two on one name the higher counts. */
  readonly order: number;
  /** Null when it was removed: that has to be remembered, or who was away would bring it back. */
  readonly definition: NetworkDefinition | null;
}

/** All of it. Lists are in a fixed order (by fingerprint, id, name), so that equal charters render alike. */
export interface Charter {
  /** Drawn once, by the first manager; in every certificate and every seal. */
  readonly clusterId: string;
  readonly roots: readonly Root[];
  /** Which generation of join tokens is good, from 1. */
  readonly tokens: { readonly worker: number; readonly manager: number };
  readonly revoked: readonly Revocation[];
  readonly networks: readonly NetworkDecision[];
}
