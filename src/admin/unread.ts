/**
 * Unread: what is answered to bytes that node:http cannot read as a request.
 *
 * Its parser would answer by itself, with a head that does not tell that it is of this API: who asks for too much would
 * take the daemon for a stranger. So it is a problem as any other (RFC 9457), and the connection ends with it, for
 * nobody knows where its next request begins. What broke by itself is not answered.
 *
 * Touches: requests, responses and connections of the server that it is given.
 */

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

import { systemCodeOf } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";

import { problem } from "./answers.ts";
import { problemOf, type Problem } from "./contract.ts";

/** Answers what the server could not read. */
export function answerUnread(server: Server): void {
  const openBySocket = new WeakMap<Duplex, Set<ServerResponse>>();
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    const open = openBySocket.get(socket) ?? new Set();
    openBySocket.set(socket, open.add(response));
    response.once("close", () => open.delete(response));
  });
  server.on("clientError", (thrown: Error, socket: Duplex) => {
    const told = toldOf(systemCodeOf(thrown) ?? "");
    const open = openBySocket.get(socket) ?? [];
    // Into an answer that has begun no other may be written.
    const isBegun = [...open].some(({ headersSent }) => headersSent);
    if (told === null || isBegun || !socket.writable) socket.destroy();
    else socket.end(rendered(told), () => socket.destroy());
  });
}

/** What is told of an error of the parser; null where the connection broke, which is nobody's mistake. */
function toldOf(code: string): Problem | null {
  if (code === "HPE_HEADER_OVERFLOW") {
    const expected = `expected names of at most ${LIMITS.nameBytes} characters`;
    return problemOf("usage", `what is asked is longer than a daemon reads; ${expected}`, 431);
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT")
    return problemOf("timeout", "request did not come in time; expected the whole of it", 408);
  if (!code.startsWith("HPE_")) return null;
  return problemOf("usage", "request is malformed; expected HTTP/1.1");
}

function rendered(told: Problem): string {
  const { headers, body } = problem(told);
  const all = { ...headers, connection: "close", "content-length": Buffer.byteLength(body) };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${told.status} ${told.title}`, ...lines, "", body].join("\r\n");
}
