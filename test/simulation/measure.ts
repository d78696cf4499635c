/**
 * Measure: how long news takes, how often it travels, and what it costs.
 *
 * A watch asks of each new view whether it shows something: a change, a death, a return. Hosts that stop meanwhile do
 * not count. Copies are writes of a watched change that came in a delta, for each node that was to learn it.
 */

import type { NodeId } from "../../src/model/ids.ts";
import type { View } from "../../src/model/view.ts";
import type { Effects, Input } from "../../src/step.ts";

import type { Simulation } from "./engine.ts";
import type { Host } from "./host.ts";
import type { Observer } from "./observer.ts";
import { deltasOf } from "./wire.ts";

/** What a watch waits for, in whose views. */
export interface Wanted {
  readonly shows: (view: View, host: Host) => boolean;
  readonly among: readonly Host[];
  /** The owner whose writes of this moment are counted as copies; null for none. */
  readonly owner: Host | null;
}

/** Something that views are to show; `seenMs` grows as they do. */
export interface Watch {
  readonly startedAtMs: number;
  /** Time until it was shown, by host. */
  readonly seenMs: Map<Host, number>;
  readonly waiting: Set<Host>;
  /** Null until all that still run have shown it. */
  doneMs: number | null;
}

/** Copies that come later than this are those of a repair or of a newcomer. */
const COUNTED_FOR_MS = 3000;

interface Counted {
  readonly untilMs: number;
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly from: number;
  readonly to: number;
  readonly receivers: ReadonlySet<Host>;
  copies: number;
}

/** Counts what is sent and watches for what is seen. */
export class Meter implements Observer {
  messages = 0;
  bytes = 0;
  readonly messagesByKind = new Map<string, number>();
  readonly bytesByKind = new Map<string, number>();
  readonly #sim: Simulation;
  readonly #open = new Map<Watch, Wanted>();
  readonly #counted: Counted[] = [];
  #copies = 0;
  #learners = 0;

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  /** Copies of a write that each receiving node got, over all changes counted so far; null for none. */
  get copiesPerChange(): number | null {
    this.settle();
    return this.#learners === 0 ? null : this.#copies / this.#learners;
  }

  /** Begins to watch, from this moment on. The change itself is made by `act`. */
  watch(wanted: Wanted, act: () => void): Watch {
    const watch: Watch = {
      startedAtMs: this.#sim.nowMs,
      seenMs: new Map(),
      waiting: new Set(wanted.among),
      doneMs: null,
    };
    const before = versionOf(wanted.owner);
    act();
    const { owner } = wanted;
    const after = versionOf(owner);
    if (owner !== null && before !== null && after !== null && before.incarnation === after.incarnation) {
      const { incarnation, version } = after;
      const untilMs = this.#sim.nowMs + COUNTED_FOR_MS;
      const span = { untilMs, owner: owner.id, incarnation, from: before.version, to: version };
      const receivers = new Set(wanted.among.filter((host) => host !== owner));
      this.#counted.push({ ...span, receivers, copies: 0 });
    }
    this.#open.set(watch, wanted);
    for (const host of wanted.among) this.#look(watch, wanted, host);
    return watch;
  }

  /** Ends the count of copies of the changes whose time is up; of all when nothing is told. */
  settle(nowMs = Number.POSITIVE_INFINITY): void {
    for (
      let first = this.#counted[0];
      first !== undefined && first.untilMs <= nowMs;
      first = this.#counted[0]
    ) {
      this.#counted.shift();
      this.#copies += first.copies;
      this.#learners += (first.to - first.from) * first.receivers.size;
    }
  }

  /** Counts copies anew. */
  forgetCopies(): void {
    this.#counted.length = 0;
    this.#copies = 0;
    this.#learners = 0;
  }

  /** Ends a watch that is not done. */
  stop(watch: Watch): void {
    this.#open.delete(watch);
  }

  /** Starts the sums of messages and bytes anew. */
  reset(): void {
    this.messages = 0;
    this.bytes = 0;
    this.messagesByKind.clear();
    this.bytesByKind.clear();
  }

  stepped(host: Host, input: Input, effects: Effects): void {
    for (const { frame, kind } of effects.send) {
      this.messages += 1;
      this.bytes += frame.byteLength;
      this.messagesByKind.set(kind, (this.messagesByKind.get(kind) ?? 0) + 1);
      this.bytesByKind.set(kind, (this.bytesByKind.get(kind) ?? 0) + frame.byteLength);
    }
    if (this.#counted.length > 0 && input.kind === "frame") this.#count(host, input.frame);
    if (this.#open.size === 0 || effects.view === host.view) return;
    for (const [watch, wanted] of this.#open) {
      if (watch.waiting.has(host)) this.#look(watch, wanted, host, effects.view);
    }
  }

  #count(host: Host, frame: Uint8Array): void {
    this.settle(this.#sim.nowMs);
    for (const { owner, incarnation, writes } of deltasOf(frame)) {
      for (const counted of this.#counted) {
        if (counted.owner !== owner || counted.incarnation !== incarnation || !counted.receivers.has(host))
          continue;
        const { from, to } = counted;
        counted.copies += writes.filter(({ version }) => version > from && version <= to).length;
      }
    }
  }

  // oxlint-disable-next-line max-params -- a watch, what it waits for, and where
  #look(watch: Watch, wanted: Wanted, host: Host, view: View | null = host.node?.view ?? null): void {
    if (view === null || !wanted.shows(view, host)) return;
    watch.waiting.delete(host);
    watch.seenMs.set(host, this.#sim.nowMs - watch.startedAtMs);
    this.#finish(watch);
  }

  /** Drops hosts that do not run any more; to be called where some may have stopped. */
  drop(isOut: (host: Host) => boolean): void {
    for (const watch of this.#open.keys()) {
      for (const host of watch.waiting) if (isOut(host)) watch.waiting.delete(host);
      this.#finish(watch);
    }
  }

  #finish(watch: Watch): void {
    if (watch.waiting.size > 0) return;
    watch.doneMs = Math.max(0, ...watch.seenMs.values());
    this.#open.delete(watch);
  }
}

function versionOf(owner: Host | null): { incarnation: number; version: number } | null {
  const log = owner?.logs.get(owner.id);
  return log === undefined ? null : { incarnation: log.incarnation, version: log.version };
}

/** The value below which a part of all lies (nearest rank); null for none. */
export function percentile(values: readonly number[], part: number): number | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(part * sorted.length) - 1))] ?? null;
}

/** Percentiles of times in milliseconds; null where nothing was measured. */
export interface Percentiles {
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

/** Sums up times. */
export function percentilesOf(values: readonly number[]): Percentiles {
  const at = (part: number): number | null => {
    const value = percentile(values, part);
    return value === null ? null : Math.round(value * 10) / 10;
  };
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}
