/**
 * Forward: asks somebody else about names that are not ours.
 *
 * A query goes on as it came, with its EDNS part, and the reply comes back as it is. What is answered here without
 * asking is only what was said before (remembered.ts). Identical queries under way are one: a crowd of clients asks
 * once, and a circle of servers that we are part of cannot multiply a query (loop.ts finds such circles).
 *
 * When nobody answers, an answer that was good until lately is better than none (RFC 8767): it is told when the
 * upstreams are slower than a client's patience, and for some time at once after they all failed.
 *
 * Touches: timers; sockets, the log and metrics through asking.ts and roster.ts.
 */

import type { HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";
import { startDeadline, type RunningDeadline } from "../runtime/deadline.ts";

import { addressTo, readAsked, type Asked } from "./asked.ts";
import { startAsking, type AskTimes } from "./asking.ts";
import { RCODE } from "./codes.ts";
import type { Reply, Transport } from "./exchange.ts";
import { Remembered, type Kept } from "./remembered.ts";
import { Roster, type RosterOptions, type UpstreamStanding } from "./roster.ts";

/** Whom to ask, how long, and whom to tell of it. */
export interface ForwarderOptions extends RosterOptions {
  readonly times: ForwardTimes;
}

/** How long things may take. */
export interface ForwardTimes extends AskTimes {
  /** After so long without an answer, one that is due is told (RFC 8767 5, the client response timer). */
  readonly staleAfterMs: number;
}

/** What came of it. `bytes` has the id of the query. `busy`: as much as may be is under way. */
export type Forwarded =
  | {
      readonly kind: "reply";
      readonly bytes: Buffer;
      readonly rcodeCode: number;
      /** True for a remembered reply: nobody was asked. */
      readonly fromCache?: boolean;
    }
  | { readonly kind: "failed"; readonly reason: "busy" | "silent" };

/** Asks upstream servers. */
export interface Forwarder {
  /** Whom it asks, in the order of the configuration. */
  readonly upstreams: readonly HostPort[];
  /** False while there is nobody to ask: then foreign names are refused. */
  readonly hasUpstreams: boolean;
  /** What is remembered for this query, under its id and its case of the name; null where it has to be forwarded. */
  remembered(query: Buffer, transport: Transport): Forwarded | null;
  /**
   * True when one of our own loop probes has come back by this name (any case, no dot at the end): an upstream asks us
   * what we ask it. To be asked only about queries that would be forwarded; the answer to an echo is REFUSED.
   */
  isEcho(name: string): boolean;
  /**
   * Settles within `times.totalMs`; never rejects. Identical queries under way are one.
   *
   * @param client  its address: one client takes no more than its share of what may be under way
   */
  forward(query: Buffer, transport: Transport, client?: string): Promise<Forwarded>;
  /**
   * Asks these from now on; what is remembered is forgotten when they are others. Queries under way end as they are.
   *
   * @throws Failure as openForwarder
   */
  setUpstreams(upstreams: readonly HostPort[]): void;
  /** Looks for loops from now on; once the listeners are there to which probes would come back. */
  watchLoops(): void;
  stats(): ForwarderStats;
  /** Ends all that is under way; its queries come back `failed`. */
  close(): void;
}

/** What goes on inside. */
export interface ForwarderStats {
  /** Clients' queries that wait. */
  readonly underWay: number;
  readonly rememberedEntries: number;
  readonly rememberedBytes: number;
  readonly upstreams: readonly UpstreamStanding[];
}

/** For how long an answer that is due is told at once, after nobody had a newer one (RFC 8767 5). */
const STALE_TOLD_MS = 30_000;

/** How often to look whether a probe is due. */
const LOOK_MS = 1000;

/**
 * Makes a forwarder.
 *
 * @throws Failure `invalid` for an upstream that is not an IP address
 */
export function openForwarder(options: ForwarderOptions): Forwarder {
  return new UpstreamForwarder(options);
}

/** A client's query that waits. */
interface Waiter {
  readonly query: Buffer;
  readonly settle: (forwarded: Forwarded) => void;
}

/** One question to the upstreams, and all who wait for it. */
interface Flight {
  readonly asked: Asked;
  readonly roster: Roster;
  waiters: Waiter[];
  /** So slow that an answer which is due is told meanwhile. */
  isSlow: boolean;
  patience: RunningDeadline | null;
  cancel: () => void;
}

class UpstreamForwarder implements Forwarder {
  readonly #options: ForwarderOptions;
  readonly #remembered = new Remembered();
  readonly #flightByKey = new Map<string, Flight>();
  readonly #flights = new Set<Flight>();
  readonly #waitingByClient = new Map<string, number>();
  #waiting = 0;
  #roster: Roster;
  #look: NodeJS.Timeout | null = null;
  #isOpen = true;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#roster = new Roster(options);
  }

  get upstreams(): readonly HostPort[] {
    return this.#roster.upstreams;
  }

  get hasUpstreams(): boolean {
    return this.#roster.upstreams.length > 0;
  }

  isEcho(name: string): boolean {
    return this.#roster.isEcho(name);
  }

  remembered(query: Buffer, _transport: Transport): Forwarded | null {
    const key = readAsked(query)?.rememberedKey ?? null;
    const kept = key === null ? null : this.#remembered.get(key, this.#options.nowMs());
    return kept === null ? null : fromMemory(query, kept);
  }

  forward(query: Buffer, transport: Transport, client = ""): Promise<Forwarded> {
    const asked = readAsked(query);
    if (asked === null || !this.#isOpen) return Promise.resolve({ kind: "failed", reason: "silent" });
    const key = `${transport} ${asked.underWayKey}`;
    const flight = this.#flightByKey.get(key);
    const stale = flight?.isSlow === true ? this.#stale(query, asked) : null;
    if (stale !== null) return Promise.resolve(stale);
    const isFull = flight === undefined && this.#flights.size >= LIMITS.dnsForwardsMax;
    if (isFull || !this.#enter(client)) return Promise.resolve(this.#busy(query, asked));
    return new Promise((resolve) => {
      const settle = (forwarded: Forwarded): void => {
        this.#leave(client);
        resolve(forwarded);
      };
      // A copy: over TCP the query is a view of all that came with it.
      const waiter = { query: Buffer.from(query), settle };
      if (flight === undefined) this.#begin(key, asked, { waiter, transport });
      else flight.waiters.push(waiter);
    });
  }

  setUpstreams(upstreams: readonly HostPort[]): void {
    const now = this.#roster.upstreams;
    if (upstreams.length === now.length && upstreams.every((one, at) => isSame(one, now[at]))) return;
    const next = new Roster({ ...this.#options, upstreams });
    this.#roster.close();
    this.#roster = next;
    this.#remembered.clear();
    // What others said is no answer to who asks from now on.
    this.#flightByKey.clear();
  }

  watchLoops(): void {
    if (!this.#isOpen) return;
    this.#look ??= setInterval(() => this.#roster.probe(), LOOK_MS).unref();
  }

  stats(): ForwarderStats {
    return {
      underWay: this.#waiting,
      rememberedEntries: this.#remembered.entries,
      rememberedBytes: this.#remembered.sizeBytes,
      upstreams: this.#roster.standings,
    };
  }

  close(): void {
    this.#isOpen = false;
    if (this.#look !== null) clearInterval(this.#look);
    this.#roster.close();
    for (const flight of this.#flights) {
      flight.cancel();
      this.#land(flight, null);
    }
  }

  /** Counts one more query of a client. @returns false when it, or all together, have as many as may be */
  #enter(client: string): boolean {
    const count = this.#waitingByClient.get(client) ?? 0;
    if (this.#waiting >= LIMITS.dnsForwardWaitersMax || count >= LIMITS.dnsForwardWaitersPerClient)
      return false;
    this.#waitingByClient.set(client, count + 1);
    this.#waiting += 1;
    return true;
  }

  #leave(client: string): void {
    const count = this.#waitingByClient.get(client) ?? 0;
    if (count <= 1) this.#waitingByClient.delete(client);
    else this.#waitingByClient.set(client, count - 1);
    this.#waiting -= 1;
  }

  #busy(query: Buffer, asked: Asked): Forwarded {
    return this.#stale(query, asked) ?? { kind: "failed", reason: "busy" };
  }

  #stale(query: Buffer, { rememberedKey }: Asked): Forwarded | null {
    const kept = rememberedKey === null ? null : this.#remembered.stale(rememberedKey, this.#options.nowMs());
    return kept === null ? null : fromMemory(query, kept);
  }

  #begin(
    key: string,
    asked: Asked,
    { waiter, transport }: { readonly waiter: Waiter; readonly transport: Transport },
  ): void {
    const roster = this.#roster;
    const turns = roster.turns();
    if (turns.length === 0) return waiter.settle({ kind: "failed", reason: "silent" });
    const { times } = this.#options;
    const flight: Flight = {
      asked,
      roster,
      waiters: [waiter],
      isSlow: false,
      patience: null,
      cancel: () => {},
    };
    this.#flights.add(flight);
    this.#flightByKey.set(key, flight);
    flight.patience = startDeadline(times.staleAfterMs, () => this.#tellStale(flight));
    const ended = (reply: Reply | null): void => {
      // Not whatever is there: since the upstreams changed it may be another's.
      if (this.#flightByKey.get(key) === flight) this.#flightByKey.delete(key);
      this.#land(flight, reply);
    };
    flight.cancel = startAsking({ query: waiter.query, transport, turns, times, observer: roster, ended });
  }

  /** It takes long: who waits gets what was good until lately, where there is such; the question goes on. */
  #tellStale(flight: Flight): void {
    flight.isSlow = true;
    flight.waiters = flight.waiters.filter(({ query, settle }) => {
      const stale = this.#stale(query, flight.asked);
      if (stale !== null) settle(stale);
      return stale === null;
    });
  }

  /** Tells all who wait what came of it. */
  #land(flight: Flight, reply: Reply | null): void {
    this.#flights.delete(flight);
    flight.patience?.clear();
    const { rememberedKey } = flight.asked;
    const nowMs = this.#options.nowMs();
    const isOurs = rememberedKey !== null && flight.roster === this.#roster && this.#isOpen;
    const hasFailed = reply === null || reply.rcodeCode === RCODE.SERVFAIL;
    if (isOurs && reply !== null) this.#remembered.put(rememberedKey, reply.bytes, nowMs);
    if (isOurs && hasFailed) this.#remembered.serveStale(rememberedKey, nowMs + STALE_TOLD_MS);
    for (const { query, settle } of flight.waiters) {
      const stale = hasFailed && isOurs ? this.#stale(query, flight.asked) : null;
      settle(stale ?? told(query, reply));
    }
  }
}

function isSame(one: HostPort, other: HostPort | undefined): boolean {
  return one.host === other?.host && one.port === other.port;
}

function told(query: Buffer, reply: Reply | null): Forwarded {
  if (reply === null) return { kind: "failed", reason: "silent" };
  // A copy for each who waits.
  return { kind: "reply", bytes: addressTo(query, Buffer.from(reply.bytes)), rcodeCode: reply.rcodeCode };
}

function fromMemory(query: Buffer, { bytes, rcodeCode }: Kept): Forwarded {
  return { kind: "reply", bytes: addressTo(query, bytes), rcodeCode, fromCache: true };
}
