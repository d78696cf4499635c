/**
 * Stream: a connection to a replica, relayed by the daemon of the replica's host.
 *
 * A replica on a bridge network or on loopback has no address that means anything elsewhere. So a peer asks that host's
 * daemon for it by id and port; the daemon looks both up among its own replicas and dials. An address never comes from
 * the wire: a member could otherwise reach anything this host can. The request is an HTTP upgrade on the mesh port,
 * answered with 101 only once the replica has taken the connection: till then the asking proxy can try the next one.
 *
 *     GET /stream/<replica id>/<port> HTTP/1.1   101: bytes pass from here on
 *     Upgrade: skein-stream/1                    404 no such replica, 502 refused, 503 full, 504 timeout
 *
 * `/datagrams/...` with `skein-datagrams/1` asks in the same way for one that carries datagrams (datagram-frames.ts).
 * Nobody can refuse those beforehand, so 101 says only that there is such a port. streams.ts opens the connections.
 *
 * Touches: sockets.
 */

import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { Failure, textOf, type FailureCode } from "../base/failure.ts";
import type { HostPort } from "../base/ip.ts";
import { isNodeId, type NodeId, type ReplicaId } from "../model/ids.ts";
import { isPort } from "../model/service.ts";
import { UNDELIVERED_HEADER } from "../model/undelivered.ts";
import { startDeadline } from "../runtime/deadline.ts";
import { join, reset } from "../runtime/pump.ts";

import { codeOfBroken, dialSocket } from "./dial.ts";
import type { DatagramDesk } from "./datagram-desk.ts";
import { tellUndelivered, undeliveredOf } from "./undelivered.ts";
import { printable, REASON_HEADER, refuse, type Refusal, type Upgrade } from "./upgrade.ts";

/** What a stream carries: the bytes of one connection, or the datagrams of many flows. */
export type Carries = "stream" | "datagrams";

const PROTOCOL_OF = { stream: "skein-stream/1", datagrams: "skein-datagrams/1" } as const;

/** What a request for a stream asks for, by the name of its protocol in the Upgrade header; null when for none. */
export function carriesOf(path: string, protocol: string | undefined): Carries | null {
  const [carries] = (["stream", "datagrams"] as const).filter((one) => path.startsWith(`/${one}/`));
  return carries !== undefined && protocol === PROTOCOL_OF[carries] ? carries : null;
}

/**
 * Headers of a request to a member that is to pass it on: the way to the replica's own host is broken, and that member
 * still has one. It says whose replica it is and how many have passed it on before.
 *
 *     skein-node: <node id>      404 no such member, 421 not reached from here either
 *     skein-hop: 0               508 passed on before: it goes no further
 *
 * The stream is passed on with hop 1, to the address that the member knows itself, and nobody passes that on again: two
 * daemons that each take the other for the way would send it round for ever.
 */
const NODE_HEADER = "skein-node";
const HOP_HEADER = "skein-hop";

/** How long the owner's daemon gets when a stream is passed on to it: it gives its own replica 500 ms. */
const PASS_ON_MS = 750;

/** What a stream leads to: a replica, and the port on which it listens itself; one that it declares. */
export interface StreamTarget {
  readonly replica: ReplicaId;
  readonly port: number;
}

/** The member whose replica it is, when another is asked for it; `hop` is how many have passed the stream on. */
export interface StreamOwner {
  readonly node: NodeId;
  readonly hop: 0 | 1;
}

/** One end of a connection to a daemon's mesh port, over which a stream is asked for. */
export interface Ask extends StreamTarget {
  readonly deadlineMs: number;
  /** The token by which the owner's daemon tells what never reached the replica (model/undelivered.ts). */
  readonly undelivered?: string;
  /** `stream` unless told. */
  readonly carries?: Carries;
  /** Set when the daemon is not the owner's, or was asked by one that is not. */
  readonly owner?: StreamOwner;
}

/** How asking went: `stale` when the connection ended before a word of an answer, as one kept ready may. */
export type Asked =
  | { readonly kind: "open" }
  | { readonly kind: "failed"; readonly failure: Failure }
  | Stale;
interface Stale {
  readonly kind: "stale";
  readonly failure: Failure;
}

/**
 * Asks for a stream over a connection of its own. Settles when the replica has taken the connection: from then on
 * `socket` is like one to the replica itself, and nothing that the replica sent is lost. Never throws; where it is not
 * to be, the connection is destroyed.
 */
export function askStream(socket: Socket, ask: Ask): Promise<Asked> {
  const { carries = "stream" } = ask;
  const protocol = PROTOCOL_OF[carries];
  return new Promise((resolve) => {
    const request = httpRequest({
      createConnection: () => socket,
      path: `/${carries}/${encodeURIComponent(ask.replica)}/${ask.port}`,
      headers: {
        host: "mesh",
        connection: "Upgrade",
        upgrade: protocol,
        ...(ask.owner && { [NODE_HEADER]: ask.owner.node, [HOP_HEADER]: ask.owner.hop }),
        ...(ask.undelivered !== undefined && { [UNDELIVERED_HEADER]: ask.undelivered }),
      },
    });
    const fail = (code: FailureCode, text: string, cause?: unknown): void => {
      deadline.clear();
      socket.destroy();
      const failure = new Failure(code, text, { cause });
      resolve({ kind: code === "unreachable" && cause !== undefined ? "stale" : "failed", failure });
    };
    const deadline = startDeadline(ask.deadlineMs, () =>
      fail("timeout", `no answer in ${Math.round(ask.deadlineMs)} ms`),
    );
    // One kept ready was paused: it flows again once the request listens.
    request.once("socket", () => socket.resume());
    request.on("error", (thrown) => fail(codeOfBroken(thrown), textOf(thrown), thrown));
    request.once("response", (response) => {
      const { code, text } = refusalOf(response);
      fail(code, text);
    });
    request.once("upgrade", (response, _socket, head: Buffer) => {
      if (response.headers.upgrade !== protocol) {
        fail("invalid", `expected the protocol ${protocol}`);
        return;
      }
      deadline.clear();
      if (head.length > 0) socket.unshift(head);
      resolve({ kind: "open" });
    });
    request.end();
  });
}

const CODE_OF_STATUS: Readonly<Record<number, FailureCode>> = {
  403: "not-allowed",
  404: "not-found",
  421: "unreachable",
  502: "refused",
  503: "busy",
  504: "timeout",
  508: "unreachable",
};

function refusalOf(response: IncomingMessage): { readonly code: FailureCode; readonly text: string } {
  const reason = String(response.headers[REASON_HEADER] ?? "no reason given").slice(0, 160);
  const status = response.statusCode ?? 0;
  return { code: CODE_OF_STATUS[status] ?? "invalid", text: `${status}, ${reason}` };
}

/**
 * Where a replica of this host is reached on a port of its own; null when there is no such replica or port
 * here.
 */
export type ResolveReplica = (
  replica: ReplicaId,
  port: number,
  transport: "tcp" | "udp",
) => { readonly address: string; readonly port: number } | null;

/** How another member is reached from here. */
export type OwnerWay =
  /** It is this node. */
  | { readonly kind: "self" }
  /** At its mesh listener. */
  | { readonly kind: "peer"; readonly address: HostPort }
  /** It is a member, but this node does not reach it. */
  | { readonly kind: "unlinked" }
  | { readonly kind: "unknown" };

/**
 * Opens a stream to a replica through a member's daemon.
 *
 * @returns a socket like one to the replica itself: ends, half-closes and resets as the replica does. The caller
 *   attaches `error` before it awaits anything else
 * @throws Failure `refused` when the replica did not take the connection, `timeout` when it or its daemon was
 *   too slow, `not-found` when the daemon has no such replica, port or member, `busy` when it has no room,
 *   `unreachable` when the daemon itself, or the owner's from there, cannot be reached or is not that member,
 *   `not-allowed` when it refuses us, `invalid` when what answers is no such daemon
 */
export type OpenStream = (peer: StreamPeer, ask: Ask) => Promise<Socket>;

/** The daemon to ask, and the member that must answer there. */
export interface StreamPeer {
  readonly id: NodeId;
  /** Its mesh listener. */
  readonly address: HostPort;
}

/** What serveStream needs. */
export interface ServeOptions {
  readonly resolve: ResolveReplica;
  readonly wayTo: (node: NodeId) => OwnerWay;
  /** Opens a stream to a replica through its owner's daemon; throws a Failure. */
  readonly open: OpenStream;
  /** Serves those that carry datagrams to replicas of this host. */
  readonly desk: DatagramDesk;
  /** How long the replica may take to accept: it runs on this host, so what is slow is broken. */
  readonly connectMs: number;
  /** Told once how the request went. */
  readonly served: (result: StreamResult) => void;
}

/** How a request for a stream went; a closed set, as it labels a metric. */
export type StreamResult =
  | "opened"
  | "passed-on"
  | "malformed"
  | "not-found"
  | "refused"
  | "timeout"
  | "unreachable"
  | "busy"
  | "aborted";

/** A stream that is not to be, and what it counts as. */
interface GivenUp extends Refusal {
  readonly result: StreamResult;
}

/**
 * Answers an upgrade request for a stream: dials the replica, or its owner's daemon, says 101 and passes bytes
 * until both ends are done; or refuses, in which case the connection ends within a second. Never throws.
 *
 * @returns when the request is answered; the bytes may pass for long after that
 */
export async function serveStream(upgrade: Upgrade, options: ServeOptions): Promise<void> {
  const { request, socket, head } = upgrade;
  // Until the streams are joined the client's `close` says all.
  socket.on("error", () => undefined);

  const way = wayOf(request, options);
  if ("status" in way) return giveUp(way);
  const upstream = await way.dial();
  if ("status" in upstream) return giveUp(upstream);
  if (socket.destroyed) {
    options.served("aborted");
    upstream.drop();
    return;
  }
  options.served(way.result);
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${PROTOCOL_OF[way.carries]}\r\n\r\n`,
  );
  upstream.join(socket, head);

  function giveUp(reason: GivenUp): void {
    options.served(reason.result);
    refuse(socket, reason);
  }
}

/** How a request is served. */
interface Way {
  readonly result: StreamResult;
  readonly carries: Carries;
  readonly dial: () => Promise<Dialled | GivenUp>;
}

/** What was dialled: it becomes one with the stream, or is let go. */
interface Dialled {
  /** @param head  what the client sent right behind its request: it belongs to the replica */
  readonly join: (socket: Socket, head: Buffer) => void;
  readonly drop: () => void;
}

function dialled(upstream: Socket, undelivered: string | null): Dialled {
  return {
    join(socket, head) {
      if (head.length > 0) socket.unshift(head);
      if (undelivered !== null) tellUndelivered(socket, upstream, undelivered);
      join(socket, upstream);
    },
    drop: () => reset(upstream),
  };
}

/** Decides whether a request is for a replica of this host or to be passed on. */
function wayOf(request: IncomingMessage, options: ServeOptions): Way | GivenUp {
  const { resolve, wayTo, connectMs, open, desk } = options;
  const target = parseTarget(request.url ?? "");
  const owner = ownerOf(request);
  if (target === null)
    return {
      result: "malformed",
      status: 400,
      reason: "expected /stream/<replica id>/<port>, or /datagrams/",
    };
  if (owner === "malformed")
    return { result: "malformed", status: 400, reason: `expected a node id in ${NODE_HEADER}, and a hop` };
  const way = owner === null ? ({ kind: "self" } as const) : wayTo(owner.node);
  const undelivered = undeliveredOf(request);
  if (owner !== null && way.kind !== "self") return passedOn({ target, owner, open, undelivered }, way);
  const { carries, replica, port } = target;
  const transport = carries === "datagrams" ? "udp" : "tcp";
  const where = resolve(replica, port, transport);
  if (where === null) {
    const reason = `no port ${port}/${transport} of ${replica} on this host`;
    return { result: "not-found", status: 404, reason };
  }
  const at = { host: where.address, port: where.port };
  if (carries === "stream") {
    return { result: "opened", carries, dial: () => dialReplica(at, { connectMs, undelivered }) };
  }
  const served: Dialled = { join: (socket, head) => desk.serve(socket, head, at), drop: () => undefined };
  return { result: "opened", carries, dial: () => Promise.resolve(served) };
}

async function dialReplica(
  at: HostPort,
  { connectMs, undelivered }: { readonly connectMs: number; readonly undelivered: string | null },
): Promise<Dialled | GivenUp> {
  try {
    return dialled(await dialSocket(at, connectMs), undelivered);
  } catch (thrown) {
    const code = thrown instanceof Failure ? thrown.code : "unreachable";
    if (code === "timeout")
      return { result: code, status: 504, reason: `the replica took no connection in ${connectMs} ms` };
    if (code === "refused")
      return { result: code, status: 502, reason: "the replica refused the connection" };
    return { result: "unreachable", status: 502, reason: "the replica cannot be reached" };
  }
}

/** A request for another member's replica. */
interface PassedOn {
  readonly target: Asking;
  readonly owner: { readonly node: NodeId; readonly hop: number };
  readonly open: OpenStream;
  /** Told by the owner's daemon: it alone knows the replica. */
  readonly undelivered: string | null;
}

/** What a request for another member's replica becomes. */
function passedOn(
  { target, owner, open, undelivered }: PassedOn,
  way: Exclude<OwnerWay, { kind: "self" }>,
): Way | GivenUp {
  const { node, hop } = owner;
  if (hop > 0) {
    const reason = `this node is not ${node}, and the stream was passed on before`;
    return { result: "unreachable", status: 508, reason };
  }
  if (way.kind === "unknown")
    return { result: "not-found", status: 404, reason: `${node} is no member that this node knows` };
  if (way.kind === "unlinked")
    return { result: "unreachable", status: 421, reason: `this node does not reach ${node} either` };
  const { address } = way;
  return {
    result: "passed-on",
    carries: target.carries,
    async dial() {
      try {
        const ask = { ...target, deadlineMs: PASS_ON_MS, owner: { node, hop: 1 } } as const;
        const stream = await open(
          { id: node, address },
          undelivered === null ? ask : { ...ask, undelivered },
        );
        return dialled(stream, null);
      } catch (thrown) {
        const code = thrown instanceof Failure ? thrown.code : "unreachable";
        return {
          ...(FAILED_BY_CODE[code] ?? UNREACHED),
          reason: `passed on to ${node}: ${printable(textOf(thrown)).slice(0, 120)}`,
        };
      }
    },
  };
}

const UNREACHED = { result: "unreachable", status: 421 } as const;
const FAILED_BY_CODE: Partial<Record<FailureCode, Pick<GivenUp, "result" | "status">>> = {
  refused: { result: "refused", status: 502 },
  timeout: { result: "timeout", status: 504 },
  busy: { result: "busy", status: 503 },
  "not-found": { result: "not-found", status: 404 },
};

/** The owner named by a request; null when it names none, as one to the owner itself does. */
function ownerOf(
  request: IncomingMessage,
): { readonly node: NodeId; readonly hop: number } | null | "malformed" {
  const node = request.headers[NODE_HEADER];
  const hop = request.headers[HOP_HEADER];
  if (node === undefined && hop === undefined) return null;
  if (typeof node !== "string" || !isNodeId(node)) return "malformed";
  return typeof hop === "string" && /^\d{1,3}$/.test(hop) ? { node, hop: Number(hop) } : "malformed";
}

/** A target, and what is to be carried to it. */
interface Asking extends StreamTarget {
  readonly carries: Carries;
}

/** The target named by a request's path; null when it names none. */
function parseTarget(path: string): Asking | null {
  const match = /^\/(stream|datagrams)\/([a-z0-9_.-]{1,80})\/(\d{1,5})$/.exec(path);
  const [, kind, replica, portText] = match ?? [];
  const port = Number(portText);
  const carries = kind === "datagrams" ? "datagrams" : "stream";
  return replica === undefined || !isPort(port) ? null : { carries, replica, port };
}
