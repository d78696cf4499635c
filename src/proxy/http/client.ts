/**
 * Client: the client's side of one HTTP exchange, over HTTP/1 or HTTP/2.
 *
 * What an exchange does must not depend on how its client came: it reads one head, one body and writes one answer.
 * Here the two differ: HTTP/2 carries its target in pseudo-headers and its cookies in pieces, has no connection of its
 * own to close after an answer, and tells of a cut answer by resetting one stream where HTTP/1 has only its connection.
 * An HTTP/2 request is shown as the HTTP/1.1 request that upstreams are to get (RFC 9113 8.2.3, 8.3.1).
 *
 * Touches: the client's request and response.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse, Http2Session, ServerHttp2Stream } from "node:http2";
import type { Readable } from "node:stream";

import { LIMITS } from "../../model/limits.ts";
import { reset } from "../../runtime/pump.ts";

import { announcesBody, valuesOf } from "./headers.ts";
import type { RequestHead } from "./refusal.ts";

/** A request as node:http or the compatible part of node:http2 gives it. */
export type ServerRequest = IncomingMessage | Http2ServerRequest;

/** Its response. */
export type ServerAnswer = ServerResponse | Http2ServerResponse;

/** The client's side of one exchange. */
export interface HttpClient {
  /** As received; of HTTP/2 in the terms of HTTP/1.1, with version `2.0`. */
  readonly head: RequestHead;
  /** The request's body; nothing has been read of it. */
  readonly body: Readable;
  readonly hasBody: boolean;
  /** The body's trailers, alternating names and values; complete once the body has ended. */
  readonly trailers: readonly string[];
  /** True once a final head was written. */
  readonly isHeadSent: boolean;
  /** True once `end` was called, or the client has gone. */
  readonly isOver: boolean;
  /** True once the whole answer was handed to the system. */
  readonly isFinished: boolean;

  /** Calls `start` when the answers before this one are out: at once but for a pipelined request. */
  onTurn(start: () => void): void;
  /** Calls `closed` once, when the answer is out or the client has gone. */
  onClose(closed: () => void): void;
  /** Calls `resume` whenever more may be written after `write` has returned false. */
  onDrain(resume: () => void): void;

  /** Lets a client that waits for it send its body: `100 Continue`. */
  inviteBody(): void;
  /** Passes an interim answer (102, 103) on; dropped where the client's version has none, or reads none. */
  inform(status: number, headers: readonly string[]): void;
  /**
   * Writes the head of the answer; it leaves with the first bytes of the body, or by `flushHead`.
   *
   * @param answer.headers  alternating names and values, none of which concerns one connection only
   * @param answer.closes   the connection takes no request after this one; means nothing to HTTP/2
   * @throws what node has against a status or header; nothing of it was written then, and another head may be
   */
  writeHead(answer: AnswerHead): void;
  flushHead(): void;
  /** Writes a part of the body; false when no more should come before `onDrain` is called. */
  write(chunk: Buffer | string): boolean;
  /** Ends the answer, with trailers where the client's version has them. */
  end(trailers?: readonly string[]): void;
  /** Ends it so that the client cannot take it for whole. */
  cut(): void;
  /** Ends an HTTP/1 client's connection in form once what was written is out. */
  closeConnection(): void;
}

/** The head of an answer. */
export interface AnswerHead {
  readonly status: number;
  /** The reason phrase; HTTP/2 has none. */
  readonly message: string;
  readonly headers: readonly string[];
  readonly closes: boolean;
}

/** True for one that came over HTTP/2; not told by its version, which over HTTP/1 is whatever the client writes. */
export function isHttp2(request: ServerRequest): request is Http2ServerRequest {
  return "stream" in request;
}

/** The client's side of a request, whichever version it came over. */
export function clientOf(request: ServerRequest, response: ServerAnswer): HttpClient {
  return isHttp2(request)
    ? new Http2Client(request, response as Http2ServerResponse)
    : new Http1Client(request, response as ServerResponse);
}

/** The head of a request over HTTP/1. */
export function headOf({ method = "", url = "", httpVersion, rawHeaders }: IncomingMessage): RequestHead {
  // Not `2.0`, which would pass for what HTTP/2 is here.
  const isKnown = httpVersion === "1.1" || httpVersion === "1.0";
  return { method, target: url, httpVersion: isKnown ? httpVersion : "unknown", rawHeaders };
}

class Http1Client implements HttpClient {
  readonly head: RequestHead;
  readonly hasBody: boolean;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #endsWithConnection = false;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    this.head = headOf(request);
    this.hasBody = announcesBody(request.rawHeaders);
    // A client that goes away is seen as the response closing; these only keep its errors from being nobody's.
    request.on("error", ignored);
    response.on("error", ignored);
  }

  get body(): Readable {
    return this.#request;
  }

  get trailers(): readonly string[] {
    return this.#request.rawTrailers;
  }

  get isHeadSent(): boolean {
    return this.#response.headersSent;
  }

  get isOver(): boolean {
    return this.#response.writableEnded || this.#response.destroyed;
  }

  get isFinished(): boolean {
    return this.#response.writableFinished;
  }

  onTurn(start: () => void): void {
    if (this.#response.socket === null) this.#response.once("socket", start);
    else start();
  }

  onClose(closed: () => void): void {
    this.#response.once("close", closed);
  }

  onDrain(resume: () => void): void {
    this.#response.on("drain", resume);
  }

  inviteBody(): void {
    this.#response.writeContinue();
  }

  inform(status: number, headers: readonly string[]): void {
    // By hand, as node:http writes no interim answers but its own kinds. Nothing of the answer is out by now, and the
    // connection is this answer's.
    if (this.head.httpVersion === "1.0" || this.isHeadSent || this.isOver) return;
    const { socket } = this.#response;
    if (socket === null || socket.writableLength > LIMITS.httpInterimWaitingBytes) return;
    socket.write(renderInterim(status, headers), "latin1");
  }

  writeHead({ status, message, headers, closes }: AnswerHead): void {
    this.#endsWithConnection =
      this.head.httpVersion === "1.0" && valuesOf(headers, "content-length").length === 0;
    this.#response.writeHead(status, message, closes ? [...headers, "Connection", "close"] : [...headers]);
  }

  flushHead(): void {
    if (!this.isOver) this.#response.flushHeaders();
  }

  write(chunk: Buffer | string): boolean {
    return this.#response.write(chunk);
  }

  end(trailers: readonly string[] = []): void {
    if (trailers.length > 0) this.#response.addTrailers(pairsOf(trailers));
    this.#response.end();
  }

  cut(): void {
    // Where only the connection's end frames the body, an end in form would make it whole.
    if (this.#endsWithConnection) reset(this.#request.socket);
    this.#response.destroy();
  }

  closeConnection(): void {
    this.#request.socket.end();
  }
}

class Http2Client implements HttpClient {
  readonly head: RequestHead;
  readonly hasBody: boolean;
  readonly #request: Http2ServerRequest;
  readonly #response: Http2ServerResponse;
  readonly #stream: ServerHttp2Stream;

  constructor(request: Http2ServerRequest, response: Http2ServerResponse) {
    this.#request = request;
    this.#response = response;
    this.#stream = request.stream;
    const { method, url, rawHeaders } = request;
    this.head = {
      method,
      target: url,
      httpVersion: "2.0",
      rawHeaders: plainHeaders(request.authority, rawHeaders),
    };
    this.hasBody = !request.stream.endAfterHeaders;
    request.on("error", ignored);
    response.on("error", ignored);
    request.stream.on("error", ignored);
  }

  get body(): Readable {
    return this.#request;
  }

  get trailers(): readonly string[] {
    return this.#request.rawTrailers;
  }

  get isHeadSent(): boolean {
    return this.#response.headersSent;
  }

  get isOver(): boolean {
    // Closed before it is destroyed: node writes nothing more from then on, and says so by throwing.
    return this.#response.writableEnded || this.#stream.closed || this.#stream.destroyed;
  }

  get isFinished(): boolean {
    return this.#response.finished && this.#stream.writableFinished;
  }

  onTurn(start: () => void): void {
    start();
  }

  onClose(closed: () => void): void {
    // Not the response's: it tells nothing when the client of a HEAD request leaves before there is an answer.
    this.#stream.once("close", closed);
  }

  onDrain(resume: () => void): void {
    this.#response.on("drain", resume);
  }

  inviteBody(): void {
    this.inform(100, []);
  }

  inform(status: number, headers: readonly string[]): void {
    if (this.isHeadSent || this.isOver || !mayInform(this.#stream.session, headers)) return;
    try {
      this.#stream.additionalHeaders({ ":status": status, ...recordOf(headers) });
    } catch {
      // An answer can do without; the final one is written by the same rules, and tells what is wrong.
    }
  }

  writeHead({ status, headers }: AnswerHead): void {
    if (this.isOver) return;
    // Not the response's own, which keeps what was refused: an answer in its place would be refused for it too.
    this.#stream.respond([":status", String(status), ...headers], { waitForTrailers: true });
  }

  flushHead(): void {
    // Its `writeHead` sends it.
  }

  write(chunk: Buffer | string): boolean {
    // Ended by its head alone where the status or the method has no body (RFC 9110 6.4.1).
    return this.isOver || this.#stream.writableEnded || this.#response.write(chunk);
  }

  end(trailers: readonly string[] = []): void {
    if (this.isOver) return;
    if (trailers.length > 0) this.#response.addTrailers(recordOf(trailers));
    this.#response.end();
  }

  cut(): void {
    // Not `destroy`, which says NO_ERROR, as after a whole answer.
    if (!this.#stream.destroyed) this.#stream.close(INTERNAL_ERROR);
  }

  closeConnection(): void {
    // Its session is not this request's to end: others are under way on it, and no bytes of this one are left to come.
  }
}

/** RFC 9113 7. */
const INTERNAL_ERROR = 2;

/** False when too much may wait for the client: its session tells of frames, so each counts as one of this size. */
function mayInform(session: Http2Session | undefined, headers: readonly string[]): boolean {
  if (session === undefined) return false;
  const waiting = (session.state.outboundQueueSize ?? 0) * headers.join("").length;
  return waiting <= LIMITS.httpInterimWaitingBytes;
}

function ignored(): void {
  // The `close` that follows every error does what must be done.
}

/**
 * The headers of an HTTP/2 request as HTTP/1.1 has them: Host from `:authority`, the cookies in one line, no
 * pseudo-headers. A Host that says otherwise stays beside it, and makes the request one to refuse.
 */
function plainHeaders(authority: string, rawHeaders: readonly string[]): readonly string[] {
  const plain: string[] = authority === "" ? [] : ["host", authority];
  const cookies: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    const value = rawHeaders[at + 1] ?? "";
    if (name.startsWith(":") || (name === "host" && value === authority)) continue;
    if (name === "cookie") cookies.push(value);
    else plain.push(name, value);
  }
  if (cookies.length > 0) plain.push("cookie", cookies.join("; "));
  return plain;
}

function recordOf(list: readonly string[]): Record<string, string | string[]> {
  const record: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = (list[at] ?? "").toLowerCase();
    const value = list[at + 1] ?? "";
    const known = record[name];
    if (known === undefined) record[name] = value;
    else record[name] = [...(typeof known === "string" ? [known] : known), value];
  }
  return record;
}

function renderInterim(status: number, headers: readonly string[]): string {
  const lines = [`HTTP/1.1 ${status} ${status === 103 ? "Early Hints" : "Processing"}`];
  for (const [name, value] of pairsOf(headers)) lines.push(`${name}: ${value}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Alternating names and values as pairs. */
export function pairsOf(list: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < list.length; at += 2) pairs.push([list[at] ?? "", list[at + 1] ?? ""]);
  return pairs;
}
