/**
 * Dialer: which addresses to dial, and when.
 *
 * Addresses come from the configuration (seeds), from disk (known from an earlier run) and from members' records. An
 * address that fails is tried again with a doubling, jittered wait. In a small cluster the wait stays within a second,
 * so that a healed partition is found at once; beyond 24 members thousands of hosts must not knock each second at
 * one that is down, so it grows to half a minute. A member may have several addresses (a seed is often a DNS name);
 * while it is linked none of them is dialled.
 *
 * Pure.
 */

import { backoffMs, type BackoffRange } from "../base/backoff.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import type { Random } from "../base/random.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Linked } from "./links.ts";

/** Up to this many addresses the redial wait stays short. */
const SMALL_CLUSTER = 24;
const SMALL: BackoffRange = { firstMs: 100, longestMs: 1000 };
const LARGE: BackoffRange = { firstMs: 500, longestMs: 30_000 };

interface Target {
  readonly address: HostPort;
  readonly isSeed: boolean;
  /** Who answered there last; null before the first hello. */
  member: NodeId | null;
  failures: number;
  nextAtMs: number;
  dialling: boolean;
  tried: boolean;
}

/** Keeps the addresses and their next attempts. An address is known by its text, `host:port`. */
export class Dialer {
  readonly #targets = new Map<string, Target>();
  /** Addresses that turned out to be this node's own. */
  readonly #own = new Set<string>();
  readonly #random: Random;

  constructor(seeds: readonly HostPort[], random: Random) {
    this.#random = random;
    for (const address of seeds) this.#add(address, { isSeed: true });
  }

  /** Adds an address; one that is there already keeps its schedule. Past the bound of members it is not taken. */
  add(address: HostPort): void {
    if (this.#targets.size >= LIMITS.ownersMax) return;
    this.#add(address, { isSeed: false });
  }

  /** Drops an address that no member has any more; seeds stay for ever. */
  drop(address: HostPort): void {
    const key = renderHostPort(address);
    if (this.#targets.get(key)?.isSeed === false) this.#targets.delete(key);
  }

  /** Never dials this address again: it leads back here. */
  own(address: HostPort): void {
    const key = renderHostPort(address);
    this.#targets.delete(key);
    this.#own.add(key);
  }

  /** A member said hello at this address. */
  leadsTo(address: HostPort, member: NodeId): void {
    const target = this.#targets.get(renderHostPort(address));
    if (target !== undefined) target.member = member;
  }

  /** Makes the next attempt due at once: the link to it was lost this moment. */
  hurry(address: HostPort, nowMs: number): void {
    const target = this.#targets.get(renderHostPort(address));
    if (target === undefined) return;
    target.failures = 0;
    target.nextAtMs = nowMs;
  }

  /** Notes that a dial ended, in a link or not. */
  settled(address: HostPort, outcome: "linked" | "failed", nowMs: number): void {
    const target = this.#targets.get(renderHostPort(address));
    if (target === undefined) return;
    target.dialling = false;
    target.tried = true;
    target.failures = outcome === "linked" ? 0 : target.failures + 1;
    const range = this.#targets.size <= SMALL_CLUSTER ? SMALL : LARGE;
    target.nextAtMs = nowMs + backoffMs(range, Math.max(0, target.failures - 1), this.#random);
  }

  /** The addresses to dial now; each counts as being dialled until it is settled. */
  due(linked: Linked, nowMs: number): HostPort[] {
    const due: HostPort[] = [];
    for (const [key, target] of this.#targets) {
      if (target.dialling || target.nextAtMs > nowMs || linked.addresses.has(key)) continue;
      if (target.member !== null && linked.members.has(target.member)) continue;
      target.dialling = true;
      due.push(target.address);
    }
    return due;
  }

  /** True when every address has been dialled to an end at least once; true when there is none. */
  get triedAll(): boolean {
    return Array.from(this.#targets.values()).every(({ tried }) => tried);
  }

  /** Every address known, to be kept on disk. */
  get addresses(): readonly HostPort[] {
    return Array.from(this.#targets.values(), ({ address }) => address);
  }

  #add(address: HostPort, { isSeed }: { isSeed: boolean }): void {
    const key = renderHostPort(address);
    if (this.#own.has(key) || this.#targets.has(key)) return;
    const schedule = { failures: 0, nextAtMs: 0, dialling: false, tried: false };
    this.#targets.set(key, { address, isSeed, member: null, ...schedule });
  }
}
