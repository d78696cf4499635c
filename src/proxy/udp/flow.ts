/**
 * Flow: what one client's port sends to one of our sockets, led to one upstream and back.
 *
 * The upstream is chosen with the first datagram and kept as long as it is among the best there are: when it drains,
 * becomes unready or is ejected the next datagram chooses again, while what it still answers to earlier ones passes for
 * a while. So it is when it leaves the table, or is another life of the replica: a client that keeps its port is never
 * led to where nobody is, and a flow that says nothing more ends a moment later (choice/active.ts).
 *
 * Touches: the ways to upstreams, metrics, the access log.
 */

import type { Meter } from "../choice/active.ts";
import type { Lane, Traffic } from "../choice/attempts.ts";
import type { AttemptEnd } from "../choice/retry.ts";
import type { Caller } from "../tcp/proxy-header.ts";
import { versionOf, type Pool, type Upstream } from "../routes.ts";

import type { Flowing } from "./flows.ts";
import { bestOf, Leg } from "./leg.ts";
import type { Ways } from "./ways.ts";

/** How datagrams went; a closed set, as it labels a metric. */
export type DatagramResult = "sent" | "answered" | "resent" | "dropped" | "no-replica";

/** Counts a datagram of one service. */
export type CountDatagram = (result: DatagramResult) => void;

/** What a flow is made of. */
export interface FlowParts {
  readonly key: string;
  readonly caller: Caller;
  readonly traffic: Traffic;
  readonly ways: Pick<Ways, "open">;
  /** The lane as it is now; null when the frontend has left the table. */
  readonly lane: () => Lane | null;
  readonly count: CountDatagram;
  /** Sends to the client. @returns false when it was dropped */
  readonly reply: (payload: Buffer) => boolean;
  /** Called once, when it is over. */
  readonly ended: (flow: Flow) => void;
}

/** How long an upstream that was left may still answer: what a client waits for a lookup. */
const FORMER_MS = 5000;
/** Retries of one flow that are told in the access log: it may live for months. */
const RETRIES_TOLD_MAX = 16;

/** One flow. */
export class Flow implements Flowing, Meter {
  readonly key: string;
  readonly client: string;
  lastMs: number;
  sent = 0;
  isAnswered = false;
  wasHeard = false;
  /** Datagrams that have no answer yet, if each has one. */
  unanswered = 0;
  readonly #parts: FlowParts;
  readonly #startedAtMs: number;
  #leg: Leg | null = null;
  #former: { readonly leg: Leg; readonly untilMs: number } | null = null;
  /** The pool in which the upstream was last found to be among the best. */
  #pool: Pool | null = null;
  /** Of the leg, and of the one before when there is none. */
  #upstream: Upstream | null = null;
  #isOver = false;
  #retries: readonly AttemptEnd[] = [];
  /** From the client and to it. */
  receivedBytes = 0;
  sentBytes = 0;

  constructor(parts: FlowParts) {
    this.#parts = parts;
    this.key = parts.key;
    this.client = parts.caller.address;
    this.#startedAtMs = parts.traffic.nowMs();
    this.lastMs = this.#startedAtMs;
  }

  /** Takes a datagram of the client to an upstream; without any the flow ends. */
  take(payload: Buffer): void {
    const { lane, count } = this.#parts;
    const own = lane();
    if (own !== null && this.#leg !== null && !this.#isAmongBest(own.pool)) this.#leave();
    const isLed = own !== null && (this.#leg !== null || this.#choose(own));
    // Not before: the bytes are those of the upstream that gets them.
    this.receivedBytes += payload.length;
    if (!isLed) return this.#giveUp();
    this.unanswered += 1;
    count(this.#leg?.send(payload) === true ? "sent" : "dropped");
  }

  /** Lets go of what is kept for too long. */
  expire(nowMs: number): void {
    this.#leg?.expire(nowMs);
    if (this.#former !== null && nowMs >= this.#former.untilMs) this.#forget();
  }

  /** Ends the flow. May be called again. @param result  in a few words, for the access log */
  end(result: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leg?.close();
    this.#leg = null;
    this.#forget();
    this.#log(result);
    this.#parts.ended(this);
  }

  #giveUp(): void {
    this.#parts.count("no-replica");
    this.end("no replica");
  }

  /**
   * True while no other upstream would be better. One that another flow found to refuse is left as well: the system
   * tells of few refusals a second (icmp_ratelimit, icmp(7)), and this flow may never hear of its own.
   */
  #isAmongBest(pool: Pool): boolean {
    const { ejections } = this.#parts.traffic;
    const id = this.#upstream?.id ?? "";
    if (!ejections.isEmpty && ejections.isEjected(id)) {
      if (bestOf(pool).some((other) => other.id !== id && !ejections.isEjected(other.id))) return false;
    }
    if (pool === this.#pool) return true;
    const used = this.#upstream;
    if (used === null || !bestOf(pool).some((upstream) => isStill(used, upstream))) return false;
    this.#pool = pool;
    return true;
  }

  #choose(lane: Lane): boolean {
    const { caller, traffic, ways } = this.#parts;
    this.#leg = new Leg({
      caller,
      traffic,
      ways,
      lane,
      answered: (_leg, payload) => this.#answered(payload),
      failed: (leg, waiting) => this.#failed(leg, waiting),
      gone: (leg) => this.#gone(leg),
      meter: this,
    });
    return this.#next(this.#leg, lane.pool);
  }

  #next(leg: Leg, pool: Pool): boolean {
    if (!leg.next()) return false;
    this.#upstream = leg.upstream;
    this.#pool = pool;
    return true;
  }

  #answered(payload: Buffer): void {
    const { traffic, count, reply } = this.#parts;
    this.lastMs = traffic.nowMs();
    this.isAnswered = true;
    this.unanswered = Math.max(0, this.unanswered - 1);
    this.sentBytes += payload.length;
    count(reply(payload) ? "answered" : "dropped");
  }

  /** An upstream refused, or is not reached: what it did not get goes to the next one. */
  #failed(leg: Leg, waiting: readonly Buffer[]): void {
    if (leg !== this.#leg) return this.#forget();
    const { lane, count } = this.#parts;
    const own = lane();
    if (waiting.length === 0) {
      // The next datagram chooses.
      leg.close();
      this.#leg = null;
      return;
    }
    if (own === null || !this.#next(leg, own.pool)) return this.#giveUp();
    this.#retries = [...this.#retries, "connect" as const].slice(-RETRIES_TOLD_MAX);
    for (const payload of waiting) count(leg.send(payload) ? "resent" : "dropped");
  }

  #gone(leg: Leg): void {
    if (leg === this.#leg) this.end("replica gone");
    else this.#forget();
  }

  /** Leaves an upstream that is not among the best any more; it may still answer what it was asked. */
  #leave(): void {
    this.#forget();
    const untilMs = this.#parts.traffic.nowMs() + FORMER_MS;
    if (this.#leg !== null) this.#former = { leg: this.#leg, untilMs };
    this.#leg = null;
  }

  #forget(): void {
    this.#former?.leg.close();
    this.#former = null;
  }

  #log(result: string): void {
    const { traffic, lane } = this.#parts;
    const { access, nowMs } = traffic;
    if (!access.isOn) return;
    const upstream = this.#upstream;
    access.append({
      kind: "udp",
      startedAtMs: this.#startedAtMs,
      durationMs: nowMs() - this.#startedAtMs,
      client: this.client,
      service: upstream?.service ?? lane()?.pool.service ?? null,
      replica: upstream?.replica ?? null,
      node: upstream?.nodeName ?? null,
      bytesSent: this.receivedBytes,
      bytesReceived: this.sentBytes,
      retries: this.#retries,
      result,
      http: null,
    });
  }
}

/**
 * Whether the upstream in use is this one, by a way that still is one. A stream is, also once an overlay network leads
 * there; an overlay network that is down leads nowhere, and nothing would tell.
 */
function isStill(used: Upstream, now: Upstream): boolean {
  return versionOf(used) === versionOf(now) && (used.via === "stream" || now.via === "direct");
}
