/**
 * Waiting: who gives way when as much is under way as may be.
 *
 * A bound that refuses the newcomer is a way to lock others out: whoever asks for names that nobody answers holds what
 * it has for seconds, under however many addresses. So the newcomer always gets in. What has waited for so long that
 * hardly an answer will come goes first; else the oldest of the client that has most. Answers mostly take milliseconds:
 * what is oldest is what nobody answers, even where one client's own queries push each other out.
 *
 * A client is an address, or the /64 of an IPv6 one (base/ip.ts `networkOf`).
 *
 * Pure. Each step costs the same, however many wait.
 */

import { first } from "../../base/first.ts";

/** After so long the usual retries have gone unanswered, too. */
const HOPELESS_MS = 2000;

/** One that waits. */
export interface Entry<T> {
  readonly item: T;
  readonly network: string;
  readonly sinceMs: number;
}

/** All that wait, and whose they are. */
export class Waiting<T> {
  /** The oldest first. */
  readonly #all = new Set<Entry<T>>();
  readonly #byNetwork = new Map<string, Set<Entry<T>>>();
  /** What each network has waiting, by how many these are; no empty sets. */
  readonly #byCount = new Map<number, Set<Set<Entry<T>>>>();
  #most = 0;

  get size(): number {
    return this.#all.size;
  }

  /** The oldest first, as they are now. */
  get all(): readonly Entry<T>[] {
    return [...this.#all];
  }

  /** How many a network has. */
  countOf(network: string): number {
    return this.#byNetwork.get(network)?.size ?? 0;
  }

  /** Time may not go back between calls. */
  add(item: T, network: string, nowMs: number): Entry<T> {
    const entry: Entry<T> = { item, network, sinceMs: nowMs };
    const own = this.#byNetwork.get(network) ?? new Set<Entry<T>>();
    this.#byNetwork.set(network, own);
    this.#leaveRank(own);
    own.add(entry);
    this.#all.add(entry);
    this.#enterRank(own);
    this.#most = Math.max(this.#most, own.size);
    return entry;
  }

  /** It waits no more; harmless when it does not. */
  delete(entry: Entry<T>): void {
    const own = this.#byNetwork.get(entry.network);
    if (!this.#all.delete(entry) || own === undefined) return;
    this.#leaveRank(own);
    own.delete(entry);
    if (own.size === 0) this.#byNetwork.delete(entry.network);
    else this.#enterRank(own);
    // One less at most: what was taken away counts one less now.
    if (!this.#byCount.has(this.#most)) this.#most -= 1;
  }

  /** The oldest of a network. */
  oldestOf(network: string): Entry<T> | null {
    return first(this.#byNetwork.get(network) ?? []);
  }

  /** Who gives way to whoever comes; null while nobody waits. */
  yielding(nowMs: number): Entry<T> | null {
    const oldest = first(this.#all);
    if (oldest === null || nowMs - oldest.sinceMs >= HOPELESS_MS) return oldest;
    const richest = first(this.#byCount.get(this.#most) ?? []);
    return first(richest ?? []);
  }

  #enterRank(own: Set<Entry<T>>): void {
    const rank = this.#byCount.get(own.size) ?? new Set<Set<Entry<T>>>();
    this.#byCount.set(own.size, rank.add(own));
  }

  #leaveRank(own: Set<Entry<T>>): void {
    const rank = this.#byCount.get(own.size);
    rank?.delete(own);
    if (rank?.size === 0) this.#byCount.delete(own.size);
  }
}
