/**
 * Forward: asks somebody else about names that are not ours.
 *
 * One upstream must not make names fail while another would answer: each try has its deadline, and a server that is
 * silent, refuses or says SERVFAIL is followed by the next. The one that spoke last is asked first, so a dead
 * server costs its deadline once and not with each query. A second round follows only when all were silent: then a
 * datagram may have been lost.
 *
 * Every try has a socket of its own, connected: its random port and the random id are what makes an answer hard to
 * forge (RFC 5452), the kernel drops what comes from elsewhere, and a closed port is told at once (ECONNREFUSED). What
 * does not fit the query is ignored and waited past, since the true answer may be right behind.
 *
 * The query goes on as it came, but for its id. Nothing is cached here.
 *
 * Touches: UDP and TCP sockets, timers.
 */

import { createSocket } from "node:dgram";
import { connect, isIP } from "node:net";

import { Packet } from "dns2";

import { Failure } from "../base/failure.ts";
import { isIpv6, renderHostPort, type HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";
import { startDeadline } from "../runtime/deadline.ts";

import { RCODE } from "./codes.ts";
import { framed, readReply, type ReplyHeader } from "./packet.ts";

/** Whom to ask and how long. A try is one server once; `totalMs` spans all tries of one query. */
export interface ForwarderOptions {
  readonly upstreams: readonly HostPort[];
  readonly tryMs: number;
  readonly totalMs: number;
}

/** What came of it. `bytes` has the id of the query. `busy`: LIMITS.dnsForwardsMax are under way. */
export type Forwarded =
  | { readonly kind: "reply"; readonly bytes: Buffer; readonly rcodeCode: number }
  | { readonly kind: "failed"; readonly reason: "busy" | "silent" };

/** How the client came: over TCP it wants the whole answer, over UDP it comes back by itself for a truncated one. */
export type Transport = "udp" | "tcp";

/** Asks upstream servers. */
export interface Forwarder {
  /** Settles within `totalMs`; never rejects. */
  forward(query: Buffer, transport: Transport): Promise<Forwarded>;
  /** Queries under way. */
  readonly underWay: number;
  /** Ends all tries; their queries come back `failed`. */
  close(): void;
}

/** One server's reply. */
interface Reply extends ReplyHeader {
  readonly bytes: Buffer;
}

/** One try: its server, the query with the id of this try, its end. */
interface Try {
  readonly upstream: HostPort;
  readonly query: Buffer;
  readonly timeoutMs: number;
  /** Functions that end tries under way, for close(). */
  readonly cancels: Set<() => void>;
}

/**
 * Makes a forwarder.
 *
 * @throws Failure `invalid` for an upstream that is not an IP address: to look up its name it would need itself
 */
export function openForwarder(options: ForwarderOptions): Forwarder {
  const { upstreams, tryMs, totalMs } = options;
  for (const upstream of upstreams) {
    if (isIP(upstream.host) !== 0) continue;
    const text = `dns upstream is "${renderHostPort(upstream)}"; expected an IP address and a port`;
    throw new Failure("invalid", text);
  }
  const cancels = new Set<() => void>();
  let preferred = 0;
  let underWay = 0;
  let isOpen = true;

  /** Asks each server once; a failing reply is kept, in case nobody has a better one. */
  const askAll = async (query: Buffer, transport: Transport, endMs: number): Promise<Reply | null> => {
    const first = preferred;
    let failing: Reply | null = null;
    for (const turn of upstreams.keys()) {
      const at = (first + turn) % upstreams.length;
      const upstream = upstreams[at];
      const timeoutMs = Math.min(tryMs, endMs - performance.now());
      if (upstream === undefined || timeoutMs <= 0 || !isOpen) break;
      const reply = await askOne({ upstream, query: withFreshId(query), timeoutMs, cancels }, transport);
      if (reply === null) continue;
      // The first that speaks, whatever it says: a server's SERVFAIL may be about that one name only.
      if (failing === null) preferred = at;
      if (isFinal(reply)) return reply;
      failing ??= reply;
    }
    return failing;
  };

  const ask = async (query: Buffer, transport: Transport): Promise<Forwarded> => {
    const endMs = performance.now() + totalMs;
    const reply = (await askAll(query, transport, endMs)) ?? (await askAll(query, transport, endMs));
    if (reply === null) return { kind: "failed", reason: "silent" };
    query.copy(reply.bytes, 0, 0, 2);
    return { kind: "reply", bytes: reply.bytes, rcodeCode: reply.rcodeCode };
  };

  return {
    async forward(query, transport) {
      if (underWay >= LIMITS.dnsForwardsMax) return { kind: "failed", reason: "busy" };
      underWay += 1;
      try {
        return await ask(query, transport);
      } finally {
        underWay -= 1;
      }
    },
    get underWay() {
      return underWay;
    },
    close() {
      isOpen = false;
      for (const cancel of cancels) cancel();
    },
  };
}

/** True for a reply that settles the question; other codes are about the server, and the next one may know more. */
function isFinal(reply: Reply): boolean {
  return reply.rcodeCode === RCODE.NOERROR || reply.rcodeCode === RCODE.NXDOMAIN;
}

function withFreshId(query: Buffer): Buffer {
  const copy = Buffer.from(query);
  copy.writeUInt16BE(Packet.uuid(), 0);
  return copy;
}

/** One server: over UDP, and for a client on TCP again over TCP when the reply was truncated. */
async function askOne(attempt: Try, transport: Transport): Promise<Reply | null> {
  const startMs = performance.now();
  const reply = await askOverUdp(attempt);
  if (reply === null || !reply.truncated || transport === "udp") return reply;
  const timeoutMs = attempt.timeoutMs - (performance.now() - startMs);
  // Not the truncated reply if TCP fails: a client on TCP has nowhere else to ask, and would take a part for the whole.
  return timeoutMs <= 0 ? null : await askOverTcp({ ...attempt, timeoutMs });
}

/** @returns null when the server was silent, unreachable, or the try was cancelled */
function askOverUdp({ upstream, query, timeoutMs, cancels }: Try): Promise<Reply | null> {
  return new Promise((resolve) => {
    const socket = createSocket(isIpv6(upstream.host) ? "udp6" : "udp4");
    const finish = (reply: Reply | null): void => {
      if (!cancels.delete(cancel)) return;
      deadline.clear();
      socket.close();
      resolve(reply);
    };
    const cancel = (): void => finish(null);
    const deadline = startDeadline(timeoutMs, cancel);
    cancels.add(cancel);
    socket.on("error", cancel);
    socket.on("message", (bytes) => {
      const header = readReply(bytes, query);
      if (header !== null) finish({ ...header, bytes });
    });
    // Not a callback of connect(): it would be called on failure, too, and send() throws on an unconnected socket.
    socket.once("connect", () => {
      if (!cancels.has(cancel)) return;
      socket.send(query, (error) => {
        if (error !== null) cancel();
      });
    });
    socket.connect(upstream.port, upstream.host);
  });
}

/** @returns null as for askOverUdp, and for a stream that ends early or holds something else (RFC 7766 8) */
function askOverTcp({ upstream, query, timeoutMs, cancels }: Try): Promise<Reply | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: upstream.host, port: upstream.port });
    let received = Buffer.alloc(0);
    const finish = (reply: Reply | null): void => {
      if (!cancels.delete(cancel)) return;
      deadline.clear();
      socket.destroy();
      resolve(reply);
    };
    const cancel = (): void => finish(null);
    const deadline = startDeadline(timeoutMs, cancel);
    cancels.add(cancel);
    socket.on("error", cancel);
    socket.on("close", cancel);
    socket.on("connect", () => socket.write(framed(query)));
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      const size = received.length < 2 ? null : received.readUInt16BE(0);
      if (size === null || received.length < 2 + size) return;
      const bytes = received.subarray(2, 2 + size);
      const header = readReply(bytes, query);
      finish(header === null ? null : { ...header, bytes });
    });
  });
}
