/**
 * Tcp: one TCP socket of the DNS server and its connections, on top of dns2's.
 *
 * dns2's own `handle` keeps idle connections for ever and takes as many as come, so it is overridden whole. A client
 * may send queries without waiting for answers (RFC 7766 6.2.1.1) and close its side when it has asked all. What it
 * can make us hold is bounded: queries under way per connection, answers it does not read; and what all of them may
 * is shared (connections.ts). At a bound we stop reading, so the client is slowed by TCP itself and nobody else is; a
 * connection on which nothing gets done within the idle time is destroyed (not ended: a client that does not read
 * would keep it).
 *
 * Touches: a TCP socket, timers, metrics.
 */

import { once } from "node:events";
import type { Socket } from "node:net";

import { TCPServer } from "dns2";

import { networkOf, unmapped, type HostPort } from "../../base/ip.ts";
import { LIMITS } from "../../model/limits.ts";
import { nowMs } from "../../runtime/clock.ts";
import { startDeadline } from "../../runtime/deadline.ts";
import type { Metrics } from "../../runtime/metrics.ts";

import type { Responder } from "../responder.ts";

import type { Connections, Guest } from "./connections.ts";
import type { Place } from "./crowd.ts";
import type { Sliced } from "./turns.ts";

/** Queries of one connection served before another one has its turn, as far as the time of a turn goes. */
const QUERIES_PER_SLICE = 32;

/** Answers of one connection written before that: the system copies some hundred kilobytes a millisecond. */
const BYTES_PER_SLICE = 64 * 1024;

/** Answers together larger than this are written in their pieces: copying them into one costs more. */
const JOINED_BYTES_MAX = 16 * 1024;

/** For a query that is on its way when we stop: the round trips of a client that has just connected. */
const ON_THE_WAY_MS = 500;

/** What a TCP listener works with. */
export interface TcpOptions {
  readonly responder: Responder;
  readonly connections: Connections;
  readonly metrics: Metrics;
  /** How long a connection may go without a whole query or an answer. */
  readonly idleMs: number;
}

/** A listening TCP socket that answers. */
export class TcpListener extends TCPServer {
  readonly #options: TcpOptions;
  readonly #served = new Set<Connection>();
  #closed: Promise<unknown> = Promise.resolve();

  constructor(options: TcpOptions) {
    super();
    this.#options = options;
  }

  /**
   * Listens; port 0 lets the system choose. Throws the system's error.
   *
   * @param isShared  a successor can listen beside it; see runtime/sharing.ts
   */
  async open({ host, port }: HostPort, isShared: boolean): Promise<HostPort> {
    this.listen({ host, port, reusePort: isShared });
    await once(this, "listening");
    // From now on errors are about single connections not accepted (EMFILE); the socket goes on.
    this.on("error", () => this.#options.metrics.dnsDropped.inc({ reason: "connection" }));
    const bound = this.address();
    return { host, port: typeof bound === "object" && bound !== null ? bound.port : port };
  }

  /** Called by dns2 for each connection; its types don't say so. */
  handle(client: Socket): void {
    const { connections, metrics } = this.#options;
    const address = unmapped(client.remoteAddress ?? "");
    // Before anything else: without a listener a reset would end the process.
    client.on("error", () => client.destroy());
    const connection = new Connection(client, address, this.#options);
    if (!connections.admit(connection, address)) {
      metrics.dnsDropped.inc({ reason: "connection" });
      client.destroy();
      return;
    }
    this.#served.add(connection);
    client.on("close", () => {
      this.#served.delete(connection);
      connection.close();
    });
    client.setNoDelay(true);
  }

  /** Stops listening and ends every connection at once. */
  async shut(): Promise<void> {
    const closed = this.#stop();
    for (const connection of this.#served) connection.abort();
    await closed;
  }

  /**
   * Stops listening. Settles when every connection has ended: each as soon as it has its answers, but not before a
   * moment in which a query that is on its way comes; at the latest after `graceMs`.
   */
  async leave(graceMs: number): Promise<void> {
    const closed = this.#stop();
    const finish = (): void => this.#served.forEach((connection) => connection.finish());
    const moment = startDeadline(Math.min(graceMs, ON_THE_WAY_MS), finish);
    const grace = startDeadline(graceMs, () => void this.shut());
    await closed;
    for (const deadline of [moment, grace]) deadline.clear();
  }

  /** Listens no more. Settles when the last connection has ended. */
  #stop(): Promise<unknown> {
    if (this.listening) {
      this.#closed = once(this, "close");
      this.close();
    }
    return this.#closed;
  }
}

const NOTHING = Buffer.alloc(0);

/** One connection: takes queries off it in order; answers go out as they are finished (RFC 7766 6.2.1.1). */
class Connection implements Guest, Sliced {
  readonly network: string;
  readonly #client: Socket;
  readonly #from: { readonly address: string; readonly transport: "tcp" };
  readonly #options: TcpOptions;
  readonly #flushed = (): void => this.#drained();
  #place: Place<Guest> | null = null;
  #idle: NodeJS.Timeout | null = null;
  /** Received and not yet served: at most one chunk and the beginning of a query. */
  #unread: Buffer = NOTHING;
  /** Answers of this slice, each with its length; written together. */
  #ready: Buffer[] = [];
  #readyBytes = 0;
  #underWay = 0;
  #hasEnded = false;
  /** Nothing more is awaited. */
  #isLast = false;
  #isPumping = false;
  #isPaused = false;
  #hasMoved = false;
  #isWaiting = false;

  constructor(client: Socket, address: string, options: TcpOptions) {
    this.network = networkOf(address);
    this.#client = client;
    this.#from = { address, transport: "tcp" };
    this.#options = options;
  }

  /** Begins to serve. Until then what the client sends stays with the system. */
  start(place: Place<Guest>): void {
    const client = this.#client;
    this.#place = place;
    this.#idle = setTimeout(() => client.destroy(), this.#options.idleMs);
    client.on("data", (chunk: Buffer) => {
      // What comes when we have ended our side cannot be answered.
      if (client.writableEnded) return;
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
      this.#advance();
    });
    client.on("end", () => {
      this.#hasEnded = true;
      this.#advance();
    });
  }

  /** Ends it at once, for somebody else's sake. What is not answered then is counted. */
  end(): void {
    const isIdle = this.#place?.condition === "idle";
    if (!isIdle) this.#options.metrics.dnsDropped.inc({ reason: "connection" });
    this.#client.destroy();
  }

  /** Ends it once all that came is answered; what comes later is asked again elsewhere (RFC 7766 6.2.4). */
  finish(): void {
    this.#isLast = true;
    // One that has no place yet was not read from, and will not be.
    if (this.#place === null) this.#client.destroy();
    else this.#advance();
  }

  /** Ends the connection at once; what was answered before goes out. */
  abort(): void {
    this.#write();
    this.#client.destroy();
  }

  /** The socket is closed. */
  close(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#options.connections.drop(this);
    this.#options.connections.leave(this, this.#place);
  }

  /** Goes on, now or when its turn has come. Called whenever something may have become possible. */
  #advance(): void {
    // An answer finished before serve() returns comes through here, too; the loop in slice() is already at it.
    if (this.#isPumping || this.#client.destroyed) return;
    if (this.#options.connections.ask(this)) return;
    this.#wait();
  }

  /** Serves what is there, as far as the bounds let it. */
  slice(endMs: number): void {
    this.#isWaiting = false;
    this.#isPumping = true;
    let served = 0;
    while (this.#serveNext()) {
      served += 1;
      const isMuch = served === QUERIES_PER_SLICE || this.#readyBytes >= BYTES_PER_SLICE;
      if (isMuch || nowMs() >= endMs) break;
    }
    this.#isPumping = false;
    this.#write();
    this.#settle();
  }

  /** Writes what is ready at once: a segment and a system call an answer is most of what an answer costs. */
  #write(): void {
    const ready = this.#ready;
    const bytes = this.#readyBytes;
    if (ready.length === 0 || this.#client.destroyed) return;
    this.#ready = [];
    this.#readyBytes = 0;
    if (bytes <= JOINED_BYTES_MAX) {
      this.#client.write(Buffer.concat(ready, bytes), this.#flushed);
      return;
    }
    this.#client.cork();
    for (const piece of ready) this.#client.write(piece, piece === ready.at(-1) ? this.#flushed : undefined);
    this.#client.uncork();
  }

  /** The client has read what was written: there may be room for more. */
  #drained(): void {
    // Mostly it was sent before write() returned, and nothing waited for it.
    if (this.#place === null || (this.#place.heldBytes === 0 && !this.#isPaused)) return;
    this.#hasMoved = true;
    this.#advance();
  }

  /** @returns false when nothing whole is there, or a bound is reached */
  #serveNext(): boolean {
    if (this.#client.destroyed || this.#isFull()) return false;
    const query = this.#takeFrame();
    if (query === null) return false;
    const { responder } = this.#options;
    this.#progress();
    this.#underWay += 1;
    const finished = responder.recall(query, this.#from.address, "tcp");
    if (finished !== null) this.#answered(finished);
    else responder.serve(query, this.#from, (answer) => this.#answered(answer));
    return true;
  }

  #answered(answer: Buffer | null): void {
    this.#underWay -= 1;
    if (this.#client.destroyed) return;
    // Bytes that deserve no answer are not DNS, and over TCP nobody forges where they come from.
    if (answer === null) return this.abort();
    this.#enqueue(answer);
    if (this.#isPumping) return;
    this.#progress();
    // Not in turn: it is finished, and had its turn when it was asked for.
    this.#write();
    this.#advance();
  }

  /** An answer with its length in front (RFC 1035 4.2.2). */
  #enqueue(answer: Buffer): void {
    const length = Buffer.allocUnsafe(2);
    length.writeUInt16BE(answer.length, 0);
    this.#ready.push(length, answer);
    this.#readyBytes += 2 + answer.length;
  }

  #progress(): void {
    this.#hasMoved = true;
    this.#idle?.refresh();
  }

  /** Reads on, waits, or ends: what the state after a slice asks for. */
  #settle(): void {
    if (this.#client.destroyed) return;
    const isFull = this.#isFull();
    const hasMore = !isFull && this.#frameBytes() !== null;
    this.#unread = compact(this.#unread);
    if (hasMore) {
      this.#options.connections.later(this);
      return this.#wait();
    }
    this.#read(!isFull);
    this.#account();
    const isDone = (this.#hasEnded || this.#isLast) && !isFull && this.#underWay === 0;
    if (isDone && !this.#client.destroyed) this.#client.end();
  }

  /** Until its turn has come. */
  #wait(): void {
    this.#isWaiting = true;
    this.#read(false);
    this.#account();
  }

  /** Tells what it does, and what is held for it. */
  #account(): void {
    const place = this.#place;
    if (place === null) return;
    const { connections } = this.#options;
    const unsentBytes = this.#unsentBytes();
    const isBusy = this.#underWay > 0 || this.#isWaiting;
    const condition = isBusy ? "busy" : unsentBytes > 0 ? "unread" : "idle";
    if (this.#hasMoved || condition !== place.condition) connections.move(place, condition);
    this.#hasMoved = false;
    connections.hold(place, unsentBytes + this.#unread.length);
  }

  /** Takes bytes off the socket from now on, or leaves them to the system, which slows the sender down. */
  #read(isWanted: boolean): void {
    if (isWanted !== this.#isPaused) return;
    this.#isPaused = !isWanted;
    if (isWanted) this.#client.resume();
    else this.#client.pause();
  }

  #unsentBytes(): number {
    return this.#client.writableLength + this.#readyBytes;
  }

  /** True when no further query is to be served now. One with nothing unsent always gets an answer. */
  #isFull(): boolean {
    if (this.#underWay >= LIMITS.dnsPipelineMax) return true;
    const unsentBytes = this.#unsentBytes();
    return unsentBytes > 0 && unsentBytes > this.#options.connections.unsentBytesMax;
  }

  /** The size of the next query (RFC 1035 4.2.2); null while it is not whole. */
  #frameBytes(): number | null {
    if (this.#unread.length < 2) return null;
    const size = this.#unread.readUInt16BE(0);
    // Not waited for: it would be dropped anyway, and our holding it is what a sender of long messages is after.
    return size > LIMITS.dnsQueryBytes || this.#unread.length >= 2 + size ? size : null;
  }

  /** The next query without its length; null while it is not whole. */
  #takeFrame(): Buffer | null {
    const size = this.#frameBytes();
    if (size === null) return null;
    if (size > LIMITS.dnsQueryBytes) {
      this.#options.metrics.dnsDropped.inc({ reason: "long" });
      this.abort();
      return null;
    }
    const frame = this.#unread.subarray(2, 2 + size);
    this.#unread = this.#unread.subarray(2 + size);
    return frame;
  }
}

/** What is left of a chunk without the rest of it, which would be kept as long. */
function compact(rest: Buffer): Buffer {
  if (rest.length === 0) return NOTHING;
  return rest.length * 4 > rest.buffer.byteLength ? rest : Buffer.from(rest);
}
