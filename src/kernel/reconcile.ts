/**
 * Reconcile: makes the kernel match the newest picture, part by part, and keeps it so.
 *
 * Views come many times a second and a change costs milliseconds, so what comes within a moment is one change, and only
 * the newest counts. Parts go in the order in which they lean on each other. One that fails altogether is tried again
 * after longer and longer pauses, by itself: the others go on with each change, and nothing is sent over networks that
 * lean on it. Rules that cannot be changed any more are taken away, for rules of yesterday send traffic to what is
 * gone; everything then arrives at the proxy's listeners. Every half a minute all is read back, as somebody else may
 * have changed it.
 *
 * Touches: timers; the kernel, through the parts.
 */

import { backoffMs, type BackoffRange } from "../base/backoff.ts";
import { Failure, textOf } from "../base/failure.ts";
import { latest, type Latest } from "../base/latest.ts";
import type { Random } from "../base/random.ts";
import type { Log } from "../runtime/log.ts";

import { carriedNetworks } from "./carried.ts";
import type { KernelGiven } from "./given.ts";
import { openLag, type Lag } from "./lag.ts";
import { failureText, type PartName, type PlannedPart } from "./planned.ts";

/** What the kernel does for us at the moment. */
export interface KernelState {
  readonly mode: "kernel" | "proxy";
  /** Why it is the proxy; empty for the kernel. */
  readonly reason: string;
  /** The overlay networks that work here, none where no rules are left; null before the first change set. */
  readonly carried: ReadonlySet<string> | null;
  /** True while rules lead traffic: also in mode `proxy`, where those of before cannot be taken away. */
  readonly hasRules: boolean;
}

/** What is known at a moment. */
export interface Gathered {
  readonly given: KernelGiven;
  /** False while not all is known: nothing is taken away then. */
  readonly mayRemove: boolean;
}

/** What came of one round. */
export interface Round {
  readonly ms: number;
  /** Things added, changed and removed. */
  readonly changes: number;
  /** How many parts were tried and failed altogether. */
  readonly failures: number;
}

/** What a reconciler needs. */
export interface ReconcileOptions {
  /** In the order in which they are to be made. */
  readonly parts: readonly PlannedPart[];
  /** The newest picture, asked for when there is time for it; null while nothing may be done yet. */
  readonly gather: () => Gathered | null;
  readonly log: Log;
  readonly random: Random;
  /** Told after each change of the state. */
  readonly onState: (state: KernelState) => void;
  readonly onApplied: (round: Round) => void;
  /** Told of so many things that somebody else had changed. */
  readonly onRepaired: (part: PartName, count: number) => void;
  /** For tests. */
  readonly pace?: Partial<Pace>;
}

/** The waits of a reconciler, milliseconds. */
export interface Pace {
  /** What comes within it is one change. */
  readonly gatherMs: number;
  readonly repairEveryMs: number;
  readonly again: BackoffRange;
  /** For how long at most it is said that the kernel is behind: somebody waits for it to stop a replica. */
  readonly behindMs: number;
  /** For how long at most a close waits for what is under way: a program may hang, and a stop has ten seconds. */
  readonly closeMs: number;
}

const PACE: Pace = {
  gatherMs: 20,
  repairEveryMs: 30_000,
  again: { firstMs: 500, longestMs: 30_000 },
  behindMs: 2000,
  closeMs: 2000,
};

/** Failures in a row after which a part is given up that was right a moment ago: one may be a host under load. */
const PATIENCE = 2;

const NONE: ReadonlySet<string> = new Set();

/** How a part stands: each fails, waits and works again by itself. */
interface Standing {
  readonly part: PlannedPart;
  problems: readonly string[];
  /** In a row. */
  failures: number;
  /** Runs while it is not tried; null when it may be. */
  again: NodeJS.Timeout | null;
  /** True once it was made in this life. */
  hasHeld: boolean;
  /** True when it failed in a way that does not pass by itself. */
  isHopeless: boolean;
  repairIsDue: boolean;
}

/** What became of a part in a round. */
interface Turn {
  readonly changes: number;
  /** Why it failed altogether; null where it did not, or was not tried. */
  readonly failure: unknown;
  readonly isMade: boolean;
}

/** Opens a reconciler; nothing is touched before the first `note`. */
export function openReconciler(options: ReconcileOptions): Reconciler {
  return new Reconciler(options);
}

/** Makes the kernel match. */
export class Reconciler {
  readonly #options: ReconcileOptions;
  readonly #pace: Pace;
  readonly #rounds: Latest<null>;
  readonly #standings: readonly Standing[];
  readonly #repairing: NodeJS.Timeout;
  readonly #lag: Lag;
  #gathering: NodeJS.Timeout | null = null;
  /** True once something was applied: before, there is nothing to compare the kernel with. */
  #hasBegun = false;
  #isClosed = false;
  #state: KernelState = { mode: "kernel", reason: "", carried: null, hasRules: true };

  constructor(options: ReconcileOptions) {
    this.#options = options;
    this.#pace = { ...PACE, ...options.pace };
    this.#lag = openLag(this.#pace.behindMs);
    this.#standings = options.parts.map((part) => {
      const yet = { hasHeld: false, isHopeless: false, repairIsDue: false };
      return { part, problems: [], failures: 0, again: null, ...yet };
    });
    this.#rounds = latest(
      () => this.#round(),
      (thrown) => options.log.error(`kernel data plane: ${textOf(thrown)}`),
    );
    this.#repairing = setInterval(() => this.repairSoon(), this.#pace.repairEveryMs);
    this.#repairing.unref();
  }

  get state(): KernelState {
    return this.#state;
  }

  /** What could not be done, with a remedy each. */
  get problems(): readonly string[] {
    return [...new Set(this.#standings.flatMap(({ problems }) => problems))];
  }

  /** To be called whenever the picture changed. */
  note(): void {
    if (this.#isClosed) return;
    this.#lag.note();
    this.#gathering ??= setTimeout(() => {
      this.#gathering = null;
      this.#rounds.set(null);
    }, this.#pace.gatherMs);
  }

  /** True while the rules do not follow yet what was noted; not for long, should they not be able to. */
  get isBehind(): boolean {
    return this.#lag.isBehind;
  }

  /** Settles when the rules follow what was noted so far, or it has taken too long. Never rejects. */
  caughtUp(): Promise<void> {
    return this.#lag.caughtUp();
  }

  /** Reads back what is there soon: somebody may have changed it. */
  repairSoon(): void {
    if (this.#isClosed || !this.#hasBegun) return;
    for (const standing of this.#standings) standing.repairIsDue = true;
    this.#rounds.set(null);
  }

  /** Settles when what was noted is applied, as far as it could be. */
  async idle(): Promise<void> {
    while (this.#gathering !== null) {
      await new Promise((resolve) => setTimeout(resolve, this.#pace.gatherMs));
    }
    await this.#rounds.idle();
  }

  /** Changes nothing any more, and leaves all as it is. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#repairing);
    if (this.#gathering !== null) clearTimeout(this.#gathering);
    this.#gathering = null;
    for (const { again } of this.#standings) if (again !== null) clearTimeout(again);
    this.#lag.close();
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, this.#pace.closeMs);
    await Promise.race([this.#rounds.idle(), late.promise]);
    clearTimeout(timer);
  }

  async #round(): Promise<void> {
    const gathered = this.#isClosed ? null : this.#options.gather();
    if (gathered === null) return;
    const startedAtMs = performance.now();
    const begun = this.#lag.begin();
    this.#hasBegun = true;
    const broken = new Set<string>();
    let { given } = gathered;
    let [changes, failures] = [0, 0];
    for (const standing of this.#standings) {
      const { part } = standing;
      // What does not get through Docker's firewall is as good as not forwarded, to all that comes after.
      const known = part.name === "rules" ? { ...given, broken } : given;
      const turn = await this.#turn(standing, { given: known, mayRemove: gathered.mayRemove });
      changes += turn.changes;
      if (turn.failure !== null) failures += 1;
      if (!turn.isMade && isLost(standing)) for (const name of leaningOn(part, given)) broken.add(name);
      for (const name of part.broken) broken.add(name);
      given = narrowed(given, part);
      if (part.name === "rules") await this.#follow(turn, standing, { ...given, broken });
    }
    this.#options.onApplied({ ms: performance.now() - startedAtMs, changes, failures });
    begun.ended(this.#state.mode === "proxy" || this.#standings.every(isInForce));
  }

  /** Makes one part, unless it waits to be tried again or must not be made yet. */
  async #turn(standing: Standing, { given, mayRemove }: Gathered): Promise<Turn> {
    const { part } = standing;
    const waits = standing.again !== null || this.#isAhead(part) || this.#isClosed;
    if (waits) return { changes: 0, failure: null, isMade: false };
    try {
      // Also before a repair: what a plan says may depend on the time (slow start).
      const applied = await part.apply(given, { mayRemove });
      const repaired = standing.repairIsDue ? await part.repair() : null;
      standing.repairIsDue = false;
      standing.failures = 0;
      standing.isHopeless = false;
      standing.hasHeld = true;
      const problems = [...new Set([...applied.problems, ...(repaired?.problems ?? [])])];
      this.#tell(standing, problems, repaired?.changes ?? 0);
      return { changes: applied.changes + (repaired?.changes ?? 0), failure: null, isMade: true };
    } catch (thrown) {
      this.#failed(standing, thrown);
      return { changes: 0, failure: thrown, isMade: false };
    }
  }

  /** Tunnels are made only once what keeps clear packets out of encrypted ones has stood. */
  #isAhead({ name }: PlannedPart): boolean {
    if (name !== "wireguard" && name !== "links") return false;
    return this.#standings.some(({ part, hasHeld }) => part.name === "guard" && !hasHeld);
  }

  #tell(standing: Standing, problems: readonly string[], repairCount: number): void {
    const { log, onRepaired } = this.#options;
    const { name } = standing.part;
    if (repairCount > 0) {
      onRepaired(name, repairCount);
      log.warn(`kernel ${name}: ${repairCount} of ours were not as they should be, and are again`);
    }
    for (const text of problems) if (!standing.problems.includes(text)) log.warn(`kernel ${name}: ${text}`);
    standing.problems = problems;
  }

  #failed(standing: Standing, thrown: unknown): void {
    const { log, random } = this.#options;
    const text = failureText(standing.part.name, thrown);
    if (standing.failures === 0) log.warn(`kernel data plane: ${text}`);
    standing.problems = [text];
    standing.failures += 1;
    standing.isHopeless = thrown instanceof Failure && ["not-found", "not-allowed"].includes(thrown.code);
    if (this.#isClosed) return;
    const waitMs = backoffMs(this.#pace.again, standing.failures - 1, random);
    standing.again = setTimeout(() => {
      standing.again = null;
      this.#rounds.set(null);
    }, waitMs);
  }

  /** The mode follows the rules alone: without them the proxy carries all, whatever else works. */
  async #follow({ failure, isMade }: Turn, rules: Standing, given: KernelGiven): Promise<void> {
    const carried = new Set(carriedNetworks(given).keys());
    if (isMade) {
      if (this.#state.mode === "proxy") this.#options.log.info("kernel data plane works again");
      return this.#become({ mode: "kernel", reason: "", carried, hasRules: true });
    }
    if (failure !== null && (rules.isHopeless || rules.failures >= PATIENCE))
      return await this.#giveUp(rules, given);
    if (this.#state.mode === "kernel") this.#become({ ...this.#state, carried });
  }

  /**
   * The proxy serves all from now on; rules that can still be taken away are. With each failure anew: what took too
   * long may have been done after all. What other hosts would send over the overlay comes to the daemon instead. Not
   * while rules of before cannot be taken away: they go on leading over it, so those networks go on as they were.
   */
  async #giveUp({ part, problems }: Standing, given: KernelGiven): Promise<void> {
    const left = await part.remove().then(
      (removed) => removed.problems,
      (thrown: unknown) => [textOf(thrown)],
    );
    const hasRules = left.length > 0;
    const lost =
      given.bridges.length === 0 ? "" : "; containers of overlay networks reach no outside address";
    const price = hasRules ? `; rules of before may be left (${left[0]})` : lost;
    const reason = `${problems.join("; ")}${price}`;
    const before = this.#state;
    // Of networks that came since, those rules know nothing.
    const known = [...carriedNetworks(given).keys()].filter((name) => before.carried?.has(name) !== false);
    if (this.#isClosed) return;
    this.#become({ mode: "proxy", reason, carried: hasRules ? new Set(known) : NONE, hasRules });
    if (before.reason !== reason) this.#options.log.warn(`the proxy carries all traffic: ${reason}`);
  }

  #become(state: KernelState): void {
    const { mode, reason, carried, hasRules } = this.#state;
    const isSame = mode === state.mode && reason === state.reason && hasRules === state.hasRules;
    if (isSame && isSameSet(carried, state.carried)) return;
    this.#state = state;
    this.#options.onState(state);
  }
}

/** Whether what a part made is not to be relied on: it failed for good, again, or was never made. */
function isLost({ failures, isHopeless, hasHeld }: Standing): boolean {
  return !hasHeld || isHopeless || failures >= PATIENCE;
}

/** Whether a part does not hold up what others are told: only rules lead to replicas. */
function isInForce({ part, failures }: Standing): boolean {
  return part.name !== "rules" || failures === 0;
}

/** What is known after a part: where its packets do not get through, nothing is forwarded. */
function narrowed(given: KernelGiven, { passes }: PlannedPart): KernelGiven {
  const { v4, v6 } = given.forwards;
  if (passes === undefined || ((passes.v4 || !v4) && (passes.v6 || !v6))) return given;
  return { ...given, forwards: { v4: v4 && passes.v4, v6: v6 && passes.v6 } };
}

/** Networks that nothing of another host is to be sent over while this part cannot be changed. */
function leaningOn({ name }: PlannedPart, { view }: KernelGiven): readonly string[] {
  if (name === "rules" || name === "accept") return [];
  return view.networks
    .filter(({ encrypted }) => encrypted || name === "links")
    .map((network) => network.name);
}

function isSameSet(one: ReadonlySet<string> | null, other: ReadonlySet<string> | null): boolean {
  if (one === null || other === null) return one === other;
  return one.size === other.size && [...one].every((name) => other.has(name));
}
