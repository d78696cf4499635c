// A mesh port of a test with a member's certificate, and raw TLS connections to it: for peers that break the rules.

import { connect as connectPlain, type AddressInfo } from "node:net";
import { connect, createServer, type ConnectionOptions, type TlsOptions, type TLSSocket } from "node:tls";

import { WebSocket } from "ws";

import type { HostPort } from "../../src/base/ip.ts";
import { openLanes, type Lanes } from "../../src/mesh/lanes.ts";
import type { Link } from "../../src/mesh/link.ts";
import { openListener, type Listener, type ListenerOptions } from "../../src/mesh/listener.ts";
import { openStreams, type Streams } from "../../src/mesh/streams.ts";
import { dialLink } from "../../src/mesh/websocket.ts";

import { openMember, papersOf, type Papers, type TestMember } from "./mesh-trust.ts";
import { openSilentLog } from "./silence.ts";
import type { Ending } from "./tcp.ts";
import { DEADLINE_MS, within } from "./wait.ts";

/** A member with an open mesh port. */
export interface MeshPort extends TestMember {
  readonly listener: Listener;
  readonly address: HostPort;
  readonly streams: Streams;
  /** Accepted, not started. */
  readonly links: Link[];
  readonly lanes: Lanes;
}

/** Opens the mesh port of a member on loopback; number 0 unless told. It keeps the links it accepts, unstarted. */
export async function openMeshPort(
  t: Ending,
  changed: Partial<ListenerOptions> & { readonly papers?: Papers } = {},
): Promise<MeshPort> {
  const { papers = papersOf(0), ...given } = changed;
  const member = openMember(papers);
  const streams = openStreams(member);
  const links: Link[] = [];
  const lanes = openLanes();
  let lastId = 100;
  const listener = await openListener({
    listen: { host: "127.0.0.1", port: 0 },
    trust: member.trust,
    refusals: member.refusals,
    nextLinkId: () => (lastId += 1),
    onLink: (link) => links.push(link),
    resolve: () => null,
    wayTo: () => ({ kind: "unknown" }),
    streams,
    onJoin: (_request, response) => response.writeHead(501).end(),
    lanes,
    log: openSilentLog(),
    metrics: member.metrics,
    // As long as a test waits: who is slow because the machine is busy is not hung up on.
    handshakeMs: DEADLINE_MS,
    ...given,
  });
  t.after(() => {
    streams.close();
    return listener.close();
  });
  return { ...member, listener, address: listener.address, streams, links, lanes };
}

/** What a raw client shows and asks for. */
export interface RawOptions extends ConnectionOptions {
  readonly papers?: Papers | null;
  readonly alpn?: string;
  readonly localAddress?: string;
}

/** Options of node:tls for a client that shows these papers (number 1 unless told, null for none). */
export function tlsOptionsOf({
  papers = papersOf(1),
  alpn = "skein-gossip/1",
  ...rest
}: RawOptions = {}): ConnectionOptions {
  return {
    ...(papers !== null && { key: papers.keyPem, cert: papers.pem }),
    ALPNProtocols: [alpn],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...rest,
  };
}

/** A raw TLS connection. */
export interface RawTls {
  readonly socket: TLSSocket;
  /** All that came, as text. */
  readonly received: () => string;
  /** The code of what went wrong; empty while nothing has. */
  readonly error: () => string;
  /** Ends it with RST. */
  readonly reset: () => void;
}

/** Opens one; settles once the handshake is over or has failed. */
export async function openTls(t: Ending, port: number, options: RawOptions = {}): Promise<RawTls> {
  const { localAddress, ...given } = options;
  const below = connectPlain({
    host: "127.0.0.1",
    port,
    allowHalfOpen: true,
    ...(localAddress && { localAddress }),
  });
  below.on("error", () => undefined);
  const socket = connect({ socket: below, ...tlsOptionsOf(given) });
  t.after(() => socket.destroy());
  let received = "";
  let error = "";
  socket.on("error", (thrown: NodeJS.ErrnoException) => (error = thrown.code ?? thrown.message));
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  const settled = new Promise((resolve) => socket.once("secureConnect", resolve).once("close", resolve));
  await within(settled, `a handshake with 127.0.0.1:${port}, or its failure`);
  return { socket, received: () => received, error: () => error, reset: () => below.resetAndDestroy() };
}

/** A WebSocket client to a mesh port that is no link of ours: for frames that we would not send. */
export function openRawWebSocket(t: Ending, port: number, options: RawOptions = {}): WebSocket {
  const createConnection: typeof connectPlain = () =>
    connect({ host: "127.0.0.1", port, ...tlsOptionsOf(options) });
  // By its own way to connect: ws would ask for HTTP/1.1 (ALPN).
  const raw = new WebSocket("ws://mesh/gossip", ["skein.v1"], { perMessageDeflate: false, createConnection });
  raw.on("error", () => undefined);
  t.after(() => raw.terminate());
  return raw;
}

/** Dials a port as another member does. */
export function dialPort(
  address: HostPort,
  given: {
    readonly from?: TestMember;
    readonly id?: number;
    readonly deadlineMs?: number;
    readonly lanes?: Lanes;
  } = {},
): Promise<Link> {
  const { from = openMember(papersOf(1)), id = 1, deadlineMs = DEADLINE_MS, lanes = openLanes() } = given;
  return dialLink(address, { id, deadlineMs, lanes, dialMember: from.dialMember });
}

/** A TLS server of a test that is no daemon; `answer` gets each connection once its handshake is over. */
export async function openTlsServer(
  t: Ending,
  answer: (socket: TLSSocket) => void,
  options: TlsOptions & { readonly papers?: Papers } = {},
): Promise<HostPort> {
  const { papers = papersOf(0), ...given } = options;
  const sockets = new Set<TLSSocket>();
  const server = createServer(
    {
      key: papers.keyPem,
      cert: papers.pem,
      requestCert: true,
      rejectUnauthorized: false,
      allowHalfOpen: true,
      ALPNProtocols: ["skein-gossip/1", "skein-stream/1", "skein-join/1"],
      ...given,
    },
    (socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      answer(socket);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}
