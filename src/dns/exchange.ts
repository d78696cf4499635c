/**
 * Exchange: one query to one upstream, over UDP and where that is not enough over TCP.
 *
 * Every exchange has a socket of its own, connected: its random port and the random id are what makes an answer hard to
 * forge (RFC 5452), the kernel drops what comes from elsewhere, and a closed port is told at once (ECONNREFUSED). What
 * does not fit the query is ignored and waited past, since the true answer may be right behind.
 *
 * No deadline here: a slow server's answer may still be the first one. asking.ts ends what it has no more use for.
 *
 * Touches: UDP and TCP sockets, the system's random numbers.
 */

import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect } from "node:net";

import { isIpv6, type HostPort } from "../base/ip.ts";

import { RCODE } from "./codes.ts";
import { framed } from "./packet.ts";
import { readReply, type ReplyHeader } from "./reply.ts";

/** How the client came: over TCP it wants the whole answer, over UDP it comes back by itself for a truncated one. */
export type Transport = "udp" | "tcp";

/** One server's reply. */
export interface Reply extends ReplyHeader {
  readonly bytes: Buffer;
}

/** True for a reply that settles the question; other codes are about the server, and another may know more. */
export function isUsable(reply: Reply): boolean {
  return reply.rcodeCode === RCODE.NOERROR || reply.rcodeCode === RCODE.NXDOMAIN;
}

/** What to ask whom. */
export interface Exchange {
  readonly upstream: HostPort;
  /** As the client sent it; goes out under another id. */
  readonly query: Buffer;
  readonly transport: Transport;
  /** Told of each message that was no reply to the query. */
  readonly ignored: () => void;
}

/** Called once, with null when the server cannot be reached or its stream ended early. */
export type Ended = (reply: Reply | null) => void;

/**
 * Begins an exchange.
 *
 * @returns ends it; nothing is called any more. Harmless when it has ended.
 */
export function startExchange(exchange: Exchange, ended: Ended): () => void {
  const query = Buffer.from(exchange.query);
  query.writeUInt16BE(randomInt(0x1_0000), 0);
  const own = { ...exchange, query };
  let cancel = askOverUdp(own, (reply) => {
    // Not the truncated reply if TCP fails: a client on TCP has nowhere else to ask, and would take a part for the whole.
    if (reply !== null && reply.truncated && own.transport === "tcp") cancel = askOverTcp(own, ended);
    else ended(reply);
  });
  return () => cancel();
}

function askOverUdp({ upstream, query, ignored }: Exchange, ended: Ended): () => void {
  const isV6 = isIpv6(upstream.host);
  const socket = createSocket({
    type: isV6 ? "udp6" : "udp4",
    // The host is an address: nothing to look up, and one turn of the event loop less.
    lookup: (host, _options, found) => found(null, host, isV6 ? 6 : 4),
  });
  const cancel = endingOnce(() => {
    // A socket that is closed before it is connected says so all the same.
    socket.removeAllListeners("connect");
    socket.close();
  });
  const finish = (reply: Reply | null): void => {
    if (cancel()) ended(reply);
  };
  // Later: without a free file descriptor the error comes while connect() is still being called.
  socket.on("error", () => setImmediate(finish, null));
  socket.on("message", (bytes) => {
    const header = readReply(bytes, query);
    if (header === null) ignored();
    else finish({ ...header, bytes });
  });
  // Not a callback of connect(): it would be called on failure, too, and send() throws on an unconnected socket.
  socket.once("connect", () => {
    socket.send(query, (error) => {
      if (error !== null) finish(null);
    });
  });
  socket.connect(upstream.port, upstream.host);
  return cancel;
}

/** Ends early for a stream that holds something else, too: over TCP nobody forges it (RFC 7766 8). */
function askOverTcp({ upstream, query, ignored }: Exchange, ended: Ended): () => void {
  const socket = connect({ host: upstream.host, port: upstream.port });
  const cancel = endingOnce(() => socket.destroy());
  const finish = (reply: Reply | null): void => {
    if (cancel()) ended(reply);
  };
  let received = Buffer.alloc(0);
  socket.on("error", () => finish(null));
  socket.on("close", () => finish(null));
  socket.on("connect", () => socket.write(framed(query)));
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    const size = received.length < 2 ? null : received.readUInt16BE(0);
    if (size === null || received.length < 2 + size) return;
    const bytes = received.subarray(2, 2 + size);
    const header = readReply(bytes, query);
    if (header === null) ignored();
    finish(header === null ? null : { ...header, bytes });
  });
  return cancel;
}

/** Calls `end` the first time only, and says whether it was that. */
function endingOnce(end: () => void): () => boolean {
  let hasEnded = false;
  return () => {
    if (hasEnded) return false;
    hasEnded = true;
    end();
    return true;
  };
}
