/**
 * Network: a network with a range of its own, and the slices of it that nodes hold.
 *
 * A network's range is cut into slices of one size; what a node runs on the network gets its addresses from the node's
 * slice, so a route a node is enough to reach all of it. Who has which slice is agreed by claims (view/subnet.ts).
 *
 * Pure.
 */

import type { Prefix } from "../base/ip.ts";
import type { NodeId } from "./ids.ts";

/** A network as it was made: its range, and how long the prefixes of its slices are (24: 254 addresses each). */
export interface NetworkRange {
  readonly name: string;
  readonly range: Prefix;
  /** From the range's own bits to 30, and at most `LIMITS.slicesPerNetwork` slices. */
  readonly sliceBits: number;
}

/** A slice and who has it. */
export interface Slice {
  readonly node: NodeId;
  readonly nodeName: string;
  /** Its addresses, `10.160.3.0/24`. */
  readonly prefix: string;
  /** True while the claim is so new that the slice may still be lost. */
  readonly tentative: boolean;
}

/** A network in the view. */
export interface Network {
  readonly name: string;
  /** `10.160.0.0/16`. */
  readonly range: string;
  readonly sliceBits: number;
  /** In the order of their addresses. */
  readonly slices: readonly Slice[];
  /** What is wrong with it, in words: two nodes that want one slice, a range that is used up. */
  readonly problems: readonly string[];
}
