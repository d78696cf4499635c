/**
 * Listener: the one port that hosts need between them.
 *
 * Gossip links and relayed streams share it: both begin as an HTTP/1.1 upgrade, so one parser with one set of
 * limits stands before both, and whoever comes with a browser or by mistake gets an answer that a person can
 * read. Whatever is not an upgrade we know is refused in a line and counted. A connection that has not yet
 * said what it wants costs a socket and no more, for five seconds at most, and there is a bound on how many
 * there are. So there is on links: on all, on those from one address, and on those that have not said a word.
 *
 * A request with an Origin is refused: a browser sends one, a daemon never, and no web page may speak to a
 * daemon.
 *
 * Touches: the mesh port. What TLS will change is `createServer` here and dialSocket in dial.ts.
 */

import { createServer, type IncomingMessage, type Server } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { renderHostPort, unmapped, type HostPort } from "../base/ip.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";

import { KEEPALIVE_MS } from "./dial.ts";
import type { Lanes } from "./lanes.ts";
import type { Link } from "./link.ts";
import { reset } from "../runtime/pump.ts";
import { serveStream, STREAM_PROTOCOL, type OwnerWay, type ResolveReplica } from "./stream.ts";
import { refuse, type Refusal, type Upgrade } from "./upgrade.ts";
import { GOSSIP_PATH, HANDSHAKE_MS, openLinkAcceptor } from "./websocket.ts";

/** How long a replica of this host may take to accept a relayed connection. */
const REPLICA_CONNECT_MS = 500;

/** How long links get to say goodbye when the listener closes. */
const GOODBYE_MS = 1500;

/** What openListener needs. */
export interface ListenerOptions {
  /** Where to listen; port 0 lets the system choose. */
  readonly listen: HostPort;
  /** Gives an id that no link of this process had. */
  readonly nextLinkId: () => number;
  /** Takes each accepted link and starts it. The listener closes it when it closes itself. */
  readonly onLink: (link: Link) => void;
  /** Those of all links of this daemon. */
  readonly lanes: Lanes;
  /** Finds replicas of this host for relayed streams. */
  readonly resolve: ResolveReplica;
  /** How other members are reached, for streams that are passed on to them. */
  readonly wayTo: (node: NodeId) => OwnerWay;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "gossipRefused" | "streams">;
  /** How long a connection may take to say what it wants; HANDSHAKE_MS unless told. */
  readonly handshakeMs?: number;
}

/** An open mesh port. */
export interface Listener {
  /** Where it listens, with the port the system chose. */
  readonly address: HostPort;
  /** How many streams it relays now. */
  readonly streamCount: () => number;
  /**
   * Takes no more connections, says goodbye on its links, resets its streams; done within two seconds.
   * Settles when the last socket is gone. May be called again.
   */
  close(): Promise<void>;
}

/**
 * Opens the mesh port.
 *
 * @throws Failure `busy` when the address is taken, `not-allowed` when the port needs privileges, `invalid`
 *   when the address is none of this host's
 */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const server = createServer({
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
    noDelay: true,
    maxHeaderSize: LIMITS.meshHeadBytes,
    headersTimeout: options.handshakeMs ?? HANDSHAKE_MS,
    requestTimeout: options.handshakeMs ?? HANDSHAKE_MS,
    connectionsCheckingInterval: Math.ceil((options.handshakeMs ?? HANDSHAKE_MS) / 5),
  });
  const guests = welcome(server, options);
  await listen(server, options.listen);
  server.on("error", (thrown) => options.log.warn("mesh listener", { error: textOf(thrown) }));

  let closing: Promise<void> | null = null;
  return {
    address: addressOf(server, options.listen),
    streamCount: () => guests.streams.size,
    close() {
      closing ??= closeAll(server, guests);
      return closing;
    },
  };
}

/** The connections of a listener, by what became of them; a socket is in exactly one. */
interface Guests {
  readonly strangers: Set<Socket>;
  readonly links: Map<Socket, Link>;
  readonly streams: Set<Socket>;
}

/** Attaches everything that answers connections; from here on no event of the server lacks a listener. */
function welcome(server: Server, options: ListenerOptions): Guests {
  const guests: Guests = { strangers: new Set(), links: new Map(), streams: new Set() };
  const acceptor = openLinkAcceptor(options.lanes);
  const counted = (subject: string, { status, reason }: Refusal, socket: Duplex): void => {
    options.metrics.gossipRefused.inc({ reason: subject });
    options.log.debug("mesh: refused a connection", { from: addressText(socket), subject, status, reason });
  };
  const turnAway = (socket: Duplex, subject: string, refusal: Refusal): void => {
    counted(subject, refusal, socket);
    refuse(socket, refusal);
  };
  const acceptLink = (upgrade: Upgrade): void => {
    const answer = acceptor.accept(upgrade, options.nextLinkId());
    if ("status" in answer) return turnAway(upgrade.socket, "handshake", answer);
    guests.strangers.delete(upgrade.socket);
    guests.links.set(upgrade.socket, answer);
    options.onLink(answer);
  };
  const acceptStream = (upgrade: Upgrade): void => {
    guests.strangers.delete(upgrade.socket);
    guests.streams.add(upgrade.socket);
    void serveStream(upgrade, {
      resolve: options.resolve,
      wayTo: options.wayTo,
      connectMs: REPLICA_CONNECT_MS,
      served: (result) => options.metrics.streams.inc({ result }),
    });
  };

  server.on("connection", (socket: Socket) => {
    if (guests.strangers.size >= LIMITS.meshStrangersMax) {
      counted("strangers", FULL, socket);
      socket.destroy();
      return;
    }
    guests.strangers.add(socket);
    socket.once("close", () => {
      guests.strangers.delete(socket);
      guests.links.delete(socket);
      guests.streams.delete(socket);
    });
  });
  server.on("upgrade", (request: IncomingMessage, duplex: Duplex, head: Buffer) => {
    // node:http types the socket of any transport; ours are net.Sockets.
    const socket = duplex as Socket;
    const wanted = wantedBy(request);
    if (typeof wanted !== "string") turnAway(socket, "request", wanted);
    else if (wanted === "link") {
      const crowd = crowdOf(guests, socket);
      if (crowd === null) acceptLink({ request, socket, head });
      else turnAway(socket, crowd, crowd === "address" ? FULL_OF_YOU : FULL);
    } else if (guests.streams.size < LIMITS.streamsMax) acceptStream({ request, socket, head });
    else {
      options.metrics.streams.inc({ result: "busy" });
      turnAway(socket, "streams", FULL);
    }
  });
  server.on("request", (request, response) => {
    counted("request", NO_UPGRADE, request.socket);
    response.writeHead(NO_UPGRADE.status, { connection: "close", "content-type": "text/plain" });
    response.end(`${NO_UPGRADE.reason}\n`);
  });
  server.on("clientError", (_thrown, socket) => turnAway(socket, "junk", JUNK));
  return guests;
}

/** What there are too many of for one more link; null when there is room. */
function crowdOf({ links }: Guests, socket: Socket): "links" | "address" | "silent" | null {
  if (links.size >= LIMITS.linksMax) return "links";
  const host = unmapped(socket.remoteAddress ?? "");
  const all = Array.from(links.values());
  if (all.filter(({ remote }) => remote.host === host).length >= LIMITS.linksPerAddress) return "address";
  return all.filter(({ hasSpoken }) => !hasSpoken).length >= LIMITS.silentLinksMax ? "silent" : null;
}

const FULL: Refusal = { status: 503, reason: "full" };
const FULL_OF_YOU: Refusal = { status: 503, reason: "too many links from your address" };
const JUNK: Refusal = { status: 400, reason: "expected an HTTP/1.1 upgrade request" };
const NO_UPGRADE: Refusal = {
  status: 426,
  reason: "this is the mesh port of a skein daemon; it takes upgrades only",
};

/** What an upgrade request is for, or why it is refused. */
function wantedBy(request: IncomingMessage): "link" | "stream" | Refusal {
  const { headers, method, url = "" } = request;
  if (headers.origin !== undefined) return { status: 403, reason: "browsers are not served here" };
  const hasBody = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
  if (method !== "GET" || hasBody) return { status: 400, reason: "expected GET without a body" };
  const protocol = headers.upgrade?.toLowerCase();
  if (url === GOSSIP_PATH && protocol === "websocket") return "link";
  if (url.startsWith("/stream/") && protocol === STREAM_PROTOCOL) return "stream";
  return { status: 404, reason: `expected ${GOSSIP_PATH} or /stream/ with its own protocol` };
}

function addressText(socket: Duplex): string {
  const { remoteAddress, remotePort } = socket as Socket;
  return renderHostPort({ host: unmapped(remoteAddress ?? "?"), port: remotePort ?? 0 });
}

function listen(server: Server, at: HostPort): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (thrown) => reject(listenFailure(at, thrown)));
    server.listen({ host: at.host, port: at.port }, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}

function listenFailure(at: HostPort, cause: Error): Failure {
  const thing = `mesh.listen is ${renderHostPort(at)}`;
  switch (systemCodeOf(cause) ?? "") {
    case "EADDRINUSE":
      return new Failure(
        "busy",
        `${thing}, which is taken by another program; stop it, or set mesh.listen to another port`,
        { cause },
      );
    case "EACCES":
      return new Failure("not-allowed", `${thing}; without root expected a port from 1024 up`, { cause });
    case "EADDRNOTAVAIL":
      return new Failure("invalid", `${thing}; expected an address of this host`, { cause });
    default:
      return new Failure("invalid", `${thing}: ${textOf(cause)}`, { cause });
  }
}

function addressOf(server: Server, asked: HostPort): HostPort {
  const address = server.address();
  return typeof address === "object" && address !== null
    ? { host: address.address, port: address.port }
    : asked;
}

async function closeAll(server: Server, guests: Guests): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  for (const socket of guests.strangers) socket.destroy();
  for (const socket of guests.streams) reset(socket);
  for (const link of guests.links.values()) link.close("the daemon stops");
  const timer = setTimeout(() => {
    for (const socket of guests.links.keys()) socket.destroy();
  }, GOODBYE_MS);
  await closed;
  clearTimeout(timer);
}
