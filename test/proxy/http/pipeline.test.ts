// Pipeline: what one connection may have waiting.

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "../../support/wait.ts";

import { Client, httpReplica, pool, serveOne, upstream } from "../fixtures.ts";

test("pipeline: a connection whose waiting requests have too much in their heads ends", async (t) => {
  const held: (() => void)[] = [];
  const replica = await httpReplica(t, (request, response) => {
    if (request.url === "/first") held.push(() => response.end("x"));
    else response.end("x");
  });
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const first = "GET /first HTTP/1.1\r\nHost: app\r\n\r\n";
  const request = `GET / HTTP/1.1\r\nHost: app\r\nX: ${"a".repeat(12_000)}\r\n\r\n`;
  const client = new Client(t, port);
  client.socket.write(first + request.repeat(10));
  await until(() => held.length === 1);
  held[0]?.();
  await until(() => client.text.split("HTTP/1.1 200").length === 12);
  // What was answered waits no more.
  await client.ask(request.repeat(10), (text) => text.split("HTTP/1.1 200").length === 22);

  const greedy = new Client(t, port);
  greedy.socket.write(first + request.repeat(11));
  await until(() => greedy.closed || greedy.ended);
  assert.equal(greedy.text, "");
  client.socket.end();
  greedy.socket.destroy();
  await until(() => proxy.stats().connections === 0 && proxy.stats().upstreamConnections.busy === 0);
});
