/**
 * Topology: whom this node should be linked to, as members come and go.
 *
 * Up to 24 members everybody, beyond the fingers of the id ring (ring.ts). A link that neither side wants any more is
 * given up by who dialled it, after a while: members come and go in bursts, and a link costs less than a dial.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";

import type { OpenLink } from "./links.ts";
import { isPresent, type Peer } from "./peer.ts";
import { MESH_MAX, Ring } from "./ring.ts";

const PART_AFTER_MS = 5000;

/** The members on the ring, and which of them are wanted here. */
export class Topology {
  readonly #self: NodeId;
  readonly #ring: Ring;
  #wanted: ReadonlySet<NodeId> | null = null;
  #isChanged = false;

  constructor(self: NodeId) {
    this.#self = self;
    this.#ring = new Ring([self]);
  }

  /** True while everybody is linked to everybody. */
  get isMesh(): boolean {
    return this.#ring.size <= MESH_MAX;
  }

  /** Members to be linked. */
  get wanted(): ReadonlySet<NodeId> {
    this.#wanted ??= new Set(this.#ring.wanted(this.#self));
    return this.#wanted;
  }

  /** The next member on the ring; null when this node is alone. */
  get successor(): NodeId | null {
    for (const id of this.wanted) return id;
    return null;
  }

  /** A member came, went or changed its state. */
  note(peer: Peer): void {
    const isChanged = isPresent(peer) ? this.#ring.add(peer.id) : this.#ring.delete(peer.id);
    if (!isChanged) return;
    this.#wanted = null;
    this.#isChanged = true;
  }

  /** True when others may be wanted than at the last call. */
  takeChanged(): boolean {
    const isChanged = this.#isChanged;
    this.#isChanged = false;
    return isChanged;
  }

  /** True for a link that may be given up. */
  isSpare({ dialled, openedAtMs, peer, closing }: OpenLink, nowMs: number): boolean {
    if (this.isMesh || dialled === null || peer === null || closing) return false;
    if (nowMs - openedAtMs < PART_AFTER_MS || this.wanted.has(peer.id)) return false;
    return !this.#ring.wanted(peer.id).includes(this.#self);
  }
}
