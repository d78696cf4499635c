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
 * Nobody is refused because others ask a lot: when as much is under way as may be, the oldest gives way (waiting.ts).
 *
 * Touches: timers; sockets, the log and metrics through asking.ts and roster.ts.
 */

import { AssertionFailed } from "../../base/assert.ts";
import { textOf } from "../../base/failure.ts";
import { isSamePlace, networkOf, type HostPort } from "../../base/ip.ts";
import { Repeats } from "../../base/repeats.ts";
import { LIMITS } from "../../model/limits.ts";
import { startDeadline, type RunningDeadline } from "../../runtime/deadline.ts";

import { RCODE } from "../codes.ts";

import { addressTo, onwardQuery, readAsked, type Asked } from "./asked.ts";
import { startAsking, type AskTimes } from "./asking.ts";
import type { Transport } from "./exchange.ts";
import { Remembered, type Recalled } from "./remembered.ts";
import type { UpstreamReply } from "./reply.ts";
import { flightsMaxOf, Roster, type RosterOptions, type UpstreamStanding } from "./roster.ts";
import { Waiting, type Entry } from "./waiting.ts";

/** Whom to ask, how long, and whom to tell of it. */
export interface ForwarderOptions extends RosterOptions {
  readonly times: ForwardTimes;
}

/** How long things may take. */
export interface ForwardTimes extends AskTimes {
  /** After so long without an answer, one that is due is told (RFC 8767 5, the client response timer). */
  readonly staleAfterMs: number;
}

/** What came of it. `bytes` has the id of the query. `busy`: it gave way to others. */
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
  remembered(query: Buffer): Forwarded | null;
  /**
   * True when one of our own loop probes has come back by this name (any case, no dot at the end): an upstream asks us
   * what we ask it. To be asked only about queries that would be forwarded; the answer to an echo is REFUSED.
   */
  isEcho(name: string): boolean;
  /**
   * Settles within `times.totalMs`; never rejects. Identical queries under way are one.
   *
   * @param client  its address: of the client that has most under way the oldest gives way when there is too much
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

/** The same is logged once in so long. */
const REPEAT_MS = 600_000;

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
  readonly flight: Flight;
  readonly settle: (forwarded: Forwarded) => void;
}

/** One question to the upstreams, and all who wait for it. */
interface Flight {
  readonly key: string;
  readonly asked: Asked;
  readonly roster: Roster;
  readonly waiters: Set<Entry<Waiter>>;
  entry: Entry<Flight> | null;
  /** So slow that an answer which is due is told meanwhile. */
  isSlow: boolean;
  patience: RunningDeadline | null;
  cancel: () => void;
}

/** A query that may go on. */
interface Bid {
  readonly query: Buffer;
  readonly asked: Asked;
  readonly key: string;
  readonly transport: Transport;
  readonly network: string;
}

class UpstreamForwarder implements Forwarder {
  readonly #options: ForwarderOptions;
  readonly #remembered = new Remembered();
  readonly #flightByKey = new Map<string, Flight>();
  /** Each as its first waiter's. */
  readonly #flights = new Waiting<Flight>();
  readonly #waiters = new Waiting<Waiter>();
  readonly #flightsMax: number;
  readonly #said = new Repeats(REPEAT_MS, LIMITS.repeatsKept);
  /** How many are under way of each question whose answers are for one client alone. */
  readonly #ownByQuestion = new Map<string, number>();
  #roster: Roster;
  #look: NodeJS.Timeout | null = null;
  #isOpen = true;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#flightsMax = flightsMaxOf(options);
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

  remembered(query: Buffer): Forwarded | null {
    const key = readAsked(query)?.rememberedKey ?? null;
    if (key === null) return null;
    const nowMs = this.#options.nowMs();
    const kept = this.#reading(() => fromMemory(query, this.#remembered.get(key, nowMs)));
    return kept ?? (this.#remembered.isSilent(key, nowMs) ? UNHEARD : null);
  }

  forward(query: Buffer, transport: Transport, client = ""): Promise<Forwarded> {
    const asked = readAsked(query);
    if (asked === null || !this.#isOpen) return Promise.resolve(UNHEARD);
    const key = `${transport} ${asked.underWayKey}`;
    const stale = this.#flightByKey.get(key)?.isSlow === true ? this.#stale(query, asked) : null;
    if (stale !== null) return Promise.resolve(stale);
    const network = networkOf(client);
    this.#makeRoom(network);
    const flight = this.#flightByKey.get(key) ?? this.#begin({ query, asked, key, transport, network });
    if (flight === "busy") return Promise.resolve(this.#busy(query, asked));
    if (flight === "silent") return Promise.resolve(UNHEARD);
    return new Promise((resolve) => {
      // A copy: over TCP the query is a view of all that came with it.
      const waiter = { query: Buffer.from(query), flight, settle: resolve };
      flight.waiters.add(this.#waiters.add(waiter, network, this.#options.nowMs()));
    });
  }

  setUpstreams(upstreams: readonly HostPort[]): void {
    if (!this.#isOpen) return;
    const now = this.#roster.upstreams;
    const isSame = (one: HostPort, at: number): boolean => {
      const other = now[at];
      return other !== undefined && isSamePlace(one, other);
    };
    if (upstreams.length === now.length && upstreams.every(isSame)) return;
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
      underWay: this.#waiters.size,
      rememberedEntries: this.#remembered.entries,
      rememberedBytes: this.#remembered.sizeBytes,
      upstreams: this.#roster.standings,
    };
  }

  close(): void {
    this.#isOpen = false;
    if (this.#look !== null) clearInterval(this.#look);
    this.#roster.close();
    for (const { item } of this.#flights.all) {
      item.cancel();
      this.#land(item, null);
    }
  }

  /** Room for one more query of a client. */
  #makeRoom(network: string): void {
    const nowMs = this.#options.nowMs();
    const isOwnFull = this.#waiters.countOf(network) >= LIMITS.dnsForwardWaitersPerClient;
    if (isOwnFull) this.#giveWay(this.#waiters.oldestOf(network));
    if (this.#waiters.size >= LIMITS.dnsForwardWaitersMax) this.#giveWay(this.#waiters.yielding(nowMs));
  }

  #giveWay(entry: Entry<Waiter> | null): void {
    if (entry === null) return;
    const { query, flight } = entry.item;
    this.#settle(entry, this.#busy(query, flight.asked));
    if (flight.waiters.size === 0) this.#abandon(flight);
  }

  #settle(entry: Entry<Waiter>, forwarded: Forwarded): void {
    this.#waiters.delete(entry);
    entry.item.flight.waiters.delete(entry);
    entry.item.settle(forwarded);
  }

  /** Ends one that gives way, whatever came of it so far. */
  #abandon(flight: Flight): void {
    flight.cancel();
    this.#forget(flight);
    for (const entry of flight.waiters) this.#settle(entry, this.#busy(entry.item.query, flight.asked));
  }

  #forget(flight: Flight): void {
    const { key, asked, entry, patience } = flight;
    patience?.clear();
    if (entry !== null) this.#flights.delete(entry);
    // Not whatever is there: since the upstreams changed it may be another's.
    if (this.#flightByKey.get(key) === flight) this.#flightByKey.delete(key);
    if (asked.rememberedKey === null) this.#countOwn(asked, -1);
  }

  #countOwn({ questionKey }: Asked, more: 1 | -1): void {
    const count = (this.#ownByQuestion.get(questionKey) ?? 0) + more;
    if (count === 0) this.#ownByQuestion.delete(questionKey);
    else this.#ownByQuestion.set(questionKey, count);
  }

  #busy(query: Buffer, asked: Asked): Forwarded {
    return this.#stale(query, asked) ?? { kind: "failed", reason: "busy" };
  }

  #stale(query: Buffer, { rememberedKey }: Asked): Forwarded | null {
    if (rememberedKey === null) return null;
    const nowMs = this.#options.nowMs();
    return this.#reading(() => fromMemory(query, this.#remembered.stale(rememberedKey, nowMs)));
  }

  #begin({ query, asked, key, transport, network }: Bid): Flight | "busy" | "silent" {
    const roster = this.#roster;
    const turns = roster.turns();
    if (turns.length === 0) return "silent";
    const isOwn = asked.rememberedKey === null;
    if (isOwn && (this.#ownByQuestion.get(asked.questionKey) ?? 0) >= LIMITS.dnsForwardsPerQuestion)
      return "busy";
    const { times, nowMs } = this.#options;
    const yielding = this.#flights.size >= this.#flightsMax ? this.#flights.yielding(nowMs()) : null;
    if (yielding !== null) this.#abandon(yielding.item);
    const waiters = new Set<Entry<Waiter>>();
    const rest = { entry: null, isSlow: false, patience: null, cancel: () => {} };
    const flight: Flight = { key, asked, roster, waiters, ...rest };
    flight.entry = this.#flights.add(flight, network, nowMs());
    this.#flightByKey.set(key, flight);
    if (isOwn) this.#countOwn(asked, 1);
    flight.patience = startDeadline(times.staleAfterMs, () => this.#tellStale(flight));
    const ended = (reply: UpstreamReply | null): void => this.#land(flight, reply);
    const onward = onwardQuery(query, asked);
    flight.cancel = startAsking({ query: onward, transport, turns, times, observer: roster, ended });
    return flight;
  }

  /** It takes long: who waits gets what was good until lately, where there is such; the question goes on. */
  #tellStale(flight: Flight): void {
    flight.isSlow = true;
    for (const entry of flight.waiters) {
      const stale = this.#stale(entry.item.query, flight.asked);
      if (stale !== null) this.#settle(entry, stale);
    }
  }

  /** Tells all who wait what came of it. */
  #land(flight: Flight, reply: UpstreamReply | null): void {
    this.#forget(flight);
    const { rememberedKey } = flight.asked;
    const nowMs = this.#options.nowMs();
    const isOurs = rememberedKey !== null && flight.roster === this.#roster && this.#isOpen;
    const hasFailed = reply === null || reply.rcodeCode === RCODE.SERVFAIL;
    if (isOurs && reply !== null)
      this.#reading(() => this.#remembered.put(rememberedKey, reply.bytes, nowMs));
    if (isOurs && hasFailed) this.#remembered.serveStale(rememberedKey, nowMs + STALE_TOLD_MS);
    if (isOurs && reply === null) this.#remembered.noteSilence(rememberedKey, nowMs);
    for (const entry of flight.waiters) {
      const { query } = entry.item;
      const stale = hasFailed && isOurs ? this.#stale(query, flight.asked) : null;
      this.#settle(entry, stale ?? this.#reading(() => told(query, reply)) ?? UNHEARD);
    }
  }

  /**
   * Whatever reads bytes of upstreams is called by this. It never throws, whatever the bytes, as its tests have it;
   * should it all the same, then one query is without this answer, and not everybody without a daemon.
   */
  #reading<T>(read: () => T): T | null {
    try {
      return read();
    } catch (thrown) {
      if (thrown instanceof AssertionFailed) throw thrown;
      const error = textOf(thrown);
      if (this.#said.isNew(error, this.#options.nowMs()))
        this.#options.log.error("a reply of a dns upstream cannot be read, and is left out", { error });
      return null;
    }
  }
}

const UNHEARD: Forwarded = { kind: "failed", reason: "silent" };

function told(query: Buffer, reply: UpstreamReply | null): Forwarded {
  if (reply === null) return UNHEARD;
  // A copy for each who waits.
  return { kind: "reply", bytes: addressTo(query, Buffer.from(reply.bytes)), rcodeCode: reply.rcodeCode };
}

function fromMemory(query: Buffer, recalled: Recalled | null): Forwarded | null {
  if (recalled === null) return null;
  const { bytes, rcodeCode } = recalled;
  return { kind: "reply", bytes: addressTo(query, bytes), rcodeCode, fromCache: true };
}
