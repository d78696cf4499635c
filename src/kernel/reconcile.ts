/**
 * Reconcile: makes the kernel match the newest picture, part by part, and keeps it so.
 *
 * Views come many times a second and a change costs milliseconds, so what comes within a moment is one change, and only
 * the newest counts. Parts go in the order in which they lean on each other. One that fails altogether is tried again
 * after longer and longer pauses, and meanwhile nothing is sent over the networks that lean on it. Rules that cannot be
 * changed any more are taken away, for rules of yesterday send traffic to what is gone; everything then arrives at the
 * proxy's listeners. Every half a minute all is read back, as somebody else may have changed it.
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
import type { Applied, KernelPart } from "./part.ts";

/** A part together with its plan. */
export interface PlannedPart {
  readonly name: "wireguard" | "links" | "rules";
  /** Networks that it could not make when it was last called. */
  readonly broken: ReadonlySet<string>;
  apply(given: KernelGiven, options: { readonly mayRemove: boolean }): Promise<Applied>;
  repair(): Promise<Applied>;
  remove(): Promise<Applied>;
}

/** Puts a part and its plan together. */
export function planned<Desired>(
  name: PlannedPart["name"],
  plan: (given: KernelGiven) => Desired,
  part: KernelPart<Desired> & { readonly broken?: ReadonlySet<string> },
): PlannedPart {
  return {
    name,
    get broken() {
      return part.broken ?? NONE;
    },
    apply: (given, options) => part.apply(plan(given), options),
    repair: () => part.repair(),
    remove: () => part.remove(),
  };
}

/** What the kernel does for us at the moment. */
export interface KernelState {
  readonly mode: "kernel" | "proxy";
  /** Why it is the proxy; empty for the kernel. */
  readonly reason: string;
  /** The overlay networks whose links are up; null before the first change set. */
  readonly carried: ReadonlySet<string> | null;
}

/** What is known at a moment. */
export interface Gathered {
  readonly given: KernelGiven;
  /** False while not all is known: nothing is taken away then. */
  readonly mayRemove: boolean;
}

/** What a reconciler needs. */
export interface ReconcileOptions {
  /** In the order in which they are to be made; `rules` is the last. */
  readonly parts: readonly PlannedPart[];
  /** The newest picture, asked for when there is time for it; null while nothing may be done yet. */
  readonly gather: () => Gathered | null;
  readonly log: Log;
  readonly random: Random;
  /** Told after each change of the state. */
  readonly onState: (state: KernelState) => void;
  /** Told of each change set: how long it took, milliseconds, and whether all parts could be applied. */
  readonly onApplied: (ms: number, isWhole: boolean) => void;
  /** Told of so many things that somebody else had changed. */
  readonly onRepaired: (part: PlannedPart["name"], count: number) => void;
  /** For tests. */
  readonly pace?: Partial<Pace>;
}

/** The waits of a reconciler, milliseconds. */
export interface Pace {
  /** What comes within it is one change. */
  readonly gatherMs: number;
  readonly repairEveryMs: number;
  readonly again: BackoffRange;
}

const PACE: Pace = { gatherMs: 20, repairEveryMs: 30_000, again: { firstMs: 500, longestMs: 30_000 } };

/** Failures in a row after which rules are given up that were right a moment ago: one may be a host under load. */
const PATIENCE = 2;

const NONE: ReadonlySet<string> = new Set();
const NOTHING: Applied = { changes: 0, problems: [] };

/** Opens a reconciler; nothing is touched before the first `note`. */
export function openReconciler(options: ReconcileOptions): Reconciler {
  return new Reconciler(options);
}

/** Makes the kernel match. */
export class Reconciler {
  readonly #options: ReconcileOptions;
  readonly #pace: Pace;
  readonly #rounds: Latest<null>;
  readonly #problemsByPart = new Map<string, readonly string[]>();
  readonly #repairing: NodeJS.Timeout;
  #gathering: NodeJS.Timeout | null = null;
  #again: NodeJS.Timeout | null = null;
  /** True once something was applied: before, there is nothing to compare the kernel with. */
  #hasBegun = false;
  #repairIsDue = false;
  #failures = 0;
  #isClosed = false;
  #state: KernelState = { mode: "kernel", reason: "", carried: null };

  constructor(options: ReconcileOptions) {
    this.#options = options;
    this.#pace = { ...PACE, ...options.pace };
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
    return [...this.#problemsByPart.values()].flat();
  }

  /** To be called whenever the picture changed. */
  note(): void {
    // Who waits to try again looks at the newest then.
    if (this.#isClosed || this.#again !== null) return;
    this.#gathering ??= setTimeout(() => {
      this.#gathering = null;
      this.#rounds.set(null);
    }, this.#pace.gatherMs);
  }

  /** Reads back what is there soon: somebody may have changed it. */
  repairSoon(): void {
    if (this.#isClosed || !this.#hasBegun) return;
    this.#repairIsDue = true;
    if (this.#again === null) this.#rounds.set(null);
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
    for (const timer of [this.#gathering, this.#again]) if (timer !== null) clearTimeout(timer);
    this.#gathering = this.#again = null;
    await this.#rounds.idle();
  }

  /** Closes, and takes away all that is ours, in the reverse order. Never rejects: what is left is in `problems`. */
  async remove(): Promise<Applied> {
    await this.close();
    const removed: Applied[] = [];
    for (const part of this.#options.parts.toReversed()) {
      removed.push(await part.remove().catch((thrown: unknown) => failed(part.name, thrown)));
    }
    return sum(removed);
  }

  async #round(): Promise<void> {
    const gathered = this.#isClosed ? null : this.#options.gather();
    if (gathered === null) return;
    const startedAtMs = performance.now();
    const isRepair = this.#repairIsDue;
    this.#repairIsDue = false;
    this.#hasBegun = true;
    const { given, mayRemove } = gathered;
    const broken = new Set<string>();
    let failure: { readonly part: PlannedPart; readonly thrown: unknown } | null = null;
    for (const part of this.#options.parts) {
      try {
        // Also before a repair: what a plan says may depend on the time (slow start).
        const known = part.name === "rules" ? { ...given, broken } : given;
        const applied = await part.apply(known, { mayRemove });
        const repaired = isRepair ? await part.repair() : NOTHING;
        this.#took(part, sum([applied, repaired]), repaired.changes);
      } catch (thrown) {
        failure = { part, thrown };
        this.#problemsByPart.set(part.name, failed(part.name, thrown).problems);
        for (const name of leaningOn(part, given)) broken.add(name);
      }
      for (const name of part.broken) broken.add(name);
    }
    this.#options.onApplied(performance.now() - startedAtMs, failure === null);
    const carried = new Set(carriedNetworks({ ...given, broken }).keys());
    if (failure === null) this.#succeeded(carried);
    else await this.#failed(failure, carried);
  }

  #took({ name }: PlannedPart, { problems }: Applied, repairCount: number): void {
    const { log, onRepaired } = this.#options;
    if (repairCount > 0) {
      onRepaired(name, repairCount);
      log.warn(`kernel ${name}: ${repairCount} of ours were not as they should be, and are again`);
    }
    const before = this.#problemsByPart.get(name) ?? [];
    for (const text of problems) if (!before.includes(text)) log.warn(`kernel ${name}: ${text}`);
    this.#problemsByPart.set(name, problems);
  }

  #succeeded(carried: ReadonlySet<string>): void {
    this.#failures = 0;
    if (this.#state.mode === "proxy") this.#options.log.info("kernel data plane works again");
    this.#become({ mode: "kernel", reason: "", carried });
  }

  async #failed(
    { part, thrown }: { readonly part: PlannedPart; readonly thrown: unknown },
    carried: ReadonlySet<string>,
  ): Promise<void> {
    const { log, random } = this.#options;
    const text = failed(part.name, thrown).problems.join("; ");
    if (this.#failures === 0) log.warn(`kernel data plane: ${text}`);
    this.#failures += 1;
    const isHopeless = thrown instanceof Failure && ["not-found", "not-allowed"].includes(thrown.code);
    const givesUp = part.name === "rules" && (isHopeless || this.#failures >= PATIENCE);
    if (givesUp && this.#state.mode === "kernel") await this.#giveUp(part, text, carried);
    else this.#become({ ...this.#state, carried });
    if (this.#isClosed) return;
    const waitMs = backoffMs(this.#pace.again, this.#failures - 1, random);
    this.#again = setTimeout(() => {
      this.#again = null;
      this.#rounds.set(null);
    }, waitMs);
  }

  /** The proxy serves all from now on; rules that can still be taken away are. */
  async #giveUp(rules: PlannedPart, reason: string, carried: ReadonlySet<string>): Promise<void> {
    const left = await rules.remove().catch((thrown: unknown) => failed(rules.name, thrown));
    const stale = left.problems.length === 0 ? "" : `; rules of before may be left (${left.problems[0]})`;
    this.#become({ mode: "proxy", reason: `${reason}${stale}`, carried });
    this.#options.log.warn(`the proxy carries all traffic: ${this.#state.reason}`);
  }

  #become(state: KernelState): void {
    const { mode, reason, carried } = this.#state;
    const isSame = mode === state.mode && reason === state.reason;
    if (isSame && isSameSet(carried, state.carried)) return;
    this.#state = state;
    this.#options.onState(state);
  }
}

/** Networks that nothing of another host is to be sent over while this part cannot be changed. */
function leaningOn({ name }: PlannedPart, { view }: KernelGiven): readonly string[] {
  if (name === "rules") return [];
  return view.networks
    .filter(({ encrypted }) => encrypted || name === "links")
    .map((network) => network.name);
}

function isSameSet(one: ReadonlySet<string> | null, other: ReadonlySet<string> | null): boolean {
  if (one === null || other === null) return one === other;
  return one.size === other.size && [...one].every((name) => other.has(name));
}

function failed(name: string, thrown: unknown): Applied {
  return { changes: 0, problems: [`${name} cannot be changed: ${textOf(thrown)}`] };
}

function sum(all: readonly Applied[]): Applied {
  return {
    changes: all.reduce((total, { changes }) => total + changes, 0),
    problems: [...new Set(all.flatMap(({ problems }) => problems))],
  };
}
