/**
 * Disputes: two live nodes with one id, as after a data dir was copied.
 *
 * They cannot be told apart by what they say, but by the order in which they come: each run of a node draws a nonce,
 * and a run that was followed by another one is over. When it comes back all the same, both live. Then both are
 * refused, for neither can be believed, and it is told, until one of them is gone.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Peer } from "./peer.ts";

/** How long both are refused; then one that is alone by now may come back. */
const REFUSED_MS = 30_000;
/** Earlier runs that are remembered of a node. */
const RUNS_KEPT = 8;

interface Dispute {
  readonly text: string;
  readonly untilMs: number;
}

/** Ids of which more than one node makes use. */
export class Disputes {
  readonly #disputeById = new Map<NodeId, Dispute>();

  /** What is wrong, for people. */
  get texts(): readonly string[] {
    return Array.from(this.#disputeById.values(), ({ text }) => text);
  }

  /**
   * A node says hello.
   *
   * @param told  the run it says it is, and where it comes from
   * @returns the reason to refuse it, and whether it is a new one; null when there is none
   */
  refusal(
    peer: Peer,
    told: { readonly nonce: number; readonly remote: string },
    nowMs: number,
  ): { readonly text: string; readonly isNew: boolean } | null {
    const dispute = this.#disputeById.get(peer.id);
    if (dispute !== undefined && nowMs < dispute.untilMs) return { text: dispute.text, isNew: false };
    if (dispute !== undefined) {
      this.#disputeById.delete(peer.id);
      peer.pastNonces = [];
    }
    const isOver = told.nonce !== peer.nonce && peer.pastNonces.includes(told.nonce);
    if (!isOver || peer.link === null) return null;
    if (this.#disputeById.size >= LIMITS.ownersMax) return null;
    const where = `${peer.name} at ${peer.host}:${peer.port} and a node at ${told.remote}`;
    const text = `${where} use one id, ${peer.id}: both are refused; expected a data dir of its own for each`;
    this.#disputeById.set(peer.id, { text, untilMs: nowMs + REFUSED_MS });
    return { text, isNew: true };
  }

  /** A node's hello was taken: this is the run that counts. @returns true when it is another than before */
  taken(peer: Peer, nonce: number): boolean {
    if (peer.nonce === nonce) return false;
    if (peer.nonce !== 0) peer.pastNonces = [...peer.pastNonces, peer.nonce].slice(-RUNS_KEPT);
    peer.nonce = nonce;
    return true;
  }

  /** Forgets disputes that have run out. */
  tick(nowMs: number): void {
    for (const [id, { untilMs }] of this.#disputeById) {
      // A while longer than it refuses: who is still there will be back in that time, and it is one dispute then.
      if (nowMs >= untilMs + REFUSED_MS) this.#disputeById.delete(id);
    }
  }
}
