// Headers: what passes, what is refused, and who says who the client is.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  announcesBody,
  answerHeaders,
  clientHeaders,
  upgradeFields,
  upstreamFields,
  endToEndTrailers,
  hopsOf,
  toldClient,
  type ClientFacts,
} from "../../../src/proxy/http/headers.ts";
import type { RequestHead } from "../../../src/proxy/http/refusal.ts";

const STRANGER: ClientFacts = {
  address: "203.0.113.9",
  port: 8080,
  isTrusted: false,
  proto: "http",
  pseudonym: "skein-aaaaaaaa",
  requestId: "r1",
};
const TRUSTED: ClientFacts = { ...STRANGER, address: "10.0.0.2", isTrusted: true };

function head(rawHeaders: readonly string[], changes: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    target: "/",
    httpVersion: "1.1",
    rawHeaders: ["Host", "app", ...rawHeaders],
    ...changes,
  };
}

/** Header lines as node:http lists them. */
function raw(lines: string): readonly string[] {
  return lines.split("\n").flatMap((line) => line.trim().split(": "));
}

function sent(rawHeaders: readonly string[], client = STRANGER, method = "GET"): ReadonlyMap<string, string> {
  const fields = upstreamFields(head(rawHeaders, { method }), client, announcesBody(rawHeaders));
  return new Map([...fields].map(([name, values]) => [name.toLowerCase(), values.join(" | ")]));
}

test("announcesBody: a length above zero, or a transfer coding", () => {
  assert.equal(announcesBody(["Host", "app"]), false);
  assert.equal(announcesBody(["Content-Length", "0"]), false);
  assert.equal(announcesBody(["content-length", "1"]), true);
  assert.equal(announcesBody(["Transfer-Encoding", "chunked"]), true);
});

test("upstreamFields: what concerns one connection only, or is listed as such, stops here", () => {
  const fields = sent(
    raw(`Connection: keep-alive, X-Mine
      Keep-Alive: timeout=5
      Proxy-Connection: close
      TE: gzip
      Upgrade: h2c
      X-Mine: 1
      Proxy-Authorization: Basic eA==
      X-Kept: yes
      connection: X-Second
      X-Second: 2
      Trailer: X-Sum
      Expect: 100-continue`),
  );
  const own = ["forwarded", "host", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port"];
  own.push("x-forwarded-proto", "x-request-id");
  assert.deepEqual([...fields.keys()].toSorted(), [...own, "x-kept"].toSorted());
});

test("upstreamFields: a client cannot have Host, framing or its address taken away by listing them", () => {
  const listed = "host, content-length, x-forwarded-for, forwarded";
  const fields = sent(["Connection", listed, "Content-Length", "3"], STRANGER, "POST");
  assert.equal(fields.get("host"), "app");
  assert.equal(fields.get("content-length"), "3");
  assert.equal(fields.get("x-forwarded-for"), "203.0.113.9");
});

test("upstreamFields: names keep their spelling, repeated lines their order", () => {
  const fields = upstreamFields(head(["X-Thing", "1", "x-thing", "2", "Cookie", "a=1"]), STRANGER, false);
  assert.deepEqual(fields.get("X-Thing"), ["1", "2"]);
  assert.deepEqual(fields.get("Cookie"), ["a=1"]);
});

test("upstreamFields: a body of unknown length is framed as chunked whatever the method", () => {
  const fields = sent(["Transfer-Encoding", "chunked"], STRANGER, "DELETE");
  assert.equal(fields.get("transfer-encoding"), "chunked");
  assert.equal(fields.has("content-length"), false);
});

test("upstreamFields: DELETE and OPTIONS without a body say so; one with a length keeps it", () => {
  assert.equal(sent([], STRANGER, "DELETE").get("content-length"), "0");
  assert.equal(sent([], STRANGER, "OPTIONS").get("content-length"), "0");
  assert.equal(sent(["Content-Length", "7"], STRANGER, "DELETE").get("content-length"), "7");
  assert.equal(sent([], STRANGER, "GET").has("content-length"), false);
});

test("upstreamFields: a stranger's word about the client is dropped in every spelling for ours", () => {
  const fields = sent(
    raw(`X-Forwarded-For: 6.6.6.6
      x-forwarded-for: 7.7.7.7
      X-Forwarded-Proto: https
      X-Forwarded-Host: evil
      X-Forwarded-Port: 1
      X-Forwarded-Prefix: /x
      X-Real-IP: 6.6.6.6
      X_Forwarded_For: 6.6.6.6
      X-Forwarded: for=6.6.6.6
      X_Request_Id: theirs
      x-forwarded_proto: https
      Forwarded: for=6.6.6.6`),
  );
  assert.deepEqual(Object.fromEntries(fields), {
    host: "app",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "app",
    "x-forwarded-port": "8080",
    via: "1.1 skein-aaaaaaaa",
    "x-request-id": "r1",
    forwarded: 'for=203.0.113.9;host="app";proto=http',
  });
});

test("upstreamFields: a trusted proxy's word is kept, and its own address added", () => {
  const fields = sent(
    raw(`X-Forwarded-For: 203.0.113.9
      X-Forwarded-For: 10.0.0.1
      X-Forwarded-Proto: https
      X-Forwarded-Host: www
      X-Forwarded-Port: 443
      Forwarded: for=203.0.113.9`),
    TRUSTED,
  );
  assert.equal(fields.get("x-forwarded-for"), "203.0.113.9, 10.0.0.1, 10.0.0.2");
  assert.equal(fields.get("x-forwarded-proto"), "https");
  assert.equal(fields.get("x-forwarded-host"), "www");
  assert.equal(fields.get("x-forwarded-port"), "443");
  assert.equal(fields.get("forwarded"), 'for=203.0.113.9, for=10.0.0.2;host="app";proto=http');
});

test("upstreamFields: an IPv6 client is quoted in Forwarded (RFC 7239 6)", () => {
  const fields = sent([], { ...STRANGER, address: "2001:db8::1" });
  assert.equal(fields.get("forwarded"), 'for="[2001:db8::1]";host="app";proto=http');
  assert.equal(fields.get("x-forwarded-for"), "2001:db8::1");
});

test("upgradeFields: asks for WebSocket, and passes the handshake's own headers", () => {
  const fields = upgradeFields(
    head(["Connection", "keep-alive, Upgrade", "Upgrade", "WebSocket", "Sec-WebSocket-Key", "abc"]),
    STRANGER,
  );
  assert.deepEqual(fields.get("Connection"), ["Upgrade"]);
  assert.deepEqual(fields.get("Upgrade"), ["websocket"]);
  assert.deepEqual(fields.get("Sec-WebSocket-Key"), ["abc"]);
});

test("clientHeaders: an answer's hop-by-hop and listed headers stop here, the rest passes as it came", () => {
  const raw = [
    "Connection",
    "close, X-Hop",
    "X-Hop",
    "1",
    "Keep-Alive",
    "timeout=1",
    "Set-Cookie",
    "a",
    "set-cookie",
    "b",
  ];
  assert.deepEqual(clientHeaders(raw), ["Set-Cookie", "a", "set-cookie", "b"]);
});

test("upstreamFields: for any head, no hop-by-hop or listed name passes, and every other one does", () => {
  const names = [
    "Accept",
    "X-A",
    "x-b",
    "Connection",
    "TE",
    "Keep-Alive",
    "Upgrade",
    "Cookie",
    "X-Forwarded-For",
  ];
  const line = fc.tuple(fc.constantFrom(...names), fc.constantFrom("1", "x-b", "X-A, cookie", "close"));
  const hop = new Set(["connection", "te", "keep-alive", "upgrade"]);
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
      const fields = sent(lines.flat());
      const listed = lines
        .filter(([name]) => name === "Connection")
        .flatMap(([, value]) => value.toLowerCase().split(", "));
      for (const [name] of lines) {
        const lower = name.toLowerCase();
        const passes = !hop.has(lower) && (!listed.includes(lower) || lower === "x-forwarded-for");
        assert.equal(fields.has(lower), passes, `${name} of ${JSON.stringify(lines)}`);
      }
      assert.equal(fields.get("x-forwarded-for"), STRANGER.address);
    }),
  );
});

test("upstreamFields: Via names every hop, X-Request-Id the request", () => {
  const fields = sent(raw("Via: 1.0 front\nVia: 1.1 other\nX-Request-Id: theirs"));
  assert.equal(fields.get("via"), "1.0 front, 1.1 other, 1.1 skein-aaaaaaaa");
  assert.equal(fields.get("x-request-id"), "r1");
});

test("upstreamFields: a client that takes trailers is said to, and TE is of this hop", () => {
  const fields = sent(raw("TE: gzip;q=0.5, trailers\nConnection: TE"));
  assert.equal(fields.get("te"), "trailers");
  assert.equal(fields.get("connection"), "keep-alive, TE");
  assert.equal(sent(["TE", "gzip"]).has("te"), false);
});

test("upstreamFields: trailers are announced where the body is chunked, nowhere else", () => {
  const chunked = sent(["Transfer-Encoding", "chunked", "Trailer", "X-Sum"], STRANGER, "POST");
  assert.equal(chunked.get("trailer"), "X-Sum");
  assert.equal(sent(["Content-Length", "3", "Trailer", "X-Sum"], STRANGER, "POST").has("trailer"), false);
});

test("upstreamFields: an HTTP/2 body of unknown length is chunked", () => {
  const fields = upstreamFields(head([], { method: "POST", httpVersion: "2.0" }), STRANGER, true);
  assert.deepEqual(fields.get("transfer-encoding"), ["chunked"]);
  assert.deepEqual(fields.get("Via"), ["2.0 skein-aaaaaaaa"]);
});

test("upstreamFields: OPTIONS goes as many hops as it says, one less each time", () => {
  assert.equal(sent(["Max-Forwards", "3"], STRANGER, "OPTIONS").get("max-forwards"), "2");
  assert.equal(sent(["Max-Forwards", "3"], STRANGER, "GET").get("max-forwards"), "3");
  assert.equal(hopsOf("OPTIONS", "0"), 0);
  assert.equal(hopsOf("OPTIONS", "many"), null);
});

test("endToEndTrailers: what frames, authenticates or tells of the client is no trailer", () => {
  const trailers = ["X-Sum", "1", "Content-Length", "3", "Authorization", "x", "X-Forwarded-For", "6.6.6.6"];
  const told = ["X-Request-Id", "theirs", "x_request_id", "theirs", "X-Forwarded", "for=6.6.6.6"];
  assert.deepEqual(
    endToEndTrailers([...trailers, ...told, "Transfer-Encoding", "chunked", "grpc-status", "0"]),
    ["X-Sum", "1", "grpc-status", "0"],
  );
});

test("toldClient: the last in a trusted chain that is no trusted proxy itself", () => {
  const isTrusted = (address: string): boolean => address.startsWith("10.");
  const chain = ["X-Forwarded-For", "6.6.6.6, 203.0.113.9", "x-forwarded-for", "10.0.0.1"];
  assert.equal(toldClient(chain, "10.0.0.2", isTrusted), "203.0.113.9");
  assert.equal(toldClient(chain, "203.0.113.1", isTrusted), "203.0.113.1");
  assert.equal(toldClient(["X-Forwarded-For", "10.0.0.1"], "10.0.0.2", isTrusted), "10.0.0.1");
  assert.equal(toldClient(["X-Forwarded-For", "unknown\n"], "10.0.0.2", isTrusted), "10.0.0.2");
});

test("answerHeaders: names of trailers pass where the client gets chunks, and no length where there is no body", () => {
  const chunked = ["Trailer", "x-sum", "Transfer-Encoding", "chunked", "X-A", "1"];
  const to = (httpVersion: string, method = "GET"): { httpVersion: string; method: string } => ({
    httpVersion,
    method,
  });
  const named = ["X-A", "1", "Trailer", "x-sum"];
  assert.deepEqual(answerHeaders(to("1.1"), 200, chunked), named);
  assert.deepEqual(answerHeaders(to("2.0"), 200, chunked), named);
  assert.deepEqual(answerHeaders(to("1.0"), 200, chunked), ["X-A", "1"]);
  assert.deepEqual(answerHeaders(to("1.1", "HEAD"), 200, chunked), ["X-A", "1"]);
  for (const status of [204, 304]) assert.deepEqual(answerHeaders(to("1.1"), status, chunked), ["X-A", "1"]);
  const sized = ["content-length", "2", "X-A", "1"];
  assert.deepEqual(answerHeaders(to("1.1"), 204, sized), ["X-A", "1"]);
  assert.deepEqual(answerHeaders(to("2.0"), 205, sized), ["X-A", "1"]);
  for (const status of [200, 205, 304]) assert.deepEqual(answerHeaders(to("1.1"), status, sized), sized);
});
