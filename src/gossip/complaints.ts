/**
 * Complaints: what a peer did that it must not do, told to people, but not each time.
 *
 * The peer is named by what TLS knows it as, and so is the member in whose name it spoke. Once a minute for each peer
 * and kind of trespass: one that lies lies often. The link goes on: an honest peer may have been handed what is wrong
 * by its own disk, and heals; and who is cut off would only come again.
 *
 * Pure.
 */

import { Repeats } from "../base/repeats.ts";
import type { EventKind } from "../model/event.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Outbox } from "./effects.ts";

const PERIOD_MS = 60_000;

/** What one node tells of its peers. */
export class Complaints {
  readonly #outbox: Outbox;
  readonly #repeats = new Repeats(PERIOD_MS, LIMITS.repeatsKept);

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /**
   * Tells that a peer did something.
   *
   * @param sort  by which it is told once a minute: `seal`
   * @param text  what it did, beginning with a verb
   */
  of(
    peer: { readonly id: NodeId; readonly name: string },
    { sort, text }: { sort: string; text: string },
    atMs: number,
  ): void {
    this.#tell("mesh.refused", { key: `${peer.id} ${sort}`, subject: peer.name, text }, atMs);
  }

  /** Tells that writes of this node's own were left out. */
  ofOwnLog(
    self: { readonly id: NodeId; readonly name: string },
    keys: readonly string[],
    atMs: number,
  ): void {
    const [first = ""] = keys;
    const what = keys.length === 1 ? first : `${first} and ${keys.length - 1} more`;
    const { ownerBytes, entriesPerOwner, recordBytes } = LIMITS;
    const bounds = `${entriesPerOwner} entries, ${ownerBytes} bytes and ${recordBytes} bytes each`;
    const text = `${what} not published: this node's log is full; expected at most ${bounds}`;
    this.#tell("log.full", { key: `${self.id} full`, subject: self.name, text }, atMs);
  }

  #tell(kind: EventKind, what: { key: string; subject: string; text: string }, atMs: number): void {
    const { key, subject, text } = what;
    if (!this.#repeats.isNew(key, atMs)) return;
    this.#outbox.wanted.happenings.push({ kind, level: "warn", subject, text, atMs });
  }
}
