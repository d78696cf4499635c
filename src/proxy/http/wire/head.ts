/**
 * Head: reads the head of an HTTP/1.1 answer, and the trailers behind its body.
 *
 * As strict as node:http is by default (RFC 9112): lines end in CRLF and nothing else, names are tokens with a colon
 * right behind them, nothing is folded, no control character stands anywhere. What has a second reading is refused, so
 * that nobody behind us can have it.
 *
 * One pass over the text, by tables: this is done for each request.
 *
 * Pure.
 */

/** The head of an answer. */
export interface AnswerHead {
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minor: number;
  readonly status: number;
  /** The reason phrase, as given; empty without one. */
  readonly message: string;
  /** Alternating names and values, as given, in latin1. */
  readonly rawHeaders: readonly string[];
}

const TOKEN = 1;
const TEXT = 2;
const SPACE = 32;
const TAB = 9;
const COLON = 58;
const RETURN = 13;
const FEED = 10;
const CR_LF = "\r\n";

/** What each byte may be: part of a name (RFC 9110 5.6.2), of a value or reason phrase (5.5). */
const KINDS = kindsOfBytes();

function kindsOfBytes(): Uint8Array {
  const kinds = new Uint8Array(256);
  for (let code = SPACE; code < 256; code += 1) if (code !== 127) kinds[code] = TEXT;
  kinds[TAB] = TEXT;
  for (const letter of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    kinds[letter.charCodeAt(0)] = TEXT | TOKEN;
  return kinds;
}

function isOf(text: string, at: number, kind: number): boolean {
  return ((KINDS[text.charCodeAt(at)] ?? 0) & kind) !== 0;
}

const START = /^HTTP\/1\.[01] [1-9]\d\d(?: |$)/;

/**
 * Reads a head.
 *
 * @param text  latin1, without the empty line that ends it
 * @returns the head, or what is wrong with it
 */
export function readAnswerHead(text: string): AnswerHead | string {
  const found = text.indexOf(CR_LF);
  const lineEnd = found === -1 ? text.length : found;
  const line = text.slice(0, lineEnd);
  if (!START.test(line)) return "the answer does not begin with a status line of HTTP/1.1";
  for (let at = 13; at < lineEnd; at += 1)
    if (!isOf(text, at, TEXT)) return "the reason phrase has a control character";
  const fields = readFields(text, lineEnd + CR_LF.length);
  if (typeof fields === "string") return fields;
  const minor = text.charCodeAt(7) - 48;
  return { minor, status: Number(line.slice(9, 12)), message: line.slice(13), rawHeaders: fields };
}

/**
 * Reads header or trailer fields.
 *
 * @param from  where the first begins
 * @returns alternating names and values, or what is wrong
 */
export function readFields(text: string, from: number): string[] | string {
  const fields: string[] = [];
  const end = text.length;
  let at = from;
  while (at < end) {
    const nameAt = at;
    while (at < end && isOf(text, at, TOKEN)) at += 1;
    if (at === nameAt || text.charCodeAt(at) !== COLON)
      return "a header has no name, or one that is no token";
    const name = text.slice(nameAt, at);
    at += 1;
    while (isBlank(text.charCodeAt(at))) at += 1;
    const valueAt = at;
    while (at < end && isOf(text, at, TEXT)) at += 1;
    let valueEnd = at;
    while (valueEnd > valueAt && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd -= 1;
    fields.push(name, text.slice(valueAt, valueEnd));
    if (at === end) break;
    if (text.charCodeAt(at) !== RETURN || text.charCodeAt(at + 1) !== FEED)
      return "a header has a control character, or a line end that is not CRLF";
    at += CR_LF.length;
  }
  return fields;
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}
