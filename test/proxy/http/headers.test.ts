// Headers: what passes, what is refused, and who says who the client is.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  announcesBody,
  clientHeaders,
  refusalOf,
  upgradeFields,
  upstreamFields,
  type ClientFacts,
  type RequestHead,
} from "../../../src/proxy/http/headers.ts";

const STRANGER: ClientFacts = { address: "203.0.113.9", isTrusted: false, proto: "http" };
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
  const fields = upstreamFields(head(rawHeaders, { method }), client);
  return new Map([...fields].map(([name, values]) => [name.toLowerCase(), values.join(" | ")]));
}

test("refusalOf: a plain request is taken, with a body of either framing", () => {
  assert.equal(refusalOf(head([])), null);
  assert.equal(refusalOf(head(["Content-Length", "5"], { method: "POST" })), null);
  assert.equal(refusalOf(head(["Transfer-Encoding", "Chunked"], { method: "DELETE" })), null);
  assert.equal(refusalOf(head([], { method: "OPTIONS", target: "*" })), null);
  assert.equal(refusalOf({ method: "GET", target: "/", httpVersion: "1.0", rawHeaders: [] }), null);
});

test("refusalOf: heads with two readings are refused", () => {
  const cases: readonly [RequestHead, number][] = [
    [head(["Content-Length", "5", "Transfer-Encoding", "chunked"]), 400],
    [head(["Content-Length", "5", "content-length", "5"]), 400],
    [head(["Content-Length", "5, 5"]), 400],
    [head(["Content-Length", "+5"]), 400],
    [head(["Transfer-Encoding", "gzip, chunked"]), 501],
    [head(["Transfer-Encoding", "chunked", "Transfer-Encoding", "identity"]), 501],
    [head(["Transfer-Encoding", "chunked"], { httpVersion: "1.0" }), 400],
    [head(["Host", "other"]), 400],
    [{ method: "GET", target: "/", httpVersion: "1.1", rawHeaders: [] }, 400],
    [head([], { target: "http://app/" }), 400],
    [head([], { target: "app:443", method: "CONNECT" }), 501],
    [head([], { target: "*" }), 400],
    [{ ...head([]), rawHeaders: ["Host", "app/evil"] }, 400],
    [{ ...head([]), rawHeaders: ["Host", "user@app"] }, 400],
    [{ ...head([]), rawHeaders: ["Host", "a b"] }, 400],
  ];
  for (const [request, status] of cases) {
    assert.equal(refusalOf(request)?.status, status, JSON.stringify(request));
  }
});

test("refusalOf: hosts with ports, addresses, underscores and a closing dot are hosts", () => {
  for (const host of ["app:8080", "127.0.0.1", "[::1]:80", "my_stack_web", "app.example.com.", "app:"]) {
    assert.equal(refusalOf({ ...head([]), rawHeaders: ["Host", host] }), null, host);
  }
});

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
      TE: trailers
      Upgrade: h2c
      X-Mine: 1
      Proxy-Authorization: Basic eA==
      X-Kept: yes
      connection: X-Second
      X-Second: 2
      Trailer: X-Sum
      Expect: 100-continue`),
  );
  const own = ["forwarded", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
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
  const fields = upstreamFields(head(["X-Thing", "1", "x-thing", "2", "Cookie", "a=1"]), STRANGER);
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
      x-forwarded_proto: https
      Forwarded: for=6.6.6.6`),
  );
  assert.deepEqual(Object.fromEntries(fields), {
    host: "app",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "app",
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
