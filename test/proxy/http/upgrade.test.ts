// Upgrade: WebSockets through the proxy, with the ws library at both ends and with raw sockets where it is too polite.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { WebSocket, WebSocketServer } from "ws";

import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";

import {
  childReplica,
  Client,
  Clock,
  httpReplica,
  listening,
  pool,
  rawReplica,
  serveOne,
  tcpReplica,
  upstream,
} from "../fixtures.ts";

const HANDSHAKE =
  "GET /ws HTTP/1.1\r\nHost: app\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/** A replica that speaks WebSocket: greets with its name, and echoes. */
async function webSocketReplica(t: TestContext, name: string): Promise<number> {
  const http = createServer();
  const server = new WebSocketServer({ server: http });
  server.on("connection", (socket) => {
    socket.on("error", () => undefined);
    socket.send(name);
    socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }));
  });
  return listening(t, http);
}

function open(t: TestContext, port: number): { readonly socket: WebSocket; readonly messages: Buffer[] } {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  const messages: Buffer[] = [];
  socket.on("message", (message: Buffer) => messages.push(message));
  socket.on("error", () => undefined);
  t.after(() => socket.terminate());
  return { socket, messages };
}

test("upgrade: messages pass both ways, large ones too, and the closing handshake ends it in form", async (t) => {
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", await webSocketReplica(t, "a"))]));
  const { socket, messages } = open(t, port);
  await until(() => messages.length === 1);
  const large = Buffer.alloc(3_000_000, 7);
  socket.send(large);
  await until(() => messages.length === 2);
  assert.equal(messages[0]?.toString(), "a");
  assert.ok(messages[1]?.equals(large));
  socket.close(1000, "done");
  const [code] = (await once(socket, "close")) as [number];
  assert.equal(code, 1000);
  await until(() => proxy.stats().connections === 0);
});

test("upgrade: connections take turns over the replicas", async (t) => {
  const ports = [await webSocketReplica(t, "a"), await webSocketReplica(t, "b")];
  const to = pool(ports.map((port, at) => upstream(`r${at}`, port)));
  const { port } = await serveOne(t, "http", to);
  const names: string[] = [];
  for (let count = 0; count < 4; count += 1) {
    const { socket, messages } = open(t, port);
    await until(() => messages.length === 1);
    names.push(messages[0]?.toString() ?? "");
    socket.close();
  }
  assert.deepEqual(names.toSorted(), ["a", "a", "b", "b"]);
});

test("upgrade: a handshake moves on from replicas that refuse, die, or are stopped", async (t) => {
  const stopped = await childReplica(t, "stopped");
  stopped.child.kill("SIGSTOP");
  const dying = await tcpReplica(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
  const to = pool([
    upstream("a", await closedPort()),
    upstream("b", dying),
    upstream("c", stopped.port),
    upstream("d", await webSocketReplica(t, "good")),
  ]);
  const clock = new Clock();
  const times = { connectMs: 60_000, firstByteMs: 1000 };
  const { port } = await serveOne(t, "http", to, { random: () => 0, nowMs: clock.nowMs, times });
  const { messages } = open(t, port);
  await clock.passUntil(() => messages.length === 1);
  assert.equal(messages[0]?.toString(), "good");
});

test("upgrade: what either side sends right behind its head arrives, and in order", async (t) => {
  const replica = await tcpReplica(t, (socket) => {
    socket.once("data", () => {
      socket.write(`${SWITCHED}hello `);
      socket.on("data", (chunk: Buffer) => socket.write(chunk));
    });
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  assert.match(
    await client.ask(`${HANDSHAKE}early`, (text) => text.endsWith("early")),
    /\r\n\r\nhello early$/,
  );
  assert.match(
    await client.ask(" and late", (text) => text.endsWith("late")),
    /\r\n\r\nhello early and late$/,
  );
});

test("upgrade: a refusal by the replica passes whole, unchunked, and ends the connection", async (t) => {
  const replica = await httpReplica(t, () => undefined);
  const refusing = createServer();
  refusing.on("upgrade", (_request, socket: Socket) => {
    socket.end(
      "HTTP/1.1 403 Not Today\r\nTransfer-Encoding: chunked\r\nX-Why: monday\r\nConnection: keep-alive\r\n\r\n" +
        "3\r\nno,\r\n5\r\n not \r\n3\r\nyou\r\n0\r\n\r\n",
    );
  });
  const port = await listening(t, refusing);
  const to = pool([upstream("a", port), upstream("b", replica)]);
  const { port: at } = await serveOne(t, "http", to, { random: () => 0 });
  const client = new Client(t, at);
  const answer = await client.ask(HANDSHAKE, () => client.ended);
  assert.equal(answer, "HTTP/1.1 403 Not Today\r\nX-Why: monday\r\nConnection: close\r\n\r\nno, not you");
});

test("upgrade: a refusal that its replica cuts or stalls is reset, and never passes for a whole one", async (t) => {
  for (const [ending, status] of [
    ["cut", 403],
    ["cut", 500],
    ["stalled", 403],
    ["stalled", 502],
  ] as const) {
    const clock = new Clock();
    let refusing: Socket | null = null;
    const replica = await rawReplica(t, (_head, socket) => {
      refusing = socket;
      socket.write(`HTTP/1.1 ${status} No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`);
    });
    const to = pool([upstream("a", replica)]);
    const options = { nowMs: clock.nowMs, times: { idleMs: 3000 } };
    const { port, proxy, metrics } = await serveOne(t, "http", to, options);
    const client = new Client(t, port);
    await client.ask(HANDSHAKE, (text) => text.endsWith("half"));
    if (ending === "cut") (refusing as Socket | null)?.resetAndDestroy();
    else await clock.passUntil(() => client.closed || client.ended);
    await until(() => client.closed || client.ended);
    assert.equal(client.errorCode, "ECONNRESET", ending);
    const told = await metrics.registry.metrics();
    // Counted as errors by their status already: what is cut may not count twice.
    assert.equal(/skein_proxy_cut_errors_total\{.*\} 1\n/.test(told), status >= 500, `${ending} ${status}`);
    await until(() => proxy.stats().connections === 0 && proxy.stats().upstreamConnections.busy === 0);
  }
});

test("upgrade: refusals of our own are whole answers: no replica, none that answers, a doubtful head", async (t) => {
  const none = await serveOne(t, "http", pool());
  const first = new Client(t, none.port);
  assert.match(
    await first.ask(HANDSHAKE, () => first.ended),
    /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*no replica of/,
  );

  const refused = await serveOne(t, "http", pool([upstream("a", await closedPort())]));
  const second = new Client(t, refused.port);
  assert.match(await second.ask(HANDSHAKE, () => second.ended), /^HTTP\/1\.1 502 Bad Gateway\r\n/);

  let asked = 0;
  const silent = await tcpReplica(t, (socket) => socket.on("data", () => (asked += 1)));
  const clock = new Clock();
  const options = { nowMs: clock.nowMs, times: { firstByteMs: 1000, answerMs: 3000 } };
  const slow = await serveOne(t, "http", pool([upstream("a", silent)]), options);
  const third = new Client(t, slow.port);
  third.socket.write(HANDSHAKE);
  await until(() => asked === 1);
  await clock.passUntil(() => third.ended);
  assert.match(third.text, /^HTTP\/1\.1 504 Gateway Timeout\r\n/);

  const fourth = new Client(t, slow.port);
  const doubtful = HANDSHAKE.replace("Host: app", "Host: app\r\nHost: other");
  assert.match(await fourth.ask(doubtful, () => fourth.ended), /^HTTP\/1\.1 400 Bad Request\r\n/);
});

test("upgrade: a reset passes as a reset in either direction, and the proxy lives on", async (t) => {
  const sockets: Socket[] = [];
  const errors: string[] = [];
  const replica = await tcpReplica(t, (socket) => {
    sockets.push(socket);
    socket.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? ""));
    socket.once("data", () => {
      socket.write(SWITCHED);
      socket.resume();
    });
  });
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const first = new Client(t, port);
  await first.ask(HANDSHAKE, (text) => text.includes("101"));
  first.socket.resetAndDestroy();
  await until(() => errors.includes("ECONNRESET"));

  const second = new Client(t, port);
  await second.ask(HANDSHAKE, (text) => text.includes("101"));
  sockets[1]?.resetAndDestroy();
  await until(() => second.closed);
  assert.equal(second.errorCode, "ECONNRESET");
  await until(() => proxy.stats().connections === 0);
});

test("upgrade: a client that leaves or resets during the handshake takes the upstream's with it", async (t) => {
  let [begun, ended] = [0, 0];
  const silent = await tcpReplica(t, (socket) => {
    begun += 1;
    socket.once("end", () => socket.end()).once("close", () => (ended += 1));
    socket.resume();
  });
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", silent)]));
  for (const leave of ["resetAndDestroy", "destroy"] as const) {
    const before = begun;
    const client = new Client(t, port);
    client.socket.write(HANDSHAKE);
    await until(() => begun === before + 1);
    client.socket[leave]();
    await until(() => ended === begun, { what: leave });
  }
  await until(() => proxy.stats().connections === 0);
});

test("upgrade: when the proxy closes, a WebSocket lives for the grace and is then reset", async (t) => {
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", await webSocketReplica(t, "a"))]));
  const { socket, messages } = open(t, port);
  await until(() => messages.length === 1);
  const closed = proxy.close(60_000);
  socket.send("still there");
  await until(() => messages.length === 2);
  // Asked again with less patience, so that the grace of this test is over when its question has been answered.
  await proxy.close(0);
  await closed;
  await until(() => socket.readyState === WebSocket.CLOSED);
});
