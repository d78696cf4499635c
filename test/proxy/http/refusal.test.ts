// Refusal: which heads are taken, which are refused, and what is asked for.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../../src/model/limits.ts";
import { readHead, type RequestHead } from "../../../src/proxy/http/refusal.ts";

const US = "skein-aaaaaaaa";

function head(rawHeaders: readonly string[], changes: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    target: "/",
    httpVersion: "1.1",
    rawHeaders: ["Host", "app", ...rawHeaders],
    ...changes,
  };
}

/** The status a head is refused with; null for one that is taken. */
function refusalOf(request: RequestHead): number | null {
  const asked = readHead(request, US);
  return asked.kind === "refused" ? asked.status : null;
}

test("readHead: a plain request is taken, with a body of either framing", () => {
  assert.equal(refusalOf(head([])), null);
  assert.equal(refusalOf(head(["Content-Length", "5"], { method: "POST" })), null);
  assert.equal(refusalOf(head(["Content-Length", "1".repeat(15)], { method: "POST" })), null);
  assert.equal(refusalOf(head(["Transfer-Encoding", "Chunked"], { method: "DELETE" })), null);
  assert.equal(refusalOf(head([], { method: "OPTIONS", target: "*" })), null);
  assert.equal(refusalOf({ method: "GET", target: "/", httpVersion: "1.0", rawHeaders: [] }), null);
});

test("readHead: heads with two readings are refused", () => {
  const cases: readonly [RequestHead, number][] = [
    [head(["Content-Length", "5", "Transfer-Encoding", "chunked"]), 400],
    [head(["Content-Length", "5", "content-length", "5"]), 400],
    [head(["Content-Length", "5, 5"]), 400],
    [head(["Content-Length", "+5"]), 400],
    [head(["Content-Length", "0".repeat(19)]), 400],
    [head(["Content-Length", "1".repeat(16)]), 400],
    [head(["Transfer-Encoding", "gzip, chunked"]), 501],
    [head(["Transfer-Encoding", "chunked", "Transfer-Encoding", "identity"]), 501],
    [head(["Transfer-Encoding", "chunked"], { httpVersion: "1.0" }), 400],
    [head(["Host", "other"]), 400],
    [{ method: "GET", target: "/", httpVersion: "1.1", rawHeaders: [] }, 400],
    [head([], { target: "http://other/" }), 400],
    [head([], { target: "http://user@app/" }), 400],
    [head([], { target: "http://app:80/" }), 400],
    [head([], { target: "ftp://app/" }), 400],
    [{ method: "GET", target: "http://app/", httpVersion: "1.0", rawHeaders: [] }, 400],
    [head([], { method: "TRACE" }), 501],
    [head([], { httpVersion: "unknown" }), 505],
    [head([], { target: "/\r\nX: 1" }), 400],
    [head([], { target: "/a b" }), 400],
    [head([], { method: "GET /x" }), 400],
    [head(["X", "a\x7fb"]), 400],
    [head(["X", "a\nb"]), 400],
    [head([], { target: `/${"x".repeat(LIMITS.httpTargetBytes)}` }), 414],
    [head([], { target: "app:443", method: "CONNECT" }), 501],
    [head([], { target: "*" }), 400],
    [{ ...head([]), rawHeaders: ["Host", "app/evil"] }, 400],
    [{ ...head([]), rawHeaders: ["Host", "user@app"] }, 400],
    [{ ...head([]), rawHeaders: ["Host", "a b"] }, 400],
  ];
  for (const [request, status] of cases) {
    assert.equal(refusalOf(request), status, JSON.stringify(request));
  }
});

test("readHead: hosts with ports, addresses, underscores and a closing dot are hosts", () => {
  for (const host of ["app:8080", "127.0.0.1", "[::1]:80", "my_stack_web", "app.example.com.", "app:"]) {
    assert.equal(refusalOf({ ...head([]), rawHeaders: ["Host", host] }), null, host);
  }
});

test("readHead: a target in absolute form goes on in origin form where it names the host that Host does", () => {
  const asked = (target: string, method = "GET"): unknown => {
    const read = readHead(head([], { target, method }), US);
    return read.kind === "asked" ? read.target : read.status;
  };
  assert.equal(asked("http://app/x?y#z"), 400);
  assert.equal(asked("http://APP/x?y"), "/x?y");
  assert.equal(asked("https://app"), "/");
  assert.equal(asked("http://app?q"), "/?q");
  assert.equal(asked("http://app", "OPTIONS"), "*");
});

test("readHead: a request that has passed us nine times goes in circles, one of others may pass", () => {
  const via = (count: number, name = US): string =>
    Array.from({ length: count }, () => `1.1 ${name}`).join(",");
  assert.equal(refusalOf(head(["Via", via(8)])), null);
  assert.equal(refusalOf(head(["Via", via(5), "via", via(4)])), 508);
  assert.equal(refusalOf(head(["Via", via(20, "skein-bbbbbbbb")])), null);
});

test("readHead: whatever a head says, it is refused or asks for a target in origin form of a host", () => {
  const lines = fc.array(
    fc.tuple(fc.constantFrom("Host", "Content-Length", "Transfer-Encoding", "Via", "X"), fc.string()),
    { maxLength: 5 },
  );
  const target = fc.oneof(fc.string(), fc.webUrl());
  fc.assert(
    fc.property(lines, target, fc.constantFrom("1.0", "1.1", "2.0"), (headers, text, httpVersion) => {
      const read = readHead({ method: "GET", target: text, httpVersion, rawHeaders: headers.flat() }, US);
      if (read.kind === "asked") assert.ok(read.target.startsWith("/"));
      else assert.ok(read.status >= 400 && read.status < 600);
    }),
  );
});
