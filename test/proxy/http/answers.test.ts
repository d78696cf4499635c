// Answers: what the proxy says when no upstream does.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { failureAnswer, renderAnswer } from "../../../src/proxy/http/answers.ts";
import type { AttemptEnd } from "../../../src/proxy/choice/retry.ts";
import type { Pool } from "../../../src/proxy/routes.ts";

import { pool, upstream } from "../fixtures.ts";

const ANSWER = { status: 503, reason: "no replica of default/web is available", requestId: "abc" };

test("renderAnswer: one line of text that names the reason and the request", () => {
  const { headers, body } = renderAnswer(ANSWER, "*/*");
  assert.equal(body, "503 Service Unavailable: no replica of default/web is available (request abc)\n");
  assert.equal(headers[headers.indexOf("Content-Length") + 1], String(body.length));
  assert.equal(headers[headers.indexOf("X-Request-Id") + 1], "abc");
  assert.ok(headers.includes("Retry-After"));
});

test("renderAnswer: a problem object for those who ask for JSON", () => {
  const { headers, body } = renderAnswer(ANSWER, "application/json");
  assert.ok(headers.includes("application/problem+json"));
  assert.deepEqual(JSON.parse(body), {
    title: "Service Unavailable",
    status: 503,
    detail: ANSWER.reason,
    requestId: "abc",
  });
});

test("renderAnswer: the form of the highest weight, text where several have it", () => {
  const typeOf = (accept: string): string => {
    const { headers } = renderAnswer(ANSWER, accept);
    return (headers[headers.indexOf("Content-Type") + 1] ?? "").replace(/;.*$/, "");
  };
  assert.equal(typeOf("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), "text/html");
  assert.equal(typeOf("application/json;q=0.9, text/plain;q=0.1"), "application/problem+json");
  assert.equal(typeOf("application/problem+json"), "application/problem+json");
  assert.equal(typeOf("application/json, text/plain, */*"), "text/plain");
  assert.equal(typeOf("text/plain;q=0, text/html"), "text/html");
  for (const accept of ["", "*/*", "text/*", "image/png", ";;q=x,,"])
    assert.equal(typeOf(accept), "text/plain");
});

test("renderAnswer: a page has the reason as text, whatever it holds", () => {
  const { headers, body } = renderAnswer({ ...ANSWER, reason: '<script>"&' }, "text/html");
  assert.match(
    body,
    /<h1>503 Service Unavailable<\/h1><p>&#60;script&#62;&#34;&#38;<\/p><p>Request abc<\/p>/,
  );
  assert.equal(headers[headers.indexOf("Content-Length") + 1], String(Buffer.byteLength(body)));
});

test("failureAnswer: tells apart what helps differently", () => {
  const here = [upstream("a", 1)];
  const late = new Failure("timeout", "late");
  const told = (failure: unknown, tried: number, to: Pool, end: AttemptEnd = "died"): string => {
    const { status, reason } = failureAnswer({ failure, end, tried }, to);
    return `${status} ${reason}`;
  };
  assert.match(told(null, 0, pool()), /^503 .*: it has none that can be reached$/);
  assert.match(told(null, 0, { ...pool(), resting: here }), /^503 .*starting, of weight 0 or on a host/);
  assert.match(told(new Error("x"), 2, pool(here)), /^502 .* gave an answer \(2 were asked\)$/);
  assert.match(told(late, 1, pool(here)), /^504 .* answered in time \(one was asked\)$/);
  assert.match(told(new Error("x"), 1, pool([], [], here)), /none of them is healthy/);
  const busy = new Failure("busy", "full");
  assert.match(told(busy, 1, pool(here), "connect"), /^503 no connection .* could be had \(one was asked\)$/);
  assert.match(told(new Error("x"), 1, pool(here), "unsendable"), /^400 the request cannot be sent on$/);
});
