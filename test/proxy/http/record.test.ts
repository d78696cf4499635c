// Record: what the access log is told of a request.

import assert from "node:assert/strict";
import { STATUS_CODES } from "node:http";
import { test } from "node:test";

import {
  codeLabel,
  entryOf,
  isTold,
  tell,
  UNTRIED,
  type RequestFacts,
} from "../../../src/proxy/http/record.ts";

import { declineRequest, recordRequest } from "../../../src/proxy/trace/span.ts";
import { upstream } from "../fixtures.ts";

const FACTS: RequestFacts = {
  head: { method: "GET", target: "/x?q", httpVersion: "1.1", rawHeaders: ["Host", "app", "Referer", "r"] },
  startedAtMs: 1000,
  requestId: "id",
  client: "203.0.113.9",
  proto: "https",
  trace: null,
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

test("codeLabel: statuses that are registered are told as they are, all others by their class", () => {
  const labels = new Set(Array.from({ length: 900 }, (_, at) => codeLabel(100 + at)));
  for (const status of Object.keys(STATUS_CODES).filter((code) => !["418", "509", "510"].includes(code)))
    assert.ok(labels.has(status), status);
  assert.deepEqual([codeLabel(418), codeLabel(599), codeLabel(999)], ["4xx", "5xx", "9xx"]);
  assert.ok(labels.size < 80, "an application that sends any status makes no more series than that");
});

test("tell: the access log and the trace hear of a request, each only where it wants to", () => {
  const told: string[] = [];
  const access = (isOn: boolean) => ({ access: { isOn, append: () => void told.push("log") } });
  const context = { traceId: "1".repeat(32), parentId: "2".repeat(16), flags: 1 };
  const finish = (): void => void told.push("trace");
  const recorded = recordRequest({ context, newSpanId: () => "3".repeat(16), finish });
  const entry = entryOf("http", FACTS, { ...UNTRIED, status: 200, result: "ok", endedAtMs: 1000 });
  for (const isOn of [false, true]) {
    for (const trace of [null, declineRequest(context)]) {
      assert.equal(isTold(access(isOn), { ...FACTS, trace }), isOn);
      tell(access(isOn), entry, { ...FACTS, trace });
    }
    assert.equal(isTold(access(isOn), { ...FACTS, trace: recorded }), true);
  }
  tell(access(false), entry, { ...FACTS, trace: recorded });
  assert.deepEqual(told, ["log", "log", "trace"]);
});
