/**
 * Active: what every upstream is carrying for this proxy, and who is to be told when it can carry it no longer.
 *
 * Requests, connections and flows are in use from the moment an upstream is chosen until they are over. Their number
 * is what least-connections compares. And where an upstream leaves the table, or its time to drain is over, whoever
 * uses it is told: a connection to a host that is gone would otherwise stay open until its client gives up.
 *
 * Kept by the upstream's version, not its id: what a restarted container had before its restart is gone. With it goes
 * its tally, what it carried so far. Bytes are taken over when a use ends, and of those that last when somebody looks:
 * so they cost nothing as they pass.
 *
 * Pure. proxy.ts tells of tables and of time.
 */

import { Roster, type Placed } from "../../base/roster.ts";
import type { ServiceKey } from "../../model/ids.ts";

import { versionOf, type Pool, type Upstream } from "../routes.ts";

/** What one life of an upstream was given so far; whoever uses it counts. Bytes are from and to clients. */
export interface Tally {
  requests: number;
  connections: number;
  /** Requests and connections that it failed: answered with 5xx, not at all, or not to the end. */
  errors: number;
  /** Those that went on to another one. */
  retries: number;
  receivedBytes: number;
  sentBytes: number;
}

/** What a use has carried so far, looked up when that is wanted. */
export interface Meter {
  /** From the client. */
  readonly receivedBytes: number;
  /** To the client. */
  readonly sentBytes: number;
}

/** Where the bytes of a service are summed up, whatever becomes of its upstreams. */
export interface ByteSums {
  readonly received: { count: number };
  readonly sent: { count: number };
}

/** What one life of an upstream carries now; one object for as long as it is known. */
export interface Load {
  readonly version: string;
  readonly tally: Tally;
  /** Requests, connections and flows. */
  readonly count: number;
  /** When it last answered a client, whichever, Unix milliseconds. */
  readonly answeredAtMs: number;
}

/** One use of an upstream. */
export interface Use extends Placed {
  readonly load: Load;
  /** Called at most once, when the upstream is gone or its drain time is over. */
  readonly gone: () => void;
  /** Tells what it has carried; null where that is not counted. */
  readonly meter: Meter | null;
  /** What of the meter is in the sums already. */
  receivedBytes: number;
  sentBytes: number;
}

/** What an upstream was given, for whoever looks. */
export interface Carried extends Readonly<Tally> {
  readonly upstream: Upstream;
  /** Requests, connections and flows now. */
  readonly open: number;
}

/** How long answers of a replica that has ended may still be on their way, through a daemon of another host. */
const LAST_ANSWERS_MS = 500;

class KnownLoad implements Load {
  readonly version: string;
  readonly upstream: Upstream;
  readonly uses = new Roster<Use>();
  readonly sums: ByteSums;
  readonly tally: Tally = {
    requests: 0,
    connections: 0,
    errors: 0,
    retries: 0,
    receivedBytes: 0,
    sentBytes: 0,
  };
  answeredAtMs = -Infinity;
  /** False once it was forgotten. */
  isListed = false;

  constructor(version: string, upstream: Upstream, sums: ByteSums) {
    this.version = version;
    this.upstream = upstream;
    this.sums = sums;
  }

  get count(): number {
    return this.uses.size;
  }
}

/** The uses of all upstreams of one proxy. */
export class Active {
  readonly #loadByVersion = new Map<string, KnownLoad>();
  /** Spares every request the making of a version. */
  readonly #loadByUpstream = new WeakMap<Upstream, KnownLoad>();
  /** When what an upstream still carries is cut; only of those that drain, until it was done. */
  readonly #endByVersion = new Map<string, number>();
  readonly #ended = new Set<string>();
  /** When what an upstream still carries that has left the table is cut. */
  readonly #endOfLeaving = new Map<KnownLoad, number>();
  readonly #sumsOf: (service: ServiceKey) => ByteSums;

  /** @param sumsOf  asked once for each life of an upstream, by its service; nothing is summed up unless told */
  constructor(sumsOf: (service: ServiceKey) => ByteSums = noSums) {
    this.#sumsOf = sumsOf;
  }

  /** What an upstream carries. It may be kept while the upstream is in the table, and is always up to date. */
  loadOf(upstream: Upstream): Load {
    return this.#loadOf(upstream);
  }

  /** Counts a use until it is released. What its meter shows already was carried by others. */
  use(upstream: Upstream, gone: () => void, meter: Meter | null = null): Use {
    const load = this.#loadOf(upstream);
    const receivedBytes = meter?.receivedBytes ?? 0;
    const sentBytes = meter?.sentBytes ?? 0;
    const use = { load, gone, meter, receivedBytes, sentBytes, at: -1 };
    load.uses.add(use);
    return use;
  }

  /** What each upstream that is known was given so far, and brings the sums of services up to date. */
  carried(): readonly Carried[] {
    return Array.from(this.#loadByVersion.values(), ({ upstream, uses, tally, count }) => {
      uses.forEach(settle);
      return { upstream, open: count, ...tally };
    });
  }

  /** Told that a client was answered: whatever else may be said of the upstream, it is not silent. */
  answered(use: Use, nowMs: number): void {
    (use.load as KnownLoad).answeredAtMs = nowMs;
  }

  /** Ends a use; harmless when it has ended. */
  release(use: Use): void {
    if ((use.load as KnownLoad).uses.remove(use)) settle(use);
  }

  /**
   * Tells what is used of upstreams that are in none of the pools, a moment after they were there last; to be called
   * with complete tables only. Not at once: news of a replica's end may overtake its last answers.
   */
  keepOnly(pools: readonly Pool[], nowMs: number): void {
    const known = new Map<string, number>();
    for (const pool of pools) {
      for (const upstream of [...pool.tiers.flat(), ...pool.resting])
        known.set(versionOf(upstream), upstream.drainUntilMs ?? Infinity);
    }
    this.#endByVersion.clear();
    for (const [version, endMs] of known) {
      if (endMs === Infinity) this.#ended.delete(version);
      else if (!this.#ended.has(version)) this.#endByVersion.set(version, endMs);
    }
    for (const version of this.#ended) if (!known.has(version)) this.#ended.delete(version);
    for (const load of this.#loadByVersion.values()) {
      if (known.has(load.version)) this.#endOfLeaving.delete(load);
      else if (load.count === 0) this.#forget(load);
      else if (!this.#endOfLeaving.has(load)) this.#endOfLeaving.set(load, nowMs + LAST_ANSWERS_MS);
    }
  }

  #forget(load: KnownLoad): void {
    this.#endOfLeaving.delete(load);
    this.#loadByVersion.delete(load.version);
    load.isListed = false;
  }

  /**
   * Tells what is used of upstreams that have left, or whose time to drain is over. Once each: what is led to a
   * draining one after that, as there is no other, is not cut short.
   */
  tick(nowMs: number): void {
    for (const [load, endMs] of this.#endOfLeaving) {
      if (nowMs < endMs) continue;
      this.#forget(load);
      cut(load);
    }
    for (const [version, endMs] of this.#endByVersion) {
      if (nowMs < endMs) continue;
      this.#endByVersion.delete(version);
      this.#ended.add(version);
      const load = this.#loadByVersion.get(version);
      if (load !== undefined) cut(load);
    }
  }

  #loadOf(upstream: Upstream): KnownLoad {
    const seen = this.#loadByUpstream.get(upstream);
    if (seen?.isListed === true) return seen;
    const version = versionOf(upstream);
    const load = this.#loadByVersion.get(version) ?? this.#list(this.#newLoad(version, upstream));
    this.#loadByUpstream.set(upstream, load);
    return load;
  }

  #newLoad(version: string, upstream: Upstream): KnownLoad {
    return new KnownLoad(version, upstream, this.#sumsOf(upstream.service));
  }

  #list(load: KnownLoad): KnownLoad {
    load.isListed = true;
    this.#loadByVersion.set(load.version, load);
    return load;
  }
}

/** Tells all users of an upstream, those only that are there now. */
function cut(load: KnownLoad): void {
  const uses = load.uses.filter(() => true);
  for (const use of uses) if (load.uses.remove(use)) settle(use);
  for (const { gone } of uses) gone();
}

/** Adds what a use has carried since the last time to what its upstream and its service have. */
function settle(use: Use): void {
  const { meter } = use;
  if (meter === null) return;
  const { tally, sums } = use.load as KnownLoad;
  const received = meter.receivedBytes - use.receivedBytes;
  const sent = meter.sentBytes - use.sentBytes;
  use.receivedBytes += received;
  use.sentBytes += sent;
  tally.receivedBytes += received;
  tally.sentBytes += sent;
  sums.received.count += received;
  sums.sent.count += sent;
}

function noSums(): ByteSums {
  return { received: { count: 0 }, sent: { count: 0 } };
}
