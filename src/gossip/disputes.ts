/**
 * Disputes: two live nodes with one id, as after a data dir was copied.
 *
 * They cannot be told apart by what they say, but by the order in which they come: each run of a node draws a nonce,
 * and a run that was followed by another one is over. When it comes back all the same, both live. Then both are
 * refused, for neither can be believed, and it is told, until one of them is gone: who lives says hello again and
 * again, so a run that is not heard of for some seconds is over, and the one that is left is taken back.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Peer } from "./peer.ts";

/**
 * A run that said no hello for so long is gone. Who is refused dials again within a second (dialer.ts); a starved host,
 * or one behind a network that loses much, takes longer.
 */
const QUIET_MS = 5000;
/** A dispute of which nobody reminds is told for so long, then forgotten. */
const FORGOTTEN_AFTER_MS = 30_000;
/** Earlier runs that are remembered of a node. */
const RUNS_KEPT = 8;

interface Dispute {
  readonly text: string;
  /** When each run that is party to it last said hello; at most `RUNS_KEPT`. */
  readonly heardMsByNonce: Map<number, number>;
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
    if (dispute !== undefined && isOpen(dispute, told.nonce, nowMs))
      return { text: dispute.text, isNew: false };
    if (dispute !== undefined) {
      this.#disputeById.delete(peer.id);
      peer.pastNonces = [];
    }
    const isOver = told.nonce !== peer.nonce && peer.pastNonces.includes(told.nonce);
    if (!isOver || peer.link === null) return null;
    if (this.#disputeById.size >= LIMITS.ownersMax) return null;
    const where = `${peer.name} at ${peer.host}:${peer.port} and a node at ${told.remote}`;
    const text = `${where} use one id, ${peer.id}: both are refused; expected a data dir of its own for each`;
    const heardMsByNonce = new Map([peer.nonce, told.nonce].map((nonce) => [nonce, nowMs]));
    this.#disputeById.set(peer.id, { text, heardMsByNonce });
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
    for (const [id, { heardMsByNonce }] of this.#disputeById)
      if (nowMs >= Math.max(...heardMsByNonce.values()) + FORGOTTEN_AFTER_MS) this.#disputeById.delete(id);
  }
}

/** Notes a hello of one run. @returns true while another one was heard lately */
function isOpen({ heardMsByNonce }: Dispute, nonce: number, nowMs: number): boolean {
  for (const [other, heardMs] of heardMsByNonce)
    if (nowMs - heardMs >= QUIET_MS) heardMsByNonce.delete(other);
  if (heardMsByNonce.has(nonce) || heardMsByNonce.size < RUNS_KEPT) heardMsByNonce.set(nonce, nowMs);
  return heardMsByNonce.size > 1;
}
