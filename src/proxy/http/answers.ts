/**
 * Answers: what a client reads when the proxy itself has to answer.
 *
 * A person at a terminal gets one line, a program that asks for JSON gets a problem object (RFC 9457). Both name the
 * reason and an id that the log line of the same failure carries too. They tell nothing about addresses inside.
 *
 * Pure.
 */

import { below, type Random } from "../../base/random.ts";

/** A failure as told to a client. */
export interface ErrorAnswer {
  readonly status: number;
  /** Lower case, for people: `no replica of default/web is available`. */
  readonly reason: string;
  readonly requestId: string;
}

/** A rendered answer: headers as alternating names and values. */
export interface RenderedAnswer {
  readonly headers: string[];
  readonly body: string;
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  404: "Not Found",
  408: "Request Timeout",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** The reason phrase of a status that the proxy answers itself. */
export function titleOf(status: number): string {
  return TITLES[status] ?? "Error";
}

/**
 * Renders an answer in the form the client prefers.
 *
 * @param accept  the Accept header's value; JSON is sent only where it is named and text is not
 */
export function renderAnswer(answer: ErrorAnswer, accept: string): RenderedAnswer {
  const isJson = /\bjson\b/i.test(accept) && !/\btext\/(?:plain|html|\*)/i.test(accept);
  const { status, reason, requestId } = answer;
  const body = isJson
    ? `${JSON.stringify({ title: titleOf(status), status, detail: reason, requestId })}\n`
    : `${status} ${titleOf(status)}: ${reason} (request ${requestId})\n`;
  const headers = [
    "Content-Type",
    isJson ? "application/problem+json" : "text/plain; charset=utf-8",
    "Content-Length",
    String(Buffer.byteLength(body)),
    "Cache-Control",
    "no-store",
    "X-Request-Id",
    requestId,
  ];
  if (status === 503) headers.push("Retry-After", "1");
  return { headers, body };
}

const ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz";

/** A request id: twelve letters that are not mistaken for each other; for finding a log line, not for secrecy. */
export function newRequestId(random: Random): string {
  return Array.from({ length: 12 }, () => ID_LETTERS.charAt(below(random, ID_LETTERS.length))).join("");
}
