/**
 * Renewal: when does this node get a new certificate, and from whom?
 *
 * At a random moment between 50 and 80 % of a certificate's life, drawn once for each, so that hosts that joined
 * together do not all ask together, and weeks are left in which managers may be away. Sooner, within two minutes,
 * when the one it has is of an authority that is not the newest: an old authority can only be retired once nobody
 * has a certificate of it. But not at once: first all must have heard of the new one, or they refuse what it issued.
 * A failed try is repeated with backoff, with another manager when there is one.
 *
 * Pure: the memory of one node. credentials.ts issues, joining.ts asks.
 */

import { backoffMs, type BackoffRange } from "../base/backoff.ts";
import { pick, type Random } from "../base/random.ts";
import type { NodeId } from "../model/ids.ts";

/** This node's certificate, as far as its renewal goes. */
export interface Term {
  /** When it was issued, Unix milliseconds: not when it begins, which is before. */
  readonly issuedAtMs: number;
  readonly notAfterMs: number;
  /** Fingerprint of the authority that issued it. */
  readonly issuer: string;
}

/** How things stand when it is asked. */
export interface RenewalSituation {
  readonly term: Term;
  /** Fingerprint of the newest authority. */
  readonly newest: string;
  /** Whether this node has the newest authority's key: then it needs nobody. */
  readonly hasKey: boolean;
  /** Managers that can be reached, without this node. */
  readonly managers: readonly NodeId[];
}

/** What to do now. */
export type RenewalStep =
  | { readonly kind: "wait"; readonly untilMs: number }
  | { readonly kind: "issue" }
  | { readonly kind: "ask"; readonly manager: NodeId }
  /** Too late: no manager takes this certificate any more. The node has to join again. */
  | { readonly kind: "ended" };

const EARLIEST = 0.5;
const LATEST = 0.8;

/** When nodes renew after they heard of a new authority: not before all have, then spread over a minute. */
export const ROTATION_GRACE_MS = 30_000;
export const ROTATION_SPREAD_MS = 60_000;

/**
 * How old the newest authority has to be before older ones are retired. A member that is away is remembered by the
 * others for as long (gossip), and by a manager that was started meanwhile not at all.
 */
export const RETIRE_AFTER_MS = 24 * 3_600_000;

/** In place of the grace and the spread. For tests; nothing else sets it. */
export interface RotationPace {
  readonly graceMs?: number;
  readonly spreadMs?: number;
}

const RETRY: BackoffRange = { firstMs: 5000, longestMs: 600_000 };

/** Decides for one node, by the time of day: when that is set back nothing waits longer than it would have. */
export class Renewal {
  readonly #random: Random;
  readonly #graceMs: number;
  readonly #spreadMs: number;
  #term: Term | null = null;
  #dueMs = 0;
  /** When the newest authority is taken over; null while there is nothing to take over. */
  #soonMs: number | null = null;
  /** The newest authority that is not the certificate's; null while it is. */
  #rotatedTo: string | null = null;
  #failures = 0;
  #retryAtMs = 0;
  #askedLast: NodeId | null = null;

  constructor(random: Random, { graceMs, spreadMs }: RotationPace = {}) {
    this.#random = random;
    this.#graceMs = graceMs ?? ROTATION_GRACE_MS;
    this.#spreadMs = spreadMs ?? ROTATION_SPREAD_MS;
  }

  /** What to do now. The same step again until `failed` is told or the situation is another. */
  next({ term, newest, hasKey, managers }: RenewalSituation, nowMs: number): RenewalStep {
    this.#schedule(term, newest, nowMs);
    this.#retryAtMs = Math.min(this.#retryAtMs, nowMs + RETRY.longestMs);
    if (this.#soonMs !== null) this.#soonMs = Math.min(this.#soonMs, nowMs + this.#graceMs + this.#spreadMs);
    const untilMs = Math.max(Math.min(this.#dueMs, this.#soonMs ?? this.#dueMs), this.#retryAtMs);
    if (nowMs < untilMs) return { kind: "wait", untilMs };
    if (hasKey) return { kind: "issue" };
    if (nowMs > term.notAfterMs) return { kind: "ended" };
    const others = managers.filter((id) => id !== this.#askedLast);
    const manager = pick(this.#random, others.length === 0 ? managers : others);
    return manager === undefined
      ? { kind: "wait", untilMs: nowMs + RETRY.firstMs }
      : { kind: "ask", manager };
  }

  /** The step that was asked for did not succeed. @param manager  who was asked; null when it was this node */
  failed(manager: NodeId | null, nowMs: number): void {
    this.#askedLast = manager;
    this.#retryAtMs = nowMs + backoffMs(RETRY, this.#failures, this.#random);
    this.#failures += 1;
  }

  #schedule(term: Term, newest: string, nowMs: number): void {
    const before = this.#term;
    const isNew =
      before === null || before.notAfterMs !== term.notAfterMs || before.issuedAtMs !== term.issuedAtMs;
    if (isNew || before.issuer !== term.issuer) {
      const lifeMs = term.notAfterMs - term.issuedAtMs;
      this.#term = term;
      this.#dueMs = term.issuedAtMs + lifeMs * (EARLIEST + (LATEST - EARLIEST) * this.#random());
      this.#rotatedTo = null;
      this.#soonMs = null;
      this.#failures = 0;
      this.#retryAtMs = 0;
      this.#askedLast = null;
    }
    if (newest === term.issuer || newest === this.#rotatedTo) return;
    this.#rotatedTo = newest;
    const soonMs = nowMs + this.#graceMs + this.#spreadMs * this.#random();
    this.#soonMs = Math.min(this.#soonMs ?? soonMs, soonMs);
  }
}
