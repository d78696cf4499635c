/**
 * Leg: the part of a flow that leads to one upstream, and on to the next when that refuses.
 *
 * A refused datagram was heard by nobody, so it goes to the next upstream, as a refused connection would. What has been
 * tried is remembered until somebody answers; an upstream that answered and refuses later, as one that was restarted,
 * fails anew. So a datagram meets each upstream twice at most, however often its flow is led elsewhere.
 *
 * Touches: the ways to upstreams, metrics.
 */

import type { Failure } from "../../base/failure.ts";

import type { Meter } from "../choice/active.ts";
import { Attempts, type Lane, type Traffic } from "../choice/attempts.ts";
import { renderProxyHeader, type Caller } from "../tcp/proxy-header.ts";
import type { Pool, Upstream } from "../routes.ts";

import { Kept } from "./kept.ts";
import type { Sender, Ways } from "./ways.ts";

/** What a leg is made of. */
export interface LegParts {
  readonly caller: Caller;
  readonly traffic: Traffic;
  readonly ways: Pick<Ways, "open">;
  readonly lane: Lane;
  readonly answered: (leg: Leg, payload: Buffer) => void;
  /** An upstream refused, or was not reached; these, without what stood in front of them, never got there. */
  readonly failed: (leg: Leg, waiting: readonly Buffer[]) => void;
  /** The upstream has left the table, or its time to drain is over. */
  readonly gone: (leg: Leg) => void;
  /** Tells of the flow's bytes. */
  readonly meter: Meter;
}

/** Leads to one upstream at a time. */
export class Leg {
  readonly #parts: LegParts;
  readonly #kept = new Kept();
  #attempts: Attempts;
  #upstream: Upstream | null = null;
  #sender: Sender | null = null;
  #header: Buffer | null = null;
  #goesWell = false;

  constructor(parts: LegParts) {
    this.#parts = parts;
    this.#attempts = this.#begin();
  }

  /** Where it leads, or led last; null when there was no upstream at all. */
  get upstream(): Upstream | null {
    return this.#upstream;
  }

  /** Goes to the next upstream. @returns false when there is none left */
  next(): boolean {
    if (this.#goesWell) {
      this.#attempts.finished();
      this.#attempts = this.#begin();
    }
    this.#goesWell = false;
    this.#sender?.close();
    this.#sender = null;
    const upstream = this.#attempts.next();
    if (upstream === null) return false;
    this.#upstream = upstream;
    this.#header = headerFor(upstream, this.#parts.caller);
    const sender: Sender = this.#parts.ways.open(upstream, {
      sent: (payload) => this.#kept.sent(payload, this.#parts.traffic.nowMs()),
      unanswered: () => this.#kept.refused(this.#parts.traffic.nowMs()),
      answered: (payload) => this.#answered(payload),
      failed: (cause, unsent) => {
        // Another one is used by now.
        if (this.#sender === sender) this.#failed(cause, unsent);
      },
    });
    this.#sender = sender;
    return true;
  }

  /** @returns false when it was dropped */
  send(payload: Buffer): boolean {
    const bytes = this.#header === null ? payload : Buffer.concat([this.#header, payload]);
    return this.#sender?.send(bytes) === true;
  }

  /** Lets go of what is kept for too long. */
  expire(nowMs: number): void {
    this.#kept.expire(nowMs);
  }

  /** Leads nowhere any more. May be called again. */
  close(): void {
    this.#sender?.close();
    this.#sender = null;
    this.#attempts.finished();
  }

  #begin(): Attempts {
    const { traffic, lane, caller, gone, meter } = this.#parts;
    const asker = { client: caller.address, gone: () => gone(this) };
    return new Attempts(traffic, lane, { ...asker, counts: "connections", meter });
  }

  #answered(payload: Buffer): void {
    if (!this.#goesWell) this.#attempts.succeeded();
    this.#goesWell = true;
    this.#kept.answered();
    this.#parts.answered(this, payload);
  }

  #failed(cause: Failure, unsent: readonly Buffer[]): void {
    const { traffic, failed, lane } = this.#parts;
    const headerBytes = this.#header?.length ?? 0;
    const waiting = [...this.#kept.refused(traffic.nowMs()), ...unsent];
    traffic.log.debug(`datagrams for service ${lane.pool.service}: ${cause.message}`);
    this.#attempts.failed("connect", { method: "", isBodyKept: true }, cause);
    this.#sender?.close();
    this.#sender = null;
    failed(
      this,
      waiting.map((payload) => payload.subarray(headerBytes)),
    );
  }
}

/** The upstreams of a pool among which a flow may stay where it is: those of the best tier that has any. */
export function bestOf(pool: Pool): readonly Upstream[] {
  return pool.tiers.find((tier) => tier.length > 0) ?? [];
}

/** What stands in front of each datagram, as there is no connection that could begin with it; v1 knows no datagrams. */
export function headerFor({ proxyProtocol }: Upstream, caller: Caller): Buffer | null {
  if (proxyProtocol !== "v2") return null;
  return renderProxyHeader({ version: "v2", caller, transport: "udp" });
}
