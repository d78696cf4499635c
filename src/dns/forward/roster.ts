/**
 * Roster: the upstreams in use, what is thought of each, and the probes that find loops.
 *
 * One roster lasts as long as its list of servers. When the list changes there is a new one and nothing is carried
 * over: a laptop in another network finds other servers behind the same addresses. Queries under way end with the old
 * one, which tells nobody of its servers any more: the metric and the log are about those in use.
 *
 * Touches: the system's random numbers, timers, the log, metrics; sockets through exchange.ts. order.ts and loop.ts
 * decide.
 */

import { randomBytes } from "node:crypto";
import { isIP } from "node:net";

import { base32 } from "../../base/bytes.ts";
import { Failure } from "../../base/failure.ts";
import { renderHostPort, type HostPort } from "../../base/ip.ts";
import { Repeats } from "../../base/repeats.ts";
import { LIMITS } from "../../model/limits.ts";
import { startDeadline } from "../../runtime/deadline.ts";
import type { Log } from "../../runtime/log.ts";
import type { Metrics } from "../../runtime/metrics.ts";

import type { AskObserver, ExchangeResult, Turn } from "./asking.ts";
import { startExchange } from "./exchange.ts";
import { LoopWatch, probeQuery, rootQuery } from "./loop.ts";
import { UpstreamOrder, type UpstreamState } from "./order.ts";
import { isUsable, type UpstreamReply } from "./reply.ts";

/** An upstream as `skein status` tells of it. */
export interface UpstreamStanding {
  readonly address: HostPort;
  readonly state: UpstreamState;
}

/** What a roster works with. */
export interface RosterOptions {
  readonly upstreams: readonly HostPort[];
  /** Sockets for queries at once, LIMITS.dnsExchangesMax at most and unless told otherwise. */
  readonly exchangesMax?: number | undefined;
  /** Monotonic, milliseconds. */
  readonly nowMs: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Of all sockets so much is for asking a second server before the first has answered, as a divisor. */
const EXTRA_SHARE = 2;

/** One that is suspected to be silent is not asked about it more often: who is slow for one name is asked a lot. */
const CONFIRM_EVERY_MS = 1000;

/** How many queries may be under way, so that each has a socket: the others are for a second server. */
export function flightsMaxOf({ exchangesMax }: Pick<RosterOptions, "exchangesMax">): number {
  const max = exchangesMaxOf(exchangesMax);
  return Math.max(1, Math.min(LIMITS.dnsForwardsMax, max - Math.floor(max / EXTRA_SHARE)));
}

function exchangesMaxOf(wished: number | undefined): number {
  return Math.min(wished ?? LIMITS.dnsExchangesMax, LIMITS.dnsExchangesMax);
}

/** How long a probe's reply is waited for; its echo may come later still. */
const PROBE_MS = 2000;

/** 80 bits: nobody guesses a probe's name. */
const TOKEN_BYTES = 10;

/** The same is logged once in so long. */
const REPEAT_MS = 600_000;

const STATES: readonly UpstreamState[] = ["unknown", "alive", "silent", "loop"];

/** The upstreams of one configuration. */
export class Roster implements AskObserver {
  readonly #options: RosterOptions;
  readonly #order: UpstreamOrder;
  readonly #loops: LoopWatch;
  readonly #said = new Repeats(REPEAT_MS, LIMITS.repeatsKept);
  /** Functions that end probes under way. */
  readonly #probes = new Set<() => void>();
  readonly #extraMax: number;
  /** When each that is suspected may be asked about it again. */
  readonly #confirmAtMs = new Map<number, number>();
  #extra = 0;
  #isClosed = false;

  /** @throws Failure `invalid` for an upstream that is not an IP address: to look up its name it would need itself */
  constructor(options: RosterOptions) {
    this.#options = options;
    this.#extraMax = Math.floor(exchangesMaxOf(options.exchangesMax) / EXTRA_SHARE);
    const { upstreams, nowMs } = options;
    for (const upstream of upstreams) {
      if (isIP(upstream.host) !== 0) continue;
      const text = `dns upstream is "${renderHostPort(upstream)}"; expected an IP address and a port`;
      throw new Failure("invalid", text);
    }
    this.#order = new UpstreamOrder(upstreams.length);
    this.#loops = new LoopWatch(upstreams.length, nowMs());
    this.#gauge();
  }

  get upstreams(): readonly HostPort[] {
    return this.#options.upstreams;
  }

  get standings(): readonly UpstreamStanding[] {
    const { states } = this.#order;
    return this.upstreams.map((address, at) => ({ address, state: states[at] ?? "unknown" }));
  }

  /** Whom to ask for one query, in turn; nobody where there is none, or all are loops. */
  turns(): readonly Turn[] {
    return this.#order.turns(this.#options.nowMs()).flatMap((at) => {
      const upstream = this.upstreams[at];
      return upstream === undefined ? [] : [{ at, upstream }];
    });
  }

  /** Whether a query for this name is our own probe come back; its upstream is a loop then. */
  isEcho(name: string): boolean {
    const at = this.#loops.echoed(name);
    if (at === null) return false;
    this.#order.setLoop(at, true);
    this.#gauge();
    const what = "dns upstream asks this daemon what it is asked by it, and is left out until that ends";
    this.#say(
      "warn",
      at,
      `${what}; take this daemon out of what it forwards to, or name another in dns.upstream`,
    );
    return true;
  }

  /** Sends the probes that are due. To be called each second or so. */
  probe(): void {
    const nowMs = this.#options.nowMs();
    for (const at of this.#loops.due(nowMs)) {
      const upstream = this.upstreams[at];
      const name = this.#loops.probe(at, base32(randomBytes(TOKEN_BYTES)), nowMs);
      if (upstream !== undefined) this.#sendProbe(at, upstream, name);
    }
  }

  #sendProbe(at: number, upstream: HostPort, name: string): void {
    this.#put(upstream, probeQuery(name), (reply) => {
      if (reply === null) return this.#unheard(at);
      this.#note(at, "spoke");
      // A failure proves nothing: one in a circle with us may have left us out as we did it.
      if (!isUsable(reply)) return;
      const wasLoop = this.#loops.isLoop(at);
      if (!this.#loops.replied(at)) return;
      this.#order.setLoop(at, false);
      this.#gauge();
      if (wasLoop) this.#options.log.info("dns upstream is no loop any more", this.#fields(at));
    });
  }

  /** Asks one that is suspected to be silent what each server knows; two datagrams, since one may be lost. */
  #confirm(at: number): void {
    const upstream = this.upstreams[at];
    const nowMs = this.#options.nowMs();
    const isEarly = nowMs < (this.#confirmAtMs.get(at) ?? -Infinity);
    if (upstream === undefined || isEarly || this.#isClosed || !this.#order.isSuspect(at)) return;
    this.#confirmAtMs.set(at, Infinity);
    this.#put(upstream, rootQuery(), (reply) => {
      this.#confirmAtMs.set(at, this.#options.nowMs() + CONFIRM_EVERY_MS);
      this.#note(at, reply === null ? "confirmed" : "spoke");
    });
  }

  /** Asks one server out of turn. @param heard  called once, with null when it does not answer in time */
  #put(upstream: HostPort, query: Buffer, heard: (reply: UpstreamReply | null) => void): void {
    const ignored = (): void => this.ignored();
    const cancel = (): void => {
      again.clear();
      deadline.clear();
      exchange.cancel();
      this.#probes.delete(cancel);
    };
    const finish = (reply: UpstreamReply | null): void => {
      cancel();
      heard(reply);
    };
    const exchange = startExchange({ upstream, query, transport: "udp", ignored }, finish);
    const again = startDeadline(PROBE_MS / 2, () => void exchange.again());
    const deadline = startDeadline(PROBE_MS, () => finish(null));
    this.#probes.add(cancel);
  }

  /** A probe got no reply. Of one that answers others that says little: some drop names that nobody has. */
  #unheard(at: number): void {
    const state = this.#order.states[at];
    if (state === "alive") return;
    // It is asked again soon, though nobody has a question: it may just not have been up yet.
    this.#loops.suspect(at);
    if (state === "unknown") this.#note(at, "missed");
  }

  mayHedge(): boolean {
    return this.#extra < this.#extraMax;
  }

  began(isExtra = false): void {
    if (isExtra) this.#extra += 1;
  }

  ended(at: number, result: ExchangeResult, isExtra = false): void {
    if (isExtra) this.#extra -= 1;
    this.#options.metrics.dnsExchanges.inc({ result });
    if (result === "unused") return;
    this.#note(at, result === "answered" || result === "failed" ? "spoke" : "missed");
  }

  /** What came of asking it. */
  #note(at: number, what: "spoke" | "missed" | "confirmed"): void {
    const before = this.#order.states[at];
    if (what === "spoke") this.#order.spoke(at);
    else if (what === "missed") this.#order.missed(at);
    else this.#order.confirmed(at, this.#options.nowMs());
    if (what === "missed") this.#confirm(at);
    const after = this.#order.states[at];
    if (before === after) return;
    this.#gauge();
    if (after !== "silent") return;
    this.#loops.suspect(at);
    this.#say("info", at, "dns upstream does not answer, and is asked last until it does");
  }

  ignored(): void {
    this.#options.metrics.dnsIgnored.inc();
  }

  /** Ends the probes under way; nothing is told any more. */
  close(): void {
    this.#isClosed = true;
    for (const cancel of this.#probes) cancel();
  }

  #fields(at: number): { readonly upstream: string } {
    const upstream = this.upstreams[at];
    return { upstream: upstream === undefined ? "" : renderHostPort(upstream) };
  }

  #say(level: "info" | "warn", at: number, text: string): void {
    if (!this.#isClosed && this.#said.isNew(`${at} ${text}`, this.#options.nowMs())) {
      this.#options.log[level](text, this.#fields(at));
    }
  }

  #gauge(): void {
    if (this.#isClosed) return;
    const { states } = this.#order;
    for (const state of STATES) {
      this.#options.metrics.dnsUpstreams.set({ state }, states.filter((one) => one === state).length);
    }
  }
}
