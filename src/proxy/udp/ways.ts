/**
 * Ways: how datagrams get to an upstream, and what comes back.
 *
 * To an upstream on this host, or with an address of its own, each flow has a connected socket: its port tells the
 * answers apart, and the system tells of ICMP refusals. One behind another host's daemon is reached over one way for
 * all flows (model/datagram.ts), opened when the first needs it and kept a while after the last. Both look the same to
 * a flow, but for one thing: until a way is open a few datagrams of each flow wait, and are given back where it fails.
 *
 * A refusal is told to all flows to that upstream: nobody listens there for any of them, and the system says so to few.
 * It rations such words (icmp_ratelimit, icmp(7): one a second and host, beyond a handful).
 *
 * Touches: UDP sockets; the ways that the daemon opens.
 */

import { Failure, systemCodeOf, textOf, type FailureCode } from "../../base/failure.ts";
import { renderHostPort } from "../../base/ip.ts";
import type { DatagramReceiver, DatagramWay } from "../../model/datagram.ts";
import { LIMITS } from "../../model/limits.ts";
import { isOwnFault, openUdpSocket } from "../../runtime/udp.ts";

import { wayOf, type Upstream } from "../routes.ts";

/** Opens a way through the daemon of the upstream's host; rejects with a Failure. */
export type DialDatagrams = (
  upstream: Upstream,
  ask: { readonly deadlineMs: number; readonly receiver: DatagramReceiver },
) => Promise<DatagramWay>;

/** Who hears of one flow's datagrams. Nothing is told within the call that causes it, but `sent`. */
export interface SenderReceiver {
  /** This one is on its way. */
  sent(payload: Buffer): void;
  /** Takes back what was sent a moment ago and not answered: what it was sent on is gone, and it goes again. */
  unanswered(): readonly Buffer[];
  answered(payload: Buffer): void;
  /**
   * The upstream refused, or is not reached: the sender is of no more use. Told at most once.
   *
   * @param unsent  what never left
   */
  failed(cause: Failure, unsent: readonly Buffer[]): void;
}

/** One flow's way to its upstream. */
export interface Sender {
  /** @returns false when it was dropped, for there is no room */
  send(payload: Buffer): boolean;
  /** The receiver hears nothing more. */
  close(): void;
}

/** What ways need. */
export interface WaysOptions {
  readonly dial: DialDatagrams;
  readonly nowMs: () => number;
  /** For opening a way through another daemon. */
  readonly streamMs: number;
}

/** A way that breaks is opened anew, unless it broke so soon that the next would as well. */
const WORTH_REOPENING_MS = 1000;
/** How long a way without flows is kept: the next flow then needs no handshake. */
const UNUSED_MS = 60_000;

/** The ways of one proxy. */
export class Ways {
  readonly #options: WaysOptions;
  readonly #relayedByVersion = new Map<string, RelayedWay>();
  /** What fails each of the sockets to an upstream. */
  readonly #directByVersion = new Map<string, Set<(cause: Failure) => void>>();

  constructor(options: WaysOptions) {
    this.#options = options;
  }

  /** Opens one flow's way. Never throws: the receiver hears what is wrong. */
  open(upstream: Upstream, receiver: SenderReceiver): Sender {
    if (upstream.via === "direct") return this.#openDirect(upstream, receiver);
    const version = wayOf(upstream);
    let way = this.#relayedByVersion.get(version);
    if (way === undefined) {
      const over = (): void => void this.#relayedByVersion.delete(version);
      way = new RelayedWay(upstream, this.#options, over);
      this.#relayedByVersion.set(version, way);
    }
    return way.openFlow(receiver);
  }

  /** Closes what has been without flows for long; to be called from time to time. */
  sweep(): void {
    for (const way of this.#relayedByVersion.values()) way.closeUnused(this.#options.nowMs() - UNUSED_MS);
  }

  #openDirect(upstream: Upstream, receiver: SenderReceiver): Sender {
    const { address: host, port } = upstream;
    const version = wayOf(upstream);
    const all = this.#directByVersion.get(version) ?? new Set();
    this.#directByVersion.set(version, all);
    const close = (): void => {
      socket.close();
      all.delete(fail);
      if (all.size === 0 && this.#directByVersion.get(version) === all) this.#directByVersion.delete(version);
    };
    const fail = (cause: Failure): void => {
      close();
      receiver.failed(cause, []);
    };
    const socket = openUdpSocket(
      { host, port },
      {
        received: (payload) => receiver.answered(payload),
        failed(thrown) {
          // Too long for the system, which is the datagram's fault.
          if (systemCodeOf(thrown) === "EMSGSIZE") return;
          const cause = failureOf(upstream, thrown);
          if (cause.code !== "refused") return fail(cause);
          // Those that are there now: one that is told may open another to the same upstream.
          const told = Array.from(all);
          for (const one of told) one(cause);
        },
      },
    );
    all.add(fail);
    return {
      send(payload) {
        // Before it is sent: a refusal may be here already when that returns.
        receiver.sent(payload);
        return socket.send(payload);
      },
      close,
    };
  }

  /** Closes all ways; flows hear nothing of it. */
  close(): void {
    for (const way of this.#relayedByVersion.values()) way.close();
  }
}

function failureOf({ replica, address, port }: Upstream, thrown: unknown): Failure {
  const other: FailureCode = isOwnFault(thrown) ? "busy" : "unreachable";
  const at = renderHostPort({ host: address, port });
  const code = systemCodeOf(thrown) === "ECONNREFUSED" ? "refused" : other;
  return new Failure(code, `${replica} at ${at}/udp: ${textOf(thrown)}`, { cause: thrown });
}

/** One flow on a way through another daemon. */
interface RelayedFlow {
  readonly receiver: SenderReceiver;
  readonly waiting: Buffer[];
}

/** A way through the daemon of an upstream's host, for all flows to that upstream. */
class RelayedWay implements DatagramReceiver {
  readonly #upstream: Upstream;
  readonly #options: WaysOptions;
  readonly #over: () => void;
  readonly #flowByNumber = new Map<number, RelayedFlow>();
  #way: DatagramWay | null = null;
  #isOver = false;
  #lastNumber = 0;
  #openedAtMs = 0;
  #unusedSinceMs = Infinity;

  constructor(upstream: Upstream, options: WaysOptions, over: () => void) {
    this.#upstream = upstream;
    this.#options = options;
    this.#over = over;
    this.#open();
  }

  openFlow(receiver: SenderReceiver): Sender {
    const number = this.#freeNumber();
    const flow: RelayedFlow = { receiver, waiting: [] };
    this.#flowByNumber.set(number, flow);
    this.#unusedSinceMs = Infinity;
    return {
      send: (payload) => this.#send(number, flow, payload),
      close: () => {
        if (this.#flowByNumber.get(number) !== flow) return;
        this.#forget(number);
        this.#way?.end(number);
      },
    };
  }

  answered(number: number, payload: Buffer): void {
    // A copy: it is a view of all that was read with it, and may be kept.
    this.#flowByNumber.get(number)?.receiver.answered(Buffer.from(payload));
  }

  refused(number: number): void {
    // Those that were told already have left, and those that came since were sent to a port that may be open again.
    if (!this.#flowByNumber.has(number)) return;
    const { replica, nodeName, port } = this.#upstream;
    const cause = new Failure("refused", `${replica} on ${nodeName}: its port ${port}/udp refuses`);
    const flows = [...this.#flowByNumber];
    for (const [number, { receiver, waiting }] of flows) {
      this.#forget(number);
      receiver.failed(cause, waiting);
    }
  }

  ended(number: number): void {
    const flow = this.#flowByNumber.get(number);
    this.#forget(number);
    const { replica, nodeName } = this.#upstream;
    flow?.receiver.failed(new Failure("busy", `${replica}: ${nodeName} has no room for the flow`), []);
  }

  /** As when its daemon is replaced: the replica may well be there. */
  broke(text: string): void {
    const wasOpenMs = this.#options.nowMs() - this.#openedAtMs;
    this.#way = null;
    if (wasOpenMs >= WORTH_REOPENING_MS && this.#flowByNumber.size > 0) {
      for (const { receiver, waiting } of this.#flowByNumber.values()) waiting.push(...receiver.unanswered());
      return this.#open();
    }
    this.#fail(new Failure("unreachable", `${this.#upstream.replica}: the way for datagrams broke: ${text}`));
  }

  closeUnused(sinceMs: number): void {
    if (this.#unusedSinceMs <= sinceMs) this.close();
  }

  close(): void {
    this.#isOver = true;
    this.#over();
    this.#flowByNumber.clear();
    this.#way?.close();
  }

  #open(): void {
    const { dial, streamMs } = this.#options;
    dial(this.#upstream, { deadlineMs: streamMs, receiver: this }).then(
      (way) => this.#opened(way),
      (thrown: unknown) => this.#fail(thrown),
    );
  }

  #opened(way: DatagramWay): void {
    if (this.#isOver) return way.close();
    this.#way = way;
    this.#openedAtMs = this.#options.nowMs();
    for (const [number, flow] of this.#flowByNumber) {
      for (const payload of flow.waiting.splice(0)) this.#send(number, flow, payload);
    }
  }

  #send(number: number, flow: RelayedFlow, payload: Buffer): boolean {
    if (this.#flowByNumber.get(number) !== flow) return false;
    if (this.#way !== null) {
      flow.receiver.sent(payload);
      return this.#way.send(number, payload);
    }
    if (flow.waiting.length >= LIMITS.udpKeptPerFlow) return false;
    flow.waiting.push(payload);
    return true;
  }

  #fail(thrown: unknown): void {
    const cause = thrown instanceof Failure ? thrown : new Failure("unreachable", textOf(thrown));
    const flows = [...this.#flowByNumber.values()];
    this.close();
    for (const { receiver, waiting } of flows) receiver.failed(cause, waiting);
  }

  #forget(number: number): void {
    this.#flowByNumber.delete(number);
    if (this.#flowByNumber.size === 0) this.#unusedSinceMs = this.#options.nowMs();
  }

  #freeNumber(): number {
    do this.#lastNumber = (this.#lastNumber + 1) % 2 ** 32;
    while (this.#flowByNumber.has(this.#lastNumber));
    return this.#lastNumber;
  }
}
