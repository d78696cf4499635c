/**
 * Udp: one UDP socket of the DNS server, on top of dns2's.
 *
 * A finished answer costs hardly more than the socket itself: no closure, no callback of the send (both are for what
 * takes time), and no lookup of a host that is an address already, which Node would put off to the next tick.
 *
 * dns2 parses whatever arrives and answers answers; so its `handle` is overridden and the bytes go to the responder,
 * which filters first. Its `response` returns a promise that rejects when a datagram cannot be sent, and an unhandled
 * rejection ends the process; so datagrams are sent here, each failure counted. Its `listen` never settles on a busy
 * port; so `bind` is awaited here.
 *
 * Touches: a UDP socket, metrics.
 */

import type { RemoteInfo, SocketOptions } from "node:dgram";
import { once } from "node:events";

import { UDPServer } from "dns2";

import { isIpv6, type HostPort } from "../base/ip.ts";
import { Leaving } from "../runtime/leaving.ts";
import type { Metrics } from "../runtime/metrics.ts";

import type { Responder } from "./responder.ts";

/** Asked for, the system gives what it allows: room for a burst of queries while the event loop is busy elsewhere. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024;

/** A bound UDP socket that answers. */
export class UdpListener extends UDPServer {
  readonly #responder: Responder;
  readonly #metrics: Metrics;
  /** So that a successor can listen beside it; see runtime/sharing.ts. */
  readonly #isShared: boolean;
  #isOpen = true;
  /** Queries whose answer takes time, under way. */
  #underWay = 0;
  #leaving: Leaving | null = null;

  constructor({ host, port }: HostPort, responder: Responder, metrics: Metrics) {
    const isSix = isIpv6(host);
    const isShared = port !== 0;
    const options: SocketOptions = {
      type: isSix ? "udp6" : "udp4",
      reusePort: isShared,
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      lookup: (address, _options, done) => done(null, address, isSix ? 6 : 4),
    };
    // dns2 hands `type` to the socket, which takes options there as well.
    super({ type: options as unknown as "udp4" });
    this.#responder = responder;
    this.#metrics = metrics;
    this.#isShared = isShared;
  }

  /** Binds; port 0 lets the system choose. Throws the system's error. */
  async open({ host, port }: HostPort): Promise<HostPort> {
    // Before bind: with an address that needs no lookup it is told within the call.
    const listening = once(this, "listening");
    this.bind(port, host);
    await listening;
    // From now on errors are about single datagrams; without a listener they would end the process.
    this.on("error", () => this.#drop());
    return { host, port: this.address().port };
  }

  /** Called by dns2 for each datagram. */
  override handle(data: Buffer, from: RemoteInfo): void {
    // Port 0 cannot be answered: send() throws on it.
    if (from.port === 0) return this.#drop();
    const finished = this.#responder.recall(data, from.address, "udp");
    if (finished === null) return this.#serve(data, from);
    // Without a callback a failure is not told: nobody could do anything about a single lost answer.
    if (this.#leaving === null) return this.send(finished, from.port, from.address);
    this.#answer(finished, from);
  }

  #serve(data: Buffer, from: RemoteInfo): void {
    const client = { address: from.address, transport: "udp" } as const;
    this.#underWay += 1;
    this.#responder.serve(data, client, (answer) => {
      this.#underWay -= 1;
      if (answer !== null) this.#answer(answer, from);
    });
  }

  #answer(answer: Buffer, { address, port }: RemoteInfo): void {
    // A forwarded answer may come when the socket is closed; send() would throw.
    if (!this.#isOpen) return;
    if (this.#leaving !== null) {
      if (!this.#leaving.send(answer, { host: address, port })) this.#drop();
      return;
    }
    this.send(answer, port, address, (error) => {
      if (error !== null) this.#drop();
    });
  }

  /**
   * Leaves what comes from now on to who listens beside it. Settles when the socket is closed: once all that came
   * before is answered, or after `graceMs`.
   */
  async leave(graceMs: number): Promise<void> {
    if (!this.#isOpen) return;
    const { address: host, port } = this.address();
    const isAwaited = (): boolean => this.#underWay > 0;
    this.#leaving ??= new Leaving(this, { host, port }, { isShared: this.#isShared, isAwaited, graceMs });
    await this.#leaving.closed;
    this.#isOpen = false;
  }

  /** Closes the socket; answers still under way are dropped. */
  async shut(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#leaving === null) {
      const closed = once(this, "close");
      this.close();
      return void (await closed);
    }
    this.#leaving.end();
    await this.#leaving.closed;
  }

  #drop(): void {
    this.#metrics.dnsDropped.inc({ reason: "unsendable" });
  }
}
