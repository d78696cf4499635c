/**
 * Arrival: who called, as the connection itself tells, or a trusted proxy in front of it.
 *
 * A load balancer that passes on bare connections can say who called in a PROXY protocol header. It is read only from
 * addresses in `trustedProxies`: from anybody else the same bytes are a lie or nonsense, and stay what they are. The
 * header comes off before the server behind the listener sees the connection, so no kind of server has to know of it;
 * and a connection that brings none costs nothing but the look at its address.
 *
 * What was told is kept by the connection's own two ends as well as by its socket: TLS and HTTP/2 hand out sockets of
 * their own, which have the same ends.
 *
 * Touches: the sockets it is given.
 */

import type { Server, Socket } from "node:net";

import { renderHostPort, unmapped } from "../../base/ip.ts";
import { Repeats } from "../../base/repeats.ts";
import { LIMITS } from "../../model/limits.ts";
import type { Log } from "../../runtime/log.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import { reset } from "../../runtime/pump.ts";

import type { Deadlines } from "../deadlines.ts";
import { readProxyHeader, type Caller } from "../tcp/proxy-header.ts";
import { Connections } from "./connections.ts";

/** The ends of a connection: of a socket, of TLS over one, or of an HTTP/2 session's. */
export type Ends = Pick<Socket, "remoteAddress" | "remotePort" | "localAddress" | "localPort">;

/** Whether connections of trusted proxies begin with a header: if they like, always, or never. */
export type HeaderMode = "auto" | "required" | "off";

/** What arrivals need. */
export interface ArrivalsOptions {
  readonly mode: HeaderMode;
  /** True for an address whose word on who called counts. */
  readonly isTrusted: (address: string) => boolean;
  readonly deadlines: Deadlines;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** How long the first bytes of a connection are waited for: a proxy that sends a header sends it at once. */
const FIRST_BYTES_MS = 1000;
const LOGGED_EVERY_MS = 60_000;

/** Who called on the connections of one proxy. */
export class Arrivals {
  /** Those that have not said yet who called. */
  readonly waiting = new Connections(LIMITS.arrivalsMax);
  readonly #options: ArrivalsOptions;
  readonly #logged = new Repeats(LOGGED_EVERY_MS, LIMITS.repeatsKept);
  readonly #toldByEnds = new Map<string, Caller>();
  readonly #callerBySocket = new WeakMap<Ends, Caller>();

  constructor(options: ArrivalsOptions) {
    this.#options = options;
  }

  /** Who called on a connection. To be asked before the socket is destroyed; what was answered stays the answer. */
  callerOf(socket: Ends): Caller {
    const known = this.#callerBySocket.get(socket);
    if (known !== undefined) return known;
    const told = this.#toldByEnds.size === 0 ? undefined : this.#toldByEnds.get(endsOf(socket));
    const caller = told ?? {
      address: unmapped(socket.remoteAddress ?? ""),
      port: socket.remotePort ?? 0,
      toAddress: unmapped(socket.localAddress ?? ""),
      toPort: socket.localPort ?? 0,
    };
    this.#callerBySocket.set(socket, caller);
    return caller;
  }

  #remember(socket: Socket, caller: Caller): void {
    const ends = endsOf(socket);
    this.#toldByEnds.set(ends, caller);
    this.#callerBySocket.set(socket, caller);
    socket.once("close", () => this.#toldByEnds.delete(ends));
  }

  /**
   * Puts itself in front of a server that has all its `connection` listeners: they are told of a connection when it is
   * known who called, its header taken off.
   */
  guard<T extends Server>(server: T): T {
    const { mode, isTrusted } = this.#options;
    if (mode === "off") return server;
    const listeners = server.listeners("connection");
    server.removeAllListeners("connection");
    server.on("connection", (socket) => {
      const arrived = (): void => {
        for (const listener of listeners) Reflect.apply(listener, server, [socket]);
      };
      if (isTrusted(unmapped(socket.remoteAddress ?? ""))) this.#read(socket, arrived);
      else arrived();
    });
    return server;
  }

  #read(socket: Socket, arrived: () => void): void {
    const { mode, deadlines, nowMs, metrics } = this.#options;
    if (!this.waiting.admit(socket)) {
      metrics.proxyRefused.inc({ reason: "connections" });
      return;
    }
    let bytes: Buffer = Buffer.alloc(0);
    const release = (): void => {
      this.waiting.release(socket);
      deadlines.remove(deadline);
      for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener);
    };
    const refuse = (reason: string): void => {
      release();
      this.#refuse(socket, reason);
    };
    const pass = (rest: Buffer): void => {
      release();
      socket.pause();
      if (rest.length > 0) socket.unshift(rest);
      arrived();
      // Whoever listens by now expects it to flow; TLS reads what is here by itself, and TCP once it has a replica.
      if (socket.listenerCount("data") > 0) socket.resume();
    };
    const withoutHeader = (): void => {
      if (mode === "required") refuse("no header of the PROXY protocol");
      else pass(bytes);
    };
    const listeners = {
      data: (chunk: Buffer): void => {
        bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
        const reading = readProxyHeader(bytes);
        if (reading.kind === "none") return withoutHeader();
        if (reading.kind === "malformed") return refuse(`header of the PROXY protocol: ${reading.reason}`);
        if (reading.kind === "more") return;
        if (reading.caller !== null) this.#remember(socket, reading.caller);
        pass(bytes.subarray(reading.bytes));
      },
      end: () => (bytes.length === 0 ? withoutHeader() : refuse("the connection ended within its header")),
      close: release,
      error: () => undefined,
    };
    const deadline = deadlines.add(nowMs() + FIRST_BYTES_MS, () => {
      if (bytes.length === 0) withoutHeader();
      else refuse(`no whole header within ${FIRST_BYTES_MS} ms`);
    });
    for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener);
    socket.resume();
  }

  #refuse(socket: Socket, reason: string): void {
    const { log, metrics, nowMs } = this.#options;
    const from = unmapped(socket.remoteAddress ?? "");
    metrics.proxyRefused.inc({ reason: "proxy-header" });
    const at = renderHostPort({ host: unmapped(socket.localAddress ?? ""), port: socket.localPort ?? 0 });
    if (this.#logged.isNew(`${from} ${reason}`, nowMs()))
      log.warn(`trusted proxy ${from} at ${at}: ${reason}`);
    socket.on("error", () => undefined);
    reset(socket);
  }
}

/** The ends of a connection as text: no two that are open have the same, whatever they are wrapped in. */
export function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Ends): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
