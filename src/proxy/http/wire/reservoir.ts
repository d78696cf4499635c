/**
 * Reservoir: the connections to one upstream, those kept and those being opened.
 *
 * Last in first out, so that a quiet service keeps few connections warm and lets the rest go. A kept connection may be
 * closed by the other side in the moment we write to it. A request that can be sent again is; for the others one counts
 * only while warm (idle for under a second), since the idle timeouts of servers are longer. Of a
 * relayed one the daemon beside the replica can be asked afterwards, by a receipt, what the replica was given.
 *
 * A stream to another host costs a handshake at both ends, so only some are opened at once: after a stall a hundred
 * requests would open a hundred, and their handshakes be the next stall. The others wait for whichever comes first, one
 * that opens or one that comes free. What opens for somebody who has left is kept for the next.
 *
 * Touches: connections, through `connect`.
 */

import { Failure } from "../../../base/failure.ts";
import { LIMITS } from "../../../model/limits.ts";

import type { Connect, GivenOf } from "../../connect.ts";
import type { Deadline, Deadlines } from "../../deadlines.ts";
import type { Upstream } from "../../routes.ts";
import type { Caller } from "../../tcp/proxy-header.ts";
import type { Freshness } from "../forwarder.ts";

import { UpstreamConnection, type AskGiven, type Keeper } from "./connection.ts";

const WARM_MS = 1000;
/** Below the idle timeouts of common servers that do not announce theirs (Apache 5 s). */
const IDLE_MS = 4000;
/** Below the one that is announced, for what is on its way. */
const MARGIN_MS = 1000;

/** What a request asks of its connection. */
export interface Wish {
  readonly freshness: Freshness;
  readonly caller: Caller;
}

/** Who waits for a connection; told one of the two, once, unless it leaves. */
export interface Taker {
  ready(connection: UpstreamConnection): void;
  refused(cause: unknown): void;
}

/** A place in the queue for a connection. */
export interface Wait {
  readonly kind: "wait";
  leave(): void;
}

/** What a reservoir needs. */
export interface ReservoirOptions {
  readonly connect: Connect;
  readonly deadlines: Deadlines;
  readonly nowMs: () => number;
  readonly streamMs: number;
  readonly givenOf: GivenOf;
  readonly newReceipt: () => string;
  readonly opened: (connection: UpstreamConnection) => void;
  readonly closed: (connection: UpstreamConnection) => void;
  /** Told when a kept connection is to be closed unless it is used. */
  readonly expires: (atMs: number) => void;
}

interface Waiter {
  readonly wish: Wish;
  readonly taker: Taker;
  readonly deadline: Deadline | null;
  /** Connections that had opened before it came. */
  readonly openedBefore: number;
  isDialling: boolean;
  /** No dial could be begun when it came. */
  isQueued: boolean;
}

/** The connections to one upstream. */
export class Reservoir implements Keeper {
  readonly #upstream: Upstream;
  readonly #options: ReservoirOptions;
  readonly #dialsMax: number;
  /** In the order in which they were kept. */
  readonly #idle: UpstreamConnection[] = [];
  /** In the order in which they came. */
  readonly #waiting: Waiter[] = [];
  #dials = 0;
  #opened = 0;
  #isRetired = false;

  constructor(upstream: Upstream, options: ReservoirOptions) {
    this.#upstream = upstream;
    this.#options = options;
    this.#dialsMax = upstream.via === "stream" ? LIMITS.streamDialsMax : Infinity;
  }

  /** Kept connections. */
  get size(): number {
    return this.#idle.length;
  }

  /** True once nothing is kept any more. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Gives a kept connection, or one later. */
  acquire(wish: Wish, taker: Taker): UpstreamConnection | Wait {
    const kept = this.#take(wish.freshness);
    if (kept !== null) return kept;
    const waiter: Waiter = {
      wish,
      taker,
      deadline: this.#deadlineFor(() => waiter),
      openedBefore: this.#opened,
      isDialling: false,
      isQueued: false,
    };
    this.#waiting.push(waiter);
    const dialsBefore = this.#dials;
    this.#dialMore();
    waiter.isQueued = this.#dials === dialsBefore;
    return { kind: "wait", leave: () => void this.#remove(waiter) };
  }

  keep(connection: UpstreamConnection): boolean {
    if (this.#isRetired || this.#isOfOne || connection.keepsMs <= MARGIN_MS) return false;
    // Whoever wants a new one has met one that had come free just so.
    const waiter = this.#waiting.find(({ wish }) => wish.freshness !== "new");
    if (waiter === undefined) return this.#hold(connection);
    this.#remove(waiter);
    waiter.taker.ready(connection);
    return true;
  }

  closed(connection: UpstreamConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    this.#options.closed(connection);
  }

  /** Closes what nobody has used in time; returns when the next one is due. */
  closeExpired(nowMs: number): number {
    let nextMs = Infinity;
    for (const connection of this.#idle.toReversed()) {
      if (nowMs >= connection.expiresAtMs) connection.destroy();
      else nextMs = Math.min(nextMs, connection.expiresAtMs);
    }
    return nextMs;
  }

  /** Keeps nothing from now on. */
  retire(): void {
    this.#isRetired = true;
    this.#closeIdle();
  }

  /** True where a connection is its caller's. */
  get #isOfOne(): boolean {
    return this.#upstream.proxyProtocol !== "off";
  }

  #take(freshness: Freshness): UpstreamConnection | null {
    // Asked for after one has failed: the others have been idle for longer.
    if (freshness === "new") this.#closeIdle();
    const nowMs = this.#options.nowMs();
    for (let last = this.#idle.at(-1); last !== undefined; last = this.#idle.at(-1)) {
      if (freshness === "warm" && nowMs - last.keptAtMs >= WARM_MS) return null;
      this.#idle.pop();
      if (nowMs < last.expiresAtMs) return last;
      last.destroy();
    }
    return null;
  }

  #hold(connection: UpstreamConnection): boolean {
    if (this.#idle.length >= LIMITS.upstreamIdleSocketsMax) return false;
    connection.keptAtMs = this.#options.nowMs();
    connection.expiresAtMs = connection.keptAtMs + Math.min(IDLE_MS, connection.keepsMs - MARGIN_MS);
    this.#idle.push(connection);
    this.#options.expires(connection.expiresAtMs);
    return true;
  }

  #closeIdle(): void {
    for (const connection of this.#idle.toReversed()) connection.destroy();
  }

  #deadlineFor(waiter: () => Waiter): Deadline | null {
    // Whoever does not wait for a turn to dial has the deadline of its dial.
    if (this.#dialsMax === Infinity) return null;
    const { deadlines, nowMs, streamMs } = this.#options;
    return deadlines.add(nowMs() + streamMs, () => {
      if (this.#remove(waiter())) waiter().taker.refused(this.#whyNone(waiter()));
    });
  }

  /**
   * Why a waiter got no stream in time. The upstream is to blame only when it was asked for one all that time, and
   * took none: else it was our own queue that was too long.
   */
  #whyNone({ isQueued, openedBefore }: Waiter): Failure {
    const { replica } = this.#upstream;
    const { streamMs } = this.#options;
    if (!isQueued && this.#opened === openedBefore)
      return new Failure("timeout", `${replica}: no stream in ${streamMs} ms`);
    return new Failure("busy", `${replica}: no turn for a stream in ${streamMs} ms`);
  }

  /** Takes a waiter out of the queue; false when it had left. */
  #remove(waiter: Waiter): boolean {
    const at = this.#waiting.indexOf(waiter);
    if (at === -1) return false;
    this.#waiting.splice(at, 1);
    if (waiter.deadline !== null) this.#options.deadlines.remove(waiter.deadline);
    return true;
  }

  #dialMore(): void {
    for (const waiter of this.#waiting) {
      if (this.#dials >= this.#dialsMax) return;
      // Where any may have any, one under way for each is enough.
      if (this.#isOfOne ? waiter.isDialling : this.#dials >= this.#waiting.length) continue;
      void this.#dial(waiter);
    }
  }

  async #dial(waiter: Waiter): Promise<void> {
    const { connect, newReceipt, opened } = this.#options;
    const upstream = this.#upstream;
    const caller = this.#isOfOne ? waiter.wish.caller : null;
    const receipt = upstream.via === "stream" ? newReceipt() : null;
    waiter.isDialling = true;
    this.#dials += 1;
    try {
      const stream = await connect(upstream, caller, receipt === null ? {} : { receipt });
      const askGiven = receipt === null ? null : this.#askerBy(receipt);
      const connection = new UpstreamConnection(stream, { keeper: this, askGiven });
      opened(connection);
      this.#opened += 1;
      this.#dials -= 1;
      this.#give(connection, waiter);
    } catch (thrown) {
      this.#dials -= 1;
      this.#nextOf(waiter)?.refused(thrown);
    }
    this.#dialMore();
  }

  #askerBy(receipt: string): AskGiven {
    return () => this.#options.givenOf(this.#upstream, receipt);
  }

  #give(connection: UpstreamConnection, waiter: Waiter): void {
    const taker = this.#nextOf(waiter);
    if (taker !== null) taker.ready(connection);
    else if (this.#isRetired || this.#isOfOne || !this.#hold(connection)) connection.destroy();
  }

  /** Takes out of the queue who gets what was dialled for a waiter; null when there is nobody. */
  #nextOf(waiter: Waiter): Taker | null {
    const next = this.#isOfOne ? waiter : this.#waiting[0];
    return next !== undefined && this.#remove(next) ? next.taker : null;
  }
}
