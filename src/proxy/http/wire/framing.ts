/**
 * Framing: where the body of an answer ends, and whether its connection may carry another (RFC 9112 6.3, 9.3).
 *
 * An answer whose end can be read in two ways is refused: a proxy that reads one of them passes on half an answer, or
 * takes the rest for the answer to somebody else. So a length is given once and in digits, a coding is chunked and
 * nothing else, and never both.
 *
 * Pure.
 */

import type { AnswerHead } from "./head.ts";

/** How a body is told from what follows. */
export interface Framing {
  readonly kind: "none" | "sized" | "chunked" | "until-close";
  /** Of a sized one. */
  readonly bytes: number;
  /** True when the connection may carry another request after this answer. */
  readonly keeps: boolean;
  /** For how long the upstream says it keeps the connection, in milliseconds; Infinity when it does not say. */
  readonly keepsMs: number;
}

/** What the deciding lines of a head say. */
interface Said {
  length: string | null;
  coding: string | null;
  isRepeated: boolean;
  closes: boolean;
  keepsAlive: boolean;
  keepsMs: number;
}

/** The longest length that a number holds exactly has 16 digits. */
const LENGTH = /^\d{1,15}$/;

/** True for a Content-Length that is taken, of a request as of an answer: what one part takes the next can send. */
export function isLength(value: string): boolean {
  return LENGTH.test(value);
}

/**
 * Decides the framing of a final answer.
 *
 * @param isHead  for the answer to a HEAD request
 * @returns the framing, or what is wrong with it
 */
export function framingOf(head: AnswerHead, isHead: boolean): Framing | string {
  const said = sayingsOf(head.rawHeaders);
  const { length, coding } = said;
  if (said.isRepeated) return "the answer gives its length or its coding more than once";
  if (length !== null && coding !== null) return "the answer gives both a length and a coding";
  if (length !== null && !isLength(length)) return "the answer's Content-Length is not a length";
  if (coding !== null && coding.toLowerCase() !== "chunked") return "the answer's coding is not chunked";
  const isKept = head.minor === 1 ? !said.closes : said.keepsAlive && !said.closes;
  const { keepsMs } = said;
  const bytes = length === null ? 0 : Number(length);
  if (isHead || head.status === 304) return { kind: "none", bytes: 0, keeps: isKept, keepsMs };
  // No body whatever it says; if it says so, some may follow all the same.
  if (head.status === 204)
    return { kind: "none", bytes: 0, keeps: isKept && coding === null && bytes === 0, keepsMs };
  // HTTP/1.0 has no chunks (RFC 9112 6.1): read as they are meant, but nothing after them.
  if (coding !== null) return { kind: "chunked", bytes: 0, keeps: isKept && head.minor === 1, keepsMs };
  if (length === null) return { kind: "until-close", bytes: 0, keeps: false, keepsMs };
  return { kind: bytes === 0 ? "none" : "sized", bytes, keeps: isKept, keepsMs };
}

/** True for trailers that say how the body was framed (RFC 9110 6.5.1): what it was is known by now. */
export function framesTrailers(rawTrailers: readonly string[]): boolean {
  const { length, coding } = sayingsOf(rawTrailers);
  return length !== null || coding !== null;
}

/** True for an interim answer that says how a body is framed, or that none follows: it would be no interim one. */
export function framesInterim({ rawHeaders }: AnswerHead): boolean {
  const { length, coding, closes } = sayingsOf(rawHeaders);
  return length !== null || coding !== null || closes;
}

function sayingsOf(rawHeaders: readonly string[]): Said {
  const said: Said = {
    length: null,
    coding: null,
    isRepeated: false,
    closes: false,
    keepsAlive: false,
    keepsMs: Infinity,
  };
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    // Most names need no look at their letters.
    if (name.length !== 14 && name.length !== 17 && name.length !== 10) continue;
    hear(said, name.toLowerCase(), rawHeaders[at + 1] ?? "");
  }
  return said;
}

function hear(said: Said, name: string, value: string): void {
  switch (name) {
    case "content-length":
      if (said.length !== null) said.isRepeated = true;
      said.length = value;
      break;
    case "transfer-encoding":
      if (said.coding !== null) said.isRepeated = true;
      said.coding = value;
      break;
    case "connection":
      for (const option of value.toLowerCase().split(",")) {
        if (option.trim() === "close") said.closes = true;
        if (option.trim() === "keep-alive") said.keepsAlive = true;
      }
      break;
    case "keep-alive": {
      const [, seconds] = /(?:^|[,\s])timeout\s*=\s*"?(\d{1,9})/i.exec(value) ?? [];
      if (seconds !== undefined) said.keepsMs = Number(seconds) * 1000;
      break;
    }
    default:
  }
}
