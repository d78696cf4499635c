/**
 * Udp: the frontends that take datagrams, and what all of them share.
 *
 * A datagram is led by the flow it belongs to, or for services that say so (`datagram`) each by itself. Flows, ways to
 * other hosts and the room for both are one proxy's: a socket is a socket, whichever service it is for. What is silent
 * is looked for once a second, by one deadline for all.
 *
 * When the daemon stops, a socket is kept for the moment that answers take which are on their way: they can leave from
 * nowhere else. What comes from then on is for a successor that listens beside it, or refused, as connections are
 * (runtime/leaving.ts).
 *
 * Touches: UDP sockets, metrics.
 */

import { unmapped, type HostPort } from "../../base/ip.ts";
import type { ServiceKey } from "../../model/ids.ts";
import type { SharedSockets } from "../../runtime/sharing.ts";

import type { Lane, Traffic } from "../choice/attempts.ts";
import type { Deadline } from "../deadlines.ts";
import type { Listener } from "../listen/listener.ts";
import type { Caller } from "../tcp/proxy-header.ts";

import { Flow, type CountDatagram } from "./flow.ts";
import { Flows, silenceMs } from "./flows.ts";
import { UdpListener, type Arrival } from "./sockets.ts";
import { Spread } from "./spread.ts";
import { Ways, type DialDatagrams } from "./ways.ts";

/** What the UDP side of a proxy needs. */
export interface UdpOptions {
  readonly traffic: Traffic;
  readonly dial: DialDatagrams;
  /** True once the proxy stops for good. */
  readonly isClosing: () => boolean;
  /** Those of the daemon that this one takes over from. */
  readonly shared: SharedSockets;
  /** At once; each costs a file descriptor. */
  readonly flowsMax: number;
}

/** One frontend. */
export interface UdpFrontend {
  readonly service: ServiceKey;
  /** The lane as it is now; null when the frontend has left the table. */
  readonly lane: () => Lane | null;
}

/** The part of the flows that one client may have: it may be a whole host. */
const CLIENT_SHARE = 0.25;
const SWEEP_EVERY_MS = 1000;
/** Sweeps between two looks at the host's addresses. */
const SWEEPS_PER_LOOK = 2;
/** How long answers that are on their way may take when the daemon stops. */
const LINGER_MS = 1000;
/** And between what belongs together: the datagrams of one answer, a datagram and the opening of its way. */
const PAUSE_MS = 100;

/** The UDP side of one proxy. */
export class Udp {
  readonly #options: UdpOptions;
  readonly #ways: Ways;
  readonly #flows: Flows<Flow>;
  readonly #served = new Set<Served>();
  readonly #deadline: Deadline;
  /** Listeners that wait for answers, and when they are closed. */
  readonly #leaving = new Map<() => void, Promise<void>>();
  #sweeps = 0;

  constructor(options: UdpOptions) {
    const { traffic, dial } = options;
    this.#options = options;
    this.#ways = new Ways({ dial, nowMs: traffic.nowMs, streamMs: traffic.times.streamMs });
    const all = Math.max(1, options.flowsMax);
    this.#flows = new Flows({ all, perClient: Math.ceil(all * CLIENT_SHARE) });
    this.#deadline = traffic.deadlines.add(traffic.nowMs() + SWEEP_EVERY_MS, () => this.#sweep());
  }

  get flowCount(): number {
    return this.#flows.size;
  }

  /** Makes what listens for a frontend, not listening yet. */
  listener(frontend: UdpFrontend): Listener {
    const { traffic, shared } = this.#options;
    const served = new Served(frontend, { traffic, ways: this.#ways, flows: this.#flows });
    const listener = new UdpListener({ shared, take: (payload, arrival) => served.take(payload, arrival) });
    served.look = () => listener.look();
    this.#served.add(served);
    const close = (): void => {
      listener.close();
      served.end();
      this.#served.delete(served);
    };
    return {
      async listen(at, seen) {
        try {
          await listener.listen(at, seen);
        } catch (thrown) {
          close();
          throw thrown;
        }
      },
      get port() {
        return listener.port;
      },
      get onError() {
        return listener.onError;
      },
      set onError(onError) {
        listener.onError = onError;
      },
      close: () => {
        if (!this.#options.isClosing()) return close();
        const isAwaited = (): boolean => served.isAwaited(traffic.nowMs());
        const left = listener.leave({ isAwaited, graceMs: LINGER_MS }).then(close);
        this.#leaving.set(
          close,
          left.finally(() => this.#leaving.delete(close)),
        );
      },
    };
  }

  /** Settles when every listener that was closed is, with what it waited for. */
  async quiet(): Promise<void> {
    await Promise.all(this.#leaving.values());
  }

  /** Ends what still waits, and all that is open. */
  close(): void {
    for (const close of this.#leaving.keys()) close();
    for (const served of this.#served) served.end();
    this.#ways.close();
    this.#options.traffic.deadlines.remove(this.#deadline);
  }

  #sweep(): void {
    const { nowMs, metrics } = this.#options.traffic;
    const atMs = nowMs();
    this.#deadline.atMs = atMs + SWEEP_EVERY_MS;
    this.#sweeps += 1;
    for (const served of this.#served) {
      served.sweep(atMs);
      if (this.#sweeps % SWEEPS_PER_LOOK === 0) served.look();
    }
    this.#ways.sweep();
    metrics.proxyFlows.set(this.#flows.size);
  }
}

/** What a frontend's parts are made of. */
interface ServedParts {
  readonly traffic: Traffic;
  readonly ways: Ways;
  readonly flows: Flows<Flow>;
}

/** One frontend at work. */
class Served {
  /** Looks at the host's addresses again. */
  look: () => void = () => undefined;
  readonly #frontend: UdpFrontend;
  readonly #parts: ServedParts;
  readonly #spread: Spread;
  readonly #own = new Set<Flow>();
  /** When the last datagram was led on by itself. */
  #spreadMs = -Infinity;
  /** Whom datagrams are counted for: a port may change hands while it is listened on. */
  #service: ServiceKey;

  constructor(frontend: UdpFrontend, parts: ServedParts) {
    this.#frontend = frontend;
    this.#parts = parts;
    this.#service = frontend.service;
    this.#spread = new Spread({ ...parts, count: this.#count });
  }

  readonly #count: CountDatagram = (result) => {
    this.#service = this.#frontend.lane()?.pool.service ?? this.#service;
    this.#parts.traffic.metrics.proxyDatagrams.inc({ service: this.#service, result });
  };

  take(payload: Buffer, arrival: Arrival): void {
    const lane = this.#frontend.lane();
    if (lane === null) {
      this.#count("no-replica");
      return;
    }
    if (lane.pool.traffic.udpMode === "datagram") {
      this.#spreadMs = this.#parts.traffic.nowMs();
      this.#spread.take(payload, lane, callerOf(arrival));
      return;
    }
    const { flows, traffic } = this.#parts;
    const flow = flows.get(arrival.key) ?? this.#begin(arrival);
    flows.heard(flow, traffic.nowMs());
    flow.take(payload);
  }

  /** True while something of what was led on may come back, or has not left yet. */
  isAwaited(nowMs: number): boolean {
    if (nowMs - this.#spreadMs <= PAUSE_MS) return true;
    for (const { lastMs, unanswered } of this.#own) {
      if (nowMs - lastMs <= (unanswered > 0 ? LINGER_MS : PAUSE_MS)) return true;
    }
    return false;
  }

  /** Ends what has been silent for too long. */
  sweep(nowMs: number): void {
    const { times } = this.#parts.traffic;
    const idleMs = this.#frontend.lane()?.pool.traffic.udpIdleMs ?? times.udpIdleMs;
    for (const flow of this.#own) {
      if (nowMs - flow.lastMs >= silenceMs(flow, idleMs)) flow.end(flow.isAnswered ? "ok" : "no answer");
      else flow.expire(nowMs);
    }
    this.#spread.expire(nowMs);
  }

  end(): void {
    for (const flow of this.#own) flow.end(flow.isAnswered ? "ok" : "no answer");
    this.#spread.close();
  }

  #begin(arrival: Arrival): Flow {
    const { flows, traffic, ways } = this.#parts;
    const flow = new Flow({
      key: arrival.key,
      caller: callerOf(arrival),
      traffic,
      ways,
      lane: this.#frontend.lane,
      count: this.#count,
      reply: arrival.reply,
      ended: (over) => {
        flows.remove(over);
        this.#own.delete(over);
      },
    });
    this.#own.add(flow);
    traffic.metrics.proxyUdpFlows.inc({ service: this.#service });
    flows.add(flow)?.end("too many flows");
    return flow;
  }
}

function callerOf({ from, to }: { readonly from: HostPort; readonly to: HostPort }): Caller {
  return { address: unmapped(from.host), port: from.port, toAddress: unmapped(to.host), toPort: to.port };
}
