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
import type { NodeId, ReplicaId } from "../model/ids.ts";
import { startDeadline } from "../runtime/deadline.ts";

import { codeOfBroken } from "./dial.ts";
import { REASON_HEADER } from "./upgrade.ts";

/**
 * What a stream carries: the bytes of one connection, the datagrams of many flows, or what a stream that has ended gave
 * to its replica.
 */
export type Carries = "stream" | "datagrams" | "receipts";

/** The names of the protocols in the Upgrade header. */
export const PROTOCOL_OF = {
  stream: "skein-stream/1",
  datagrams: "skein-datagrams/1",
  receipts: "skein-receipts/1",
} as const;

/** What a request for a stream asks for, by the name of its protocol in the Upgrade header; null when for none. */
export function carriesOf(path: string, protocol: string | undefined): Carries | null {
  const [carries] = (["stream", "datagrams", "receipts"] as const).filter((one) =>
    path.startsWith(`/${one}/`),
  );
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
export const NODE_HEADER = "skein-node";
export const HOP_HEADER = "skein-hop";
/** Names the receipt of a stream. */
export const RECEIPT_HEADER = "skein-receipt";

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
  /** Names the stream, so that it can be asked afterwards what the replica was given (receipts.ts). */
  readonly receipt?: string;
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
        ...(ask.receipt !== undefined && { [RECEIPT_HEADER]: ask.receipt }),
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
