/**
 * Pipeline: the requests of one HTTP/1 connection that wait for their answer, and bytes that are no request.
 *
 * node:http reads on whatever the number of requests that wait, so they and their heads are counted here. And what it
 * cannot read it hands over with the connection: that is answered where nothing else is to be answered first. Where an
 * earlier request still waits, an answer to the nonsense behind it would be taken for its own: then the connection just
 * ends.
 *
 * Touches: client sockets.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { LIMITS } from "../../model/limits.ts";

import type { Traffic } from "../choice/attempts.ts";

import { renderAnswer, titleOf } from "./answers.ts";
import { newRequestId } from "./request-id.ts";

/** The requests of one connection that wait. */
interface Waiting {
  count: number;
  /** Of the heads of all but those that came while none waited. */
  headBytes: number;
  /** The one that came last: those before it have come whole. */
  last: IncomingMessage | null;
}

/** The requests that wait, by connection. */
export class Pipeline {
  readonly #waitingBySocket = new WeakMap<Duplex, Waiting>();

  /** Counts a request until it is answered; ends the connection and returns false when there are too many. */
  admit(request: IncomingMessage, response: ServerResponse): boolean {
    const { socket } = request;
    // What else was in the piece that the last one came in is read all the same.
    if (socket.destroyed) return false;
    const waiting = this.#waitingOn(socket);
    const headBytes = waiting.count === 0 ? 0 : headBytesOf(request);
    const isTooMuch = waiting.headBytes + headBytes > LIMITS.httpPipelineBytes;
    if (isTooMuch || waiting.count >= LIMITS.httpPipelineMax) {
      socket.destroy();
      return false;
    }
    waiting.count += 1;
    waiting.headBytes += headBytes;
    waiting.last = request;
    response.once("close", () => {
      waiting.count -= 1;
      waiting.headBytes -= headBytes;
      // Not kept for the connection's sake: all of a request hangs on it.
      if (waiting.last === request) waiting.last = null;
    });
    return true;
  }

  #waitingOn(socket: Duplex): Waiting {
    const known = this.#waitingBySocket.get(socket);
    if (known !== undefined) return known;
    const waiting = { count: 0, headBytes: 0, last: null };
    this.#waitingBySocket.set(socket, waiting);
    return waiting;
  }

  /** True while a request that came whole waits for its answer. */
  isAnswering(socket: Duplex): boolean {
    const waiting = this.#waitingBySocket.get(socket);
    if (waiting === undefined || waiting.count === 0) return false;
    return waiting.count > 1 || waiting.last?.complete === true;
  }
}

/** What a head takes: its bytes, and for each field as much besides as HTTP/2 reckons (RFC 9113 6.5.2). */
function headBytesOf({ url = "", rawHeaders }: IncomingMessage): number {
  let bytes = url.length + rawHeaders.length * (FIELD_BYTES / 2);
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}

const FIELD_BYTES = 32;

const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

const REASON_BY_STATUS: Readonly<Record<number, string>> = {
  400: "this is no HTTP request",
  408: "the request took too long to arrive",
  413: "the chunk extensions are too long",
  431: `the request's head is over ${LIMITS.httpHeadBytes} bytes`,
};

/** Refuses what node:http could not read, and ends the connection. */
export function refuseBytes(
  socket: Socket,
  {
    error,
    isAnswering,
    traffic,
  }: {
    readonly error: NodeJS.ErrnoException;
    /** A request before it waits for its answer. */
    readonly isAnswering: boolean;
    readonly traffic: Pick<Traffic, "random">;
  },
): void {
  if (!isAnswering && socket.writable && !hasBegunAnswer(socket)) {
    const status = STATUS_BY_CODE[error.code ?? ""] ?? 400;
    const reason = REASON_BY_STATUS[status] ?? "";
    const { headers, body } = renderAnswer({ status, reason, requestId: newRequestId(traffic.random) }, "");
    socket.write(`${renderHead(status, titleOf(status), headers)}${body}`);
  }
  socket.destroy(error);
}

/** node:http's own mark of the answer that a connection is being used for: its own handling of errors reads it too. */
function hasBegunAnswer(socket: Socket): boolean {
  return (socket as { _httpMessage?: { headersSent: boolean } | null })._httpMessage?.headersSent === true;
}

/** The head of the last answer on a connection that is written to by hand. */
export function renderHead(status: number, message: string, headers: readonly string[]): string {
  let lines = `HTTP/1.1 ${status} ${message}\r\n`;
  for (let at = 0; at + 1 < headers.length; at += 2)
    lines += `${headers[at] ?? ""}: ${headers[at + 1] ?? ""}\r\n`;
  return `${lines}Connection: close\r\n\r\n`;
}
