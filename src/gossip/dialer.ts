/**
 * Dialer: which addresses to dial, and when.
 *
 * There are two reasons to dial. A member that should be linked is dialled until it is, with short waits. And an
 * address behind which nobody is known to live is a stray: a seed, one kept on disk, one of a dead member. Strays are
 * how a node finds its cluster, and how the halves of a partition find each other again. Where they are few each is
 * tried every second, so that a healed partition is found at once; where they are many, thousands of hosts must not
 * knock each second at all that are down, so each node tries one a second, by chance (chitchat's rule: the chance is
 * the share of the missing). A node that knows nobody yet tries them all, some at a time.
 *
 * A member may have several addresses (a seed is often a DNS name); while it lives none of them is a stray. An address
 * that answers and refuses to talk is left alone for longer each time.
 *
 * Pure.
 */

import { backoffMs, type BackoffRange } from "../base/backoff.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import { pick, type Random } from "../base/random.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

/** Up to this many addresses each stray is tried on its own schedule. */
const FEW = 32;
const SHORT: BackoffRange = { firstMs: 100, longestMs: 1000 };
const LONG: BackoffRange = { firstMs: 500, longestMs: 30_000 };
const STRAY_EVERY_MS = 1000;

interface Target {
  readonly address: HostPort;
  readonly isSeed: boolean;
  /** Who answered there last; null before the first hello. */
  member: NodeId | null;
  failures: number;
  nextAtMs: number;
  dialling: boolean;
  tried: boolean;
  rejected: boolean;
}

/** What is known of the cluster at this moment. */
export interface DialPlan {
  /** Members that should be linked and are not, in the order in which they are tried. */
  readonly wants: Iterable<HostPort>;
  /** True while a member is there, linked or not. */
  readonly isPresent: (member: NodeId) => boolean;
  /** Addresses to which a link is open or being opened by the other side. */
  readonly isLinked: (address: string) => boolean;
  readonly presentCount: number;
  /** No link is open at all. */
  readonly isAlone: boolean;
}

/** Keeps the addresses and their next attempts. An address is known by its text, `host:port`. */
export class Dialer {
  readonly #targets = new Map<string, Target>();
  /** Addresses that turned out to be this node's own. */
  readonly #own = new Set<string>();
  readonly #random: Random;
  #inFlight = 0;
  #revision = 0;
  #strayAtMs = Number.NEGATIVE_INFINITY;

  constructor(seeds: readonly HostPort[], random: Random) {
    this.#random = random;
    for (const address of seeds) this.#add(address, { isSeed: true });
  }

  /** Adds an address; one that is there already keeps its schedule. Past the bound of members it is not taken. */
  add(address: HostPort): void {
    if (this.#targets.size < LIMITS.ownersMax) this.#add(address, { isSeed: false });
  }

  /** Drops an address that no member has any more; seeds stay for ever. */
  drop(address: HostPort): void {
    const key = renderHostPort(address);
    const target = this.#targets.get(key);
    if (target?.isSeed !== false) return;
    if (target.dialling) this.#inFlight -= 1;
    this.#targets.delete(key);
    this.#revision += 1;
  }

  /** Never dials this address again: it leads back here. */
  own(address: HostPort): void {
    const key = renderHostPort(address);
    if (this.#targets.get(key)?.dialling === true) this.#inFlight -= 1;
    if (this.#targets.delete(key)) this.#revision += 1;
    this.#own.add(key);
  }

  /** A member said hello at this address. */
  leadsTo(address: HostPort, member: NodeId): void {
    const target = this.#targets.get(renderHostPort(address));
    if (target !== undefined) target.member = member;
  }

  /** A member is there for sure: it dialled from there, or what it said came from there. */
  reached(address: HostPort): void {
    const target = this.#targets.get(renderHostPort(address));
    if (target !== undefined) target.tried = true;
  }

  /** Makes the next attempt due at once: the link to it was lost this moment. */
  hurry(address: HostPort, nowMs: number): void {
    const target = this.#targets.get(renderHostPort(address));
    if (target === undefined) return;
    target.failures = 0;
    target.nextAtMs = nowMs;
  }

  /** Dials an address whatever its schedule says. @returns it; nothing when it is being dialled, or too many are */
  now(address: HostPort): HostPort[] {
    this.#add(address, { isSeed: false });
    this.hurry(address, Number.NEGATIVE_INFINITY);
    const due: HostPort[] = [];
    this.#start(this.#targets.get(renderHostPort(address)), due, 0);
    return due;
  }

  /** Notes that a dial ended: in a link, without an answer, or with one that refused to talk. */
  settled(address: HostPort, outcome: "linked" | "failed" | "rejected", nowMs: number): void {
    const target = this.#targets.get(renderHostPort(address));
    if (target === undefined) return;
    if (target.dialling) this.#inFlight -= 1;
    target.dialling = false;
    target.tried = true;
    target.rejected = outcome === "rejected" || (outcome === "failed" && target.rejected);
    target.failures = outcome === "linked" ? 0 : target.failures + 1;
    const range = target.rejected ? LONG : SHORT;
    target.nextAtMs = nowMs + backoffMs(range, Math.max(0, target.failures - 1), this.#random);
  }

  /** The addresses to dial now; each counts as being dialled until it is settled. */
  due(plan: DialPlan, nowMs: number): HostPort[] {
    const due: HostPort[] = [];
    for (const address of plan.wants) {
      const key = renderHostPort(address);
      this.#add(address, { isSeed: false });
      this.#start(this.#targets.get(key), due, nowMs);
    }
    if (plan.isAlone || this.#targets.size <= FEW) {
      for (const [key, target] of this.#targets)
        if (isStray(key, target, plan)) this.#start(target, due, nowMs);
    } else if (nowMs - this.#strayAtMs >= STRAY_EVERY_MS || nowMs < this.#strayAtMs) {
      this.#strayAtMs = nowMs;
      const strays = [...this.#targets].filter(([key, target]) => isStray(key, target, plan));
      const isTried = this.#random() * (plan.presentCount + 1) < strays.length;
      if (isTried) this.#start(pick(this.#random, strays)?.[1], due, nowMs);
    }
    return due;
  }

  /** True when every address has been dialled to an end at least once; true when there is none. */
  get triedAll(): boolean {
    for (const { tried } of this.#targets.values()) if (!tried) return false;
    return true;
  }

  /** Rises when an address comes or goes. */
  get revision(): number {
    return this.#revision;
  }

  /** Every address known, to be kept on disk. */
  get addresses(): readonly HostPort[] {
    return Array.from(this.#targets.values(), ({ address }) => address);
  }

  #start(target: Target | undefined, due: HostPort[], nowMs: number): void {
    if (target === undefined || target.dialling || target.nextAtMs > nowMs) return;
    if (this.#inFlight >= LIMITS.dialsInFlight) return;
    target.dialling = true;
    this.#inFlight += 1;
    due.push(target.address);
  }

  #add(address: HostPort, { isSeed }: { isSeed: boolean }): void {
    const key = renderHostPort(address);
    if (this.#own.has(key) || this.#targets.has(key)) return;
    const schedule = { failures: 0, nextAtMs: 0, dialling: false, tried: false, rejected: false };
    const { host, port } = address;
    this.#targets.set(key, { address: { host, port }, isSeed, member: null, ...schedule });
    this.#revision += 1;
  }
}

function isStray(key: string, { member }: Target, { isPresent, isLinked }: DialPlan): boolean {
  return (member === null || !isPresent(member)) && !isLinked(key);
}
