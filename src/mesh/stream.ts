/**
 * Stream: a connection to a replica, relayed by the daemon of the replica's host.
 *
 * A replica on a bridge network or on loopback has no address that means anything elsewhere. So a peer asks
 * that host's daemon for the replica by id and port; the daemon looks both up among its own replicas and
 * dials. An address never comes from the wire: a member could otherwise reach anything this host can reach.
 * The request is an HTTP upgrade on the mesh port, answered with 101 only once the replica has taken the
 * connection, so that a client's proxy can still try the next replica when it has not.
 *
 *     GET /stream/<replica id>/<port> HTTP/1.1   101: bytes pass from here on
 *     Upgrade: skein-stream/1                    404 no such replica, 502 refused, 503 full, 504 timeout
 *
 * Touches: sockets.
 */

import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { Failure, textOf, type FailureCode } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import { isNodeId, type NodeId, type ReplicaId } from "../model/ids.ts";
import { isPort } from "../model/service.ts";
import { nowMs } from "../runtime/clock.ts";

import { codeOfBroken, dialSocket } from "./dial.ts";
import { join, reset } from "../runtime/pump.ts";
import { REASON_HEADER, refuse, type Refusal, type Upgrade } from "./upgrade.ts";

/** The name of the protocol in the Upgrade header. */
export const STREAM_PROTOCOL = "skein-stream/1";

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

/**
 * Opens a stream to a replica through its host's daemon, or through another member's that reaches that host.
 *
 * @param peer                the mesh listener of that daemon
 * @param options.deadlineMs  for everything up to the replica's own acceptance; the daemon gives its part 500
 *   ms
 * @param options.owner       set when the daemon is not the owner's, or was asked by one that is not
 * @returns a socket like one to the replica itself: ends, half-closes and resets as the replica does. Nothing
 *   that the replica sent is lost; the caller attaches `error` before it awaits anything else
 * @throws Failure `refused` when the replica did not take the connection, `timeout` when it or its daemon was
 *   too slow, `not-found` when the daemon has no such replica, port or member, `busy` when it has no room,
 *   `unreachable` when the daemon itself, or the owner's from there, cannot be reached, `invalid` when what
 *   answers is no such daemon
 */
export async function dialStream(
  peer: HostPort,
  options: StreamTarget & { readonly deadlineMs: number; readonly owner?: StreamOwner },
): Promise<Socket> {
  const startedMs = nowMs();
  const socket = await dialSocket(peer, options.deadlineMs).catch((thrown: unknown) => {
    // Whatever kept us from the daemon says nothing of the replica.
    throw new Failure("unreachable", `stream: ${textOf(thrown)}`, { cause: thrown });
  });
  const leftMs = Math.max(1, options.deadlineMs - (nowMs() - startedMs));
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => socket,
      path: `/stream/${encodeURIComponent(options.replica)}/${options.port}`,
      headers: {
        host: "mesh",
        connection: "Upgrade",
        upgrade: STREAM_PROTOCOL,
        ...(options.owner && { [NODE_HEADER]: options.owner.node, [HOP_HEADER]: options.owner.hop }),
      },
    });
    const fail = (code: FailureCode, text: string, cause?: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      const about = `stream to ${options.replica} through ${renderHostPort(peer)}`;
      reject(new Failure(code, `${about}: ${text}`, { cause }));
    };
    const timer = setTimeout(() => fail("timeout", `no answer in ${options.deadlineMs} ms`), leftMs);
    request.on("error", (thrown) => fail(codeOfBroken(thrown), textOf(thrown), thrown));
    request.once("response", (response) => {
      const { code, text } = refusalOf(response);
      fail(code, text);
    });
    request.once("upgrade", (response, _socket, head: Buffer) => {
      if (response.headers.upgrade !== STREAM_PROTOCOL) {
        fail("invalid", `expected the protocol ${STREAM_PROTOCOL}`);
        return;
      }
      clearTimeout(timer);
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
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

/** What serveStream needs. */
export interface ServeOptions {
  readonly resolve: ResolveReplica;
  readonly wayTo: (node: NodeId) => OwnerWay;
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
  const upstream = "status" in way ? way : await way.dial();
  if ("status" in upstream) {
    options.served(upstream.result);
    refuse(socket, upstream);
    return;
  }
  if (socket.destroyed) {
    options.served("aborted");
    reset(upstream);
    return;
  }
  options.served(way.result);
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${STREAM_PROTOCOL}\r\n\r\n`,
  );
  // What the client sent right behind its request belongs to the replica.
  if (head.length > 0) socket.unshift(head);
  join(socket, upstream);
}

/** How a request is served. */
interface Way {
  readonly result: StreamResult;
  readonly dial: () => Promise<Socket | GivenUp>;
}

/** Decides whether a request is for a replica of this host or to be passed on. */
function wayOf(request: IncomingMessage, { resolve, wayTo, connectMs }: ServeOptions): Way | GivenUp {
  const target = parseTarget(request.url ?? "");
  const owner = ownerOf(request);
  if (target === null)
    return { result: "malformed", status: 400, reason: "expected /stream/<replica id>/<port>" };
  if (owner === "malformed")
    return { result: "malformed", status: 400, reason: `expected a node id in ${NODE_HEADER}, and a hop` };
  const way = owner === null ? ({ kind: "self" } as const) : wayTo(owner.node);
  if (owner !== null && way.kind !== "self") return passedOn(target, owner, way);
  const where = resolve(target.replica, target.port);
  if (where !== null)
    return {
      result: "opened",
      dial: () => dialReplica({ host: where.address, port: where.port }, connectMs),
    };
  const reason = `no port ${target.port} of ${target.replica} on this host`;
  return { result: "not-found", status: 404, reason };
}

async function dialReplica(at: HostPort, connectMs: number): Promise<Socket | GivenUp> {
  try {
    return await dialSocket(at, connectMs);
  } catch (thrown) {
    const code = thrown instanceof Failure ? thrown.code : "unreachable";
    if (code === "timeout")
      return { result: code, status: 504, reason: `the replica took no connection in ${connectMs} ms` };
    if (code === "refused")
      return { result: code, status: 502, reason: "the replica refused the connection" };
    return { result: "unreachable", status: 502, reason: "the replica cannot be reached" };
  }
}

/** What a request for another member's replica becomes. */
function passedOn(
  target: StreamTarget,
  { node, hop }: { readonly node: NodeId; readonly hop: number },
  way: Exclude<OwnerWay, { kind: "self" }>,
): Way | GivenUp {
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
    async dial() {
      try {
        return await dialStream(address, { ...target, deadlineMs: PASS_ON_MS, owner: { node, hop: 1 } });
      } catch (thrown) {
        const code = thrown instanceof Failure ? thrown.code : "unreachable";
        return {
          ...(FAILED_BY_CODE[code] ?? UNREACHED),
          reason: `passed on to ${node}: ${reasonOf(thrown)}`,
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

/** A failure's text as it may stand in a header. */
function reasonOf(thrown: unknown): string {
  return textOf(thrown)
    .replace(/[^\x20-\x7e]/g, "?")
    .slice(0, 120);
}

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

/** The target named by a request's path; null when it names none. */
function parseTarget(path: string): StreamTarget | null {
  const match = /^\/stream\/([a-z0-9_.-]{1,80})\/(\d{1,5})$/.exec(path);
  const [, replica, portText] = match ?? [];
  const port = Number(portText);
  return replica === undefined || !isPort(port) ? null : { replica, port };
}
