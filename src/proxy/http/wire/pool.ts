/**
 * Pool: the connections to each upstream.
 *
 * Only eligible upstreams have connections that are kept: when one starts draining they are closed at once, for they
 * would keep a stopping server waiting, and its busy ones close after their answer. Where upstreams are told who calls,
 * a connection is its caller's and is used once.
 *
 * Touches: connections, through `connect`.
 */

import type { Connect, GivenOf } from "../../connect.ts";
import type { Deadline, Deadlines } from "../../deadlines.ts";
import { wayOf, type Upstream } from "../../routes.ts";

import type { UpstreamConnection } from "./connection.ts";
import { Reservoir, type Taker, type Wait, type Wish } from "./reservoir.ts";

/** What pools need. */
export interface PoolOptions {
  readonly connect: Connect;
  readonly deadlines: Deadlines;
  readonly nowMs: () => number;
  /** How long a request waits for a stream to an upstream of another host, milliseconds. */
  readonly streamMs: number;
  readonly givenOf: GivenOf;
  /** Names a stream to an upstream of another host, so that `givenOf` can be asked of it. */
  readonly newReceipt: () => string;
}

/** The connections of one proxy to its HTTP upstreams. */
export class UpstreamPools {
  readonly #options: PoolOptions;
  readonly #reservoirByKey = new Map<string, Reservoir>();
  /** Spares every request the making of a key. */
  readonly #reservoirByUpstream = new WeakMap<Upstream, Reservoir>();
  readonly #connections = new Set<UpstreamConnection>();
  readonly #expiry: Deadline;
  #eligible: ReadonlySet<Upstream> = new Set();
  /** Made when they are asked for. */
  #eligibleKeys: ReadonlySet<string> | null = null;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#expiry = options.deadlines.add(Infinity, () => this.#closeExpired());
  }

  /** Idle and busy connections to all upstreams. */
  get sizes(): { readonly idle: number; readonly busy: number } {
    let idle = 0;
    for (const reservoir of this.#reservoirByKey.values()) idle += reservoir.size;
    return { idle, busy: this.#connections.size - idle };
  }

  /** Asks for a connection to an upstream: a kept one at once, or one later. */
  acquire(upstream: Upstream, wish: Wish, taker: Taker): UpstreamConnection | Wait {
    return this.#reservoirOf(upstream).acquire(wish, taker);
  }

  /** Sets which upstreams keep connections; those of all others are closed as their requests end. */
  setEligible(upstreams: readonly Upstream[]): void {
    this.#eligible = new Set(upstreams);
    this.#eligibleKeys = null;
    if (this.#reservoirByKey.size === 0) return;
    const keys = this.#keysOfEligible();
    for (const [key, reservoir] of this.#reservoirByKey) {
      if (keys.has(key)) continue;
      this.#reservoirByKey.delete(key);
      reservoir.retire();
    }
  }

  /** Closes every connection, busy ones too. */
  close(): void {
    this.#isClosed = true;
    this.setEligible([]);
    for (const connection of this.#connections) connection.destroy();
    this.#options.deadlines.remove(this.#expiry);
  }

  #reservoirOf(upstream: Upstream): Reservoir {
    const known = this.#reservoirByUpstream.get(upstream);
    if (known?.isRetired === false) return known;
    const key = keyOf(upstream);
    const reservoir = this.#reservoirByKey.get(key) ?? this.#begin(upstream, { key, known });
    this.#reservoirByUpstream.set(upstream, reservoir);
    return reservoir;
  }

  /** With its first request, not when it becomes eligible: most upstreams of a large cluster never have one here. */
  #begin(
    upstream: Upstream,
    { key, known }: { readonly key: string; readonly known: Reservoir | undefined },
  ): Reservoir {
    // By another table it may be eligible; if not, what it gets is used once.
    if (this.#eligible.has(upstream) || this.#keysOfEligible().has(key)) {
      const reservoir = this.#openReservoir(upstream);
      this.#reservoirByKey.set(key, reservoir);
      return reservoir;
    }
    const reservoir = known ?? this.#openReservoir(upstream);
    reservoir.retire();
    return reservoir;
  }

  #keysOfEligible(): ReadonlySet<string> {
    return (this.#eligibleKeys ??= new Set(Array.from(this.#eligible, keyOf)));
  }

  #openReservoir(upstream: Upstream): Reservoir {
    return new Reservoir(upstream, {
      ...this.#options,
      opened: (connection) => {
        this.#connections.add(connection);
        if (this.#isClosed) connection.destroy();
      },
      closed: (connection) => this.#connections.delete(connection),
      expires: (atMs) => {
        if (atMs < this.#expiry.atMs) this.#expiry.atMs = atMs;
      },
    });
  }

  #closeExpired(): void {
    const nowMs = this.#options.nowMs();
    let nextMs = Infinity;
    for (const reservoir of this.#reservoirByKey.values())
      nextMs = Math.min(nextMs, reservoir.closeExpired(nowMs));
    this.#expiry.atMs = nextMs;
  }
}

/** Connections through an earlier life of the daemon that relays them end with their request. */
function keyOf(upstream: Upstream): string {
  return `${wayOf(upstream)} ${upstream.relayLife ?? ""} ${upstream.proxyProtocol}`;
}
