// Tracing: whose traces are recorded, and what goes upstream, told over a real proxy.

import assert from "node:assert/strict";
import type { IncomingHttpHeaders } from "node:http";
import { test, type TestContext } from "node:test";

import { seededRandom } from "../../../src/base/random.ts";
import type { RequestSpan } from "../../../src/proxy/trace/span.ts";
import { NO_TRACING, openTracing, type Sample, type Tracing } from "../../../src/proxy/trace/tracing.ts";
import { openIds } from "../../../src/proxy/trace/exporter.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";
import { ask, Client, httpReplica, pool, rawReplica, serveOne, upstream } from "../fixtures.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const SAMPLED = `00-${TRACE}-${SPAN}-01`;
const NOT_SAMPLED = `00-${TRACE}-${SPAN}-00`;
const IN_ORDER = { random: () => 0 };
const SWITCHED = "Upgrade: websocket\r\nConnection: Upgrade";

function tracing(sample: Sample, random = () => 0.5): { tracing: Tracing; spans: RequestSpan[] } {
  const spans: RequestSpan[] = [];
  const opened = openTracing({ sample, random, newId: openIds(), finish: (span) => void spans.push(span) });
  return { tracing: opened, spans };
}

/** A proxy with one replica that tells which heads it got. */
async function served(t: TestContext, given: Tracing) {
  const heads: IncomingHttpHeaders[] = [];
  const replica = await httpReplica(t, (request, response) => {
    heads.push(request.headers);
    response.end("ok");
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]), { tracing: given });
  return { heads, port };
}

test("tracing: off, traceparent and tracestate pass as they came, good or bad, and none is made", async (t) => {
  const { heads, port } = await served(t, NO_TRACING);
  await ask(port, { headers: { traceparent: "what is this", tracestate: "a=1" } });
  await ask(port, { headers: { traceparent: SAMPLED } });
  await ask(port);
  assert.deepEqual(
    heads.map(({ traceparent, tracestate }) => [traceparent, tracestate]),
    [
      ["what is this", "a=1"],
      [SAMPLED, undefined],
      [undefined, undefined],
    ],
  );
});

test("tracing: a trace that the caller records goes on with the attempt as parent, tracestate untouched", async (t) => {
  const { tracing: given, spans } = tracing("parent");
  const { heads, port } = await served(t, given);
  await ask(port, { headers: { traceparent: SAMPLED, tracestate: "a=1,b=2" }, path: "/x?secret=1" });
  await until(() => spans.length === 1);
  const [span] = spans;
  const attempt = span?.attempts[0];
  assert.equal(heads[0]?.["traceparent"], `00-${TRACE}-${attempt?.spanId}-01`);
  assert.equal(heads[0]?.["tracestate"], "a=1,b=2");
  assert.deepEqual([span?.traceId, span?.parentId, span?.attempts.length], [TRACE, SPAN, 1]);
  assert.deepEqual([attempt?.status, attempt?.error, attempt?.upstream.replica], [200, null, "a"]);
  assert.equal(span?.entry.result, "ok");
});

test("tracing: a trace that the caller does not record passes untouched, whatever the share", async (t) => {
  const { tracing: given, spans } = tracing(1);
  const { heads, port } = await served(t, given);
  await ask(port, { headers: { traceparent: NOT_SAMPLED, tracestate: "a=1" } });
  assert.deepEqual([heads[0]?.["traceparent"], heads[0]?.["tracestate"]], [NOT_SAMPLED, "a=1"]);
  assert.equal(spans.length, 0);
});

test("tracing: by parent, a request without a trace gets none", async (t) => {
  const { tracing: given, spans } = tracing("parent");
  const { heads, port } = await served(t, given);
  await ask(port);
  assert.equal(heads[0]?.["traceparent"], undefined);
  assert.equal(spans.length, 0);
});

test("tracing: a request with a bad trace begins one, and what was noted of the other is left out", async (t) => {
  const { tracing: given, spans } = tracing(1);
  const { heads, port } = await served(t, given);
  await ask(port, { headers: { traceparent: `00-${TRACE}-${"0".repeat(16)}-01`, tracestate: "a=1" } });
  await until(() => spans.length === 1);
  const [span] = spans;
  assert.notEqual(span?.traceId, TRACE);
  assert.equal(span?.parentId, null);
  assert.equal(heads[0]?.["traceparent"], `00-${span?.traceId}-${span?.attempts[0]?.spanId}-03`);
  assert.equal(heads[0]?.["tracestate"], undefined);
});

test("tracing: of requests without a trace the share is recorded, and the others say that they are not", async (t) => {
  const { tracing: given, spans } = tracing(0.5, seededRandom(3));
  const { heads, port } = await served(t, given);
  for (let count = 0; count < 40; count += 1) await ask(port);
  const recorded = heads.filter(({ traceparent }) => String(traceparent).endsWith("-03"));
  const declined = heads.filter(({ traceparent }) => String(traceparent).endsWith("-02"));
  await until(() => spans.length === recorded.length);
  assert.equal(recorded.length + declined.length, 40);
  assert.ok(recorded.length > 5 && declined.length > 5, `${recorded.length} of 40`);
  assert.equal(new Set(heads.map(({ traceparent }) => String(traceparent).slice(3, 35))).size, 40);
});

test("tracing: each attempt has a span of its own, and a retry says why it was made", async (t) => {
  const { tracing: given, spans } = tracing(1);
  const refuses = await closedPort();
  const dies = await rawReplica(t, (_head, socket) => void socket.destroy());
  const heads: string[] = [];
  const answers = await httpReplica(t, (request, response) => {
    heads.push(String(request.headers["traceparent"]));
    response.writeHead(503).end();
  });
  const upstreams = [upstream("a", refuses), upstream("b", dies), upstream("c", answers)];
  const { port } = await serveOne(t, "http", pool(upstreams), { tracing: given, ...IN_ORDER });
  assert.equal((await ask(port)).status, 503);
  await until(() => spans.length === 1);
  const [span] = spans;
  assert.deepEqual(
    span?.attempts.map(({ upstream: { replica }, error, status }) => [replica, error, status]),
    [
      ["a", "connect", 0],
      ["b", "died", 0],
      ["c", null, 503],
    ],
  );
  assert.equal(heads[0]?.slice(36, 52), span?.attempts[2]?.spanId);
  assert.equal(new Set(span?.attempts.map(({ spanId }) => spanId)).size, 3);
});

test("tracing: a request that nobody is asked for has a span without attempts", async (t) => {
  const { tracing: given, spans } = tracing(1);
  const { port } = await serveOne(t, "http", pool(), { tracing: given });
  assert.equal((await ask(port)).status, 503);
  await until(() => spans.length === 1);
  assert.deepEqual([spans[0]?.attempts.length, spans[0]?.entry.http?.status], [0, 503]);
});

test("tracing: a WebSocket's span is its handshake, and is told while the WebSocket lasts", async (t) => {
  const { tracing: given, spans } = tracing(1);
  const heads: string[] = [];
  const replica = await rawReplica(t, (head, socket) => {
    heads.push(head);
    const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\n${SWITCHED}\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]), { tracing: given });
  const client = new Client(t, port);
  const lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
  await client.ask(`GET / HTTP/1.1\r\nHost: a\r\n${[...lines, key].join("\r\n")}\r\n\r\n`, (text) =>
    text.includes("101"),
  );
  await until(() => spans.length === 1);
  assert.equal(client.closed, false);
  const [span] = spans;
  assert.deepEqual([span?.entry.kind, span?.attempts[0]?.status], ["websocket", 101]);
  assert.match(
    heads[0] ?? "",
    new RegExp(`traceparent: 00-${span?.traceId}-${span?.attempts[0]?.spanId}-03`, "i"),
  );
  client.socket.destroy();
});
