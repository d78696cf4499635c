/**
 * Deaths: who was given up though it lived.
 *
 * A verdict is false when its subject has been up, not stopped, and within reach of the judge (directly or by way of
 * others) for as long as it takes to notice a return. It is no violation: at a price in bandwidth and in time to detect
 * real deaths there will be fewer, and lossy networks are what the count is for.
 */

import type { NodeId } from "../../src/model/ids.ts";
import type { Effects, Input } from "../../src/step.ts";

import type { Simulation } from "./engine.ts";
import type { Host } from "./host.ts";
import type { Observer } from "./observer.ts";

/** A host that was away is back in everybody's eyes by then. */
const SETTLED_MS = 5000;

/** One false verdict. */
export interface FalseDeath {
  readonly atMs: number;
  readonly judge: string;
  readonly subject: string;
}

/** Counts verdicts against the living. */
export class DeathCount implements Observer {
  readonly found: FalseDeath[] = [];
  readonly #sim: Simulation;
  readonly #deadByHost = new Map<Host, Set<NodeId>>();
  /** When each host was last not up, or not reached by another, as far as faults told. */
  readonly #troubledAtMs = new Map<Host, number>();

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  /** A fault touches these hosts now: what is thought of them in the next seconds is not held against anybody. */
  excuse(hosts: readonly Host[]): void {
    for (const host of hosts) this.#troubledAtMs.set(host, this.#sim.nowMs);
  }

  started(host: Host): void {
    this.#deadByHost.set(host, new Set());
  }

  stepped(host: Host, _input: Input, { view }: Effects): void {
    if (view === host.view) return;
    const dead = this.#deadByHost.get(host);
    if (dead === undefined) return;
    for (const { id, state } of view.members) {
      if (state !== "dead") dead.delete(id);
      else if (!dead.has(id)) {
        dead.add(id);
        this.#judge(host, id);
      }
    }
  }

  #judge(judge: Host, id: NodeId): void {
    const subject = this.#sim.hosts.find((host) => host.id === id);
    if (subject === undefined || !this.#isWell(subject) || !this.#isWell(judge)) return;
    if (!this.#areJoined(judge, subject)) return;
    this.found.push({ atMs: this.#sim.nowMs, judge: judge.name, subject: subject.name });
  }

  /** True when packets pass both ways between two hosts, or between each of them and some third one. */
  #areJoined(one: Host, other: Host): boolean {
    const { network, running } = this.#sim;
    const meet = (a: Host, b: Host): boolean => network.reaches(a, b) && network.reaches(b, a);
    return meet(one, other) || running.some((third) => meet(one, third) && meet(third, other));
  }

  #isWell(host: Host): boolean {
    const now = this.#sim.nowMs;
    const sinceMs = Math.max(host.startedAtMs, this.#troubledAtMs.get(host) ?? Number.NEGATIVE_INFINITY);
    return host.isRunning && !host.isLeaving && !host.isPaused && now - sinceMs > SETTLED_MS;
  }
}
