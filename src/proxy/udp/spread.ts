/**
 * Spread: each datagram to the next upstream, for what only comes in (logs, counts) and asks for no answer.
 *
 * One sender such as a host's log daemon keeps its port for ever; as a flow all of its load would lie on one replica.
 * So nothing is remembered of clients here: an upstream has one way for all that is sent to it, and what comes back is
 * dropped. A refusal is about the last few datagrams on that way, and those go to the next upstream.
 *
 * Touches: the ways to upstreams, metrics.
 */

import type { Failure } from "../../base/failure.ts";

import { Attempts, type Lane, type Traffic } from "../choice/attempts.ts";
import type { Caller } from "../tcp/proxy-header.ts";
import { wayOf, type Upstream } from "../routes.ts";

import type { CountDatagram } from "./flow.ts";
import { Kept } from "./kept.ts";
import { headerFor } from "./leg.ts";
import type { Sender, Ways } from "./ways.ts";

/** What spreading needs. */
export interface SpreadParts {
  readonly traffic: Traffic;
  readonly ways: Pick<Ways, "open">;
  readonly count: CountDatagram;
}

/** The way to one upstream. */
interface Track {
  readonly version: string;
  readonly upstream: Upstream;
  readonly sender: Sender;
  readonly kept: Kept;
  /** Those of the datagram that was sent last: whoever is told of a refusal is it. */
  attempts: Attempts;
  lastMs: number;
}

/** How long a way is kept that nothing is sent on. */
const UNUSED_MS = 60_000;

/** Sends the datagrams of one frontend. */
export class Spread {
  readonly #parts: SpreadParts;
  readonly #trackByVersion = new Map<string, Track>();

  constructor(parts: SpreadParts) {
    this.#parts = parts;
  }

  /** Sends one datagram to the upstream whose turn it is. */
  take(payload: Buffer, lane: Lane, caller: Caller): void {
    const { traffic, count } = this.#parts;
    const attempts: Attempts = new Attempts(traffic, lane, {
      client: caller.address,
      gone: () => this.#gone(attempts),
    });
    const upstream = attempts.next();
    if (upstream === null) {
      count("no-replica");
      return;
    }
    const header = headerFor(upstream, caller);
    const bytes = header === null ? payload : Buffer.concat([header, payload]);
    count(this.#send(bytes, upstream, attempts) ? "sent" : "dropped");
  }

  /** Closes ways that nothing was sent on for long. */
  expire(nowMs: number): void {
    for (const track of this.#trackByVersion.values()) {
      track.kept.expire(nowMs);
      if (nowMs - track.lastMs > UNUSED_MS) this.#close(track);
    }
  }

  /** Closes all ways. */
  close(): void {
    for (const track of this.#trackByVersion.values()) this.#close(track);
  }

  #send(bytes: Buffer, upstream: Upstream, attempts: Attempts): boolean {
    const track = this.#trackTo(upstream, attempts);
    if (track.attempts !== attempts) track.attempts.finished();
    track.attempts = attempts;
    track.lastMs = this.#parts.traffic.nowMs();
    return track.sender.send(bytes);
  }

  #trackTo(upstream: Upstream, attempts: Attempts): Track {
    const { traffic, ways } = this.#parts;
    const version = wayOf(upstream);
    const known = this.#trackByVersion.get(version);
    if (known !== undefined) return known;
    const kept = new Kept();
    const sender = ways.open(upstream, {
      sent: (payload) => kept.sent(payload, traffic.nowMs()),
      unanswered: () => kept.refused(traffic.nowMs()),
      answered: () => kept.answered(),
      failed: (cause, unsent) => this.#failed(track, cause, unsent),
    });
    const track: Track = { version, upstream, sender, kept, attempts, lastMs: 0 };
    this.#trackByVersion.set(version, track);
    return track;
  }

  #failed(track: Track, cause: Failure, unsent: readonly Buffer[]): void {
    const { traffic, count } = this.#parts;
    if (this.#trackByVersion.get(track.version) !== track) return;
    const { attempts } = track;
    traffic.log.debug(`datagrams: ${cause.message}`);
    const waiting = [...track.kept.refused(traffic.nowMs()), ...unsent];
    this.#trackByVersion.delete(track.version);
    track.sender.close();
    attempts.failed("connect", { method: "", isBodyKept: true }, cause);
    const next = waiting.length === 0 ? null : attempts.next();
    // What stands in front of them is what that upstream expected.
    const isAlike = next !== null && next.proxyProtocol === track.upstream.proxyProtocol;
    if (!isAlike) attempts.finished();
    for (const bytes of waiting) {
      const isSent = isAlike && this.#send(bytes, next, attempts);
      count(isSent ? "resent" : "dropped");
    }
  }

  #gone(attempts: Attempts): void {
    for (const track of this.#trackByVersion.values()) if (track.attempts === attempts) this.#close(track);
  }

  #close(track: Track): void {
    this.#trackByVersion.delete(track.version);
    track.sender.close();
    track.attempts.finished();
  }
}
