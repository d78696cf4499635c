/**
 * Gate: the mesh port up to the point where somebody is known.
 *
 * Whoever connects is a stranger: he costs a socket until he sends something, and a TLS handshake only when
 * strangers.ts grants him one. Then he is one of us, or asks to become one, or is refused and told why. All of it
 * together, up to the request that says what he wants, has one deadline, however slowly he speaks.
 *
 * Nothing but TLS is spoken here. A connection that begins with anything else gets a line in plain text before it is
 * closed: a person with curl, or a host of an older version, learns what is wrong; it tells nothing that the port does
 * not tell by being there. SNI is not looked at: the port has one certificate.
 *
 * Touches: the mesh port, TLS, timers.
 */

import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";

import { systemCodeOf, textOf } from "../base/failure.ts";
import { unmapped } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { JOIN_ALPN } from "../model/mesh-port.ts";
import { nowMs } from "../runtime/clock.ts";
import { KEEPALIVE_MS } from "../runtime/connect.ts";
import { startDeadline, type RunningDeadline } from "../runtime/deadline.ts";
import { resettable } from "../runtime/pump.ts";

import type { RefusalReason, Refusals } from "./refusals.ts";
import {
  contextOptions,
  GOSSIP_ALPN,
  refusalOf,
  STREAM_ALPN,
  TLS_OPTIONS,
  vouch,
  type MeshProtocol,
} from "./secure.ts";
import { Strangers } from "./strangers.ts";
import type { MeshTrust } from "./trust.ts";
import { refuse, type Refusal } from "./upgrade.ts";

/** The first byte of a TLS record that holds a handshake (RFC 8446 5.1). */
const TLS_HANDSHAKE = 22;

/** Somebody whose handshake is over. */
export interface Caller {
  /** Resets as a plain socket does. Has an `error` listener. */
  readonly socket: TLSSocket;
  readonly protocol: MeshProtocol;
  /** Null for a joiner, and only for one. */
  readonly credential: Credential | null;
  /** Why a joiner has none although he showed a certificate, or that he showed none. */
  readonly problem: string | null;
  readonly address: string;
}

/** What openGate needs. */
export interface GateOptions {
  readonly trust: MeshTrust;
  readonly refusals: Refusals;
  /** From the connection to the request that says what is wanted. */
  readonly handshakeMs: number;
  readonly onCaller: (caller: Caller) => void;
}

/** The mesh port's first half. */
export interface Gate {
  /** Not listening yet. */
  readonly server: Server;
  /** A caller has said what he wants: no stranger any more, and under no deadline of the gate's. */
  settle(socket: TLSSocket): void;
  /** Hangs up on all strangers. The server is closed by who opened it. */
  close(): void;
}

interface Entry {
  readonly id: number;
  readonly below: Socket;
  readonly address: string;
  /** Set once the handshake is over. */
  socket: TLSSocket | null;
  peer: NodeId | null;
  readonly deadline: RunningDeadline;
}

/** Opens a gate. */
export function openGate(options: GateOptions): Gate {
  const gate = new OpenGate(options);
  return { server: gate.server, settle: (socket) => gate.settle(socket), close: () => gate.close() };
}

class OpenGate {
  readonly server: Server;
  readonly #options: GateOptions;
  readonly #strangers = new Strangers(nowMs());
  readonly #entryById = new Map<number, Entry>();
  /** By both ends' addresses: what the sockets of TCP and of TLS have in common. */
  readonly #entryByEnds = new Map<string, Entry>();
  readonly #tls: ReturnType<typeof createTlsServer>;
  #material: ReturnType<MeshTrust["material"]>;
  #lastId = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#material = options.trust.material();
    this.#tls = createTlsServer({
      ...contextOptions(this.#material),
      ...TLS_OPTIONS,
      requestCert: true,
      allowHalfOpen: true,
      ALPNProtocols: [GOSSIP_ALPN, STREAM_ALPN, JOIN_ALPN],
      handshakeTimeout: options.handshakeMs,
    });
    this.#tls.on("secureConnection", (socket) => this.#met(socket));
    this.#tls.on("tlsClientError", (thrown, socket) => this.#failed(socket, thrown));
    const tcp = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS };
    // Little is read before TLS reads itself: what a stranger sends while he waits stays in the kernel.
    this.server = createTcpServer({ ...tcp, highWaterMark: 1 }, (below) => this.#came(below));
  }

  settle(socket: TLSSocket): void {
    const entry = this.#entryByEnds.get(endsOf(socket));
    if (entry === undefined) return;
    entry.deadline.clear();
    this.#strangers.leave(entry.id);
    this.#entryById.delete(entry.id);
  }

  close(): void {
    for (const { below } of this.#entryById.values()) below.destroy();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #came(below: Socket): void {
    below.on("error", () => undefined);
    if (below.remoteAddress === undefined) return void below.destroy();
    this.#lastId += 1;
    const id = this.#lastId;
    const deadline = startDeadline(this.#options.handshakeMs, () => this.#late(entry));
    const address = unmapped(below.remoteAddress);
    const entry: Entry = { id, below, address, socket: null, peer: null, deadline };
    const ends = endsOf(below);
    this.#entryById.set(id, entry);
    this.#entryByEnds.set(ends, entry);
    below.once("close", () => {
      deadline.clear();
      this.#strangers.leave(id);
      this.#entryById.delete(id);
      if (this.#entryByEnds.get(ends) === entry) this.#entryByEnds.delete(ends);
    });
    for (const old of this.#strangers.enter(id, address, nowMs())) this.#giveWay(old);
    const silent = (): void => void below.destroy();
    below.once("end", silent);
    below.once("data", (chunk: Buffer) => {
      below.pause();
      below.off("end", silent);
      if (chunk[0] !== TLS_HANDSHAKE) return this.#refuse(entry, "plaintext", PLAINTEXT);
      if (chunk.length > LIMITS.meshHeadBytes) return this.#refuse(entry, "handshake", JUNK);
      below.unshift(chunk);
      this.#strangers.spoke(id);
      this.#grant();
    });
  }

  /** Begins the handshakes that may begin, now and as long as somebody waits. */
  #grant(): void {
    const { begin, giveWay } = this.#strangers.grant(nowMs());
    for (const id of giveWay) this.#giveWay(id);
    for (const id of begin) this.#begin(id);
    const againInMs = this.#strangers.againInMs(nowMs());
    if (againInMs === null || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#grant();
    }, againInMs);
  }

  #begin(id: number): void {
    const entry = this.#entryById.get(id);
    if (entry === undefined || entry.below.destroyed) return;
    const material = this.#options.trust.material();
    if (material !== this.#material) this.#tls.setSecureContext(contextOptions(material));
    this.#material = material;
    // A server that does not listen: it takes the connections that it is given (node:tls, Event: 'connection').
    this.#tls.emit("connection", entry.below);
  }

  #met(socket: TLSSocket): void {
    const entry = this.#entryByEnds.get(endsOf(socket));
    socket.on("error", () => socket.destroy());
    // Reset in the moment in which it was ready.
    if (entry === undefined) return void socket.destroy();
    const { id, below, address } = entry;
    entry.socket = resettable(socket, below);
    const { trust, onCaller } = this.#options;
    const vouched = vouch(socket, trust);
    const protocol = protocolOf(socket);
    if (vouched.ok) {
      this.#strangers.admitted(id);
      entry.peer = vouched.credential.id;
    } else entry.peer = vouched.peer;
    if (protocol === null) return this.#refuse(entry, "protocol", NO_PROTOCOL);
    if (!vouched.ok && protocol !== JOIN_ALPN) {
      const { reason, text } = vouched;
      return this.#refuse(entry, reason, refusalOf(text));
    }
    const credential = vouched.ok ? vouched.credential : null;
    onCaller({ socket, protocol, credential, problem: vouched.ok ? null : vouched.text, address });
  }

  #failed(socket: TLSSocket, thrown: Error): void {
    const entry = this.#entryByEnds.get(endsOf(socket));
    const code = systemCodeOf(thrown) ?? "";
    const text = code.startsWith("ERR_SSL_") ? code.slice("ERR_SSL_".length).toLowerCase() : textOf(thrown);
    const address = entry?.address ?? unmapped(socket.remoteAddress ?? "?");
    this.#options.refusals.tell({ reason: "handshake", address, peer: null, text });
    // Not destroyed here: node:tls does it once the alert is sent that says why.
  }

  #refuse(entry: Entry, reason: RefusalReason, refusal: Refusal): void {
    this.#tell(entry, reason, refusal.reason);
    refuse(entry.socket ?? entry.below, refusal);
  }

  #giveWay(id: number): void {
    const entry = this.#entryById.get(id);
    if (entry === undefined) return;
    this.#tell(entry, "strangers", "too many connections that have not said what they want");
    entry.below.destroy();
  }

  #late(entry: Entry): void {
    this.#tell(entry, "slow", `nothing asked for in ${this.#options.handshakeMs} ms`);
    entry.below.destroy();
  }

  #tell({ address, peer }: Entry, reason: RefusalReason, text: string): void {
    this.#options.refusals.tell({ reason, address, peer, text });
  }
}

const PLAINTEXT: Refusal = {
  status: 400,
  reason: "this is the mesh port of a skein daemon; it speaks TLS 1.3 only",
};
const JUNK: Refusal = { status: 400, reason: "expected a TLS handshake" };
const NO_PROTOCOL: Refusal = {
  status: 400,
  reason: `expected one of the protocols ${GOSSIP_ALPN}, ${STREAM_ALPN} and ${JOIN_ALPN} (ALPN)`,
};

function protocolOf({ alpnProtocol }: TLSSocket): MeshProtocol | null {
  const ours = [GOSSIP_ALPN, STREAM_ALPN, JOIN_ALPN] as const;
  return ours.find((protocol) => protocol === alpnProtocol) ?? null;
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
