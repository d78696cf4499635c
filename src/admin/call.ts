/**
 * Call: one request of the admin API as its handlers see it, from the head that was read to the answer that goes out.
 *
 * Our own and not the platform's Request and Response: those bring undici with them, which is 8 MB of a daemon's
 * memory and a tenth of its start. A target is read as WHATWG URL has it, so each way to write a path is the same path.
 * What a caller still sends after its answer is thrown away for half a second: a socket that is closed under a caller
 * who writes loses it the answer.
 *
 * Touches: requests and responses; a timer while a rest is thrown away.
 */

import type { IncomingMessage, ServerResponse } from "node:http";

import { Failure } from "../base/failure.ts";

import type { Answer } from "./answers.ts";

/** One request. */
export interface Call {
  readonly method: string;
  readonly url: URL;
  /** What stands in the path for its route's parameters, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

const REST_DEADLINE_MS = 500;

/** Reads what is asked. @throws Failure `usage` for a target or a Host that no URL can hold, or without a Host */
export function callOf(incoming: IncomingMessage, outgoing: ServerResponse): Call {
  const { method = "", url: target = "", headers } = incoming;
  // RFC 9112 3.2; HTTP/1.0 knows none.
  if (headers.host === undefined && incoming.httpVersion === "1.1")
    throw new Failure("usage", "request has no Host; expected one");
  const host = headers.host ?? "localhost";
  // A proxy's form of the target brings a host of its own, which nobody here asks for.
  const text = target.startsWith("/") ? `http://${host}${target}` : target;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    const expected = "expected a path, and a Host that a URL can hold";
    throw new Failure("usage", `request is malformed: it asks "${host}" for "${target}"; ${expected}`);
  }
  return { method, url, params: {}, incoming, outgoing };
}

/** A parameter of the path; empty when the route has none of that name. */
export function paramOf({ params }: Call, name: string): string {
  return params[name] ?? "";
}

/** A parameter of the query, the first where it comes twice; null without. */
export function queryOf({ url }: Call, name: string): string | null {
  return url.searchParams.get(name);
}

/** A header. One that came twice is no value we know; it is kept, so that it is refused and not overlooked. */
export function headerOf({ incoming }: Call, name: string): string | null {
  const value = incoming.headers[name];
  return value === undefined ? null : String(value);
}

/** Sends an answer, whole. The caller may have gone by now; a stream that failed after it began is cut. */
export function send(answer: Answer, { incoming, outgoing }: Pick<Call, "incoming" | "outgoing">): void {
  // What ends a connection is told by its `close`; without a listener an error would end the daemon.
  outgoing.on("error", () => undefined);
  if (answer.kind === "stream" || outgoing.destroyed) return;
  if (outgoing.headersSent) return void outgoing.destroy();
  const { status, headers, body } = answer;
  outgoing.once("finish", () => discardRest(incoming));
  const isBare = status === 204 || status === 304;
  outgoing.writeHead(status, isBare ? headers : { ...headers, "content-length": Buffer.byteLength(body) });
  // node:http leaves the body out of an answer to HEAD.
  outgoing.end(isBare ? undefined : body);
}

function discardRest(incoming: IncomingMessage): void {
  if (incoming.complete || incoming.destroyed) return;
  const { socket } = incoming;
  const timer = setTimeout(() => socket.destroySoon(), REST_DEADLINE_MS);
  incoming.once("close", () => clearTimeout(timer));
  incoming.once("end", () => clearTimeout(timer));
  incoming.resume();
}
