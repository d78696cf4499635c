/**
 * Staging: parts of logs that wait for the seal, which comes with the last.
 *
 * A large log comes in several frames, and nothing of it may count before all of it was found good. So parts are laid
 * aside for each link, since two peers need not cut a log alike; one log a link, for a peer sends one after the other.
 * What waits is bounded for each link and in all: past that the one that has been quiet for longest gives way, so that
 * peers who begin much and end nothing keep nobody else waiting. When parts stay away the peer is asked to go on.
 *
 * Pure. store.ts decides what a part fits on, replication.ts asks.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { sizeOf } from "./held.ts";
import type { Delta } from "./message.ts";

/** Quiet for so long, and the peer is asked to go on. */
const QUIET_MS = 200;
/** Without any progress for so long, and the parts are dropped. */
const GIVEN_UP_MS = 10_000;
/** What a part costs beside its writes. */
const PART_BYTES = 128;

/** The parts of one log that came over one link so far. */
export interface Staged {
  readonly link: number;
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly floor: number;
  /** Each begins at or before the end of the one before it. */
  readonly parts: Delta[];
  /** Up to this version. */
  to: number;
  sizeBytes: number;
  /** When the last part came. */
  movedAtMs: number;
  askedAtMs: number;
}

/** All that waits in one node. */
export class Staging {
  readonly #stagedByLink = new Map<number, Staged>();
  #sizeBytes = 0;

  /** Of all parts. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** What waits of the log that a part is of; undefined when there is nothing that it could follow. */
  before({ owner, incarnation, floor, from }: Delta, link: number): Staged | undefined {
    const staged = this.#stagedByLink.get(link);
    const isOfIt = staged?.owner === owner && staged.incarnation === incarnation && staged.floor === floor;
    return isOfIt && from <= staged.to ? staged : undefined;
  }

  /** True when parts of this owner's log wait on this link. */
  has(owner: NodeId, link: number): boolean {
    return this.#stagedByLink.get(link)?.owner === owner;
  }

  /** True when something waits on this link. */
  isBusy(link: number): boolean {
    return this.#stagedByLink.has(link);
  }

  /** Lays the first part of a log aside; what waited on its link is dropped. @returns false when it is too large */
  begin(delta: Delta, link: number, nowMs: number): boolean {
    this.drop(link);
    const { owner, incarnation, floor, from } = delta;
    const head = { link, owner, incarnation, floor, parts: [], to: from, sizeBytes: 0 };
    const staged: Staged = { ...head, movedAtMs: nowMs, askedAtMs: nowMs };
    this.#stagedByLink.set(link, staged);
    return this.add(staged, delta, nowMs);
  }

  /** Lays a further part aside. @returns false when there is too much of it: then all of it is dropped */
  add(staged: Staged, delta: Delta, nowMs: number): boolean {
    if (delta.to <= staged.to && staged.parts.length > 0) return true;
    let sizeBytes = PART_BYTES;
    for (const { key, body } of delta.writes) sizeBytes += sizeOf(key, body);
    staged.parts.push(delta);
    staged.to = delta.to;
    staged.movedAtMs = nowMs;
    staged.sizeBytes += sizeBytes;
    this.#sizeBytes += sizeBytes;
    if (staged.sizeBytes > LIMITS.stagedBytesPerLink) {
      this.drop(staged.link);
      return false;
    }
    while (this.#sizeBytes > LIMITS.stagedBytes) this.#dropQuietest();
    return this.#stagedByLink.get(staged.link) === staged;
  }

  /** Drops what waits on a link: it is gone, or the log was taken, or refused. */
  drop(link: number): void {
    this.#sizeBytes -= this.#stagedByLink.get(link)?.sizeBytes ?? 0;
    this.#stagedByLink.delete(link);
  }

  /** Drops all that waits of one owner's log. */
  dropOwner(owner: NodeId): void {
    for (const staged of this.#stagedByLink.values()) if (staged.owner === owner) this.drop(staged.link);
  }

  /** Logs whose next part has not come in time, each told once a while; drops those that have waited for too long. */
  overdue(nowMs: number): readonly Staged[] {
    if (this.#stagedByLink.size === 0) return [];
    const overdue: Staged[] = [];
    for (const staged of this.#stagedByLink.values()) {
      if (nowMs - staged.movedAtMs >= GIVEN_UP_MS) this.drop(staged.link);
      else if (nowMs - Math.max(staged.movedAtMs, staged.askedAtMs) >= QUIET_MS) {
        staged.askedAtMs = nowMs;
        overdue.push(staged);
      }
    }
    return overdue;
  }

  #dropQuietest(): void {
    let quietest: Staged | null = null;
    for (const staged of this.#stagedByLink.values())
      if (quietest === null || staged.movedAtMs < quietest.movedAtMs) quietest = staged;
    if (quietest !== null) this.drop(quietest.link);
  }
}
