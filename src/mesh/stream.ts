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
import type { ReplicaId } from "../model/ids.ts";
import { isPort } from "../model/service.ts";
import { nowMs } from "../runtime/clock.ts";

import { codeOfBroken, dialSocket } from "./dial.ts";
import { join, reset } from "../runtime/pump.ts";
import { REASON_HEADER, refuse, type Refusal, type Upgrade } from "./upgrade.ts";

/** The name of the protocol in the Upgrade header. */
export const STREAM_PROTOCOL = "skein-stream/1";

/** What a stream leads to: a replica, and the port on which it listens itself; one that it declares. */
export interface StreamTarget {
  readonly replica: ReplicaId;
  readonly port: number;
}

/**
 * Opens a stream to a replica through its host's daemon.
 *
 * @param peer                the mesh listener of that daemon
 * @param options.deadlineMs  for everything up to the replica's own acceptance; the daemon gives its part 500
 *   ms
 * @returns a socket like one to the replica itself: ends, half-closes and resets as the replica does. Nothing
 *   that the replica sent is lost; the caller attaches `error` before it awaits anything else
 * @throws Failure `refused` when the replica did not take the connection, `timeout` when it or its daemon was
 *   too slow, `not-found` when the daemon has no such replica or port, `busy` when it has no room,
 *   `unreachable` when the daemon itself cannot be reached, `invalid` when what answers is no such daemon
 */
export async function dialStream(
  peer: HostPort,
  options: StreamTarget & { readonly deadlineMs: number },
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
      headers: { host: "mesh", connection: "Upgrade", upgrade: STREAM_PROTOCOL },
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
  502: "refused",
  503: "busy",
  504: "timeout",
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

/** What serveStream needs. */
export interface ServeOptions {
  readonly resolve: ResolveReplica;
  /** How long the replica may take to accept: it runs on this host, so what is slow is broken. */
  readonly connectMs: number;
  /** Told once how the request went. */
  readonly served: (result: StreamResult) => void;
}

/** How a request for a stream went; a closed set, as it labels a metric. */
export type StreamResult =
  | "opened"
  | "malformed"
  | "not-found"
  | "refused"
  | "timeout"
  | "unreachable"
  | "aborted";

/**
 * Answers an upgrade request for a stream: dials the replica, says 101 and passes bytes until both ends are
 * done; or refuses, in which case the connection ends within a second. Never throws.
 *
 * @returns when the request is answered; the bytes may pass for long after that
 */
export async function serveStream(upgrade: Upgrade, options: ServeOptions): Promise<void> {
  const { request, socket, head } = upgrade;
  const giveUp = (result: StreamResult, refusal: Refusal): void => {
    options.served(result);
    refuse(socket, refusal);
  };
  // Until the streams are joined the client's `close` says all.
  socket.on("error", () => undefined);

  const target = parseTarget(request.url ?? "");
  if (target === null) {
    giveUp("malformed", { status: 400, reason: "expected /stream/<replica id>/<port>" });
    return;
  }
  const where = options.resolve(target.replica, target.port);
  if (where === null) {
    giveUp("not-found", { status: 404, reason: `no port ${target.port} of ${target.replica} on this host` });
    return;
  }
  let upstream: Socket;
  try {
    upstream = await dialSocket({ host: where.address, port: where.port }, options.connectMs);
  } catch (thrown) {
    const code = thrown instanceof Failure ? thrown.code : "unreachable";
    if (code === "timeout") {
      giveUp("timeout", { status: 504, reason: `the replica took no connection in ${options.connectMs} ms` });
    } else if (code === "refused") {
      giveUp("refused", { status: 502, reason: "the replica refused the connection" });
    } else giveUp("unreachable", { status: 502, reason: "the replica cannot be reached" });
    return;
  }
  if (socket.destroyed) {
    options.served("aborted");
    reset(upstream);
    return;
  }
  options.served("opened");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${STREAM_PROTOCOL}\r\n\r\n`,
  );
  // What the client sent right behind its request belongs to the replica.
  if (head.length > 0) socket.unshift(head);
  join(socket, upstream);
}

/** The target named by a request's path; null when it names none. */
function parseTarget(path: string): StreamTarget | null {
  const match = /^\/stream\/([a-z0-9_.-]{1,80})\/(\d{1,5})$/.exec(path);
  const [, replica, portText] = match ?? [];
  const port = Number(portText);
  return replica === undefined || !isPort(port) ? null : { replica, port };
}
