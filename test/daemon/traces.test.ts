// Traces: a daemon with a collector says what it does with it, and does not start with headers that are none.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import type { StatusReport } from "../../src/admin/contract.ts";
import { startCollector } from "../proxy/trace/collector.ts";
import { daemonFor, httpGet, openBlock, webReplica, type ConfigTree } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

test("traces: a file of headers that is of no use keeps the daemon from starting; it is named, not told", async (t) => {
  const block = await openBlock(t);
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool });
  const headersFile = join(daemon.dir, "headers");
  const config: ConfigTree = { tracing: { endpoint: "http://127.0.0.1:4318", headersFile } };
  daemon.configure(config);
  const without = await daemon.runToEnd();
  assert.notEqual(without.code, 0);
  assert.match(without.stderr, /file \(tracing\.headersFile\) .*headers cannot be read/);
  writeFileSync(headersFile, "a secret without a name\n");
  const bad = await daemon.runToEnd();
  assert.notEqual(bad.code, 0);
  assert.match(bad.stderr, /headers in .* are malformed; expected headers such as name=value/);
  assert.doesNotMatch(bad.stderr, /a secret/);
});

test("traces: spans of a daemon arrive, and a collector that refuses them is a problem in its status", async (t) => {
  const block = await openBlock(t);
  let status = 200;
  const collector = await startCollector(t, () => ({ status }));
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool });
  const replica = await webReplica(t, "web", block.address(1, 2));
  daemon.configure({
    tracing: { endpoint: `http://127.0.0.1:${collector.port}`, sample: 1 },
    services: [
      {
        name: "web",
        ports: [{ port: 80, protocol: "http" }],
        replicas: [replica.endpoint],
        http: [{ host: "app.example.com" }],
        health: { interval: "100ms", http: "/healthz" },
      },
    ],
  });
  await daemon.start();
  const ask = () => httpGet(block.address(1), 8080, { host: "app.example.com" });
  await until(async () => (await ask()).status === 200);
  await until(() => collector.spans().some(({ kind }) => kind === 3), { what: "a span of an attempt" });
  const problems = async (): Promise<readonly string[]> => {
    const told = (await daemon.get("/api/v1/status")) as StatusReport;
    return told.problems.filter(({ subject }) => subject === "tracing.endpoint").map(({ text }) => text);
  };
  assert.deepEqual(await problems(), []);
  status = 403;
  await ask();
  await until(async () => (await problems()).includes("answered 403"));
  await until(async () => (await daemon.metric("skein_trace_spans_dropped_total", 'reason="refused"')) > 0);
  const before = collector.spans().length;
  status = 200;
  await ask();
  await daemon.end("SIGTERM");
  assert.ok(collector.spans().length > before, "what waits is sent before it ends");
});
