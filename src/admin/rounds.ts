/**
 * Rounds: which members are asked for their traffic, and when.
 *
 * While somebody wants to know of the whole cluster, each member is asked each second; of many only so many are, and
 * each one every few seconds. A member that has not looked yet says so and begins, so it is asked again as soon as it
 * has something to tell, before all others: else it would have stopped by its next turn. What a member told counts
 * until it should have told anew; who did not answer when asked last is silent.
 *
 * Pure. daemon/traffic.ts asks.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { HostTraffic } from "./rates.ts";

/** How a member answered: with its traffic, that it has none yet, or not at all. */
export type RoundAnswer = HostTraffic | "not yet" | "silent";

/** From question to question; a little less than a second, as a timer may be early. */
const EACH_MS = 950;
/** A window, and a little for the way. */
const NOT_YET_MS = 1050;
/** For how much longer than it takes to come round what was told still counts. */
const SLACK_MS = 1500;

interface Turn {
  askedAtMs: number;
  /** When it may be asked again; Infinity while it is being asked. */
  dueAtMs: number;
  isBeginning: boolean;
  isSilent: boolean;
  told: { readonly traffic: HostTraffic; readonly atMs: number } | null;
}

/** Whose turn it is. */
export class Rounds {
  readonly #turnById = new Map<NodeId, Turn>();
  /** When the last ones were asked. */
  #askedAtMs: readonly number[] = [];

  /** True while somebody who is asked has not told anything yet, and may still. */
  get isBeginning(): boolean {
    const isOpen = ({ told, isSilent }: Turn): boolean => told === null && !isSilent;
    return [...this.#turnById.values()].some(isOpen);
  }

  /** The members to ask now, of those that there are; each is then to be told of by `answered`. */
  due(members: readonly NodeId[], nowMs: number): readonly NodeId[] {
    const there = new Set(members);
    for (const id of this.#turnById.keys()) if (!there.has(id)) this.#turnById.delete(id);
    for (const id of members) {
      if (!this.#turnById.has(id))
        this.#turnById.set(id, { askedAtMs: 0, dueAtMs: 0, isBeginning: false, isSilent: false, told: null });
    }
    this.#askedAtMs = this.#askedAtMs.filter((atMs) => nowMs - atMs < EACH_MS);
    const room = LIMITS.trafficAskedPerSecond - this.#askedAtMs.length;
    const due = [...this.#turnById].filter(([, { dueAtMs }]) => dueAtMs <= nowMs);
    due.sort(([, one], [, other]) => rankOf(one) - rankOf(other) || one.dueAtMs - other.dueAtMs);
    const asked = due.slice(0, room);
    for (const [, turn] of asked) {
      turn.askedAtMs = nowMs;
      turn.dueAtMs = Infinity;
    }
    this.#askedAtMs = [...this.#askedAtMs, ...asked.map(() => nowMs)];
    return asked.map(([id]) => id);
  }

  /** Told how one that was asked answered. */
  answered(id: NodeId, answer: RoundAnswer, nowMs: number): void {
    const turn = this.#turnById.get(id);
    if (turn === undefined) return;
    turn.isBeginning = answer === "not yet";
    turn.isSilent = answer === "silent";
    turn.dueAtMs = turn.isBeginning ? nowMs + NOT_YET_MS : turn.askedAtMs + EACH_MS;
    if (typeof answer !== "string") turn.told = { traffic: answer, atMs: nowMs };
  }

  /** What counts now. */
  told(nowMs: number): {
    readonly hosts: ReadonlyMap<NodeId, HostTraffic>;
    readonly silent: readonly NodeId[];
  } {
    const hosts = new Map<NodeId, HostTraffic>();
    const silent: NodeId[] = [];
    // Twice: a member that had stopped looking is asked again.
    const roundMs = Math.ceil((2 * this.#turnById.size) / LIMITS.trafficAskedPerSecond) * 1000;
    for (const [id, { told, isSilent }] of this.#turnById) {
      if (isSilent) silent.push(id);
      else if (told !== null && nowMs - told.atMs <= roundMs + SLACK_MS) hosts.set(id, told.traffic);
    }
    return { hosts, silent };
  }

  /** Forgets all: nobody wants to know. */
  clear(): void {
    this.#turnById.clear();
    this.#askedAtMs = [];
  }
}

function rankOf({ isBeginning }: Turn): number {
  return isBeginning ? 0 : 1;
}
