// Record: what the access log is told of a request.

import assert from "node:assert/strict";
import { test } from "node:test";

import { entryOf, UNTRIED, type RequestFacts } from "../../../src/proxy/http/record.ts";

import { upstream } from "../fixtures.ts";

const FACTS: RequestFacts = {
  head: { method: "GET", target: "/x?q", httpVersion: "1.1", rawHeaders: ["Host", "app", "Referer", "r"] },
  startedAtMs: 1000,
  requestId: "id",
  client: "203.0.113.9",
  proto: "https",
};

test("entryOf: durations count from the request's head", () => {
  const course = { ...UNTRIED, service: "default/web", status: 200, result: "ok", endedAtMs: 1500 } as const;
  const entry = entryOf("http", FACTS, { ...course, upstream: upstream("a", 1), answeredAtMs: 1100 });
  assert.equal(entry.durationMs, 500);
  assert.equal(entry.http?.firstByteMs, 100);
  assert.deepEqual([entry.replica, entry.node], ["a", "host-1"]);
  assert.deepEqual([entry.http.host, entry.http.referer, entry.http.userAgent], ["app", "r", ""]);
});

test("entryOf: a request that nobody was asked for has no replica and no first byte", () => {
  const entry = entryOf("websocket", FACTS, { ...UNTRIED, status: 404, result: "no route", endedAtMs: 1000 });
  assert.deepEqual(
    [entry.service, entry.replica, entry.node, entry.http?.firstByteMs],
    [null, null, null, null],
  );
});
