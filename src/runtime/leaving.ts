/**
 * Leaving: a UDP socket that goes away, beside another one at its address or alone, and loses no datagram it was given.
 *
 * Sockets that share a port (SO_REUSEPORT) share what comes to it, and what stands in the queue of one that is closed
 * is lost: unlike TCP's, it goes to nobody else. But a connected socket gets nothing from others than its peer, and
 * Linux passes it over when it chooses (reuseport_select_sock(), since 5.4). So the socket is connected, to itself;
 * what came before is read and answered; and what is closed is connected and empty. A connected one cannot answer
 * others, so answers are gathered for a turn and sent while it is not; what comes in that moment is read as well.
 *
 * Touches: a UDP socket.
 */

import type { Socket } from "node:dgram";
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";

import type { HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";

import { startDeadline } from "./deadline.ts";

/** How long a socket stays. */
export interface Stay {
  /**
   * Whether others may listen beside it. Not for a port that the system chose: nobody shares it, and disconnecting
   * gives back a port that was not asked for by its number.
   */
  readonly isShared: boolean;
  /** True while it has something to answer. */
  readonly isAwaited: () => boolean;
  /** The longest to wait for that, milliseconds. */
  readonly graceMs: number;
}

/** Between two looks at whether answers are awaited. */
const LOOK_EVERY_MS = 10;
/** Looks at what is unread once the time is over: a receive buffer full of small datagrams. */
const LATE_LOOKS_MAX = 128;

/** One socket on its way out. Whoever listens to its messages hears them as before. */
export class Leaving {
  /** Settles when the socket is closed. Never rejects. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #at: HostPort;
  readonly #isShared: boolean;
  readonly #unsent: { readonly payload: Buffer; readonly to: HostPort }[] = [];
  #wasHeard = false;
  #isClosed = false;

  /**
   * @param socket  its `lookup` answers within the call, or what follows one another here would come apart
   * @param at      the address and port that it is bound to
   */
  constructor(socket: Socket, at: HostPort, stay: Stay) {
    this.#socket = socket;
    this.#at = at;
    this.#isShared = stay.isShared;
    socket.on("message", () => (this.#wasHeard = true));
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#isClosed = true;
        resolve();
      });
    });
    this.#hide();
    void this.#run(stay);
  }

  /** Answers from the socket's address. @returns false when it was dropped */
  send(payload: Buffer, to: HostPort): boolean {
    if (this.#isClosed || this.#unsent.length >= LIMITS.udpSendQueueMax) return false;
    this.#unsent.push({ payload, to });
    if (this.#unsent.length === 1) setImmediate(() => this.#sendAll());
    return true;
  }

  /** Closes it now; what is unread is lost. May be called again. */
  end(): void {
    if (this.#isClosed) return;
    this.#sendAll();
    this.#isClosed = true;
    this.#socket.close();
  }

  async #run({ isAwaited, graceMs }: Stay): Promise<void> {
    let isLate = false;
    const grace = startDeadline(graceMs, () => (isLate = true));
    for (let lateLooks = 0; !this.#isClosed && lateLooks < LATE_LOOKS_MAX; lateLooks += isLate ? 1 : 0) {
      this.#wasHeard = false;
      // Between two turns the system is asked once what there is to read.
      await turn();
      await turn();
      if (this.#wasHeard || this.#unsent.length > 0) continue;
      if (isLate || !isAwaited()) break;
      await pause(LOOK_EVERY_MS);
    }
    grace.clear();
    this.end();
  }

  #sendAll(): void {
    if (this.#isClosed || this.#unsent.length === 0) return;
    this.#show();
    for (const { payload, to } of this.#unsent.splice(0)) {
      try {
        // Without a callback a failure is not told: nobody could do anything about a single lost answer.
        this.#socket.send(payload, to.port, to.host);
      } catch {
        // Still connected, for it could not be disconnected: it is dropped.
      }
    }
    this.#hide();
    // Something may have come meanwhile, and a look that goes on now would end before it is read.
    this.#wasHeard = true;
  }

  /** Where it cannot be connected it gets its share until it is closed, as any socket does. */
  #hide(): void {
    if (!this.#isShared) return;
    try {
      this.#socket.connect(this.#at.port, this.#at.host, () => undefined);
    } catch {
      // Connected already, or closed by somebody else: its `close` is on the way.
    }
  }

  #show(): void {
    if (!this.#isShared) return;
    try {
      this.#socket.disconnect();
    } catch {
      // It was not connected, for it could not be.
    }
  }
}
