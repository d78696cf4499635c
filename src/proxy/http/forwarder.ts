/**
 * Forwarder: what the proxy asks of whatever sends requests to upstreams.
 *
 * One request to one upstream, and what becomes of it; which upstream, and whether another is tried, is decided before
 * and after (exchange.ts, upgrade.ts). Plain requests go over connections of our own (wire/), WebSockets are joined by
 * http-proxy (websockets.ts). test/proxy/http/forwarder-suite.ts says what any engine behind this must do.
 *
 * Pure: interfaces.
 */

import type { Duplex } from "node:stream";

import type { AttemptEnd } from "../choice/retry.ts";
import type { Upstream } from "../routes.ts";
import type { Caller } from "../tcp/proxy-header.ts";

import type { UpstreamAnswer } from "./answer.ts";
import type { HeaderFields } from "./headers.ts";

/** The head of a request as the upstream is to get it. */
export interface OutgoingHead {
  readonly method: string;
  /** The request target; sent byte for byte. */
  readonly target: string;
  readonly fields: HeaderFields;
}

/** Which connection a request may use: any kept one; one that was used just now; a new one. */
export type Freshness = "any" | "warm" | "new";

/** Where a body goes: a request to an upstream. */
export interface BodySink {
  readonly writableEnded: boolean;
  readonly writableNeedDrain: boolean;
  on(event: "drain", listener: () => void): unknown;
  /** False when no more should come before `drain`. */
  write(chunk: Buffer): boolean;
  end(): unknown;
  /** Sends the head now; it leaves with the first bytes of the body else. */
  flushHeaders(): void;
  addTrailers(trailers: readonly (readonly [string, string])[]): void;
}

/** A request and how it is to be carried. */
export interface Exchanged extends OutgoingHead {
  /** The ends of the client's connection, for upstreams that want to be told. */
  readonly caller: Caller;
  readonly freshness: Freshness;
}

/** A WebSocket handshake. */
export type Handshake = Omit<Exchanged, "freshness">;

/** How an attempt ended without an answer. */
export interface AttemptFailure {
  readonly end: Exclude<AttemptEnd, "late">;
  readonly cause: unknown;
  /** False when not a byte has left: then the request may be sent again, whatever it is. */
  readonly wasSent: boolean;
}

/** What becomes of an attempt. After `answered`, `failed` or `abandon` nothing more is told. */
export interface AttemptEvents {
  /** The upstream has taken the connection: the body may be sent. May be told before `send` has returned. */
  readonly connected: (body: BodySink) => void;
  /** An interim answer (1xx other than 100 and 101) has come; the answer is still to come. */
  readonly informed: (status: number, rawHeaders: readonly string[]) => void;
  /** A response head has come; its body and how it ends are the answer's to tell. */
  readonly answered: (answer: UpstreamAnswer) => void;
  readonly failed: (failure: AttemptFailure) => void;
}

/** As AttemptEvents, for a WebSocket handshake. */
export interface UpgradeEvents extends Omit<AttemptEvents, "connected" | "informed"> {
  /** The upstream has switched protocols; both sides are joined, and end each other from here on. */
  readonly joined: () => void;
}

/** One attempt under way. */
export interface Attempt {
  /** Ends the attempt and its connection, in whatever state it is; harmless afterwards. */
  abandon(): void;
}

/** Sends requests. Does not throw; failures come as events, never before it has returned. */
export interface Sender {
  send(upstream: Upstream, exchange: Exchanged, events: AttemptEvents): Attempt;
}

/** Joins WebSockets, in the same manner. */
export interface Joiner {
  upgrade(upstream: Upstream, socket: Duplex, exchange: Handshake, events: UpgradeEvents): Attempt;
}

/** Sends requests of both kinds to upstreams. */
export interface HttpForwarder extends Sender, Joiner {}
