// OTLP: spans as a collector reads them, by the names that OpenTelemetry gives things.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../../src/model/limits.ts";
import { renderBatch, renderSpans } from "../../../src/proxy/trace/otlp.ts";
import type { AttemptSpan, RequestSpan } from "../../../src/proxy/trace/span.ts";
import { upstream } from "../fixtures.ts";
import { entries, entry, FACTS } from "../access/entries.ts";

import type { Batch, Span } from "./collector.ts";

const RESOURCE = { version: "1.2.3", nodeId: "n", nodeName: "host-1" };

function attempt(changes: Partial<AttemptSpan> = {}): AttemptSpan {
  const spanId = "3".repeat(16);
  return {
    spanId,
    upstream: upstream("a", 8080),
    startedAtMs: 1000.5,
    status: 200,
    error: null,
    endedAtMs: null,
    ...changes,
  };
}

function span(changes: Partial<RequestSpan> = {}): RequestSpan {
  const ids = { traceId: "1".repeat(32), parentId: null, spanId: "2".repeat(16), flags: 1 };
  return { ...ids, attempts: [attempt()], entry: entry({ startedAtMs: 1000, durationMs: 2 }), ...changes };
}

function rendered(one: RequestSpan, offsetMs = 0): readonly Span[] {
  const batch = JSON.parse(renderBatch(renderSpans(one, offsetMs), RESOURCE)) as Batch;
  return batch.resourceSpans[0]?.scopeSpans[0]?.spans ?? [];
}

const told = (one: Span | undefined, key: string): string | undefined => {
  const value = one?.attributes.find((attribute) => attribute.key === key)?.value;
  return value?.stringValue ?? value?.intValue;
};

test("otlp: a request is a server span, and its attempt a client span below it", () => {
  const [server, client, ...others] = rendered(span({ parentId: "9".repeat(16) }), 500);
  assert.equal(others.length, 0);
  assert.deepEqual([server?.name, server?.kind, client?.name, client?.kind], ["GET", 2, "GET", 3]);
  assert.deepEqual([server?.parentSpanId, client?.parentSpanId], ["9".repeat(16), "2".repeat(16)]);
  assert.deepEqual([server?.startTimeUnixNano, server?.endTimeUnixNano], ["1500000000", "1502000000"]);
  assert.deepEqual([client?.startTimeUnixNano, client?.endTimeUnixNano], ["1500500000", "1502000000"]);
  assert.deepEqual([server?.status, client?.status], [undefined, undefined]);
});

test("otlp: attributes are those of the semantic conventions, without the query", () => {
  const http = { ...FACTS, host: "app.example.com:8443" };
  const [server, client] = rendered(span({ entry: entry({ http }) }));
  const expected: Readonly<Record<string, string>> = {
    "http.request.method": "GET",
    "url.scheme": "https",
    "url.path": "/shop/cart",
    "server.address": "app.example.com",
    "server.port": "8443",
    "client.address": "192.0.2.7",
    "network.protocol.version": "1.1",
    "user_agent.original": "curl/8.5.0",
    "http.response.status_code": "200",
    "skein.service": "default/web",
  };
  for (const [key, value] of Object.entries(expected)) assert.equal(told(server, key), value, key);
  assert.equal(told(client, "url.full"), "http://127.0.0.1:8080/shop/cart");
  assert.deepEqual([told(client, "skein.replica"), told(client, "skein.node")], ["a", "host-1"]);
  assert.doesNotMatch(JSON.stringify([server, client]), /secret|private/);
});

test("otlp: a retry has its number, and each failure its type", () => {
  const attempts = [
    attempt({ error: "connect", status: 0, endedAtMs: 1001 }),
    attempt({ status: 503 }),
    attempt({ status: 0 }),
  ];
  const failed = span({ attempts, entry: entry({ result: "no answer", http: { ...FACTS, status: 504 } }) });
  const [server, first, second, third] = rendered(failed);
  assert.deepEqual([told(server, "error.type"), server?.status?.code], ["504", 2]);
  assert.deepEqual(
    [first, second, third].map((one) => [
      told(one, "error.type"),
      told(one, "http.request.resend_count"),
      one?.status?.code,
    ]),
    [
      ["connect", undefined, 2],
      ["503", "1", 2],
      ["no answer", "2", 2],
    ],
  );
});

test("otlp: refusals of an application and clients that leave are no fault of the server, cut answers are", () => {
  const faultOf = (result: string, status: number): [string | undefined, number | undefined] => {
    const [server] = rendered(span({ entry: entry({ result, http: { ...FACTS, status } }) }));
    return [told(server, "error.type"), server?.status?.code];
  };
  assert.deepEqual(faultOf("ok", 404), [undefined, undefined]);
  assert.deepEqual(faultOf("client left", 0), ["client left", undefined]);
  assert.deepEqual(faultOf("upstream died", 200), ["upstream died", 2]);
});

test("otlp: a method that nobody knows makes no name of its own", () => {
  const [server] = rendered(span({ entry: entry({ http: { ...FACTS, method: "FROB" } }) }));
  assert.deepEqual(
    [server?.name, told(server, "http.request.method"), told(server, "http.request.method_original")],
    ["HTTP", "_OTHER", "FROB"],
  );
});

test("otlp: whatever a client sends, spans are JSON of a bounded size, and times do not run backwards", () => {
  fc.assert(
    fc.property(entries, (one) => {
      const spans = renderSpans(span({ entry: one }), 0);
      for (const text of spans) assert.ok(text.length < 60 * LIMITS.accessFieldChars, String(text.length));
      for (const { startTimeUnixNano, endTimeUnixNano } of rendered(span({ entry: one })))
        assert.ok(BigInt(endTimeUnixNano) >= BigInt(startTimeUnixNano));
    }),
  );
});
