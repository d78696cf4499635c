/**
 * Damping: how long the replicas of a member that comes and goes must settle before they get traffic again.
 *
 * A member that is lost and found over and over harms clients more than one that stays away. But a healed partition or
 * a restart must be back in rotation at once, so the first two returns are free; the third costs 1 s, each further one
 * twice as much, up to 30 s. Each return adds 1 to a penalty that halves with each minute of calm, so old trouble is
 * forgotten by itself: a single return after a minute, the worst trouble after four.
 *
 * A member that this node missed while it doubted itself (awareness.ts) is excused: that return is not counted. Else a
 * starved node would keep the replicas of a well cluster out of service.
 *
 * The scheme is that of route flap damping (RFC 2439), without its long suppression.
 *
 * Pure. membership.ts tells who returned; the view keeps the replicas out until then.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

const FREE_RETURNS = 2;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
const HALVED_EVERY_MS = 60_000;
/** The penalty from which on the wait is the longest (2^5 s); more would only take longer to forget. */
const PENALTY_MAX = FREE_RETURNS + 6;
/** What is left of one return after a minute; this little is forgotten. */
const PENALTY_FORGOTTEN = 0.5;

/** The penalty as it was at `atMs`. */
interface Trouble {
  readonly penalty: number;
  readonly atMs: number;
}

/** Remembers who returned lately, and how often. */
export class Damping {
  /** Invariant: the member whose last return lies back furthest comes first. */
  readonly #troubleById = new Map<NodeId, Trouble>();
  /** Missed members whose next return is not counted. */
  readonly #excused = new Set<NodeId>();

  /** Members remembered; bounded by `LIMITS.ownersMax`. */
  get count(): number {
    return this.#troubleById.size;
  }

  /**
   * Told each time a member comes back to alive from suspect, dead, or away for longer than it had said.
   *
   * @returns when its replicas are eligible again (ms on the caller's clock), or null: at once
   */
  flapped(id: NodeId, nowMs: number): number | null {
    const before = this.#troubleById.get(id);
    const left = before === undefined ? 0 : penaltyAt(before, nowMs);
    const penalty = Math.min(PENALTY_MAX, (left > PENALTY_FORGOTTEN ? left : 0) + 1);
    this.#troubleById.delete(id);
    this.#troubleById.set(id, { penalty, atMs: nowMs });
    this.#forgetOldest(nowMs);
    // What has decayed since counts as whole: three returns within seconds add up to a little less than 3.
    const paid = Math.ceil(penalty) - FREE_RETURNS;
    return paid <= 0 ? null : nowMs + Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (paid - 1));
  }

  /** The member is missed, but that may be this node's own fault. */
  excuse(id: NodeId): void {
    this.#excused.add(id);
  }

  /** Ends an excuse: the member is back, or was gone for sure. @returns whether it had one */
  takeExcuse(id: NodeId): boolean {
    return this.#excused.delete(id);
  }

  /** Forgets a member: it was removed from the cluster. */
  forget(id: NodeId): void {
    this.#excused.delete(id);
    this.#troubleById.delete(id);
  }

  /** Only from the front, so that a return costs the same however many are remembered; the rest has its turn later. */
  #forgetOldest(nowMs: number): void {
    for (const [id, trouble] of this.#troubleById) {
      const decayed = penaltyAt(trouble, nowMs) <= PENALTY_FORGOTTEN;
      if (!decayed && this.#troubleById.size <= LIMITS.ownersMax) return;
      this.#troubleById.delete(id);
    }
  }
}

/** What is left of a penalty; a clock that went backwards takes nothing off. */
function penaltyAt(trouble: Trouble, nowMs: number): number {
  return trouble.penalty * 2 ** (-Math.max(0, nowMs - trouble.atMs) / HALVED_EVERY_MS);
}
