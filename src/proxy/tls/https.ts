/**
 * Https: the HTTPS side of the ingress: who is served here, who is passed on unopened, and by which certificate.
 *
 * Every connection is of one kind of three, told by the name that the client asks for: a host that some service wants
 * passed through goes to it byte for byte; for all others TLS ends here, with the certificate for their name; and while
 * there is no certificate at all they are told so (alert `unrecognized_name`, RFC 6066 3), not left to guess. Where no
 * service passes anything through, nobody looks at the name but OpenSSL.
 *
 * Behind TLS two servers wait, one of HTTP/1.1 and one of HTTP/2, by what client and server agree on (ALPN). They
 * listen nowhere themselves. A browser takes one HTTP/2 connection for all hosts that its certificate covers; a request
 * that would have got another certificate, or another server, by a connection of its own is sent back to open one (421,
 * RFC 9110 15.5.20).
 *
 * Touches: client sockets.
 */

import { constants } from "node:crypto";
import type { Server as HttpServer } from "node:http";
import type { Http2Session } from "node:http2";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from "node:tls";

import { textOf } from "../../base/failure.ts";
import { KEEPALIVE_MS } from "../../runtime/connect.ts";
import { reset, resettable } from "../../runtime/pump.ts";

import type { Lane, Traffic } from "../choice/attempts.ts";
import type { ServerRequest } from "../http/client.ts";
import { createHttp1Server, serveHttp, type HttpOptions } from "../http/http.ts";
import { normalHost } from "../http/match.ts";
import { endsOf } from "../listen/arrival.ts";
import type { Connections } from "../listen/connections.ts";
import { carryConnection } from "../tcp/tcp.ts";
import type { Certificates, Served } from "./certificates.ts";
import { hostOf } from "./client-hello.ts";
import { peekHello } from "./hello.ts";
import { covers } from "./selection.ts";
import { Http2Sessions } from "./sessions.ts";

/** What the HTTPS ingress needs. */
export interface HttpsOptions {
  readonly traffic: Traffic;
  readonly connections: Connections;
  /** Null where no folder of certificates is configured. */
  readonly certificates: Pick<Certificates, "choose"> | null;
  /** How requests are served once TLS is off. */
  readonly http: HttpOptions;
  /** TLS that passes unopened, as the table has it now. */
  readonly passthrough: Passthrough;
}

/** Which hosts pass unopened. */
export interface Passthrough {
  /** True when none does. */
  readonly isEmpty: boolean;
  /** Where a host's connections lead; null for one that does not pass, a null lane for one whose service has left. */
  find(host: string): { readonly lane: Lane | null } | null;
}

/** The HTTPS ingress. */
export interface Https {
  /** The server that is to listen. */
  readonly server: Server;
  /** To be called when it listens no more: clients of HTTP/2 are told so with their next answers. */
  close(): void;
  /** After `close`: ends connections that are kept for a next request. */
  closeIdle(): void;
}

/** A handshake that is under way. */
interface Handshake {
  /** The connection under TLS. */
  readonly below: Socket;
  /** Ends its deadline. */
  readonly release: () => void;
}

/** For a handshake, from the connection on: the name that a client asks for is a part of it. */
const HANDSHAKE_MS = 10_000;

const HTTP2 = "h2";
const HTTP1 = "http/1.1";

/** A fatal alert, `unrecognized_name`, in a record of TLS 1.2 (RFC 8446 6: the same before any version is agreed). */
const UNRECOGNIZED_NAME = Buffer.from([21, 3, 3, 0, 2, 2, 112]);

const TLS_OPTIONS: TlsOptions = {
  minVersion: "TLSv1.2",
  ALPNProtocols: [HTTP2, HTTP1],
  // A client of TLS 1.2 could make us work as often as it likes.
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
};

/** Makes the HTTPS ingress; its server does not listen yet. */
export function openHttps(options: HttpsOptions): Https {
  const ingress = new HttpsIngress(options);
  const server = createServer({
    pauseOnConnect: true,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
  });
  server.on("connection", (socket) => ingress.accept(socket));
  return { server, close: () => ingress.close(), closeIdle: () => ingress.closeIdle() };
}

class HttpsIngress {
  readonly #options: HttpsOptions;
  readonly #tls = createTlsServer({
    ...TLS_OPTIONS,
    SNICallback: (name, done) => this.#answerName(name, done),
  });
  readonly #http1: HttpServer;
  readonly #http2: Http2Sessions;
  readonly #servedBySession = new WeakMap<Http2Session, Served>();
  /** The handshakes under way, by the ends of their connections. */
  readonly #handshakes = new Map<string, Handshake>();
  /** Whose certificate the TLS server has for clients that name no host. */
  #fallback: Served | null = null;

  constructor(options: HttpsOptions) {
    this.#options = options;
    const { traffic } = options;
    this.#http1 = createHttp1Server(traffic.times);
    this.#http2 = new Http2Sessions(traffic);
    serveHttp(this.#http1, options.http);
    const isMisdirected = (request: ServerRequest, host: string): boolean =>
      this.#isMisdirected(request, host);
    serveHttp(this.#http2.server, { ...options.http, isMisdirected });
    // What node:http does with slow heads and idle connections begins with this, and ends with `close`.
    this.#http1.emit("listening");
    this.#tls.on("secureConnection", (socket) => this.#serve(socket));
    this.#tls.on("tlsClientError", (error, socket) => {
      traffic.metrics.proxyRefused.inc({ reason: "tls" });
      traffic.log.debug(`TLS with ${socket.remoteAddress}: ${textOf(error)}`);
      // Nobody else does: the TLS server has only told of it, whatever is wrong.
      socket.on("error", () => undefined);
      socket.destroy();
    });
  }

  accept(socket: Socket): void {
    // The `close` that follows every error does what must be done.
    socket.on("error", () => undefined);
    const { traffic, connections, passthrough } = this.#options;
    if (!connections.admit(socket)) {
      traffic.metrics.proxyRefused.inc({ reason: "connections" });
      return;
    }
    const untilMs = traffic.nowMs() + HANDSHAKE_MS;
    if (passthrough.isEmpty && this.#choose(null) !== null) {
      this.#terminate(socket, untilMs);
      return;
    }
    peekHello(socket, { ...traffic, waitMs: HANDSHAKE_MS }, (hello) => {
      const name = hello.kind === "hello" ? hello.serverName : null;
      const passed = name === null ? null : this.#options.passthrough.find(name);
      if (passed !== null) this.#pass(socket, passed.lane);
      else if (this.#choose(name) !== null) this.#terminate(socket, untilMs);
      else this.#refuse(socket);
    });
  }

  close(): void {
    this.#http2.close();
  }

  closeIdle(): void {
    this.#http1.close();
    this.#http2.closeIdle();
  }

  #choose(name: string | null): Served | null {
    return this.#options.certificates?.choose(name) ?? null;
  }

  #pass(socket: Socket, lane: Lane | null): void {
    if (lane === null) reset(socket);
    else {
      const { traffic, http } = this.#options;
      carryConnection(socket, lane, { traffic, arrivals: http.arrivals, kind: "tls" });
    }
  }

  #terminate(socket: Socket, untilMs: number): void {
    const fallback = this.#choose(null);
    if (fallback !== null && fallback !== this.#fallback) {
      this.#fallback = fallback;
      const { chain, key } = fallback.pair;
      this.#tls.setSecureContext({ ...TLS_OPTIONS, cert: chain, key });
    }
    this.#boundHandshake(socket, untilMs);
    this.#tls.emit("connection", socket);
  }

  /**
   * Ends a connection whose handshake is not done in time. By the connection under TLS, of which the TLS server knows
   * nothing: its own deadline begins anew with each byte, and is forgotten with a client that has ended.
   */
  #boundHandshake(socket: Socket, untilMs: number): void {
    const { deadlines } = this.#options.traffic;
    const ends = endsOf(socket);
    const deadline = deadlines.add(untilMs, () => socket.destroy());
    const release = (): void => {
      deadlines.remove(deadline);
      if (this.#handshakes.get(ends) === handshake) this.#handshakes.delete(ends);
    };
    const handshake: Handshake = { below: socket, release };
    this.#handshakes.set(ends, handshake);
    socket.once("close", release);
  }

  /** There is no certificate to answer with. */
  #refuse(socket: Socket): void {
    const { metrics, deadlines, nowMs } = this.#options.traffic;
    metrics.proxyRefused.inc({ reason: "no-certificate" });
    const deadline = deadlines.add(nowMs() + HANDSHAKE_MS, () => socket.destroy());
    socket.once("close", () => deadlines.remove(deadline));
    socket.end(UNRECOGNIZED_NAME);
    // Read to its end: closing with bytes unread would reset the client before it has read the alert.
    socket.resume();
  }

  #answerName(name: string, done: (error: null, context?: Served["context"]) => void): void {
    done(null, this.#choose(hostOf(name))?.context);
  }

  #serve(socket: TLSSocket): void {
    socket.on("error", () => undefined);
    const handshake = this.#handshakes.get(endsOf(socket));
    if (handshake !== undefined) {
      handshake.release();
      this.#options.connections.carry(handshake.below, resettable(socket, handshake.below));
    }
    if (socket.alpnProtocol !== HTTP2) {
      this.#http1.emit("connection", socket);
      return;
    }
    const served = this.#choose(nameOf(socket));
    this.#http2.take(socket, (session) => {
      if (served !== null) this.#servedBySession.set(session, served);
    });
  }

  /** Would the host have got another certificate, or another server, by a connection of its own? */
  #isMisdirected(request: ServerRequest, hostHeader: string): boolean {
    const session = "stream" in request ? request.stream.session : undefined;
    const served = session === undefined ? undefined : this.#servedBySession.get(session);
    const host = normalHost(hostHeader);
    if (this.#options.passthrough.find(host) !== null) return true;
    if (served === undefined || covers(served, host)) return false;
    return this.#choose(hostOf(host)) !== served;
  }
}

/** The host that a client has asked for; null when it named none. */
function nameOf({ servername }: TLSSocket): string | null {
  const name: unknown = servername;
  return typeof name === "string" ? hostOf(name) : null;
}
