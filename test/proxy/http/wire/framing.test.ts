// Framing: one end for each body, or none is believed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { framesInterim, framesTrailers, framingOf } from "../../../../src/proxy/http/wire/framing.ts";
import type { AnswerHead } from "../../../../src/proxy/http/wire/head.ts";

function head(lines: readonly string[], changes: Partial<AnswerHead> = {}): AnswerHead {
  const rawHeaders = lines.flatMap((line) => line.split(": "));
  return { minor: 1, status: 200, message: "OK", rawHeaders, ...changes };
}

/** The kind, with the length of a sized one, and `keeps` where the connection may be used again. */
function framing(answer: AnswerHead, isHead = false): string {
  const found = framingOf(answer, isHead);
  if (typeof found === "string") return "refused";
  const size = found.kind === "sized" ? ` ${found.bytes}` : "";
  return `${found.kind}${size}${found.keeps ? " keeps" : ""}`;
}

test("framingOf: a length, chunks, or the connection's end", () => {
  assert.equal(framing(head(["Content-Length: 5"])), "sized 5 keeps");
  assert.equal(framing(head(["content-length: 0"])), "none keeps");
  assert.equal(framing(head(["Transfer-Encoding: Chunked"])), "chunked keeps");
  assert.equal(framing(head([])), "until-close");
});

test("framingOf: answers to HEAD, 204 and 304 have no body whatever they say", () => {
  assert.equal(framing(head(["Content-Length: 5"]), true), "none keeps");
  assert.equal(framing(head(["Transfer-Encoding: chunked"]), true), "none keeps");
  assert.equal(framing(head(["Content-Length: 5"], { status: 304 })), "none keeps");
  assert.equal(framing(head([], { status: 204 })), "none keeps");
});

test("framingOf: after a 204 that announces a body the connection is not trusted", () => {
  assert.equal(framing(head(["Content-Length: 5"], { status: 204 })), "none");
  assert.equal(framing(head(["Transfer-Encoding: chunked"], { status: 204 })), "none");
});

test("framingOf: refuses two lengths, a length that is none, a length beside a coding, an unknown coding", () => {
  for (const lines of [
    ["Content-Length: 5", "Content-Length: 5"],
    ["Content-Length: 5, 5"],
    ["Content-Length: +5"],
    ["Content-Length: -5"],
    ["Content-Length: 0x5"],
    ["Content-Length: "],
    ["Content-Length: 9999999999999999"],
    ["Content-Length: 5", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: gzip, chunked"],
    ["Transfer-Encoding: identity"],
    ["Transfer-Encoding: "],
  ]) {
    assert.equal(framing(head(lines)), "refused", lines.join());
    assert.equal(framing(head(lines), true), "refused", lines.join());
  }
});

test("framingOf: HTTP/1.1 keeps the connection unless told, HTTP/1.0 only when told", () => {
  const sized = "Content-Length: 1";
  assert.equal(framing(head([sized, "Connection: x, Close"])), "sized 1");
  assert.equal(framing(head([sized], { minor: 0 })), "sized 1");
  assert.equal(framing(head([sized, "Connection: Keep-Alive"], { minor: 0 })), "sized 1 keeps");
  assert.equal(framing(head([sized, "Connection: keep-alive, close"], { minor: 0 })), "sized 1");
  // Which has no chunks.
  const chunked = ["Transfer-Encoding: chunked", "Connection: keep-alive"];
  assert.equal(framing(head(chunked, { minor: 0 })), "chunked");
});

test("framingOf: tells how long the upstream says that it keeps the connection", () => {
  const keepsMs = (value: string): number | undefined => {
    const found = framingOf(head([`Keep-Alive: ${value}`]), false);
    return typeof found === "string" ? undefined : found.keepsMs;
  };
  assert.equal(keepsMs("timeout=5, max=100"), 5000);
  assert.equal(keepsMs("max=100, TIMEOUT=2"), 2000);
  assert.equal(keepsMs("timeout=0"), 0);
  assert.equal(keepsMs("max=100"), Infinity);
});

test("framesInterim, framesTrailers: true for what speaks of a body where none can be", () => {
  for (const line of ["Content-Length: 0", "transfer-encoding: chunked"]) {
    assert.equal(framesInterim(head([line], { status: 103 })), true);
    assert.equal(framesTrailers(line.split(": ")), true);
  }
  assert.equal(framesInterim(head(["Connection: close"], { status: 103 })), true);
  assert.equal(framesInterim(head(["Link: </a>"], { status: 103 })), false);
  assert.equal(framesTrailers(["X-Sum", "1"]), false);
});
