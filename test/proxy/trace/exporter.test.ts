// Exporter: spans reach a collector that is there, and cost nothing but themselves when it is not.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test, type TestContext } from "node:test";

import { LIMITS } from "../../../src/model/limits.ts";
import { openExporter, openIds, type Exporter, type Pace } from "../../../src/proxy/trace/exporter.ts";
import type { RequestSpan } from "../../../src/proxy/trace/span.ts";
import type { Log } from "../../../src/runtime/log.ts";
import { openMetrics, type Metrics } from "../../../src/runtime/metrics.ts";
import { closedPort, openTcpServer } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";
import { listening, SILENT } from "../fixtures.ts";
import { entry, FACTS } from "../access/entries.ts";

import { startCollector } from "./collector.ts";

const QUICK: Partial<Pace> = { gatherMs: 5, again: { firstMs: 5, longestMs: 5 } };

interface Opened {
  readonly exporter: Exporter;
  readonly told: string[];
  readonly metrics: Metrics;
  /** Spans that were sent and those that were lost, by reason. */
  readonly counts: () => Promise<Readonly<Record<string, number>>>;
}

function opened(t: TestContext, port: number, pace: Partial<Pace> = QUICK): Opened {
  const told: string[] = [];
  const tell = (text: string): void => void told.push(text);
  const log: Log = { ...SILENT, info: tell, warn: tell };
  const metrics = openMetrics();
  const exporter = openExporter({
    endpoint: `http://127.0.0.1:${port}/hidden/v1/traces`,
    headers: { "x-key": "secret" },
    resource: { version: "1.2.3", nodeId: "n", nodeName: "host-1" },
    log,
    metrics,
    random: () => 0.5,
    pace,
  });
  t.after(() => exporter.close());
  const counts = async (): Promise<Readonly<Record<string, number>>> => {
    const exported = (await metrics.spansExported.get()).values[0]?.value ?? 0;
    const dropped = (await metrics.spansDropped.get()).values.map(({ labels, value }) => [
      String(labels.reason),
      value,
    ]);
    return { exported, ...(Object.fromEntries(dropped) as Record<string, number>) };
  };
  return { exporter, told, metrics, counts };
}

function request(path = "/"): RequestSpan {
  const ids = { traceId: "1".repeat(32), parentId: null, spanId: "2".repeat(16), flags: 1 };
  return { ...ids, attempts: [], entry: entry({ http: { ...FACTS, target: path } }) };
}

test("exporter: spans arrive in one message, with the headers that were asked for, from this node", async (t) => {
  const collector = await startCollector(t);
  const { exporter, counts } = opened(t, collector.port);
  exporter.finish(request("/a"));
  exporter.finish(request("/b"));
  await until(() => collector.spans().length === 2);
  assert.equal(collector.batches.length, 1);
  const [head] = collector.heads;
  assert.equal(head?.path, "/hidden/v1/traces");
  assert.deepEqual([head?.headers["x-key"], head?.headers["content-type"]], ["secret", "application/json"]);
  const resource = JSON.stringify(collector.batches[0]?.resourceSpans[0]?.resource);
  for (const part of ['"service.name"', '"skein"', '"1.2.3"', '"host-1"']) assert.ok(resource.includes(part));
  await until(async () => (await counts())["exported"] === 2);
  assert.equal(exporter.problem, null);
});

test("exporter: a collector that is busy gets the same spans again", async (t) => {
  const collector = await startCollector(t, (count) => ({ status: count < 3 ? 503 : 200 }));
  const { exporter, counts } = opened(t, collector.port);
  exporter.finish(request());
  await until(() => collector.spans().length === 1);
  await until(async () => (await counts())["exported"] === 1);
  assert.deepEqual([await counts(), collector.heads.length], [{ exported: 1 }, 3]);
});

test("exporter: what a collector refuses is lost, counted and told once, until it takes spans", async (t) => {
  let status = 400;
  const collector = await startCollector(t, () => ({ status }));
  const { exporter, counts, told } = opened(t, collector.port);
  for (const lost of [1, 2]) {
    exporter.finish(request());
    await until(async () => (await counts())["refused"] === lost);
  }
  assert.equal(exporter.problem, "answered 400");
  status = 200;
  exporter.finish(request());
  await until(() => exporter.problem === null);
  const at = `http://127.0.0.1:${collector.port}`;
  assert.deepEqual(told, [
    `traces: ${at}: answered 400; spans are dropped`,
    `traces: ${at} takes spans again; 2 were dropped`,
  ]);
});

test("exporter: what a collector says that it refused of a message is counted so", async (t) => {
  const body = '{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}';
  const collector = await startCollector(t, () => ({ status: 200, body }));
  const { exporter, counts } = opened(t, collector.port);
  exporter.finish(request());
  exporter.finish(request());
  await until(async () => (await counts())["refused"] === 1);
  assert.deepEqual(await counts(), { exported: 1, refused: 1 });
});

test("exporter: where nobody is, or nobody answers, it gives up after some tries", async (t) => {
  const silent = await startCollector(t, () => null);
  for (const port of [await closedPort(), silent.port]) {
    const { exporter, counts } = opened(t, port, { ...QUICK, answerMs: 20 });
    exporter.finish(request());
    await until(async () => (await counts())["unreachable"] === 1);
    assert.notEqual(exporter.problem, null);
  }
  assert.equal(silent.heads.length, 4, "as many times as it tries");
});

test("exporter: an answer without end is not read to its end, and what it took is not sent again", async (t) => {
  const ended: boolean[] = [];
  const server = createServer((asked, response) => {
    asked.resume();
    const more = (): void => {
      while (!response.destroyed && response.write("x".repeat(LIMITS.collectorAnswerBytes)));
    };
    response.on("drain", more).on("close", () => ended.push(true));
    more();
  });
  const { exporter, counts } = opened(t, await listening(t, server));
  exporter.finish(request());
  await until(async () => (await counts())["exported"] === 1);
  await until(() => ended.length > 0);
  assert.deepEqual([await counts(), ended.length, exporter.problem], [{ exported: 1 }, 1, null]);
});

test("exporter: what was taken is not sent again where the rest of the answer breaks off", async (t) => {
  let asks = 0;
  const server = createServer((asked, response) => {
    asks += 1;
    asked.resume().on("end", () => {
      response.writeHead(200, { "content-length": 100 }).write("{");
      setImmediate(() => response.destroy());
    });
  });
  const { exporter, counts } = opened(t, await listening(t, server));
  exporter.finish(request());
  await until(async () => (await counts())["exported"] === 1);
  assert.deepEqual([await counts(), asks], [{ exported: 1 }, 1]);
});

test("exporter: a collector that changes the protocol refuses, and others after it have their turn", async (t) => {
  const { server, port } = await openTcpServer(t, (socket) => {
    socket.once("data", () => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    });
  });
  const { exporter, counts } = opened(t, port);
  for (const lost of [1, 2]) {
    exporter.finish(request());
    await until(async () => (await counts())["refused"] === lost);
  }
  assert.equal(exporter.problem, "answered 101");
  await exporter.close();
  assert.ok(server.listening, "and closing does not wait for it");
});

test("exporter: spans that are long go out in messages that a collector takes", async (t) => {
  const collector = await startCollector(t);
  const { exporter } = opened(t, collector.port);
  // As JSON each of these characters takes six.
  const path = `/${"\u0001".repeat(LIMITS.accessFieldChars)}`;
  const count = Math.floor(LIMITS.spanQueueBytes / (10 * LIMITS.accessFieldChars));
  assert.ok(count < LIMITS.spanBatchMax);
  for (let done = 0; done < count; done += 1) exporter.finish(request(path));
  await until(() => collector.spans().length === count);
  assert.ok(collector.batches.length > 1);
  for (const batch of collector.batches)
    assert.ok(JSON.stringify(batch).length < LIMITS.spanBatchBytes + 1024);
});

test("exporter: spans that find no room are lost and counted; a full queue goes out in batches", async (t) => {
  const collector = await startCollector(t);
  const { exporter, counts } = opened(t, collector.port);
  const path = `/${"a".repeat(LIMITS.accessFieldChars)}`;
  const count = Math.ceil((2 * LIMITS.spanQueueBytes) / LIMITS.accessFieldChars);
  for (let done = 0; done < count; done += 1) exporter.finish(request(path));
  const lost = (await counts())["queue"] ?? 0;
  assert.ok(lost > 0, `${count} spans do not fit`);
  await until(() => collector.spans().length === count - lost);
  assert.ok(collector.batches.length > 1);
  for (const batch of collector.batches)
    assert.ok(JSON.stringify(batch).length < LIMITS.spanBatchBytes + 100_000);
});

test("exporter: a daemon that stops sends what waits, and does not wait for a collector that is silent", async (t) => {
  const collector = await startCollector(t);
  const slow = { gatherMs: 3_600_000, closeMs: 10_000 };
  const one = opened(t, collector.port, slow);
  one.exporter.finish(request());
  await one.exporter.close();
  assert.equal(collector.spans().length, 1);
  const silent = await startCollector(t, () => null);
  const other = opened(t, silent.port, { ...slow, closeMs: 10, answerMs: 3_600_000 });
  other.exporter.finish(request());
  await other.exporter.close();
  assert.equal((await other.counts())["unreachable"], 1);
  other.exporter.finish(request());
  assert.equal((await other.counts())["queue"], 1, "what comes after it is counted as lost");
});

test("ids: of the length that was asked for, and no two the same", () => {
  const newId = openIds();
  const ids = Array.from({ length: 5000 }, (_, at) => newId(at % 2 === 0 ? 8 : 16));
  assert.equal(new Set(ids).size, 5000);
  for (const id of ids) assert.match(id, /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/);
});
