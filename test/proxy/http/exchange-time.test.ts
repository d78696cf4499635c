// Exchange: when its time begins, and where it goes when its upstream leaves before anything was sent.

import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";
import {
  ask,
  Client,
  Clock,
  frontend,
  httpReplica,
  pool,
  portAt,
  serveOne,
  startProxy,
  table,
  upstream,
} from "../fixtures.ts";

test("exchange: a POST whose upstream leaves before it was connected to goes to another, once", async (t) => {
  const clock = new Clock();
  const dials: ((cause: Failure) => void)[] = [];
  const dial = (): Promise<never> => new Promise((_resolve, reject) => void dials.push(reject));
  const gone = upstream("a", 1, { via: "stream", node: "bbbbbbbbbbbbbbbbbbbb" });
  let seen = 0;
  const echo = await httpReplica(t, (request, response) => {
    seen += 1;
    request.pipe(response);
  });
  const [one, other] = [upstream("b", echo), upstream("c", await closedPort())];
  const { proxy, metrics } = await startProxy(t, {
    random: () => 0,
    nowMs: clock.nowMs,
    dial,
    times: { streamMs: 10_000_000 },
  });
  await proxy.set(table([frontend("http", pool([gone, one, other]))]));
  const answer = ask(portAt(proxy, "127.0.0.1"), { method: "POST", path: "/x", body: "once" });
  await until(() => dials.length === 1);
  await proxy.set(table([frontend("http", pool([one, other]))]));
  assert.equal((await clock.passDuring(answer)).text, "once");
  assert.equal(seen, 1);
  assert.deepEqual(proxy.stats().ejected, []);
  assert.doesNotMatch(await metrics.registry.metrics(), /^skein_upstream_ejections_total\{.*[1-9]$/m);
  for (const fail of dials) fail(new Failure("unreachable", "nobody is there"));
});

test("exchange: a pipelined request has its time from its turn on, however long the one before took", async (t) => {
  const asked: ServerResponse[] = [];
  const replica = await httpReplica(t, (_request, response) => void asked.push(response));
  const clock = new Clock();
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]), {
    nowMs: clock.nowMs,
    times: { firstByteMs: 1000, answerMs: 5000, idleMs: 3000 },
  });
  const client = new Client(t, port);
  const request = "GET / HTTP/1.1\r\nHost: app\r\n\r\n";
  client.socket.write(request + request);
  await until(() => asked.length === 1);
  asked[0]?.writeHead(200, { "content-length": "8" });
  for (let count = 1; count <= 8; count += 1) {
    asked[0]?.write("x");
    await until(() => client.text.endsWith("x".repeat(count)));
    // Two thirds of the time that a body may pause, in all three times that an answer may take.
    await clock.passUntil(pausedFor(clock, 2000));
  }
  asked[0]?.end();
  await until(() => asked.length === 2);
  asked[1]?.end("short");
  await until(() => client.text.endsWith("short") || client.text.includes("504"));
  assert.ok(client.text.endsWith("short"), client.text);
});

/** True once so much time has passed since this was called. */
function pausedFor(clock: Clock, ms: number): () => boolean {
  const fromMs = clock.nowMs();
  return () => clock.nowMs() - fromMs >= ms;
}
