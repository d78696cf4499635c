/**
 * Connections: what all TCP connections of the DNS server share: places, the time of a turn, bytes held.
 *
 * A newcomer gets a free place, or that of one which gives way (crowd.ts). When nobody does at this moment, it is kept
 * for some seconds without being read from, since places are given back all the time; only then, or when too many wait
 * already, it is refused. What is held for clients that do not read is bounded over all of them: the more is held, the
 * less each may have, and past the bound those with most are ended.
 *
 * Touches: timers, the clock.
 */

import { isLoopback, networkOf } from "../../base/ip.ts";
import { LIMITS } from "../../model/limits.ts";
import { nowMs } from "../../runtime/clock.ts";

import { Crowd, type Comer, type Condition, type Place } from "./crowd.ts";
import { Turns, type Sliced } from "./turns.ts";

/** How long a connection waits for a place: glibc gives up after 5 s, and would rather try elsewhere before. */
const WAIT_MS = 3000;
/** How often it is looked whether somebody gives way by now; a place that is given back is noticed at once. */
const LOOK_EVERY_MS = 100;
/** At rest for so long, a connection may be ended: a client that goes on asking asks again before. */
const REST_MS = 1000;
/** Time of a turn of the event loop for all connections; a single slow query may exceed it. */
const TURN_MS = 2;
/** The part of the bytes still free that one connection may hold, as a divisor: with few of them it never matters. */
const HELD_SHARE = 8;

/** A connection as far as it matters here. */
export interface Guest {
  /** It has its place from now on. Called at most once. */
  start(place: Place<Guest>): void;
  /** It is over: it gives way, got no place, or holds too much. */
  end(): void;
}

/** What may be told; each has its usual value. */
export interface ConnectionsOptions {
  /** Places, at most and by default LIMITS.dnsConnectionsMax; an eighth more may be waiting. */
  readonly max?: number;
  /** True for an address of this host or one of its containers; loopback by default. */
  readonly isLocal?: (address: string) => boolean;
  readonly restMs?: number;
  readonly turnMs?: number;
  readonly waitMs?: number;
}

interface Waiting {
  readonly guest: Guest;
  readonly comer: Comer;
  readonly untilMs: number;
}

/** All TCP connections of a server, over all its sockets. */
export class Connections {
  readonly #crowd: Crowd<Guest>;
  readonly #turns: Turns;
  readonly #isLocal: (address: string) => boolean;
  readonly #waitMs: number;
  readonly #waitingMax: number;
  readonly #waiting = new Map<Guest, Waiting>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: ConnectionsOptions = {}) {
    const placesMax = Math.max(
      1,
      Math.min(options.max ?? LIMITS.dnsConnectionsMax, LIMITS.dnsConnectionsMax),
    );
    const heldBytesMax = LIMITS.dnsConnectionsHeldBytes;
    this.#crowd = new Crowd({ placesMax, heldBytesMax, restMs: options.restMs ?? REST_MS });
    this.#turns = new Turns(options.turnMs ?? TURN_MS);
    this.#isLocal = options.isLocal ?? isLoopback;
    this.#waitMs = options.waitMs ?? WAIT_MS;
    this.#waitingMax = Math.max(2, Math.floor(placesMax / 8));
  }

  /** Those that have a place. */
  get total(): number {
    return this.#crowd.total;
  }

  /** Those that wait for one. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Bytes held for all of them: received and not served, answered and not sent. */
  get heldBytes(): number {
    return this.#crowd.heldBytes;
  }

  /**
   * Starts a guest now, or later, or ends it.
   *
   * @param address  plain: IPv4 never in its IPv6 form
   * @returns false for one that is refused at once; `end` is not called then
   */
  admit(guest: Guest, address: string): boolean {
    const comer = { network: networkOf(address), isLocal: this.#isLocal(address) };
    if (this.#start(guest, comer)) return true;
    const alike = [...this.#waiting.values()].filter((one) => one.comer.network === comer.network);
    if (this.#waiting.size >= this.#waitingMax || alike.length >= this.#waitingMax / 2) return false;
    this.#waiting.set(guest, { guest, comer, untilMs: nowMs() + this.#waitMs });
    this.#timer ??= setInterval(() => this.#look(Infinity), LOOK_EVERY_MS);
    return true;
  }

  /** A guest is over, whether it had its place or waited for one. Its place is another's at once. */
  leave(guest: Guest, place: Place<Guest> | null): void {
    this.#waiting.delete(guest);
    if (place?.isTaken !== true) return;
    this.#crowd.leave(place);
    this.#look(1);
  }

  /** Says what a connection does now, and that something came through. */
  move(place: Place<Guest>, condition: Condition): void {
    this.#crowd.move(place, condition, nowMs());
  }

  /** Says how many bytes are held for a connection; the one with most may be ended for it. */
  hold(place: Place<Guest>, bytes: number): void {
    if (place.heldBytes === bytes) return;
    this.#crowd.hold(place, bytes);
    for (let most = this.#crowd.overfull(); most !== null; most = this.#crowd.overfull()) this.#end(most);
  }

  /** What may be held unsent for one connection before nothing more is read from it. */
  get unsentBytesMax(): number {
    const freeBytes = Math.max(0, LIMITS.dnsConnectionsHeldBytes - this.#crowd.heldBytes);
    return Math.min(LIMITS.dnsConnectionBufferedBytes, Math.floor(freeBytes / HELD_SHARE));
  }

  /** Serves a connection at once or when its turn has come. @returns false when it has to wait */
  ask(connection: Sliced): boolean {
    return this.#turns.ask(connection);
  }

  /** Serves a connection after others. */
  later(connection: Sliced): void {
    this.#turns.later(connection);
  }

  /** Forgets that a connection waits for its turn. */
  drop(connection: Sliced): void {
    this.#turns.drop(connection);
  }

  #start(guest: Guest, comer: Comer): boolean {
    const verdict = this.#crowd.judge(comer, nowMs());
    if (verdict.kind === "later") return false;
    this.#waiting.delete(guest);
    if (verdict.kind === "instead") this.#crowd.leave(verdict.place);
    const place = this.#crowd.enter(guest, comer, nowMs());
    // When the place is taken already, so that nobody else finds it free.
    if (verdict.kind === "instead") verdict.place.item.end();
    guest.start(place);
    return true;
  }

  /** Not when the socket is closed but now: until then it would have to give way once more. */
  #end(place: Place<Guest>): void {
    this.#crowd.leave(place);
    place.item.end();
  }

  /** Those that wait get what is free, in the order in which they came; those for whom it took too long go. */
  #look(startsMax: number): void {
    let starts = 0;
    for (const { guest, comer, untilMs } of this.#waiting.values()) {
      if (starts >= startsMax) break;
      if (nowMs() < untilMs) {
        if (this.#start(guest, comer)) starts += 1;
        continue;
      }
      this.#waiting.delete(guest);
      guest.end();
    }
    if (this.#waiting.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
