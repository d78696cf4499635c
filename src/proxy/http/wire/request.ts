/**
 * Request: the bytes of a request to an upstream.
 *
 * The head is one string, so that it leaves in one write. Every part of it came from a client, so all of it is looked
 * at once more when it is put together: a line end in a value would be a header of the client's making, or a request.
 *
 * Pure.
 */

import type { HeaderFields } from "../headers.ts";

import { isLength } from "./framing.ts";

/** A request's head, and how its body is framed. */
export interface RenderedHead {
  /** Latin1, with the empty line that ends it. */
  readonly text: string;
  readonly isChunked: boolean;
  /** Bytes that the body is to have when it is not chunked. */
  readonly bodyBytes: number;
}

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9112 3.2 allows less; what else may pass is decided before. */
const TARGET = /^[\x21-\x7e\x80-\xff]+$/;
const NAME = METHOD;
const RETURN = 13;
const FEED = 10;
const TEXT_MAX = 255;

/** A head in parts. */
export interface RequestParts {
  readonly method: string;
  readonly target: string;
  readonly fields: HeaderFields;
}

/**
 * Renders a head. One that says nothing of its connection asks for it to be kept.
 *
 * @param hostElse  gives the Host of a head that has none, as a request of HTTP/1.0 may
 * @returns the head, or which part of it cannot be sent
 */
export function renderRequest(
  { method, target, fields }: RequestParts,
  hostElse: () => string,
): RenderedHead | string {
  if (!METHOD.test(method)) return "the method is no token";
  if (!TARGET.test(target)) return "the target has a blank or a control character";
  let text = `${method} ${target} HTTP/1.1\r\n`;
  let lines = 2;
  let hasHost = false;
  let saysConnection = false;
  let isChunked = false;
  let bodyBytes = 0;
  for (const [name, values] of fields) {
    if (!NAME.test(name)) return `header ${JSON.stringify(name)} has no name that is a token`;
    for (const value of values) {
      text += `${name}: ${value}\r\n`;
      lines += 1;
    }
    const { length } = name;
    if (length !== 4 && length !== 10 && length !== 14 && length !== 17) continue;
    const lower = name.toLowerCase();
    if (lower === "host") hasHost = true;
    if (lower === "connection") saysConnection = true;
    if (lower === "transfer-encoding") isChunked = true;
    if (lower !== "content-length") continue;
    const [value = "", ...others] = values;
    if (others.length > 0 || !isLength(value)) return "Content-Length is not a length";
    bodyBytes = Number(value);
  }
  if (!hasHost) {
    text += `Host: ${hostElse()}\r\n`;
    lines += 1;
  }
  if (!saysConnection) {
    text += "Connection: keep-alive\r\n";
    lines += 1;
  }
  text += "\r\n";
  return hasLines(text, lines) ? { text, isChunked, bodyBytes } : "a header has a control character";
}

/** True when it has so many lines, all of them ours, and nothing that latin1 has not or that ends a string early. */
function hasLines(text: string, lines: number): boolean {
  let returns = 0;
  let feeds = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === RETURN) returns += 1;
    else if (code === FEED) feeds += 1;
    else if (code === 0 || code > TEXT_MAX) return false;
  }
  return returns === lines && feeds === lines;
}

/** What ends a body of unknown length. Trailers that cannot be written are left out: they are extras by definition. */
export function renderLastChunk(trailers: readonly (readonly [string, string])[]): string {
  let text = "0\r\n";
  for (const [name, value] of trailers)
    // oxlint-disable-next-line no-control-regex -- these are what it looks for
    if (NAME.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)) text += `${name}: ${value}\r\n`;
  return `${text}\r\n`;
}
