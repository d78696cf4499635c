// Hostile HTTP/1.1 requests: what request smuggling has been made of, in all its mixtures, and damage to all of that.
//
// Each is text that stands for bytes (latin1). Most are one small step away from a good request: what is wrong in every
// line is refused by everybody, and says nothing about who reads a doubtful line how.

import { below, pick, type Random } from "../../src/base/random.ts";

import { mutated } from "./mutate.ts";

/** What follows the requests of a case: whoever still reads along answers it and closes. */
export const LAST_TARGET = "/last";
export const LAST_REQUEST = Buffer.from(
  `GET ${LAST_TARGET} HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n`,
);

const METHODS = ["GET", "GET", "POST", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"];
const ODD_METHODS = ["TRACE", "CONNECT", "get", "PRI", "X-Y", "GET\t", "P OST", "PURGE", "\r\nGET"];
const ODD_TARGETS = [
  "*",
  "http://host/absolute",
  "http://other/absolute",
  "HTTPS://host/absolute",
  "host:80",
  "//double",
  "/a/../b",
  "/%2e%2e/x",
  "/%00",
  "/a#fragment",
  "/a\\b",
  "/a b",
  "/\x80\xff",
  "/a\tb",
  "?query",
  "",
];
const ODD_VERSIONS = [
  "HTTP/1.0",
  "HTTP/1.0",
  "HTTP/1.2",
  "HTTP/2.0",
  "HTTP/0.9",
  "http/1.1",
  "HTTP/1.1 ",
  "HTTP/01.1",
  "HTTP/1.1\t",
  "ICE/1.0",
];
const ODD_HOSTS = [
  "",
  "Host:",
  "Host: a\r\nHost: b",
  "Host: host\r\nHost: host",
  "host : host",
  " Host: host",
  "Host: a b",
  "Host: user@host",
  "Host: host/path",
  "Host: [::1]:80",
  "Host: host,other",
];
/** Lines that say how long the body is, wrongly or doubtfully; N stands for its true length. */
const ODD_LENGTHS = [
  "Content-Length: +N",
  "Content-Length: -N",
  "Content-Length: 0xN",
  "Content-Length: 00N",
  "Content-Length: N, N",
  "Content-Length: N\r\nContent-Length: N",
  "Content-Length: N\r\nContent-Length: 0",
  "Content-Length: 0\r\nContent-Length: N",
  "Content-Length : N",
  " Content-Length: N",
  "Content-Length:N",
  "Content-Length:\tN\t",
  "Content-Length: N ",
  "Content-Length: \x0bN",
  "Content-Length: N;",
  "Content-Length: N.0",
  'Content-Length: "N"',
  "Content-Length:",
  "Content-Length: N\r\n ",
  "Content-Length:\r\n N",
  "Content_Length: N",
  "Content-Length\x00: N",
  "Content-Length: 18446744073709551616",
  "Content-Length: 4294967296",
  "X: y\rContent-Length: N",
  "X: y\nContent-Length: N",
];
const ODD_CODINGS = [
  "Transfer-Encoding: Chunked",
  "Transfer-Encoding: chunked, chunked",
  "Transfer-Encoding: identity",
  "Transfer-Encoding: identity, chunked",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding: x-chunked",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding:chunked",
  "Transfer-Encoding:\tchunked",
  "Transfer-Encoding: \x0bchunked",
  "Transfer-Encoding: chunked\x0b",
  "Transfer-Encoding: chunked ",
  "Transfer-Encoding:\r\n chunked",
  "Transfer-Encoding: chunked\r\n ,identity",
  " Transfer-Encoding: chunked",
  "Transfer_Encoding: chunked",
  "Transfer-Encoding\x00: chunked",
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding: chunked;q=1",
  "Transfer-Encoding: chunked,",
  "Transfer-Encoding: ,chunked",
  "Transfer-Encoding:",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
  "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
  "X: y\rTransfer-Encoding: chunked",
  "X: y\nTransfer-Encoding: chunked",
  "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
];
const WEBSOCKET = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
const ODD_LINES = [
  "X-Canary: a\r\n b",
  "X-Canary: a\r\n\tb",
  "X-Canary : a",
  "X-Canary",
  ": a",
  "X-Canary: a\x00b",
  "X-Canary: a\rb",
  "X-Can\x00ary: a",
  "X-Canary: \xff\x80",
  "X_Canary: a",
  "X-Canary: a\nX-Second: b",
  "Connection: close",
  "Connection: keep-alive, x-canary\r\nX-Canary: a",
  "Connection: content-length, host",
  `Connection: Upgrade\r\nUpgrade: websocket\r\n${WEBSOCKET}`,
  "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
  "Expect: 100-continue",
  "Expect: 200-ok",
  "TE: trailers, chunked",
  "Trailer: Content-Length",
  "Keep-Alive: timeout=5",
  "Proxy-Connection: keep-alive",
  "X-HTTP-Method-Override: PUT",
  `X-Long: ${"y".repeat(3000)}`,
];
const ODD_SIZES = [
  "0xN",
  "+N",
  "-N",
  " N",
  "N ",
  "0000N",
  "N;ext",
  "N;ext=1",
  'N;ext="a;b"',
  'N;ext="\r\n0\r\n\r\n"',
  "N;\next",
  "N;ext\rmore",
  "N\t",
  "Ng",
  "",
  "FFFFFFFFFFFFFFFFN",
  "1000000000000000N",
  "N\x00",
];
const ODD_ENDS = [
  "0\r\n",
  "0\n\n",
  "00\r\n\r\n",
  "0;x\r\n\r\n",
  "0\r\nX-Trailer: t\r\n\r\n",
  "0\r\n \r\n\r\n",
];
const ODD_TRAILERS = [
  "0\r\nContent-Length: 5\r\n\r\n",
  "0\r\nTransfer-Encoding: chunked\r\n\r\n",
  "0\r\nHost: other\r\n\r\n",
];
const ODD_LINE_ENDS = ["\n", "\r", "\r\r\n", "\n\r", "\r\n\r\n", " \r\n", "\0\r\n"];

/** Bodies that read as requests to whoever takes the body for the next one. */
const BODIES = [
  "",
  "hello",
  "0\r\n\r\n",
  "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n",
  "GET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n",
  "5\r\nhello\r\n0\r\n\r\n",
  "GET /smuggled HTTP/1.1\r\nHost: smuggled\r\nX-Rest: ",
];

/** How often something odd is chosen where it could be. */
const ODD_SHARE = 0.04;

/** The bytes of one case. */
export function hostileRequests(random: Random): Buffer {
  const count = 1 + below(random, 3);
  const texts = Array.from({ length: count }, (_, index) => requestText(random, `/${index}`));
  const bytes = Buffer.from(texts.join(""), "latin1");
  const other = Buffer.from(requestText(random, "/other"), "latin1");
  const damaged = random() < 0.3 ? Buffer.from(mutated(bytes, other, random)) : bytes;
  return Buffer.concat([damaged, LAST_REQUEST]);
}

function isOdd(random: Random): boolean {
  return random() < ODD_SHARE;
}

function oddly(random: Random, usual: string, odd: readonly string[]): string {
  return isOdd(random) ? (pick(random, odd) ?? usual) : usual;
}

function requestText(random: Random, path: string): string {
  const body = pick(random, BODIES) ?? "";
  const method = oddly(random, pick(random, METHODS) ?? "GET", ODD_METHODS);
  const first = `${method} ${oddly(random, path, ODD_TARGETS)} ${oddly(random, "HTTP/1.1", ODD_VERSIONS)}`;
  const framed = framing(random, body);
  const lines = [first, oddly(random, "Host: host", ODD_HOSTS), ...framed.lines];
  if (isOdd(random) || isOdd(random)) lines.splice(1 + below(random, 3), 0, pick(random, ODD_LINES) ?? "");
  const text = lines
    .filter((line) => line !== "")
    .map((line) => line + (random() < 0.01 ? (pick(random, ODD_LINE_ENDS) ?? "") : "\r\n"))
    .join("");
  return text + oddly(random, "\r\n", random() < 0.5 ? ["\n"] : ["\r\n"]) + framed.body;
}

function framing(random: Random, body: string): { readonly lines: readonly string[]; readonly body: string } {
  const length = (line: string): string => line.replaceAll("N", String(body.length));
  const lengthLine = length(oddly(random, "Content-Length: N", ODD_LENGTHS));
  const codingLine = oddly(random, "Transfer-Encoding: chunked", ODD_CODINGS);
  const way = random();
  if (way < 0.2) return { lines: [], body: body === "" || !isOdd(random) ? "" : body };
  if (way < 0.5) return { lines: [lengthLine], body };
  if (way < 0.95) return { lines: [codingLine], body: chunked(random, body) };
  const both = random() < 0.5 ? [lengthLine, codingLine] : [codingLine, lengthLine];
  return { lines: both, body: random() < 0.5 ? body : chunked(random, body) };
}

function chunked(random: Random, body: string): string {
  const parts: string[] = [];
  for (let at = 0; at < body.length;) {
    const part = body.slice(at, at + 1 + below(random, body.length));
    at += part.length;
    const size = oddly(random, "N", ODD_SIZES).replaceAll("N", part.length.toString(16));
    parts.push(`${size}${oddly(random, "\r\n", ["\n", "\r", "\r\n "])}${part}`);
    parts.push(oddly(random, "\r\n", ["", "\n", "\r", "xx", "\r\n\r\n"]));
  }
  const odd = random() < 0.5 ? ODD_ENDS : ODD_TRAILERS;
  return parts.join("") + oddly(random, "0\r\n\r\n", odd);
}
