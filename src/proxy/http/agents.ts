/**
 * Agents: the kept-alive connections to each upstream.
 *
 * One pool per upstream, last in first out, so that a quiet service keeps few connections warm and lets the rest go.
 * Only eligible upstreams have a pool: when one starts draining its idle connections are closed at once, for they
 * would keep a stopping server waiting, and its busy ones close after their answer.
 *
 * A kept-alive connection may be closed by the other side in the moment we write to it. A request that can be sent
 * again is; for the others a connection counts only while warm (idle for under a second), since the idle timeouts of
 * servers are longer. Not "always a new connection": for a relayed upstream that is a TLS handshake per POST.
 *
 * Touches: sockets, through `connect`.
 */

import { Agent } from "node:http";
import type { Duplex } from "node:stream";

import { Failure, textOf } from "../../base/failure.ts";
import { LIMITS } from "../../model/limits.ts";

import type { Connect } from "../connect.ts";
import { versionOf, type Upstream } from "../routes.ts";
import type { Caller } from "../tcp/proxy-header.ts";

/** Which connection a request may use: any kept one; one that was used just now; a new one. */
export type Freshness = "any" | "warm" | "new";

const WARM_MS = 1000;
/** Below the idle timeouts of common servers that do not announce theirs (Apache 5 s). */
const IDLE_MS = 4000;

/** The pools of one proxy. */
export class UpstreamAgents {
  readonly #connect: Connect;
  readonly #nowMs: () => number;
  readonly #agentByKey = new Map<string, UpstreamAgent>();
  #eligibleKeys: ReadonlySet<string> = new Set();

  constructor(connect: Connect, nowMs: () => number) {
    this.#connect = connect;
    this.#nowMs = nowMs;
  }

  /** Idle and busy connections over all pools. */
  get sizes(): { readonly idle: number; readonly busy: number } {
    const agents = [...this.#agentByKey.values()];
    const sum = (count: (agent: UpstreamAgent) => number): number =>
      agents.reduce((total, agent) => total + count(agent), 0);
    return { idle: sum((agent) => agent.idle.length), busy: sum((agent) => agent.busyCount) };
  }

  /**
   * The agent for one request. Connections are used once where the upstream is not eligible, and where it is told of
   * the caller in front of a connection: the next request on it may be another's.
   */
  agentFor(upstream: Upstream, request: { readonly caller: Caller; readonly freshness: Freshness }): Agent {
    const { freshness, caller } = request;
    const key = poolKey(upstream);
    if (upstream.proxyProtocol !== "off" || !this.#eligibleKeys.has(key)) {
      return this.singleUse(upstream, caller);
    }
    const agent = this.#agentByKey.get(key) ?? this.#open(upstream, key);
    if (freshness === "new" || (freshness === "warm" && !agent.isWarm())) agent.closeIdle();
    return agent;
  }

  /** An agent whose connections are closed after one use: for upgrades, and for upstreams that leave. */
  singleUse(upstream: Upstream, caller: Caller): Agent {
    const agent = new UpstreamAgent(() => this.#connect(upstream, caller), this.#nowMs);
    agent.retire();
    return agent;
  }

  #open(upstream: Upstream, key: string): UpstreamAgent {
    const agent = new UpstreamAgent(() => this.#connect(upstream), this.#nowMs);
    this.#agentByKey.set(key, agent);
    return agent;
  }

  /** Sets which upstreams may have a pool; the pools of all others are closed as their requests end. */
  setEligible(upstreams: readonly Upstream[]): void {
    this.#eligibleKeys = new Set(upstreams.map(poolKey));
    for (const [key, agent] of this.#agentByKey) {
      if (this.#eligibleKeys.has(key)) continue;
      agent.retire();
      this.#agentByKey.delete(key);
    }
  }

  /** Closes every connection, busy ones too. */
  close(): void {
    for (const agent of this.#agentByKey.values()) agent.destroy();
    this.#agentByKey.clear();
    this.#eligibleKeys = new Set();
  }
}

/** Connections through an earlier life of the daemon that relays them end with their request. */
function poolKey(upstream: Upstream): string {
  return upstream.relayLife === undefined
    ? versionOf(upstream)
    : `${versionOf(upstream)} ${upstream.relayLife}`;
}

/** Spares every request the search for one. */
const NO_TLS = { servername: "" };

/** The connections to one upstream. */
class UpstreamAgent extends Agent {
  readonly #connect: () => Promise<Duplex>;
  readonly #nowMs: () => number;
  #isRetired = false;
  readonly #freedAtMs = new WeakMap<Duplex, number>();

  constructor(connect: () => Promise<Duplex>, nowMs: () => number) {
    // `timeout` is for idle connections only (node:http closes a free socket on it, not a busy one), and makes the
    // agent honour a shorter one that the server announces.
    const maxFreeSockets = LIMITS.upstreamIdleSocketsMax;
    super({ keepAlive: true, scheduling: "lifo", maxFreeSockets, timeout: IDLE_MS, ...NO_TLS });
    this.#connect = connect;
    this.#nowMs = nowMs;
  }

  /** All its connections are alike: node:http would make a name for each request to tell. */
  override getName(): string {
    return "";
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    // Its type wants a stream even beside an error; node:http itself passes none.
    if (callback !== undefined) void this.#open(callback as (error: Error | null, stream?: Duplex) => void);
  }

  async #open(callback: (error: Error | null, stream?: Duplex) => void): Promise<void> {
    let stream: Duplex;
    try {
      stream = await this.#connect();
    } catch (thrown) {
      callback(thrown instanceof Error ? thrown : new Failure("unreachable", textOf(thrown)));
      return;
    }
    // An upstream that ends an idle connection has closed it: half-open it would be taken for usable.
    stream.allowHalfOpen = false;
    callback(null, stream);
  }

  override keepSocketAlive(stream: Duplex): boolean {
    // What is no socket has no keepalive to turn on and no idle timeout: it is used once.
    if (this.#isRetired || !("setKeepAlive" in stream)) return false;
    this.#freedAtMs.set(stream, this.#nowMs());
    // Its type says void, its documentation that false closes the connection.
    return super.keepSocketAlive(stream) as unknown as boolean;
  }

  get idle(): readonly Duplex[] {
    return Object.values(this.freeSockets).flatMap((sockets) => sockets ?? []);
  }

  get busyCount(): number {
    return Object.values(this.sockets).reduce((total, sockets) => total + (sockets?.length ?? 0), 0);
  }

  /** True when the connection that would be used next was in use just now, or is a new one. */
  isWarm(): boolean {
    const next = this.idle.at(-1);
    return next === undefined || this.#nowMs() - (this.#freedAtMs.get(next) ?? -Infinity) < WARM_MS;
  }

  closeIdle(): void {
    for (const stream of this.idle) stream.destroy();
  }

  retire(): void {
    this.#isRetired = true;
    this.closeIdle();
  }
}
