/**
 * Outlier: which upstreams has this proxy lately failed to get an answer from?
 *
 * A failed connect is news that is seconds older in gossip, so the proxy acts on it at once and alone: the upstream is
 * ejected for 1 s, doubling with each further failure up to 30 s. That is a private opinion with an expiry. It is
 * never gossiped: another host may reach the replica well, and only the owner and the membership decide eligibility.
 *
 * An ejection that has expired is checked by a probe of ours (readmission.ts), so no client pays for finding out. An
 * upstream that is back is remembered for half a minute: one that fails again and again would otherwise be tried by a
 * client every second for ever. Evidence counts from when the attempt was sent: what was under way when an upstream
 * was ejected, or was sent before it came back, says nothing new.
 *
 * Pure. Time comes as an argument; ejections beyond the bound push out the oldest.
 */

import { LIMITS } from "../../model/limits.ts";

import { versionOf, type Upstream } from "../routes.ts";
import { Streaks } from "./streaks.ts";

const FIRST_MS = 1000;
const LONGEST_MS = 30_000;
/** How long an upstream must be back without a failure until its ejections are forgotten. */
const FORGIVEN_MS = 30_000;

/**
 * Why an upstream is ejected: it took no connection; it did not answer in time; its answers were errors; it broke
 * answers off.
 */
export type EjectionReason = "connect" | "late" | "errors" | "broken";

/**
 * How to find out whether an upstream is back: by a connection, by a request, or, where neither can tell, by the next
 * client's attempt.
 */
export type Recheck = "connect" | "request" | "none";

/** A failure that is reason enough to leave an upstream alone. */
export interface Fault {
  readonly reason: EjectionReason;
  readonly recheck: Recheck;
  /** When the attempt that failed was sent, Unix milliseconds. */
  readonly sentAtMs: number;
  readonly nowMs: number;
}

interface Ejection {
  readonly version: string;
  readonly reason: EjectionReason;
  readonly recheck: Recheck;
  /** `checking`: the time is over, and a probe is finding out; `back`: in use again, not yet forgotten. */
  readonly phase: "out" | "checking" | "back";
  readonly failedAtMs: number;
  /** Until when it is out; when it came back, once it is. */
  readonly untilMs: number;
  readonly durationMs: number;
  /** A probe of ours has failed since. */
  readonly isConfirmed: boolean;
}

/** The ejections of one proxy. */
export class Ejections {
  readonly streaks = new Streaks();
  readonly #ejectionById = new Map<string, Ejection>();
  readonly #onChanged: () => void;
  /** How many of them are not back. */
  #outCount = 0;

  /** @param onChanged  called when one more or one less is left alone */
  constructor(onChanged: () => void = () => undefined) {
    this.#onChanged = onChanged;
  }

  /** True while the upstream should be left alone. */
  isEjected(id: string): boolean {
    if (this.#outCount === 0) return false;
    const ejection = this.#ejectionById.get(id);
    return ejection !== undefined && ejection.phase !== "back";
  }

  /** True when no upstream is ejected. */
  get isEmpty(): boolean {
    return this.#outCount === 0;
  }

  /** When an upstream that is or was ejected last failed, Unix milliseconds; 0 when it is not remembered. */
  failedAtMs(id: string): number {
    return this.#ejectionById.get(id)?.failedAtMs ?? 0;
  }

  /**
   * Ejects an upstream.
   *
   * For silence it is a suspicion, since a request may take long by itself: so it is probed at once, and out for no
   * longer than that takes if it is well. Silent again, without an answer to anybody in between, it is out for longer.
   *
   * @returns true when it became ejected anew; false when it was already, or the failure is older than its return
   */
  failed(upstream: Upstream, { reason, recheck, sentAtMs, nowMs }: Fault): boolean {
    const { id } = upstream;
    const known = this.#ejectionById.get(id);
    if (known !== undefined && known.phase !== "back") {
      this.#put(id, { ...known, failedAtMs: nowMs });
      return false;
    }
    if (known !== undefined && sentAtMs < known.untilMs) return false;
    const isForgiven = known === undefined || nowMs - known.untilMs >= FORGIVEN_MS;
    const durationMs = durationOf(reason, isForgiven ? null : known);
    const times = { failedAtMs: nowMs, untilMs: nowMs + durationMs, durationMs };
    const version = versionOf(upstream);
    this.streaks.end(id);
    // As the newest one, for the bound.
    this.#drop(id);
    this.#put(id, { version, reason, recheck, phase: "out", isConfirmed: false, ...times });
    this.#bound();
    return true;
  }

  /** Why an upstream is left alone; null when it is not. */
  reasonOf(id: string): EjectionReason | null {
    const known = this.#outCount === 0 ? undefined : this.#ejectionById.get(id);
    return known === undefined || known.phase === "back" ? null : known.reason;
  }

  /** True of an upstream that is ejected for silence and has not answered a probe of ours either. */
  isHung(id: string): boolean {
    return this.reasonOf(id) === "late" && this.#ejectionById.get(id)?.isConfirmed === true;
  }

  /** Told that an upstream has answered a client, however badly and whenever asked: it was not silent, but slow. */
  answered(id: string): void {
    if (this.#ejectionById.size > 0 && this.#ejectionById.get(id)?.reason === "late") this.#drop(id);
  }

  /** Told that a client's attempt has gone well: an ejected upstream is back, unless it failed since then. */
  succeeded(id: string, { sentAtMs, nowMs }: Pick<Fault, "sentAtMs" | "nowMs">): void {
    if (this.#outCount === 0) return;
    const known = this.#ejectionById.get(id);
    if (known === undefined || known.phase === "back" || sentAtMs < known.failedAtMs) return;
    this.#put(id, { ...known, phase: "back", untilMs: nowMs });
  }

  /**
   * Takes back an ejection for being late: whoever said so has not found anybody faster. Not one that a probe of ours
   * has confirmed, since that did not depend on what was asked for.
   */
  acquit(id: string): void {
    const known = this.#ejectionById.get(id);
    if (known?.reason === "late" && !known.isConfirmed) this.#drop(id);
  }

  /**
   * The upstreams to be probed now, at most `countMax`: their time is over. Each is given out once, and waits for
   * `checked`. What cannot be probed is back by itself, and what was forgiven is forgotten.
   */
  due(nowMs: number, countMax: number): readonly { readonly id: string; readonly recheck: Recheck }[] {
    const due: { readonly id: string; readonly recheck: Recheck }[] = [];
    for (const [id, ejection] of this.#ejectionById) {
      const { phase, recheck, untilMs } = ejection;
      if (phase === "back" && nowMs - untilMs >= FORGIVEN_MS) this.#drop(id);
      if (phase !== "out" || nowMs < untilMs) continue;
      if (recheck === "none") this.#put(id, { ...ejection, phase: "back", untilMs: nowMs });
      else if (due.length < countMax) {
        this.#put(id, { ...ejection, phase: "checking" });
        due.push({ id, recheck });
      }
    }
    return due;
  }

  /**
   * Told how a probe went; means nothing when the upstream is not waiting for it any more.
   *
   * @param outcome  `unknown`: this host could not find out; asked again in as long as the ejection took, or a second
   */
  checked(id: string, outcome: "passed" | "failed" | "unknown", nowMs: number): void {
    const known = this.#ejectionById.get(id);
    if (known?.phase !== "checking") return;
    if (outcome === "passed") {
      this.#put(id, { ...known, phase: "back", untilMs: nowMs });
      return;
    }
    const isFailure = outcome === "failed";
    const durationMs = isFailure ? longer(known.durationMs) : Math.max(known.durationMs, FIRST_MS);
    const failedAtMs = isFailure ? nowMs : known.failedAtMs;
    const isConfirmed = isFailure || known.isConfirmed;
    const times = { failedAtMs, durationMs, untilMs: nowMs + durationMs };
    this.#put(id, { ...known, phase: "out", isConfirmed, ...times });
  }

  /**
   * Forgets every upstream that has left, or lives anew at another address. One that was found eligible since it
   * failed is due for its probe at once: its owner's word is newer than ours.
   *
   * @param find  the upstream as it is now, and whether it is eligible; null when it is in no pool
   */
  keepOnly(find: (id: string) => { readonly upstream: Upstream; readonly isEligible: boolean } | null): void {
    this.streaks.keepOnly((id) => find(id) !== null);
    for (const [id, ejection] of this.#ejectionById) {
      const found = find(id);
      if (found === null || versionOf(found.upstream) !== ejection.version) this.#drop(id);
      else if (ejection.phase === "out" && found.isEligible && found.upstream.sinceMs > ejection.failedAtMs)
        this.#put(id, { ...ejection, untilMs: Math.min(ejection.untilMs, found.upstream.sinceMs) });
    }
  }

  /** The upstreams that are ejected now, with when that ends at the earliest, Unix milliseconds. */
  get current(): readonly {
    readonly id: string;
    readonly untilMs: number;
    readonly reason: EjectionReason;
  }[] {
    return [...this.#ejectionById]
      .filter(([, { phase }]) => phase !== "back")
      .map(([id, { untilMs, reason }]) => ({ id, untilMs, reason }));
  }

  #put(id: string, ejection: Ejection): void {
    const more = countOut(ejection) - countOut(this.#ejectionById.get(id));
    this.#ejectionById.set(id, ejection);
    this.#count(more);
  }

  #drop(id: string): void {
    const less = countOut(this.#ejectionById.get(id));
    this.#ejectionById.delete(id);
    this.#count(-less);
  }

  #count(more: number): void {
    if (more === 0) return;
    this.#outCount += more;
    this.#onChanged();
  }

  #bound(): void {
    const oldest = this.#ejectionById.keys().next();
    if (this.#ejectionById.size > LIMITS.ejectionsMax && oldest.done !== true) this.#drop(oldest.value);
  }
}

/** How long an upstream is out until it is probed, milliseconds. */
function durationOf(reason: EjectionReason, known: Ejection | null): number {
  if (reason === "late" && known?.reason !== "late") return 0;
  return known === null ? FIRST_MS : longer(known.durationMs);
}

function longer(durationMs: number): number {
  return Math.max(FIRST_MS, Math.min(LONGEST_MS, durationMs * 2));
}

function countOut(ejection: Ejection | undefined): number {
  return ejection === undefined || ejection.phase === "back" ? 0 : 1;
}
