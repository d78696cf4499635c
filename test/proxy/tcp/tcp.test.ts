// Tcp: connections through the proxy on loopback, to replicas that behave and to some that do not.

import assert from "node:assert/strict";
import { randomBytes, createHash } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { test, type TestContext } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import type { AccessEntry } from "../../../src/proxy/access/entry.ts";
import type { Pool } from "../../../src/proxy/routes.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";

import {
  Client,
  Clock,
  frontend,
  pool,
  portAt,
  serveOne,
  startProxy,
  table,
  tcpReplica,
  upstream,
} from "../fixtures.ts";

/** A replica that says its name and waits for the client to end. */
function named(t: TestContext, name: string): Promise<number> {
  return tcpReplica(t, (socket) => {
    socket.write(name);
    socket.resume();
    socket.once("end", () => socket.end());
  });
}

/** Makes a connection, reads the replica's name, and ends it in form. */
async function nameAt(t: TestContext, port: number): Promise<string> {
  const client = new Client(t, port);
  const name = await client.ask("", (text) => text !== "");
  client.socket.end();
  await until(() => client.closed);
  return name;
}

async function threeReplicas(t: TestContext): Promise<Pool> {
  const names = ["a", "b", "c"];
  const ports = await Promise.all(names.map((name) => named(t, name)));
  return pool(names.map((name, at) => upstream(name, ports[at] ?? 0)));
}

test("tcp: twelve connections over three replicas are four each", async (t) => {
  const { port } = await serveOne(t, "tcp", await threeReplicas(t));
  const names: string[] = [];
  for (let count = 0; count < 12; count += 1) names.push(await nameAt(t, port));
  assert.deepEqual(
    ["a", "b", "c"].map((name) => names.filter((each) => each === name).length),
    [4, 4, 4],
  );
});

test("tcp: a refused connection goes to the next replica, and the refusing one is left alone", async (t) => {
  const good = await named(t, "good");
  const to = pool([upstream("bad", await closedPort()), upstream("good", good)]);
  const { port, proxy, metrics } = await serveOne(t, "tcp", to);
  for (let count = 0; count < 6; count += 1) assert.equal(await nameAt(t, port), "good");
  assert.deepEqual(
    proxy.stats().ejected.map(({ id }) => id.split(":")[0]),
    ["bad"],
  );
  const text = await metrics.registry.metrics();
  assert.match(text, /skein_upstream_ejections_total\{service="default\/web"\} 1\b/);
  assert.match(text, /skein_proxy_connections_total\{service="default\/web",result="connected"\} 6\b/);
});

test("tcp: a replica that never takes the connection is left after the connect deadline", async (t) => {
  const good = await named(t, "good");
  const to = pool([upstream("aaa", 9, { via: "stream" }), upstream("good", good)]);
  const { port } = await serveOne(t, "tcp", to, {
    random: () => 0,
    dial: (_upstream, deadlineMs) =>
      new Promise((_, reject) => {
        setTimeout(() => reject(new Failure("timeout", "nobody took it")), deadlineMs);
      }),
    times: { streamMs: 100 },
  });
  assert.equal(await nameAt(t, port), "good");
});

test("tcp: the only replica is not left alone for having refused", async (t) => {
  const refusing = await closedPort();
  const { port, proxy } = await serveOne(t, "tcp", pool([upstream("a", refusing)]));
  const client = new Client(t, port);
  await until(() => client.closed);
  assert.equal(proxy.stats().ejected.length, 0);

  const good = await named(t, "late");
  await proxy.set(table([frontend("tcp", pool([upstream("a", refusing, { port: good })]))]));
  assert.equal(await nameAt(t, port), "late");
});

test("tcp: without any replica the client is reset at once", async (t) => {
  const { port } = await serveOne(t, "tcp", pool());
  const client = new Client(t, port);
  await until(() => client.closed);
  assert.equal(client.errorCode, "ECONNRESET");
});

test("tcp: what the client sends before a replica has taken the connection is not lost", async (t) => {
  let take: ((socket: Socket) => void) | null = null;
  const echo = await tcpReplica(t, (socket) => socket.pipe(socket));
  const { port } = await serveOne(t, "tcp", pool([upstream("a", echo, { via: "stream" })]), {
    dial: () =>
      new Promise((resolve) => {
        take = resolve;
      }),
  });
  const client = new Client(t, port);
  client.socket.write("early ");
  await until(() => take !== null);
  const socket = connect({ port: echo, host: "127.0.0.1", allowHalfOpen: true });
  await once(socket, "connect");
  (take as unknown as (socket: Socket) => void)(socket);
  assert.equal(await client.ask("bird", (text) => text.length === 10), "early bird");
});

test("tcp: a client that ends its side still gets the whole answer", async (t) => {
  const port = await tcpReplica(t, (socket) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    socket.once("end", () => socket.end(`got ${text}`));
  });
  const served = await serveOne(t, "tcp", pool([upstream("a", port)]));
  const client = new Client(t, served.port);
  client.socket.end("all of it");
  await until(() => client.closed);
  assert.equal(client.text, "got all of it");
  assert.equal(client.errorCode, null);
});

test("tcp: a replica that ends its side still gets all that the client sends", async (t) => {
  let received = "";
  const port = await tcpReplica(t, (socket) => {
    socket.end("bye");
    socket.on("data", (chunk: Buffer) => (received += chunk.toString()));
  });
  const served = await serveOne(t, "tcp", pool([upstream("a", port)]));
  const client = new Client(t, served.port);
  await until(() => client.ended);
  assert.equal(client.closed, false);
  client.socket.end("still talking");
  await until(() => client.closed);
  await until(() => received === "still talking");
  assert.equal(client.errorCode, null);
});

test("tcp: a reset passes as a reset, from replica to client and from client to replica", async (t) => {
  const sockets: Socket[] = [];
  const errors: string[] = [];
  const port = await tcpReplica(t, (socket) => {
    sockets.push(socket);
    socket.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? "?"));
    socket.write("hi");
    socket.resume();
  });
  const { port: at, proxy } = await serveOne(t, "tcp", pool([upstream("a", port)]));
  const first = new Client(t, at);
  await first.ask("x", (text) => text === "hi");
  sockets[0]?.resetAndDestroy();
  await until(() => first.closed);
  assert.equal(first.errorCode, "ECONNRESET");

  const second = new Client(t, at);
  await second.ask("x", (text) => text === "hi");
  second.socket.resetAndDestroy();
  await until(() => errors.includes("ECONNRESET"));
  await until(() => proxy.stats().connections === 0);
});

test("tcp: large transfers both ways at once arrive whole", async (t) => {
  const sent = randomBytes(8 * 1024 * 1024);
  const port = await tcpReplica(t, (socket) => {
    const hash = createHash("sha256");
    socket.on("data", (chunk: Buffer) => hash.update(chunk));
    socket.once("end", () => socket.end(hash.digest()));
    socket.write(sent);
  });
  const served = await serveOne(t, "tcp", pool([upstream("a", port)]));
  const client = connect({ port: served.port, host: "127.0.0.1", allowHalfOpen: true });
  t.after(() => client.destroy());
  const chunks: Buffer[] = [];
  client.on("data", (chunk: Buffer) => chunks.push(chunk));
  client.end(sent);
  await once(client, "close");
  const received = Buffer.concat(chunks);
  assert.ok(received.subarray(0, sent.length).equals(sent));
  assert.ok(received.subarray(sent.length).equals(createHash("sha256").update(sent).digest()));
});

test("tcp: a replica that sends faster than the client reads is held back", async (t) => {
  let writtenBytes = 0;
  const block = Buffer.alloc(1024 * 1024);
  const port = await tcpReplica(t, (socket) => {
    const fill = (): void => {
      while (writtenBytes < 512 * block.length && socket.write(block)) writtenBytes += block.length;
    };
    socket.on("drain", fill);
    fill();
  });
  const served = await serveOne(t, "tcp", pool([upstream("a", port)]));
  const client = connect({ port: served.port, host: "127.0.0.1" });
  t.after(() => client.destroy());
  client.pause();
  await once(client, "connect");
  // Stands still for ten looks in a row: then every buffer between the two is full.
  let [before, still] = [-1, 0];
  await until(
    () => {
      still = writtenBytes === before && writtenBytes > 0 ? still + 1 : 0;
      before = writtenBytes;
      return still >= 10;
    },
    { everyMs: 20 },
  );
  assert.ok(writtenBytes < 64 * block.length, `${writtenBytes} bytes are under way`);
});

test("tcp: an update leaves connections alone while their replica drains or rests, or when it is a part", async (t) => {
  const echo = await tcpReplica(t, (socket) => socket.pipe(socket));
  const carrying = upstream("a", echo);
  const { port, proxy } = await serveOne(t, "tcp", pool([carrying]));
  const client = new Client(t, port);
  await client.ask("1", (text) => text === "1");
  await proxy.set(table([frontend("tcp", pool([], [carrying]))]));
  await client.ask("2", (text) => text === "12");
  await proxy.set(table([frontend("tcp", { ...pool(), resting: [carrying] })]));
  await client.ask("3", (text) => text === "123");
  await proxy.set({ ...table([]), complete: false });
  await client.ask("4", (text) => text === "1234");
});

test("tcp: when its replica leaves the table a quiet connection is reset at both ends", async (t) => {
  const errors: string[] = [];
  const silent = await tcpReplica(t, (socket) => {
    socket.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? "?"));
    socket.resume();
    socket.write("hi");
  });
  const stays = upstream("b", await closedPort());
  const clock = new Clock();
  const { port, proxy } = await serveOne(t, "tcp", pool([upstream("a", silent)]), { nowMs: clock.nowMs });
  const client = new Client(t, port);
  await client.ask("", (text) => text === "hi");
  await proxy.set(table([frontend("tcp", pool([stays]))]));
  assert.equal(client.closed, false, "its last bytes may be on their way");
  await clock.passUntil(() => client.closed && errors.length > 0);
  assert.deepEqual([client.errorCode, errors], ["ECONNRESET", ["ECONNRESET"]]);
  assert.equal(proxy.stats().connections, 0);
});

test("tcp: a draining replica keeps its connections until its time to drain is over", async (t) => {
  const clock = new Clock();
  const echo = await tcpReplica(t, (socket) => socket.pipe(socket));
  const { port, proxy } = await serveOne(t, "tcp", pool([upstream("a", echo)]), { nowMs: clock.nowMs });
  const client = new Client(t, port);
  await client.ask("1", (text) => text === "1");
  const draining = upstream("a", echo, { drainUntilMs: clock.nowMs() + 10_000 });
  await proxy.set(table([frontend("tcp", pool([], [draining]))]));
  clock.pass(9_999);
  await client.ask("2", (text) => text === "12");
  clock.pass(1);
  await until(() => client.closed);
  assert.equal(client.errorCode, "ECONNRESET");
});

test("tcp: a connection that comes of a replica which has left meanwhile ends soon after", async (t) => {
  const dialled: ((stream: PassThrough) => void)[] = [];
  const leaving = upstream("a", 9, { via: "stream" });
  const clock = new Clock();
  const { port, proxy } = await serveOne(t, "tcp", pool([leaving]), {
    nowMs: clock.nowMs,
    dial: () => new Promise((resolve) => dialled.push(resolve)),
  });
  const client = new Client(t, port);
  await until(() => dialled.length === 1);
  await proxy.set(table([frontend("tcp", pool())]));
  const late = new PassThrough();
  dialled[0]?.(late);
  await clock.passUntil(() => late.destroyed && client.closed);
  assert.equal(client.errorCode, "ECONNRESET");
});

/** What a replica gets of the first connection, and the client's own port. */
async function firstBytes(
  t: TestContext,
  proxyProtocol: "v1" | "v2",
): Promise<{ readonly got: string; readonly from: number; readonly port: number }> {
  let got = "";
  const replica = await tcpReplica(t, (socket) => {
    socket.on("data", (chunk: Buffer) => (got += chunk.toString("latin1")));
  });
  const { port } = await serveOne(t, "tcp", pool([upstream("a", replica, { proxyProtocol })]));
  const client = new Client(t, port);
  client.socket.write("hello");
  await until(() => got.endsWith("hello"));
  return { got, from: client.socket.localPort ?? 0, port };
}

test("tcp: a replica that wants the PROXY protocol is told first who called, and where", async (t) => {
  const { got, from, port } = await firstBytes(t, "v1");
  assert.equal(got, `PROXY TCP4 127.0.0.1 127.0.0.1 ${from} ${port}\r\nhello`);
});

test("tcp: version 2 of the PROXY protocol says the same in bytes", async (t) => {
  const { got, from, port } = await firstBytes(t, "v2");
  const ends = [from >> 8, from & 255, port >> 8, port & 255];
  const header = [...Buffer.from("0d0a0d0a000d0a515549540a2111000c7f0000017f000001", "hex"), ...ends];
  assert.equal(got, `${Buffer.from(header).toString("latin1")}hello`);
});

test("tcp: beyond the bound on connections a client is reset at once, and has its place when one ends", async (t) => {
  const to = pool([upstream("a", await named(t, "a"))]);
  const { port, proxy, metrics } = await serveOne(t, "tcp", to, { connectionsMax: 1 });
  const first = new Client(t, port);
  await first.ask("", (text) => text === "a");
  const second = new Client(t, port);
  await until(() => second.closed);
  assert.equal(second.errorCode, "ECONNRESET");
  assert.match(await metrics.registry.metrics(), /skein_proxy_refused_total\{reason="connections"\} 1\b/);
  first.socket.end();
  await until(() => proxy.stats().connections === 0);
  assert.equal(await nameAt(t, port), "a");
});

test("tcp: the access log tells of a connection that is over: who, where, how much, and what ended it", async (t) => {
  const entries: AccessEntry[] = [];
  const access = { isOn: true, append: (entry: AccessEntry) => void entries.push(entry) };
  const sockets: Socket[] = [];
  const echo = await tcpReplica(t, (socket) => {
    sockets.push(socket);
    socket.pipe(socket);
  });
  const to = pool([upstream("a", echo)]);
  const { port, proxy } = await serveOne(t, "tcp", to, { access });
  const whole = new Client(t, port);
  await whole.ask("twelve bytes", (text) => text.length === 12);
  whole.socket.end();
  await until(() => entries.length === 1);
  const cut = new Client(t, port);
  await cut.ask("x", (text) => text === "x");
  sockets[1]?.resetAndDestroy();
  await until(() => entries.length === 2);
  const left = new Client(t, port);
  await left.ask("x", (text) => text === "x");
  left.socket.resetAndDestroy();
  await until(() => entries.length === 3);
  await proxy.set(table([frontend("tcp", pool())]));
  const nobody = new Client(t, portAt(proxy, "127.0.0.1"));
  await until(() => nobody.closed && entries.length === 4);
  const [first] = entries;
  assert.partialDeepStrictEqual(first, {
    kind: "tcp",
    client: "127.0.0.1",
    service: "default/web",
    replica: "a",
    node: "host-1",
    bytesSent: 12,
    bytesReceived: 12,
    retries: [],
    http: null,
  });
  assert.deepEqual(
    entries.map(({ result }) => result),
    ["ok", "upstream reset", "client reset", "no replica"],
  );
});

test("tcp: a connection that took a second try says why in the access log", async (t) => {
  const entries: AccessEntry[] = [];
  const access = { isOn: true, append: (entry: AccessEntry) => void entries.push(entry) };
  const to = pool([upstream("bad", await closedPort())], [upstream("good", await named(t, "good"))]);
  const { port } = await serveOne(t, "tcp", to, { access });
  await nameAt(t, port);
  await until(() => entries.length === 1);
  assert.deepEqual([entries[0]?.retries, entries[0]?.replica], [["connect"], "good"]);
});

test("tcp: a stream that is no socket is carried as well", async (t) => {
  const { port } = await serveOne(t, "tcp", pool([upstream("a", 9, { via: "stream" })]), {
    dial: () => Promise.resolve(new PassThrough({ allowHalfOpen: true })),
  });
  const client = new Client(t, port);
  assert.equal(await client.ask("echo", (text) => text === "echo"), "echo");
});

test("close: lets connections end within the grace, and resets what is left after it", async (t) => {
  const echo = await tcpReplica(t, (socket) => socket.pipe(socket));
  const to = pool([upstream("a", echo)]);
  const { proxy } = await startProxy(t);
  // Once the proxy has left it nobody else has it by chance.
  const port = await closedPort();
  await proxy.set(table([frontend("tcp", to, { port })]));
  const ending = new Client(t, port);
  const staying = new Client(t, port);
  await ending.ask("1", (text) => text === "1");
  await staying.ask("1", (text) => text === "1");
  const closed = proxy.close(60_000);
  await ending.ask("2", (text) => text === "12");
  ending.socket.end();
  await until(() => ending.closed);
  assert.equal(ending.errorCode, null);
  assert.equal(staying.closed, false);
  // Asked again with less patience, so that the grace of this test is over when all within it has been seen.
  await proxy.close(0);
  await closed;
  await until(() => staying.closed);
  assert.equal(staying.errorCode, "ECONNRESET");
  const late = new Client(t, port);
  await until(() => late.errorCode === "ECONNREFUSED");
});
