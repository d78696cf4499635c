/**
 * Refusal: which request heads are not taken, and what the others ask for.
 *
 * Two programs that read one message differently are how requests are smuggled (RFC 9112 11.2), so a head with two
 * meanings is refused, not repaired: lengths beside codings, several lengths, several hosts, a target that names
 * another host than Host does. A target in absolute form is taken when both agree, as a server must (RFC 9112 3.2.2),
 * and goes on in origin form: no upstream has to choose between the two.
 *
 * Nobody tunnels through here, and nobody has headers reflected: CONNECT and TRACE are refused.
 *
 * Pure. Heads are lists of alternating names and values, as node:http gives them.
 */

import { LIMITS } from "../../model/limits.ts";

import { isLength } from "./wire/framing.ts";

/** A request's head as it was received. */
export interface RequestHead {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  /** `1.0`, `1.1` or `2.0`; anything else is refused. */
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
}

/** A refusal, ready to be answered. */
export interface HeadRefusal {
  readonly kind: "refused";
  readonly status: number;
  readonly reason: string;
}

/** What a good head asks for. */
export interface Asked {
  readonly kind: "asked";
  /** In origin form, or `*`. */
  readonly target: string;
  /** The Host header's value; empty where HTTP/1.0 has none. */
  readonly host: string;
}

/** The answer to an Expect header that nobody knows (RFC 9110 10.1.1). */
export const EXPECT_REFUSAL: HeadRefusal = refused(417, "only 100-continue may be expected");

const HOST = /^(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/;

const VERSIONS: ReadonlySet<string> = new Set(["1.0", "1.1", "2.0"]);

/** RFC 9110 5.6.2. */
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;

const VISIBLE = /^[\x21-\x7e\x80-\xff]+$/;

// oxlint-disable-next-line no-control-regex -- these are what it looks for
const UNPRINTABLE = /[^\t\x20-\x7e\x80-\xff]/;

const ABSOLUTE = /^https?:\/\/([^/?#]*)([^#]*)$/i;

/** Times that our own name may stand in Via: a service may call another through us, a loop does so for ever. */
const VISITS_MAX = 8;

/**
 * Reads a request's head.
 *
 * @param pseudonym  our own in Via (RFC 9110 7.6.3); a request that has passed us too often goes in circles
 */
export function readHead(head: RequestHead, pseudonym: string): Asked | HeadRefusal {
  const { method, target } = head;
  if (method === "CONNECT") return refused(501, "CONNECT is not offered here");
  if (method === "TRACE") return refused(501, "TRACE is not offered here");
  if (!VERSIONS.has(head.httpVersion)) return refused(505, "the HTTP version is not offered here");
  if (target.length > LIMITS.httpTargetBytes) {
    return refused(414, `the request target is over ${LIMITS.httpTargetBytes} bytes`);
  }
  // What node:http would refuse to write later, when an upstream has been chosen that could be blamed for it; and over
  // HTTP/2 a line end in a target would be the start of another request (RFC 9113 10.3).
  if (!METHOD.test(method) || !VISIBLE.test(target)) return refused(400, "the request line is malformed");
  if (head.rawHeaders.some((text) => UNPRINTABLE.test(text))) {
    return refused(400, "a header has a control character");
  }
  const lines = gather(head.rawHeaders, pseudonym);
  const asked = readTarget(head, lines);
  if (asked.kind === "refused") return asked;
  return framingRefusal(head, lines) ?? (lines.visits > VISITS_MAX ? LOOP_REFUSAL : asked);
}

/** RFC 5842 7.2: a server went round in circles. */
const LOOP_REFUSAL: HeadRefusal = refused(508, "the request goes in circles: it has passed here before");

/** The lines of a head that decide. */
interface DecidingLines {
  host: string | null;
  hosts: number;
  length: string | null;
  lengths: number;
  coding: string | null;
  codings: number;
  /** Times that it has passed us. */
  visits: number;
}

function gather(rawHeaders: readonly string[], pseudonym: string): DecidingLines {
  const blank = { host: null, hosts: 0, length: null, lengths: 0, coding: null, codings: 0, visits: 0 };
  const lines: DecidingLines = blank;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const value = rawHeaders[at + 1] ?? "";
    switch ((rawHeaders[at] ?? "").toLowerCase()) {
      case "host":
        lines.host ??= value;
        lines.hosts += 1;
        break;
      case "content-length":
        lines.length = value;
        lines.lengths += 1;
        break;
      case "transfer-encoding":
        lines.coding = value;
        lines.codings += 1;
        break;
      case "via":
        lines.visits += visitsIn(value, pseudonym);
        break;
      default:
    }
  }
  return lines;
}

function visitsIn(via: string, pseudonym: string): number {
  return via.split(",").filter((hop) => hop.trim().split(/\s+/)[1] === pseudonym).length;
}

function readTarget({ method, target, httpVersion }: RequestHead, lines: DecidingLines): Asked | HeadRefusal {
  if (lines.hosts > 1) return refused(400, "several Host headers are given");
  if (lines.host === null && httpVersion !== "1.0") return refused(400, "the Host header is missing");
  const host = lines.host ?? "";
  if (host !== "" && !HOST.test(host)) return refused(400, "the Host header is not a host");
  if (target.startsWith("/") || (target === "*" && method === "OPTIONS")) {
    return { kind: "asked", target, host };
  }
  const absolute = ABSOLUTE.exec(target);
  if (absolute === null) return refused(400, "the request target must start with a slash");
  const [, authority = "", rest = ""] = absolute;
  if (host === "" || authority.toLowerCase() !== host.toLowerCase()) {
    return refused(400, "the request target names another host than the Host header");
  }
  // RFC 9112 3.2.4: OPTIONS without a path asks about the server.
  if (rest === "" && method === "OPTIONS") return { kind: "asked", target: "*", host };
  return { kind: "asked", target: rest.startsWith("/") ? rest : `/${rest}`, host };
}

function framingRefusal({ httpVersion }: RequestHead, lines: DecidingLines): HeadRefusal | null {
  const { length, lengths, coding, codings } = lines;
  if (lengths > 0 && codings > 0) {
    return refused(400, "both Content-Length and Transfer-Encoding are given");
  }
  if (lengths > 1 || (length !== null && !isLength(length))) {
    return refused(400, "Content-Length must be given once, in at most 15 digits");
  }
  if (coding === null) return null;
  if (httpVersion === "1.0") return refused(400, "HTTP/1.0 has no Transfer-Encoding");
  const isChunked = codings === 1 && coding.toLowerCase() === "chunked";
  return isChunked ? null : refused(501, "Transfer-Encoding must be chunked, once");
}

function refused(status: number, reason: string): HeadRefusal {
  return { kind: "refused", status, reason };
}
