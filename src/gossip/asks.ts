/**
 * Asks: drains that other nodes ask of this one, and this one of them.
 *
 * Only a manager may take out what runs on another host. An ask may pass through members that are not to be trusted, so
 * it is signed by who asks; and since a signature stays good for ever, it names the state of the owner's log that the
 * asker saw: one that was kept back until the owner has acted on a later one, or runs anew, is told by that.
 *
 * Pure.
 */

import type { Credential } from "../model/credential.ts";
import type { ReplicaId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { DrainAsk } from "./message.ts";

/** The asks that one node has taken in this life. */
export class Asks {
  /** The version of the own log at which each replica was last asked for, the oldest first. */
  readonly #askedAtByReplica = new Map<ReplicaId, number>();

  /**
   * Takes an ask whose maker is certain.
   *
   * @param own  this node's own log as it is now
   * @returns why it is not done, beginning with a verb; null when it is to be done
   */
  taken(ask: DrainAsk, asker: Credential, own: { incarnation: number; version: number }): string | null {
    const { replica, draining, incarnation, version } = ask;
    const what = `${draining ? "drain" : "activate"} ${replica}`;
    if (asker.role !== "manager") return `asks to ${what}, but is a ${asker.role}; expected a manager`;
    const askedAt = this.#askedAtByReplica.get(replica) ?? 0;
    if (incarnation !== own.incarnation || version < askedAt) {
      const expected = `expected ${own.incarnation}.${askedAt} or later`;
      return `asks to ${what} as of ${incarnation}.${version}; ${expected}`;
    }
    this.#askedAtByReplica.delete(replica);
    this.#askedAtByReplica.set(replica, Math.min(own.version, Math.max(version, askedAt)));
    if (this.#askedAtByReplica.size <= LIMITS.replicasPerNode) return null;
    const [oldest] = this.#askedAtByReplica.keys();
    if (oldest !== undefined) this.#askedAtByReplica.delete(oldest);
    return null;
  }
}
