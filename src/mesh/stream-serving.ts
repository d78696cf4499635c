/**
 * Stream serving: answers who asks for a stream to a replica of this host, or to one that this node is to pass on.
 *
 * The wire never names an address: who asks names a replica and one of its ports, and this host knows where that is. A
 * stream for another member's replica is passed on once and no further, so it cannot go in circles.
 *
 * Touches: sockets.
 */

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { Failure, textOf, type FailureCode } from "../base/failure.ts";
import type { HostPort } from "../base/ip.ts";
import { isNodeId, type NodeId } from "../model/ids.ts";
import { isPort } from "../model/service.ts";
import { join, reset } from "../runtime/pump.ts";

import type { DatagramDesk } from "./datagram-desk.ts";
import { dialSocket } from "./dial.ts";
import { answerReceipt, receiptOf, type Receipts } from "./receipts.ts";
import {
  HOP_HEADER,
  NODE_HEADER,
  PROTOCOL_OF,
  type Carries,
  type OpenStream,
  type OwnerWay,
  type ResolveReplica,
  type StreamTarget,
} from "./stream.ts";
import { printable, refuse, type Refusal, type Upgrade } from "./upgrade.ts";

/** How long the owner's daemon gets when a stream is passed on to it: it gives its own replica 500 ms. */
const PASS_ON_MS = 750;

/** What serveStream needs. */
export interface ServeOptions {
  readonly resolve: ResolveReplica;
  readonly wayTo: (node: NodeId) => OwnerWay;
  /** Opens a stream to a replica through its owner's daemon; throws a Failure. */
  readonly open: OpenStream;
  /** Serves those that carry datagrams to replicas of this host. */
  readonly desk: DatagramDesk;
  /** What replicas were given over streams that have ended. */
  readonly receipts: Receipts;
  /** How long the replica may take to accept: it runs on this host, so what is slow is broken. */
  readonly connectMs: number;
  /** Told once how the request went. */
  readonly served: (result: StreamResult) => void;
}

/** How a request for a stream went; a closed set, as it labels a metric. */
export type StreamResult =
  | "opened"
  | "passed-on"
  | "receipt"
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

/** @param kept  where to note what the replica was given, and under which name */
function dialled(
  upstream: Socket,
  kept: { readonly receipts: Receipts; readonly name: string } | null,
): Dialled {
  return {
    join(socket, head) {
      if (head.length > 0) socket.unshift(head);
      if (kept === null) return join(socket, upstream);
      const giving = kept.receipts.keep(kept.name, upstream);
      join(socket, upstream, { to: { stream: upstream, pass: giving.pass } });
    },
    drop: () => reset(upstream),
  };
}

/** Decides whether a request is for a replica of this host or to be passed on. */
function wayOf(request: IncomingMessage, options: ServeOptions): Way | GivenUp {
  const { resolve, wayTo, connectMs, open, desk, receipts } = options;
  const target = parseTarget(request.url ?? "");
  const owner = ownerOf(request);
  if (target === null)
    return {
      result: "malformed",
      status: 400,
      reason: "expected /stream/<replica id>/<port>, /datagrams/ or /receipts/",
    };
  if (owner === "malformed")
    return { result: "malformed", status: 400, reason: `expected a node id in ${NODE_HEADER}, and a hop` };
  const way = owner === null ? ({ kind: "self" } as const) : wayTo(owner.node);
  const receipt = receiptOf(request);
  if (owner !== null && way.kind !== "self") return passedOn({ target, owner, open, receipt }, way);
  const { carries, replica, port } = target;
  if (carries === "receipts") {
    const answer = async (): Promise<Dialled> => {
      const given = receipt === null ? null : await receipts.givenBytes(receipt);
      return { join: (socket) => answerReceipt(socket, given), drop: () => undefined };
    };
    return { result: "receipt", carries, dial: answer };
  }
  const transport = carries === "datagrams" ? "udp" : "tcp";
  const where = resolve(replica, port, transport);
  if (where === null) {
    const reason = `no port ${port}/${transport} of ${replica} on this host`;
    return { result: "not-found", status: 404, reason };
  }
  const at = { host: where.address, port: where.port };
  if (carries === "stream") {
    const kept = receipt === null ? null : { receipts, name: receipt };
    return { result: "opened", carries, dial: () => dialReplica(at, connectMs, kept) };
  }
  const served: Dialled = { join: (socket, head) => desk.serve(socket, head, at), drop: () => undefined };
  return { result: "opened", carries, dial: () => Promise.resolve(served) };
}

async function dialReplica(
  at: HostPort,
  connectMs: number,
  kept: Parameters<typeof dialled>[1],
): Promise<Dialled | GivenUp> {
  try {
    return dialled(await dialSocket(at, connectMs), kept);
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
  /** Kept by the owner's daemon: it alone knows the replica. */
  readonly receipt: string | null;
}

/** What a request for another member's replica becomes. */
function passedOn(
  { target, owner, open, receipt }: PassedOn,
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
        const stream = await open({ id: node, address }, receipt === null ? ask : { ...ask, receipt });
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
  const match = /^\/(stream|datagrams|receipts)\/([a-z0-9_.-]{1,80})\/(\d{1,5})$/.exec(path);
  const [, kind, replica, portText] = match ?? [];
  const port = Number(portText);
  if (replica === undefined || !isPort(port)) return null;
  return { carries: kind === "datagrams" || kind === "receipts" ? kind : "stream", replica, port };
}
