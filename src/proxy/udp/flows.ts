/**
 * Flows: which datagrams belong together, for how long, and who gives way when there are too many.
 *
 * A flow is what one client's port sends to one of our sockets. Nobody says when it is over, so it is over when it has
 * been silent. A client that asked once and has its answer is most often done with its port (a lookup, a query of the
 * time), and there may be thousands a second: it is remembered for some seconds only. One that waits for its answer, or
 * has spoken twice, has the whole time.
 *
 * Each flow costs a socket, so there is room for so many, and for so many of one client. Who has spoken once gives way
 * first, oldest first, for addresses of those can be invented; but a quarter of the room is theirs, so that a crowd
 * that stays keeps no newcomers out. Of those who have spoken more than once the one gives way that was not heard for
 * longest, nearly: each that was heard since it was last looked at is passed over once (the clock algorithm), so a
 * datagram that arrives moves nothing about.
 *
 * Pure. udp.ts looks for silent ones from time to time.
 */

/** What the table knows of a flow. */
export interface Flowing {
  readonly key: string;
  /** The client's address. */
  readonly client: string;
  /** When the last datagram passed, either way; monotonic milliseconds. */
  lastMs: number;
  /** Datagrams of the client. */
  sent: number;
  isAnswered: boolean;
  /** Whether the client was heard since the flow was last looked at for a place. */
  wasHeard: boolean;
}

/** How much room there is. */
export interface FlowsMax {
  readonly all: number;
  readonly perClient: number;
}

/** How long a flow of one question and one answer is remembered. */
const ANSWERED_MS = 5000;
/** The part of the room that is kept for those who have spoken once. */
const NEWCOMERS_SHARE = 0.25;

/** How long a flow may be silent. @param idleMs  the longest for its service */
export function silenceMs(
  { sent, isAnswered }: Pick<Flowing, "sent" | "isAnswered">,
  idleMs: number,
): number {
  return sent <= 1 && isAnswered ? Math.min(ANSWERED_MS, idleMs) : idleMs;
}

/** Flows that share a bound, in the order in which they give way. */
class Crowd<F extends Flowing> {
  readonly #newcomers = new Set<F>();
  readonly #regulars = new Set<F>();

  get size(): number {
    return this.#newcomers.size + this.#regulars.size;
  }

  add(flow: F): void {
    this.#newcomers.add(flow);
  }

  /** The flow has spoken again. */
  promote(flow: F): void {
    if (this.#newcomers.delete(flow)) this.#regulars.add(flow);
  }

  remove(flow: F): void {
    if (!this.#newcomers.delete(flow)) this.#regulars.delete(flow);
  }

  /** Who gives way; null only when nobody is there. */
  next(sizeMax: number): F | null {
    const isTheirTurn = this.#newcomers.size > sizeMax * NEWCOMERS_SHARE || this.#regulars.size === 0;
    if (isTheirTurn) return this.#newcomers.values().next().value ?? null;
    // Ends: each that is passed over is no longer marked as heard when it comes again.
    for (const flow of this.#regulars) {
      if (!flow.wasHeard) return flow;
      flow.wasHeard = false;
      this.#regulars.delete(flow);
      this.#regulars.add(flow);
    }
    return null;
  }
}

/** The flows of one proxy. */
export class Flows<F extends Flowing> {
  readonly #max: FlowsMax;
  readonly #flowByKey = new Map<string, F>();
  readonly #all = new Crowd<F>();
  readonly #crowdByClient = new Map<string, Crowd<F>>();

  constructor(max: FlowsMax) {
    this.#max = max;
  }

  get size(): number {
    return this.#flowByKey.size;
  }

  get(key: string): F | undefined {
    return this.#flowByKey.get(key);
  }

  /**
   * Adds a flow that has a key of its own.
   *
   * @returns the one that gave way to it and is in the table no more; null when there was room
   */
  add(flow: F): F | null {
    const own = this.#crowdByClient.get(flow.client) ?? new Crowd<F>();
    let gone: F | null = null;
    if (own.size >= this.#max.perClient) gone = own.next(this.#max.perClient);
    else if (this.size >= this.#max.all) gone = this.#all.next(this.#max.all);
    if (gone !== null) this.remove(gone);
    this.#flowByKey.set(flow.key, flow);
    this.#all.add(flow);
    own.add(flow);
    // Again: it is dropped when its last flow has just given way.
    this.#crowdByClient.set(flow.client, own);
    return gone;
  }

  /** Notes a datagram of the client. */
  heard(flow: F, nowMs: number): void {
    flow.lastMs = nowMs;
    flow.wasHeard = true;
    flow.sent += 1;
    if (flow.sent !== 2) return;
    this.#all.promote(flow);
    this.#crowdByClient.get(flow.client)?.promote(flow);
  }

  /** Takes a flow out; harmless when it is not there. */
  remove(flow: F): void {
    if (this.#flowByKey.get(flow.key) !== flow) return;
    this.#flowByKey.delete(flow.key);
    this.#all.remove(flow);
    const own = this.#crowdByClient.get(flow.client);
    own?.remove(flow);
    if (own?.size === 0) this.#crowdByClient.delete(flow.client);
  }
}
