/**
 * Server: the admin API on its two doors, a unix socket with full rights and a loopback port that only reads, unless
 * the caller has the admin token.
 *
 * Who can open the socket's file has been let in by the system; on the port anybody on this host may knock, web pages
 * in its browsers included. So both serve the same app (app.ts), with a guard before the second. Everything a caller
 * can make us hold is bounded: heads, bodies, connections, followers, and the time that each may take.
 *
 * Touches: a unix socket, a TCP port, through listen.ts.
 */

import { createServer, type IncomingMessage, type Server } from "node:http";
import type { Duplex } from "node:stream";

import type { HostPort } from "../base/ip.ts";
import type { Event } from "../model/event.ts";
import { LIMITS } from "../model/limits.ts";

import { buildApp, type AdminParts, type Door, type Streams } from "./app.ts";
import { openFollowers } from "./follow.ts";
import { API_HEADER, API_VERSION, HANDOVER_PATH, HANDOVER_PROTOCOL } from "./contract.ts";
import { openPort, openSocket } from "./listen.ts";
import { answerUnread } from "./unread.ts";
import { openWatchers } from "./watch.ts";

/** Where to listen and what to serve. */
export interface AdminOptions extends AdminParts {
  /** A loopback address and port; null for no TCP door. */
  readonly tcp: HostPort | null;
  /** Who has it may do over TCP what the unix socket may; null: nobody may. */
  readonly adminToken: string | null;
  /** Path of the unix socket; null for none. */
  readonly socket: string | null;
  /** Takes a connection of the unix socket over which another daemon of this host asks to take over. */
  readonly onHandover: (connection: Duplex) => void;
  /** Calls `onEvent` with each event from now on; returns what ends that. */
  readonly subscribe: (onEvent: (event: Event) => void) => () => void;
}

/** An open admin API. */
export interface Admin {
  /** Where it listens; the port is the real one where 0 was asked. */
  readonly addresses: { readonly tcp: HostPort | null; readonly socket: string | null };
  /** Ends streams and connections and frees both doors, within two and a half seconds. */
  close(): Promise<void>;
}

const HEAD_DEADLINE_MS = 5000;
const REQUEST_DEADLINE_MS = 10_000;
/** A connection on which no byte moves in either direction; streams carry a comment more often than that. */
const IDLE_DEADLINE_MS = 30_000;
/** How long answers in the making may go on after close(). */
const CLOSE_DEADLINE_MS = 1000;
/** The same where another daemon waits for the doors: whoever asks again is answered by that one. */
const CLOSE_SOON_MS = 100;

/**
 * Opens both doors.
 *
 * @throws Failure as openSocket and openPort do; whatever was open by then is closed again
 */
export async function openAdmin(options: AdminOptions): Promise<Admin> {
  const { startedAtMs } = options.snapshot();
  const kept = (): readonly Event[] => options.snapshot().events;
  const { snapshot, log } = options;
  const followers = openFollowers({ epochMs: startedAtMs, kept, log });
  const watchers = openWatchers({ snapshot, traffic: () => options.traffic("cluster"), log });
  const streams = { followers, watchers };
  const endStreams = (): void => {
    followers.close();
    watchers.close();
  };
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  const unsubscribe = options.subscribe((event) => followers.publish(event));
  try {
    closers.push(async () => unsubscribe());
    const socket = options.socket;
    if (socket !== null) {
      const server = serverOf(options, streams, { kind: "socket" });
      const handedOver = handsOver(server, options.onHandover);
      const remove = await openSocket(server, socket).catch((thrown: unknown) => abandon(server, thrown));
      closers.push(() => closeServer(server, handedOver), remove);
      server.on("error", (error) => options.log.warn("admin socket failed", { error: error.message }));
    }
    let tcp: HostPort | null = null;
    if (options.tcp !== null) {
      const server = serverOf(options, streams, { kind: "tcp", token: options.adminToken });
      tcp = await openPort(server, options.tcp);
      closers.push(() => closeServer(server));
      // Out of file descriptors, for one: a caller is lost, the listener goes on.
      server.on("error", (error) => options.log.warn("admin listener failed", { error: error.message }));
    }
    closers.push(async () => endStreams());
    return { addresses: { tcp, socket }, close };
  } catch (thrown) {
    endStreams();
    await close();
    throw thrown;
  }
}

function serverOf(parts: AdminParts, streams: Streams, door: Door): Server {
  const app = buildApp(parts, streams, door);
  const server = createServer(
    {
      headersTimeout: HEAD_DEADLINE_MS,
      requestTimeout: REQUEST_DEADLINE_MS,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: 16 * 1024,
      // callOf asks for it, and answers as the API does.
      requireHostHeader: false,
      // Only what asks for just this: curl's --http2 offers an upgrade with any request, and gets a plain answer.
      shouldUpgradeCallback: (request) => door.kind === "socket" && isHandover(request),
    },
    (incoming, outgoing) => void app(incoming, outgoing),
  );
  // Whatever is expected beyond 100 may be overlooked (RFC 9110 10.1.1).
  server.on("checkExpectation", (incoming, outgoing) => void app(incoming, outgoing));
  answerUnread(server);
  server.setTimeout(IDLE_DEADLINE_MS);
  server.maxConnections = LIMITS.adminConnectionsMax;
  return server;
}

function isHandover({ method, url, headers }: IncomingMessage): boolean {
  return method === "POST" && url === HANDOVER_PATH && headers.upgrade === HANDOVER_PROTOCOL;
}

/** Gives on connections that ask for a handover. @returns those that are open */
function handsOver(server: Server, onHandover: (connection: Duplex) => void): ReadonlySet<Duplex> {
  const open = new Set<Duplex>();
  server.on("upgrade", (_request: IncomingMessage, socket: Duplex) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    // What ends a connection is told by its `close`.
    socket.on("error", () => undefined);
    // Not the idle deadline of the door: taking over lasts as long as it lasts.
    if ("setTimeout" in socket && typeof socket.setTimeout === "function") socket.setTimeout(0);
    const heads = ["Connection: Upgrade", `Upgrade: ${HANDOVER_PROTOCOL}`, `${API_HEADER}: ${API_VERSION}`];
    socket.write(["HTTP/1.1 101 Switching Protocols", ...heads, "", ""].join("\r\n"));
    onHandover(socket);
  });
  return open;
}

/** A socket may be listening under its first name when a later step fails. */
async function abandon(server: Server, thrown: unknown): Promise<never> {
  await closeServer(server);
  throw thrown;
}

const NONE: ReadonlySet<Duplex> = new Set();

/**
 * Stops accepting, lets answers end, then cuts what is left. Never rejects; harmless when it never listened.
 *
 * @param handedOver  connections that are others' by now: they are neither cut nor waited for
 */
function closeServer(server: Server, handedOver = NONE): Promise<void> {
  return new Promise((resolve) => {
    const deadlineMs = handedOver.size === 0 ? CLOSE_DEADLINE_MS : CLOSE_SOON_MS;
    const timer = setTimeout(() => {
      server.closeAllConnections();
      if (handedOver.size > 0) resolve();
    }, deadlineMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}
