/**
 * Tcp: one TCP socket of the DNS server and its connections, on top of dns2's.
 *
 * dns2's own `handle` keeps idle connections for ever and takes as many as come, so it is overridden whole. A client
 * may send queries without waiting for answers (RFC 7766 6.2.1.1) and close its side when it has asked all. What it
 * can make us hold is bounded: connections in all and per address, queries under way per connection, answers it does
 * not read. At a bound we stop reading, so the client is slowed by TCP itself and nobody else is; a connection on
 * which nothing gets done within the idle time is destroyed (not ended: a client that does not read would keep it).
 *
 * Touches: a TCP socket, timers, metrics.
 */

import { once } from "node:events";
import type { Socket } from "node:net";

import { TCPServer } from "dns2";

import { unmapped, type HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";
import type { Metrics } from "../runtime/metrics.ts";

import { framed } from "./packet.ts";
import type { Responder } from "./responder.ts";

/** Queries of one connection served in one turn of the event loop, so that a pipeline does not hold up the rest. */
const QUERIES_PER_TURN = 32;

/** Counts connections over all TCP sockets of a server. */
export interface ConnectionCount {
  /** @returns false when a bound is reached; then nothing is counted */
  enter(address: string): boolean;
  leave(address: string): void;
  readonly total: number;
}

/** Makes a count bounded by LIMITS.dnsConnectionsMax and LIMITS.dnsConnectionsPerAddress. */
export function countConnections(): ConnectionCount {
  const countByAddress = new Map<string, number>();
  let total = 0;
  return {
    enter(address) {
      const count = countByAddress.get(address) ?? 0;
      if (total >= LIMITS.dnsConnectionsMax || count >= LIMITS.dnsConnectionsPerAddress) return false;
      countByAddress.set(address, count + 1);
      total += 1;
      return true;
    },
    leave(address) {
      const count = countByAddress.get(address) ?? 0;
      if (count <= 1) countByAddress.delete(address);
      else countByAddress.set(address, count - 1);
      total -= 1;
    },
    get total() {
      return total;
    },
  };
}

/** What a TCP listener works with. */
export interface TcpOptions {
  readonly responder: Responder;
  readonly connections: ConnectionCount;
  readonly metrics: Metrics;
  /** How long a connection may go without a whole query or an answer. */
  readonly idleMs: number;
}

/** A listening TCP socket that answers. */
export class TcpListener extends TCPServer {
  readonly #options: TcpOptions;
  readonly #clients = new Set<Socket>();

  constructor(options: TcpOptions) {
    super();
    this.#options = options;
  }

  /** Listens; port 0 lets the system choose. Throws the system's error. */
  async open({ host, port }: HostPort): Promise<HostPort> {
    this.listen({ host, port });
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
    if (!connections.enter(address)) {
      metrics.dnsDropped.inc({ reason: "connection" });
      client.destroy();
      return;
    }
    this.#clients.add(client);
    client.on("close", () => {
      this.#clients.delete(client);
      connections.leave(address);
    });
    client.setNoDelay(true);
    // Kept alive by its own listeners on the socket.
    void new Connection(client, address, this.#options);
  }

  /** Stops listening and ends every connection at once. */
  async shut(): Promise<void> {
    if (!this.listening) return;
    const closed = once(this, "close");
    this.close();
    for (const client of this.#clients) client.destroy();
    await closed;
  }
}

const NOTHING = Buffer.alloc(0);

/** One connection: takes queries off it in order; answers go out as they are finished (RFC 7766 6.2.1.1). */
class Connection {
  readonly #client: Socket;
  readonly #from: { readonly address: string; readonly transport: "tcp" };
  readonly #options: TcpOptions;
  readonly #idle: NodeJS.Timeout;
  /** Received and not yet served: at most one chunk and the beginning of a query. */
  #unread: Buffer = NOTHING;
  /** Answers of this turn, each with its length; written together. */
  #ready: Buffer[] = [];
  #readyBytes = 0;
  #underWay = 0;
  #hasEnded = false;
  #isPumping = false;
  #isPaused = false;
  #isDue = false;

  constructor(client: Socket, address: string, options: TcpOptions) {
    this.#client = client;
    this.#from = { address, transport: "tcp" };
    this.#options = options;
    this.#idle = setTimeout(() => client.destroy(), options.idleMs);
    client.on("data", (chunk: Buffer) => {
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
      this.#pump();
    });
    client.on("end", () => {
      this.#hasEnded = true;
      this.#pump();
    });
    client.on("drain", () => this.#pump());
    client.on("close", () => clearTimeout(this.#idle));
  }

  /** Serves what is there, as far as the bounds let it. Called whenever one of them may have moved. */
  #pump(): void {
    // An answer finished before serve() returns comes through here, too; the loop below is already at it.
    if (this.#isPumping) return;
    this.#isPumping = true;
    let served = 0;
    while (served < QUERIES_PER_TURN && this.#serveNext()) served += 1;
    this.#isPumping = false;
    this.#write();
    this.#settle();
  }

  /** Writes what is ready in one piece: a segment and a system call an answer is most of what an answer costs. */
  #write(): void {
    if (this.#ready.length === 0 || this.#client.destroyed) return;
    const [first = NOTHING] = this.#ready;
    this.#client.write(this.#ready.length === 1 ? first : Buffer.concat(this.#ready, this.#readyBytes));
    this.#ready = [];
    this.#readyBytes = 0;
  }

  /** @returns false when nothing whole is there, or a bound is reached */
  #serveNext(): boolean {
    if (this.#client.destroyed || this.#isFull()) return false;
    const query = this.#takeFrame();
    if (query === null) return false;
    const { responder } = this.#options;
    this.#idle.refresh();
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
    if (answer === null) return this.#abort();
    const frame = framed(answer);
    this.#ready.push(frame);
    this.#readyBytes += frame.length;
    if (this.#isPumping) return;
    this.#idle.refresh();
    this.#pump();
  }

  /** Ends the connection at once; what was answered before goes out. */
  #abort(): void {
    this.#write();
    this.#client.destroy();
  }

  /** Reads on, waits, or ends: what the state after a pump asks for. */
  #settle(): void {
    if (this.#client.destroyed) return;
    const isFull = this.#isFull();
    const hasMore = !isFull && this.#frameBytes() !== null;
    this.#read(!hasMore && !isFull);
    if (hasMore) this.#pumpAgain();
    else if (this.#hasEnded && !isFull && this.#underWay === 0) this.#client.end();
  }

  /** After others had their turn. */
  #pumpAgain(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#pump();
    });
  }

  /** Takes bytes off the socket from now on, or leaves them to the system, which slows the sender down. */
  #read(isWanted: boolean): void {
    if (isWanted !== this.#isPaused) return;
    this.#isPaused = !isWanted;
    if (isWanted) this.#client.resume();
    else this.#client.pause();
  }

  #isFull(): boolean {
    const unsentBytes = this.#client.writableLength + this.#readyBytes;
    return unsentBytes > LIMITS.dnsConnectionBufferedBytes || this.#underWay >= LIMITS.dnsPipelineMax;
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
      this.#abort();
      return null;
    }
    const frame = this.#unread.subarray(2, 2 + size);
    this.#unread = this.#unread.subarray(2 + size);
    return frame;
  }
}
