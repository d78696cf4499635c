/**
 * Backlog: what links have sent that the system has not taken yet, and what more may be sent.
 *
 * A peer that reads slower than we send costs memory here. Each link has a bound of its own, and all have one
 * together, since forty peers that do not read are as bad as one that is forty times as slow. When the whole is full
 * it is shared evenly between the links that have anything unsent: who has more than its part gives way, so a peer
 * that reads is not made to suffer for those that do not.
 *
 * Pure.
 */

import { LIMITS } from "../model/limits.ts";

import type { WhenBehind } from "./link.ts";

/** What becomes of a frame; `end` means that its link has to go. */
export type Room = "send" | "skip" | "end";

/** The unsent bytes of all links of a daemon, by the number of the link. */
export class Backlog {
  readonly #bytesById = new Map<number, number>();
  #allBytes = 0;

  /** Over all links. */
  get allBytes(): number {
    return this.#allBytes;
  }

  /** Of one link. */
  bytesOf(id: number): number {
    return this.#bytesById.get(id) ?? 0;
  }

  /** Decides about a frame, and counts it when it is to be sent. */
  add(id: number, frameBytes: number, whenBehind: WhenBehind): Room {
    const room = this.#roomFor(id, frameBytes, whenBehind);
    if (room === "send") this.#set(id, this.bytesOf(id) + frameBytes);
    return room;
  }

  /** The system has taken a frame. */
  taken(id: number, frameBytes: number): void {
    this.#set(id, Math.max(0, this.bytesOf(id) - frameBytes));
  }

  /** A link is gone, and what it had unsent with it. */
  leave(id: number): void {
    this.#set(id, 0);
  }

  #roomFor(id: number, frameBytes: number, whenBehind: WhenBehind): Room {
    const ownBytes = this.bytesOf(id);
    if (ownBytes > LIMITS.linkOverfullBytes) return "end";
    // A link with nothing unsent may always send one frame: its peer reads.
    const isBehind = ownBytes > 0;
    if (isBehind && this.#isPast(LIMITS.linksOverfullBytes, ownBytes + frameBytes, frameBytes)) return "end";
    if (whenBehind === "queue") return "send";
    if (ownBytes > LIMITS.linkBufferedBytes) return "skip";
    const isFull = isBehind && this.#isPast(LIMITS.linksBufferedBytes, ownBytes + frameBytes, frameBytes);
    return isFull ? "skip" : "send";
  }

  /** Whether all links together would be past a bound, and this one past its part of it. */
  #isPast(boundBytes: number, ownBytes: number, frameBytes: number): boolean {
    if (this.#allBytes + frameBytes <= boundBytes) return false;
    return ownBytes > boundBytes / Math.max(1, this.#bytesById.size);
  }

  #set(id: number, bytes: number): void {
    this.#allBytes += bytes - this.bytesOf(id);
    if (bytes === 0) this.#bytesById.delete(id);
    else this.#bytesById.set(id, bytes);
  }
}
