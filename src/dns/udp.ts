/**
 * Udp: one UDP socket of the DNS server, on top of dns2's.
 *
 * dns2 parses whatever arrives and answers answers; so its `handle` is overridden and the bytes go to the responder,
 * which filters first. Its `response` returns a promise that rejects when a datagram cannot be sent, and an unhandled
 * rejection ends the process; so datagrams are sent here, each failure counted. Its `listen` never settles on a busy
 * port; so `bind` is awaited here.
 *
 * Touches: a UDP socket, metrics.
 */

import type { RemoteInfo } from "node:dgram";
import { once } from "node:events";

import { UDPServer } from "dns2";

import { isIpv6, unmapped, type HostPort } from "../base/ip.ts";
import type { Metrics } from "../runtime/metrics.ts";

import type { Responder } from "./responder.ts";

/** A bound UDP socket that answers. */
export class UdpListener extends UDPServer {
  readonly #responder: Responder;
  readonly #metrics: Metrics;
  #isOpen = true;

  constructor(host: string, responder: Responder, metrics: Metrics) {
    super({ type: isIpv6(host) ? "udp6" : "udp4" });
    this.#responder = responder;
    this.#metrics = metrics;
  }

  /** Binds; port 0 lets the system choose. Throws the system's error. */
  async open({ host, port }: HostPort): Promise<HostPort> {
    this.bind(port, host);
    await once(this, "listening");
    // From now on errors are about single datagrams; without a listener they would end the process.
    this.on("error", () => this.#drop());
    return { host, port: this.address().port };
  }

  /** Called by dns2 for each datagram. */
  override handle(data: Buffer, from: RemoteInfo): void {
    // Port 0 cannot be answered: send() throws on it.
    if (from.port === 0) return this.#drop();
    const client = { address: unmapped(from.address), transport: "udp" } as const;
    this.#responder.serve(data, client, (answer) => {
      // A forwarded answer may come when the socket is closed; send() would throw.
      if (answer === null || !this.#isOpen) return;
      this.send(answer, from.port, from.address, (error) => {
        if (error !== null) this.#drop();
      });
    });
  }

  /** Closes the socket; answers still under way are dropped. */
  async shut(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const closed = once(this, "close");
    this.close();
    await closed;
  }

  #drop(): void {
    this.#metrics.dnsDropped.inc({ reason: "unsendable" });
  }
}
