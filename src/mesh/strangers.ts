/**
 * Strangers: who may wait at the mesh port, and whose handshake is begun, when more come than can be served.
 *
 * Anybody can open thousands of connections and say nothing, or begin thousands of handshakes and finish none. Both
 * are bounded, in all and for each address. When a bound is met the oldest gives way, not the newest: a peer that means
 * it is done in milliseconds, so the old are those who do not, and a member that comes now gets in. When all are too
 * many, the address that has most of them pays.
 *
 * A handshake costs us a signature and an agreement on keys before the other end has proved anything. So beginning one
 * takes credit, in all and for each address, which comes back with time, and at once when the peer turns out to be one
 * of us: members are not slowed, however many streams they open. Without credit a connection waits unread; then those
 * go first from whose address somebody has proved to be one of us before, as whoever floods us may have more addresses
 * than we have members. After them the address with most credit left, and of one address the newest, since the older
 * ones gave up more likely.
 *
 * Pure. gate.ts has the sockets.
 */

import { assert } from "../base/assert.ts";
import { first } from "../base/first.ts";
import { networkOf } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";

/** Handshakes that may be begun at once, and that many more in a second: some fifth of a core at most. */
export const ALL_CREDIT = 400;
export const ALL_PER_MS = 0.2;
/** The same for one address: a full mesh of 24 hosts behind one translator that starts in one moment fits. */
const ADDRESS_CREDIT = 200;
const ADDRESS_PER_MS = 0.05;

/** `silent`: has sent nothing. `waiting`: has, and its handshake is not begun. `begun`: it is. */
type Stage = "silent" | "waiting" | "begun";

interface Stranger {
  readonly id: number;
  readonly from: Address;
  stage: Stage;
}

interface Address {
  /** Of IPv6 the /64. */
  readonly text: string;
  credit: number;
  refilledAtMs: number;
  /** Oldest first. */
  readonly strangers: Set<Stranger>;
}

/** Addresses that are remembered because members came from them: one a member. */
const PROVED_MAX = LIMITS.ownersMax;

/** Who is to begin a handshake, and who has to go for it. */
export interface Granted {
  readonly begin: readonly number[];
  readonly giveWay: readonly number[];
}

/** The strangers of one mesh port, by numbers that the caller gives them. */
export class Strangers {
  /** Oldest first. */
  readonly #strangerById = new Map<number, Stranger>();
  readonly #addressByText = new Map<string, Address>();
  /** Newest last. */
  readonly #waiting = new Set<Stranger>();
  readonly #begun = new Set<Stranger>();
  /** Addresses from which somebody proved to be one of us; he who did last is last. */
  readonly #proved = new Set<string>();
  #credit = ALL_CREDIT;
  #refilledAtMs: number;

  constructor(nowMs: number) {
    this.#refilledAtMs = nowMs;
  }

  /** How many there are, in all. */
  get size(): number {
    return this.#strangerById.size;
  }

  /** Addresses of which anything is kept. */
  get addresses(): number {
    return this.#addressByText.size;
  }

  /** Somebody came. @returns who gives way to him, one at most */
  enter(id: number, address: string, nowMs: number): readonly number[] {
    const text = networkOf(address);
    const from = this.#addressOf(text, nowMs);
    const isCrowded = from.strangers.size >= LIMITS.meshStrangersPerAddress;
    const payer = isCrowded ? from : this.size >= LIMITS.meshStrangersMax ? this.#mostCrowded() : null;
    const oldest = payer === null ? null : first(payer.strangers);
    if (oldest !== null) this.leave(oldest.id);
    const stranger: Stranger = { id, from, stage: "silent" };
    // Again: the address is forgotten when its last stranger leaves with all its credit.
    this.#addressByText.set(text, from);
    from.strangers.add(stranger);
    this.#strangerById.set(id, stranger);
    return oldest === null ? [] : [oldest.id];
  }

  /** It has sent something: it waits for its handshake from now on. See `grant`. */
  spoke(id: number): void {
    const stranger = this.#strangerById.get(id);
    if (stranger === undefined || stranger.stage !== "silent") return;
    stranger.stage = "waiting";
    this.#waiting.add(stranger);
  }

  /** It has proved to be one of us: what its handshake cost is given back. It stays until it leaves. */
  admitted(id: number): void {
    const stranger = this.#strangerById.get(id);
    if (stranger === undefined) return;
    this.#credit = Math.min(ALL_CREDIT, this.#credit + 1);
    stranger.from.credit = Math.min(ADDRESS_CREDIT, stranger.from.credit + 1);
    const { text } = stranger.from;
    this.#proved.delete(text);
    this.#proved.add(text);
    const oldest = this.#proved.size > PROVED_MAX ? first(this.#proved) : null;
    if (oldest !== null) this.#proved.delete(oldest);
  }

  /** It is gone, or no stranger any more. */
  leave(id: number): void {
    const stranger = this.#strangerById.get(id);
    if (stranger === undefined) return;
    this.#strangerById.delete(id);
    this.#waiting.delete(stranger);
    this.#begun.delete(stranger);
    const { from } = stranger;
    from.strangers.delete(stranger);
    if (from.strangers.size === 0 && from.credit >= ADDRESS_CREDIT) this.#addressByText.delete(from.text);
  }

  /** Whose handshakes begin now. What it names counts as begun, or as gone. */
  grant(nowMs: number): Granted {
    this.#refill(nowMs);
    const begin: number[] = [];
    const giveWay: number[] = [];
    while (this.#credit >= 1) {
      const next = this.#nextWaiting();
      if (next === null) break;
      if (this.#begun.size >= LIMITS.meshHandshakesMax) {
        const slowest = this.#slowestBegun();
        this.leave(slowest.id);
        giveWay.push(slowest.id);
      }
      this.#credit -= 1;
      next.from.credit -= 1;
      next.stage = "begun";
      this.#waiting.delete(next);
      this.#begun.add(next);
      begin.push(next.id);
    }
    return { begin, giveWay };
  }

  /** When `grant` may have more to name; null while nobody waits. */
  againInMs(nowMs: number): number | null {
    if (this.#waiting.size === 0) return null;
    this.#refill(nowMs);
    const most = Math.max(...Array.from(this.#waiting, ({ from }) => from.credit));
    const waits = [(1 - this.#credit) / ALL_PER_MS, (1 - most) / ADDRESS_PER_MS];
    return Math.max(1, Math.ceil(Math.max(...waits)));
  }

  #addressOf(text: string, nowMs: number): Address {
    const known = this.#addressByText.get(text);
    if (known !== undefined) return known;
    return { text, credit: ADDRESS_CREDIT, refilledAtMs: nowMs, strangers: new Set() };
  }

  #refill(nowMs: number): void {
    this.#credit = Math.min(ALL_CREDIT, this.#credit + (nowMs - this.#refilledAtMs) * ALL_PER_MS);
    this.#refilledAtMs = nowMs;
    for (const address of this.#addressByText.values()) {
      const back = (nowMs - address.refilledAtMs) * ADDRESS_PER_MS;
      address.credit = Math.min(ADDRESS_CREDIT, address.credit + back);
      address.refilledAtMs = nowMs;
      const isDone = address.strangers.size === 0 && address.credit >= ADDRESS_CREDIT;
      if (isDone) this.#addressByText.delete(address.text);
    }
  }

  /** Of the address with the best right, and most credit left, the newest; null when none has any credit. */
  #nextWaiting(): Stranger | null {
    let next: Stranger | null = null;
    for (const stranger of this.#waiting) {
      if (stranger.from.credit < 1) continue;
      if (next === null || this.#isBefore(stranger.from, next.from)) next = stranger;
    }
    return next;
  }

  /** Whether the newest of one address goes before all of another; those of the same too, since it is newer. */
  #isBefore(one: Address, other: Address): boolean {
    const isProved = this.#proved.has(one.text);
    if (isProved !== this.#proved.has(other.text)) return isProved;
    return one.credit >= other.credit;
  }

  #mostCrowded(): Address | null {
    let most: Address | null = null;
    for (const address of this.#addressByText.values()) {
      if (address.strangers.size > (most?.strangers.size ?? 0)) most = address;
    }
    return most;
  }

  /** Of the address with most handshakes under way the oldest. There is one. */
  #slowestBegun(): Stranger {
    const countByAddress = new Map<Address, number>();
    let slowest: Stranger | null = null;
    for (const { from } of this.#begun) countByAddress.set(from, (countByAddress.get(from) ?? 0) + 1);
    const most = Math.max(...countByAddress.values());
    for (const stranger of this.#begun) {
      if (slowest === null && countByAddress.get(stranger.from) === most) slowest = stranger;
    }
    assert(slowest !== null, "a handshake is under way");
    return slowest;
  }
}
