/**
 * Schedule: which endpoints are to be probed now, and what their probes have found.
 *
 * A new endpoint is probed at once and then every 100 ms until it passes, so that a fresh replica takes traffic as
 * soon as it listens; after a few seconds of that it is probed at its own pace. The second probe at that pace comes
 * after a random part of the interval and each one after it a little early or late, so a host's thousand endpoints,
 * all discovered in one moment, do not fire in one moment for ever.
 *
 * At most `inFlightMax` probes are out at once, the longest overdue first: a bound without that order would starve
 * whoever sorts last. A probe whose result does not come is counted as failed and its place given on; what it says
 * later is ignored, since each probe has a ticket and only the last one handed out for an endpoint is good.
 *
 * Pure: the time and the dice are told. A class, since it is one thing that lives as long as the node.
 */

import type { Random } from "../base/random.ts";
import type { Discovered, HealthSource, ProbePlan, Readiness } from "../model/endpoint.ts";
import type { ReplicaId } from "../model/ids.ts";
import type { Delivery } from "../model/service.ts";

import { judge, PROVEN, readiness, UNPROVEN, type ProbeOutcome, type Verdict } from "./verdict.ts";

/** A probe to be run now. Its result is to be told with the same id and ticket. */
export interface ProbeRequest {
  readonly id: ReplicaId;
  readonly ticket: number;
  readonly address: string;
  /** The service's name: the `Host` of an HTTP probe. */
  readonly service: string;
  readonly probe: ProbePlan;
  /** What the endpoint expects in front of each connection. */
  readonly proxyProtocol: Delivery["proxyProtocol"];
}

/** What the schedule needs of an endpoint. */
export type Checked = Pick<Discovered, "id" | "service" | "address" | "startedAtMs" | "health" | "delivery">;

/** How long a start is given: probed often, and called starting rather than unready. */
const STARTING_MS = 5000;
/** Pace of probes during a start. */
const STARTING_INTERVAL_MS = 100;
/** A probe keeps its own deadline and says why it failed; only one that says nothing is overdue, this much later. */
const OVERDUE_GRACE_MS = 500;
/** An interval varies by this part of itself, half of it each way. */
const JITTER = 0.2;

const OVERDUE: ProbeOutcome = { kind: "failed", reason: "no result in time", refused: false };

/** One endpoint that is probed. */
interface Watched {
  readonly checked: Checked;
  readonly sinceMs: number;
  verdict: Verdict;
  /** True until it was ready once, or its start has taken too long. */
  starting: boolean;
  /** True once a probe at its own pace was scheduled: from then on only jitter moves the phase. */
  phased: boolean;
  failure: string | null;
  /** The last failure's reason, published as `failure` when it comes twice in a row. */
  lastFailure: string | null;
  dueMs: number;
  /** Ticket of the probe in flight; null when there is none. */
  ticket: number | null;
}

/** A probe that was handed out and not heard of since. */
interface Flight {
  readonly id: ReplicaId;
  readonly startedMs: number;
  /** When it counts as failed. */
  readonly overdueMs: number;
}

/** The probes of one node. */
export class ProbeSchedule {
  readonly #inFlightMax: number;
  #healthById: ReadonlyMap<ReplicaId, HealthSource> = new Map();
  #watchedById: ReadonlyMap<ReplicaId, Watched> = new Map();
  /** By ticket. Those of endpoints that are gone stay till they end: they hold a socket all the same. */
  readonly #flightByTicket = new Map<number, Flight>();
  #lastTicket = 0;

  /** Of endpoints not seen yet: those that are taken to be ready until a probe of ours says otherwise. */
  readonly #trusted: Set<ReplicaId>;

  /**
   * @param inFlightMax  probes out at once, at least 1: LIMITS.probesInFlight
   * @param trusted  what another prober of this host found ready a moment ago
   */
  constructor(inFlightMax: number, trusted: Iterable<ReplicaId> = []) {
    this.#inFlightMax = inFlightMax;
    this.#trusted = new Set(trusted);
  }

  /**
   * Takes the whole set of endpoints.
   *
   * What was found of an endpoint stays while it is the same run of the same copy, asked the same thing; its pace and
   * its thresholds may change meanwhile, so that a reload takes nobody out.
   */
  set(endpoints: readonly Checked[], nowMs: number): void {
    const watchedById = new Map<ReplicaId, Watched>();
    for (const checked of endpoints) {
      if (checked.health.kind !== "probe") continue;
      const known = this.#watchedById.get(checked.id);
      if (known === undefined || targetOf(known.checked) !== targetOf(checked)) {
        const fresh = newlyWatched(checked, nowMs);
        // Once: when it comes again it is another run, of which nobody has found anything.
        const isReady = this.#trusted.delete(checked.id);
        watchedById.set(checked.id, isReady ? { ...fresh, verdict: PROVEN, starting: false } : fresh);
        continue;
      }
      // A shorter interval counts from now: what was due in an hour must not keep its hour.
      const dueMs = Math.min(known.dueMs, nowMs + checked.health.probe.intervalMs);
      watchedById.set(checked.id, { ...known, checked, dueMs });
    }
    this.#healthById = new Map(endpoints.map(({ id, health }) => [id, health]));
    this.#watchedById = watchedById;
  }

  /**
   * The probes to start now; each counts as in flight from here on.
   *
   * Call it every few tens of milliseconds: it is also what notices overdue probes.
   */
  due(nowMs: number, random: Random): readonly ProbeRequest[] {
    for (const [ticket, flight] of this.#flightByTicket) {
      if (flight.overdueMs <= nowMs) this.#settle(ticket, OVERDUE, nowMs, random);
    }
    const room = Math.max(0, this.#inFlightMax - this.#flightByTicket.size);
    return [...this.#watchedById.values()]
      .filter((watched) => watched.ticket === null && watched.dueMs <= nowMs)
      .sort((one, other) => one.dueMs - other.dueMs || (one.checked.id < other.checked.id ? -1 : 1))
      .slice(0, room)
      .flatMap((watched) => this.#start(watched, nowMs));
  }

  /**
   * Takes the result of a probe that `due` gave out.
   *
   * @returns true when the endpoint's readiness changed by it; false for a probe that is no longer waited for
   */
  result(
    request: Pick<ProbeRequest, "id" | "ticket">,
    outcome: ProbeOutcome,
    nowMs: number,
    random: Random,
  ): boolean {
    const watched = this.#watchedById.get(request.id) ?? null;
    const before = watched === null ? null : readiness(watched.checked.health, watched);
    this.#settle(request.ticket, outcome, nowMs, random);
    const after = watched === null ? null : readiness(watched.checked.health, watched);
    return before?.state !== after?.state || before?.reason !== after?.reason;
  }

  /** What is known of every endpoint of the set, whoever has the say over it. */
  verdicts(): ReadonlyMap<ReplicaId, Readiness> {
    const byId = new Map<ReplicaId, Readiness>();
    for (const [id, health] of this.#healthById) {
      byId.set(id, readiness(health, this.#watchedById.get(id) ?? null));
    }
    return byId;
  }

  /** Probes out now. */
  get inFlight(): number {
    return this.#flightByTicket.size;
  }

  #start(watched: Watched, nowMs: number): readonly ProbeRequest[] {
    const { id, service, address, health, delivery } = watched.checked;
    if (health.kind !== "probe") return [];
    this.#lastTicket += 1;
    watched.ticket = this.#lastTicket;
    const overdueMs = nowMs + health.probe.timeoutMs + OVERDUE_GRACE_MS;
    this.#flightByTicket.set(this.#lastTicket, { id, startedMs: nowMs, overdueMs });
    const { proxyProtocol } = delivery;
    return [{ id, ticket: this.#lastTicket, address, service, probe: health.probe, proxyProtocol }];
  }

  /** Ends a flight; its outcome counts only for the endpoint that still waits for it. */
  #settle(ticket: number, outcome: ProbeOutcome, nowMs: number, random: Random): void {
    const flight = this.#flightByTicket.get(ticket);
    if (flight === undefined) return;
    this.#flightByTicket.delete(ticket);
    const watched = this.#watchedById.get(flight.id);
    if (watched?.ticket !== ticket || watched.checked.health.kind !== "probe") return;
    const { probe } = watched.checked.health;
    watched.ticket = null;
    watched.verdict = judge(watched.verdict, outcome, probe);
    if (watched.verdict.ready || nowMs - watched.sinceMs >= STARTING_MS) watched.starting = false;
    noteFailure(watched, outcome);
    watched.dueMs = Math.max(nowMs, flight.startedMs + pauseMs(watched, probe.intervalMs, random));
  }
}

function newlyWatched(checked: Checked, nowMs: number): Watched {
  return {
    checked,
    sinceMs: nowMs,
    verdict: UNPROVEN,
    starting: true,
    phased: false,
    failure: null,
    lastFailure: null,
    dueMs: nowMs,
    ticket: null,
  };
}

/** What is asked, and of which run of which copy: when this changes, what was found before means nothing. */
function targetOf({ address, startedAtMs, health, delivery }: Checked): string {
  if (health.kind !== "probe") return "";
  const { kind, port, path } = health.probe;
  return JSON.stringify([address, startedAtMs, kind, port, path, delivery.proxyProtocol]);
}

/** Keeps the published reason still: one that alternates (`timeout`, `http status 503`) is not told each time. */
function noteFailure(watched: Watched, outcome: ProbeOutcome): void {
  if (outcome.kind === "passed") {
    watched.lastFailure = null;
    if (watched.verdict.ready) watched.failure = null;
    return;
  }
  if (watched.failure === null || watched.lastFailure === outcome.reason) watched.failure = outcome.reason;
  watched.lastFailure = outcome.reason;
}

/** From the start of one probe to the next, in milliseconds. */
function pauseMs(watched: Watched, intervalMs: number, random: Random): number {
  const jitter = 1 - JITTER / 2 + JITTER * random();
  if (watched.starting) return Math.min(STARTING_INTERVAL_MS, intervalMs) * jitter;
  if (watched.phased) return intervalMs * jitter;
  watched.phased = true;
  return intervalMs * random();
}
