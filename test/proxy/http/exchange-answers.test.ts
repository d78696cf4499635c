// Exchange: what of a replica's answer its client gets, and in what frame.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { test } from "node:test";

import { until } from "../../support/wait.ts";

import { Client, httpReplica, pool, rawReplica, serveOne, upstream } from "../fixtures.ts";

test("exchange: HEAD, 204 and 304 have no body, and the connection goes on after them", async (t) => {
  const replica = await rawReplica(t, (head, socket) => {
    const path = head.split(" ")[1];
    if (path === "/head") socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    if (path === "/chunked") socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    if (path === "/204") socket.write("HTTP/1.1 204 No Content\r\n\r\n");
    if (path === "/304") socket.write("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: x\r\n\r\n");
    if (path === "/end") socket.write("HTTP/1.1 200 Fine By Me\r\nContent-Length: 3\r\n\r\nend");
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  const requests = [
    ["HEAD", "/head"],
    ["HEAD", "/chunked"],
    ["GET", "/204"],
    ["GET", "/304"],
    ["GET", "/end"],
  ] as const;
  const text = await client.ask(
    requests.map(([method, path]) => `${method} ${path} HTTP/1.1\r\nHost: app\r\n\r\n`).join(""),
    (answer) => answer.endsWith("end"),
  );
  const lines = text.split("\r\n").filter((line) => line.startsWith("HTTP/"));
  const status = ["200 OK", "200 OK", "204 No Content", "304 Not Modified", "200 Fine By Me"];
  assert.deepEqual(
    lines,
    status.map((each) => `HTTP/1.1 ${each}`),
  );
});

test("exchange: trailers pass in both directions", async (t) => {
  let trailers: NodeJS.Dict<string> = {};
  const replica = await httpReplica(t, (request, response) => {
    request.resume().once("end", () => {
      trailers = request.trailers;
      response.write("body");
      response.addTrailers({ "X-Sum": "down" });
      response.end();
    });
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const request = httpRequest({ host: "127.0.0.1", port, method: "POST", agent: false });
  request.write("body");
  request.addTrailers({ "X-Sum": "up" });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  assert.deepEqual({ ...response.trailers }, { "x-sum": "down" });
  assert.deepEqual({ ...trailers }, { "x-sum": "up" });
});

test("exchange: an answer before the body is read passes, and the client's connection stays usable", async (t) => {
  const replica = await httpReplica(t, (request, response) => {
    if (request.url === "/big") response.writeHead(413).end("too big");
    else response.end("next");
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  const body = "x".repeat(3_000_000);
  client.socket.write(`POST /big HTTP/1.1\r\nHost: app\r\nContent-Length: ${body.length}\r\n\r\n`);
  await until(() => client.text.includes("too big"));
  const text = await client.ask(`${body}GET /next HTTP/1.1\r\nHost: app\r\n\r\n`, (answer) =>
    answer.endsWith("next"),
  );
  assert.match(text, /^HTTP\/1\.1 413 /);
});

test("exchange: the head of an answer passes before its body has begun", async (t) => {
  const replica = await httpReplica(t, (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  const text = await client.ask("GET / HTTP/1.1\r\nHost: app\r\n\r\n", (answer) =>
    answer.includes("\r\n\r\n"),
  );
  assert.match(text, /text\/event-stream/);
});

test("exchange: an HTTP/1.0 client gets an unchunked answer that ends with the connection", async (t) => {
  const replica = await httpReplica(t, (request, response) => {
    response.write(request.headers.host ?? "none");
    response.end("!");
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  client.socket.write("GET / HTTP/1.0\r\n\r\n");
  await until(() => client.ended);
  assert.match(client.text, new RegExp(`\r\n\r\n127\\.0\\.0\\.1:${replica}!$`));
});

test("exchange: early hints pass to HTTP/1.1 clients, before the answer and apart from it", async (t) => {
  const replica = await httpReplica(t, (_request, response) => {
    response.writeEarlyHints({ link: "</style.css>; rel=preload", "x-trace": "1" }, () => response.end("ok"));
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  const text = await client.ask("GET / HTTP/1.1\r\nHost: app\r\n\r\n", (answer) => answer.endsWith("ok"));
  assert.match(
    text,
    /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/style.css>; rel=preload\r\n[^]*?\r\n\r\nHTTP\/1\.1 200 OK/i,
  );
  const old = new Client(t, port);
  const plain = await old.ask("GET / HTTP/1.0\r\nHost: app\r\n\r\n", () => old.ended);
  assert.match(plain, /^HTTP\/1\.1 200 OK/);
});

test("exchange: answers without a body have none, whatever length they tell", async (t) => {
  const replica = await rawReplica(t, (head, socket) => {
    const status = /^\w+ \/(\d+)/.exec(head)?.[1] ?? "200";
    socket.write(`HTTP/1.1 ${status} X\r\n${status === "204" ? "" : "Content-Length: 5\r\n"}\r\n`);
    if (status === "205") socket.write("hello");
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  client.socket.write("HEAD /200 HTTP/1.1\r\nHost: app\r\n\r\n");
  client.socket.write("GET /304 HTTP/1.1\r\nHost: app\r\n\r\nGET /204 HTTP/1.1\r\nHost: app\r\n\r\n");
  const text = await client.ask("GET /205 HTTP/1.1\r\nHost: app\r\n\r\n", (answer) =>
    answer.endsWith("hello"),
  );
  assert.deepEqual(
    text.match(/^HTTP\/1\.1 \d+/gm),
    [200, 304, 204, 205].map((status) => `HTTP/1.1 ${status}`),
  );
  assert.equal(text.match(/Content-Length: 5/g)?.length, 3);
});

test("exchange: an answer that is cut short is never taken for whole, by an HTTP/1.0 client either", async (t) => {
  const dying = await rawReplica(t, (_head, socket) => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    setImmediate(() => socket.resetAndDestroy());
  });
  const { port, metrics } = await serveOne(t, "http", pool([upstream("a", dying)]));
  const client = new Client(t, port);
  client.socket.write("GET / HTTP/1.0\r\nHost: app\r\n\r\n");
  await until(() => client.closed || client.ended);
  assert.equal(client.errorCode, "ECONNRESET");
  assert.match(
    await metrics.registry.metrics(),
    /skein_proxy_cut_total\{service="default\/web",reason="upstream-died"\} 1/,
  );
});

test("exchange: of answers that are cut short those are told apart whose status was an error as well", async (t) => {
  const held: Socket[] = [];
  const dying = await rawReplica(t, (head, socket) => {
    const status = /^GET \/(\d+)/.exec(head)?.[1] ?? "";
    socket.write(`HTTP/1.1 ${status} So\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`);
    held.push(socket);
  });
  const { port, metrics } = await serveOne(t, "http", pool([upstream("a", dying)]));
  for (const status of [200, 404, 500, 502]) {
    const client = new Client(t, port);
    await client.ask(`GET /${status} HTTP/1.1\r\nHost: app\r\n\r\n`, (text) => text.includes("half"));
    held.pop()?.resetAndDestroy();
    await until(() => client.closed || client.ended);
  }
  const told = await metrics.registry.metrics();
  assert.match(told, /skein_proxy_cut_total\{service="default\/web",reason="upstream-died"\} 4\n/);
  assert.match(told, /skein_proxy_cut_errors_total\{service="default\/web"\} 2\n/);
});
