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

import { isIpv6, type HostPort } from "../../base/ip.ts";

import { framed } from "../packet.ts";

import { readReply, type UpstreamReply } from "./reply.ts";

/** How the client came: over TCP it wants the whole answer, over UDP it comes back by itself for a truncated one. */
export type Transport = "udp" | "tcp";

/** What to ask whom. */
export interface Exchange {
  readonly upstream: HostPort;
  /** Goes out under another id. */
  readonly query: Buffer;
  readonly transport: Transport;
  /** Told of each message that was no reply to the query. */
  readonly ignored: () => void;
}

/** Called once, with null when the server cannot be reached or its stream ended early. */
export type Ended = (reply: UpstreamReply | null) => void;

/** An exchange under way. */
export interface RunningExchange {
  /** Ends it; nothing is called any more. Harmless when it has ended. */
  cancel(): void;
  /**
   * Sends the datagram again, under the same id and from the same port: one more of either at a time would be one more
   * that a forger may hit (RFC 5452 5), and a late reply to the first still counts.
   *
   * @returns false when it is past that, over TCP
   */
  again(): boolean;
}

/** Begins an exchange. */
export function startExchange(exchange: Exchange, ended: Ended): RunningExchange {
  const query = Buffer.from(exchange.query);
  query.writeUInt16BE(randomInt(0x1_0000), 0);
  const own = { ...exchange, query };
  let running = askOverUdp(own, (reply) => {
    // Not the truncated reply if TCP fails: a client on TCP has nowhere else to ask, and would take a part for all.
    if (reply !== null && reply.truncated && own.transport === "tcp") running = askOverTcp(own, ended);
    else ended(reply);
  });
  return { cancel: () => running.cancel(), again: () => running.again() };
}

function askOverUdp({ upstream, query, ignored }: Exchange, ended: Ended): RunningExchange {
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
  const finish = (reply: UpstreamReply | null): void => {
    if (cancel()) ended(reply);
  };
  // Later: without a free file descriptor the error comes while connect() is still being called.
  socket.on("error", () => setImmediate(finish, null));
  socket.on("message", (bytes) => {
    const reply = readReply(bytes, query);
    if (reply === null) ignored();
    else finish(reply);
  });
  let isConnected = false;
  const send = (): void => {
    socket.send(query, (error) => {
      if (error !== null) finish(null);
    });
  };
  // Not a callback of connect(): it would be called on failure, too, and send() throws on an unconnected socket.
  socket.once("connect", () => {
    isConnected = true;
    send();
  });
  socket.connect(upstream.port, upstream.host);
  const again = (): boolean => {
    if (isConnected) send();
    return true;
  };
  return { cancel, again };
}

/** Ends early for a stream that holds something else, too: over TCP nobody forges it (RFC 7766 8). */
function askOverTcp({ upstream, query, ignored }: Exchange, ended: Ended): RunningExchange {
  const socket = connect({ host: upstream.host, port: upstream.port });
  const cancel = endingOnce(() => socket.destroy());
  const finish = (reply: UpstreamReply | null): void => {
    if (cancel()) ended(reply);
  };
  // Put together once, when all is there: it may come byte by byte.
  const chunks: Buffer[] = [];
  let receivedBytes = 0;
  let wantedBytes = Infinity;
  socket.on("error", () => finish(null));
  socket.on("close", () => finish(null));
  socket.on("connect", () => socket.write(framed(query)));
  socket.on("data", (chunk) => {
    chunks.push(chunk);
    receivedBytes += chunk.length;
    if (wantedBytes === Infinity && receivedBytes >= 2)
      wantedBytes = 2 + Buffer.concat(chunks).readUInt16BE(0);
    if (receivedBytes < wantedBytes) return;
    const reply = readReply(Buffer.concat(chunks).subarray(2, wantedBytes), query);
    if (reply === null) ignored();
    finish(reply);
  });
  return { cancel, again: () => false };
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
