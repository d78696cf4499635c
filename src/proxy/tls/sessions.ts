/**
 * Sessions: HTTP/2 connections of clients, within bounds.
 *
 * One connection here asks for many things at once, so what HTTP/1 bounds by connections is bounded by streams, and
 * what costs a client nothing (opening and resetting streams: CVE-2023-44487, settings, pings) has its share per
 * connection; nghttp2 ends the connection of whoever takes more. A connection that asks for nothing is closed as a kept
 * one of HTTP/1 is. Extended CONNECT is not offered: WebSockets come over HTTP/1.1, as browsers do without being told.
 *
 * The end is told with the last request that is served (GOAWAY, RFC 9113 6.8): what a client sent after that one was
 * not begun here, and may be sent elsewhere. It is told in front of an answer, so that whoever asks for one thing after
 * the other never meets it; a connection that has nothing under way is told with its next request, or ended when there
 * was time for one. Not the notice that leaves the last request open: nghttp2 reads no more after it.
 *
 * Touches: the connections it is given.
 */

import type { Http2Server, ServerHttp2Session } from "node:http2";
import type { TLSSocket } from "node:tls";

import { LIMITS } from "../../model/limits.ts";

import type { Traffic } from "../choice/attempts.ts";
import type { Deadline } from "../deadlines.ts";
import { KEPT_ALIVE_MS } from "../http/http.ts";

/** For a client to take the last bytes. */
const FAREWELL_MS = 1000;
/** Bytes of bodies that a client may send unasked, for one request and for all of a connection. */
const WINDOW_BYTES = 256 * 1024;
/** Streams that may be reset at once, as by a browser that leaves a page, and a second from then on. */
const RESETS = { burst: 256, perSecond: 32 };

const OPTIONS = {
  settings: {
    maxConcurrentStreams: LIMITS.http2StreamsMax,
    maxHeaderListSize: LIMITS.httpHeadBytes,
    initialWindowSize: WINDOW_BYTES,
    enableConnectProtocol: false,
  },
  maxHeaderListPairs: LIMITS.http2FieldsMax,
  streamResetBurst: RESETS.burst,
  streamResetRate: RESETS.perSecond,
  // Several lines of a header that has one value pass as over HTTP/1: a replica's mistake is none of ours to throw.
  strictSingleValueFields: false,
};

/** The HTTP/2 connections of one listener. */
export class Http2Sessions {
  /** Emits requests as node:http's server does; it listens nowhere. */
  readonly server: Http2Server;
  readonly #traffic: Traffic;
  /** With the streams that each has open. */
  readonly #open = new Map<ServerHttp2Session, number>();
  #isClosing = false;

  constructor(traffic: Traffic) {
    this.#traffic = traffic;
    // Loaded here: a daemon without an HTTPS listener does without it.
    this.server = process.getBuiltinModule("node:http2").createServer(OPTIONS);
    this.server.on("session", (session) => this.#keep(session));
    this.server.on("sessionError", () => traffic.metrics.proxyRefused.inc({ reason: "http2" }));
  }

  /** Serves a connection on which HTTP/2 was agreed; `opened` is called with its session before any request of it. */
  take(socket: TLSSocket, opened: (session: ServerHttp2Session) => void): void {
    // Nothing follows the end of a client here, and the session would not notice it on a socket that stays half open.
    socket.allowHalfOpen = false;
    this.server.once("session", opened);
    this.server.emit("connection", socket);
    this.server.off("session", opened);
  }

  /** Lets every connection end with the answers to what it has asked for, or will ask next. */
  close(): void {
    this.#isClosing = true;
    for (const [session, streams] of this.#open) {
      if (streams > 0) end(session);
    }
  }

  /** After `close`: ends those that have asked for nothing. */
  closeIdle(): void {
    for (const session of this.#open.keys()) end(session);
  }

  #keep(session: ServerHttp2Session): void {
    const { deadlines, nowMs } = this.#traffic;
    const deadline = deadlines.add(nowMs() + KEPT_ALIVE_MS, () => this.#late(session, deadline));
    const count = (step: 1 | -1): void => {
      if (session.destroyed) return;
      const streams = (this.#open.get(session) ?? 0) + step;
      this.#open.set(session, streams);
      deadline.atMs = streams === 0 ? nowMs() + KEPT_ALIVE_MS : Infinity;
    };
    this.#open.set(session, 0);
    // The connection's own window; `initialWindowSize` is that of a stream.
    session.setLocalWindowSize(WINDOW_BYTES);
    session.on("stream", (stream) => {
      count(1);
      stream.once("close", () => count(-1));
      // Behind this turn, in which the session does not count the stream among those that it serves yet.
      if (this.#isClosing) setImmediate(() => end(session));
    });
    session.once("close", () => {
      this.#open.delete(session);
      deadlines.remove(deadline);
    });
  }

  #late(session: ServerHttp2Session, deadline: Deadline): void {
    if (session.closed) {
      session.destroy();
      return;
    }
    session.close();
    deadline.atMs = this.#traffic.nowMs() + FAREWELL_MS;
  }
}

function end(session: ServerHttp2Session): void {
  if (!session.closed && !session.destroyed) session.close();
}
