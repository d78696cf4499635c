// Answers: what the proxy says when no upstream does.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../../src/base/random.ts";
import { newRequestId, renderAnswer } from "../../../src/proxy/http/answers.ts";

const ANSWER = { status: 503, reason: "no replica of default/web is available", requestId: "abc" };

test("renderAnswer: one line of text that names the reason and the request", () => {
  const { headers, body } = renderAnswer(ANSWER, "*/*");
  assert.equal(body, "503 Service Unavailable: no replica of default/web is available (request abc)\n");
  assert.equal(headers[headers.indexOf("Content-Length") + 1], String(body.length));
  assert.equal(headers[headers.indexOf("X-Request-Id") + 1], "abc");
  assert.ok(headers.includes("Retry-After"));
});

test("renderAnswer: a problem object for those who ask for JSON, text for browsers that also take it", () => {
  const { headers, body } = renderAnswer(ANSWER, "application/json");
  assert.ok(headers.includes("application/problem+json"));
  assert.deepEqual(JSON.parse(body), {
    title: "Service Unavailable",
    status: 503,
    detail: ANSWER.reason,
    requestId: "abc",
  });
  assert.match(renderAnswer(ANSWER, "text/html,application/json").body, /^503 /);
});

test("newRequestId: twelve letters, different each time", () => {
  const random = seededRandom(1);
  const ids = new Set(Array.from({ length: 1000 }, () => newRequestId(random)));
  assert.equal(ids.size, 1000);
  for (const id of ids) assert.match(id, /^[0-9a-z]{12}$/);
});
