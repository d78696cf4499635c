// TCP connections of the DNS server: bounds, idleness and clients that do not read.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../../src/base/ip.ts";
import { Connections, type ConnectionsOptions } from "../../../src/dns/tcp/connections.ts";
import type { Reply, Responder } from "../../../src/dns/responder.ts";
import { TcpListener } from "../../../src/dns/tcp/tcp.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";
import { until, within } from "../../support/wait.ts";
import { frame, query, unframe } from "../fixture.ts";

const ASKED = query("web", "A");

interface Opened extends HostPort {
  readonly connections: Connections;
  /** Queries being answered now, and the most there were at once. */
  readonly waiting: Reply[];
  readonly listener: TcpListener;
  /** How often a connection was put off to a later turn. */
  readonly turns: () => number;
}

interface OpenOptions extends ConnectionsOptions {
  readonly idleMs?: number;
  readonly serve?: (reply: Reply, bytes: Buffer) => void;
}

/** A listener whose queries are answered by `serve`; by default they wait in `waiting`. */
async function open(
  t: TestContext,
  { idleMs = 60_000, serve, ...bounds }: OpenOptions = {},
): Promise<Opened> {
  const waiting: Reply[] = [];
  const connections = new Connections(bounds);
  const later = t.mock.method(connections, "later");
  const responder: Pick<Responder, "recall" | "serve"> = {
    recall: () => null,
    serve: (bytes, _client, reply) => (serve === undefined ? waiting.push(reply) : serve(reply, bytes)),
  };
  const options = { responder: responder as Responder, connections, metrics: openMetrics(), idleMs };
  const listener = new TcpListener(options);
  t.after(() => listener.shut());
  const address = await listener.open({ host: "127.0.0.1", port: 0 }, false);
  return { ...address, connections, waiting, listener, turns: () => later.mock.callCount() };
}

function client(t: TestContext, to: HostPort): Socket {
  const socket = connect(to.port, to.host);
  socket.on("error", () => socket.destroy());
  t.after(() => socket.destroy());
  return socket;
}

test("tcp: a connection without queries is destroyed when its time is over", async (t) => {
  const server = await open(t, { idleMs: 50 });
  const socket = client(t, server);
  socket.resume();
  await within(once(socket, "close"), "the end of the connection");
  await until(() => server.connections.total === 0);
});

test("tcp: bytes that never become a query do not keep a connection", async (t) => {
  const server = await open(t, { idleMs: 150 });
  const socket = client(t, server);
  socket.resume();
  const drip = setInterval(() => socket.writable && socket.write("\0"), 20);
  t.after(() => clearInterval(drip));
  // Not once(): writing to a destroyed connection may fail first, and that is fine.
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.write(Buffer.from("05dc", "hex"));
  await closed;
});

test("tcp: a client that closed its side first still gets the answer that is under way", async (t) => {
  const server = await open(t);
  const socket = client(t, server);
  const received: Buffer[] = [];
  socket.on("data", (chunk) => received.push(chunk));
  socket.end(frame(ASKED));
  await until(() => server.waiting.length === 1);
  server.waiting[0]?.(Buffer.from("the answer"));
  await within(once(socket, "close"), "the end of the connection");
  assert.deepEqual(unframe(Buffer.concat(received)).map(String), ["the answer"]);
});

test("tcp: of one connection only so many queries are answered at once, the others follow", async (t) => {
  const server = await open(t);
  const socket = client(t, server);
  const received: Buffer[] = [];
  socket.on("data", (chunk) => received.push(chunk));
  const total = LIMITS.dnsPipelineMax * 3;
  socket.end(Buffer.concat(Array.from({ length: total }, () => frame(ASKED))));
  let answered = 0;
  while (answered < total) {
    await until(() => server.waiting.length > 0);
    assert.ok(server.waiting.length <= LIMITS.dnsPipelineMax);
    for (const reply of server.waiting.splice(0)) {
      reply(Buffer.from("x"));
      answered += 1;
    }
  }
  await within(once(socket, "close"), "the end of the connection");
  assert.equal(unframe(Buffer.concat(received)).length, total);
});

test("tcp: to a client that does not read little is written, and it is destroyed when its time is over", async (t) => {
  const answer = Buffer.alloc(60_000);
  let served = 0;
  const server = await open(t, {
    idleMs: 300,
    serve: (reply) => {
      served += 1;
      reply(answer);
    },
  });
  const socket = client(t, server);
  socket.pause();
  const total = 2000;
  socket.write(Buffer.concat(Array.from({ length: total }, () => frame(ASKED))));
  await until(() => served > 0 && server.connections.total === 0);
  // The kernel takes some megabytes of its own; what matters is that most queries were never answered.
  assert.ok(served < total / 2, `${served} answers of 60 kB were made for nobody`);
});

test("tcp: a client that reads late gets everything", async (t) => {
  const answer = Buffer.alloc(20_000, 1);
  const server = await open(t, { serve: (reply) => reply(answer) });
  const socket = client(t, server);
  const total = 500;
  socket.end(Buffer.concat(Array.from({ length: total }, () => frame(ASKED))));
  await until(() => server.connections.total === 1);
  let bytes = 0;
  socket.on("data", (chunk) => (bytes += chunk.length));
  await within(once(socket, "close"), "the end of the connection");
  assert.equal(bytes, total * (answer.length + 2));
});

/** Asks once on a new connection. @returns how many answers came until it ended, which is at the first */
async function askOnce(t: TestContext, server: Opened, from = "127.0.0.1"): Promise<number> {
  const socket = connectFrom(server, from);
  t.after(() => socket.destroy());
  const received: Buffer[] = [];
  socket.on("data", (chunk) => received.push(chunk) && socket.end());
  socket.write(frame(ASKED));
  await within(new Promise((resolve) => socket.on("close", resolve)), "the end of the connection");
  return unframe(Buffer.concat(received)).length;
}

function connectFrom({ host, port }: HostPort, localAddress: string): Socket {
  const socket = connect({ host, port, localAddress });
  socket.on("error", () => socket.destroy());
  return socket.resume();
}

/** Counts those that are closed. */
function closedOf(sockets: readonly Socket[]): { count: number } {
  const closed = { count: 0 };
  for (const socket of sockets) socket.on("close", () => (closed.count += 1));
  return closed;
}

/** Opens idle connections of one address, and waits until all of them have a place. */
async function crowd(
  t: TestContext,
  server: Opened,
  { from, count }: { from: string; count: number },
): Promise<Socket[]> {
  const before = server.connections.total;
  const sockets = Array.from({ length: count }, () => connectFrom(server, from));
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  await until(() => server.connections.total === before + count);
  return sockets;
}

const ANSWER = Buffer.from("the answer");
const ANSWERS = { serve: (reply: Reply): void => reply(ANSWER) };

test("tcp: hundreds of lookups of one address at once, each with its own connection, are all answered", async (t) => {
  const server = await open(t, ANSWERS);
  const answers = await Promise.all(Array.from({ length: 500 }, () => askOnce(t, server)));
  assert.ok(answers.every((count) => count === 1));
});

test("tcp: at its bound the connection of a client that is idle longest gives way to its next one", async (t) => {
  const server = await open(t, { ...ANSWERS, max: 8, restMs: 0 });
  const sockets = await crowd(t, server, { from: "127.0.0.1", count: 4 });
  const closed = closedOf(sockets);
  const [oldest, ...others] = sockets;
  for (const socket of others) socket.write(frame(ASKED));
  await Promise.all(others.map((socket) => once(socket, "data")));
  assert.equal(await askOnce(t, server), 1);
  await until(() => closed.count === 1);
  assert.equal(oldest?.destroyed, true);
});

test("tcp: while all connections of a client are at work its next one waits until one of them ends", async (t) => {
  const server = await open(t, { max: 8 });
  const sockets = await crowd(t, server, { from: "127.0.0.1", count: 4 });
  for (const socket of sockets) socket.write(frame(ASKED));
  await until(() => server.waiting.length === 4);
  const next = connectFrom(server, "127.0.0.1");
  t.after(() => next.destroy());
  next.end(frame(ASKED));
  await until(() => server.connections.waiting === 1);
  sockets[0]?.resetAndDestroy();
  await until(() => server.waiting.length === 5);
  assert.equal(server.connections.waiting, 0);
});

test("tcp: one that waits for a place in vain is ended, and so is one more than may wait", async (t) => {
  const server = await open(t, { max: 2, waitMs: 200 });
  const [socket] = await crowd(t, server, { from: "127.0.0.1", count: 1 });
  socket?.write(frame(ASKED));
  await until(() => server.waiting.length === 1);
  const later = [connectFrom(server, "127.0.0.1"), connectFrom(server, "127.0.0.1")];
  t.after(() => later.forEach((one) => one.destroy()));
  const closed = closedOf(later);
  await until(() => closed.count === 2);
  assert.deepEqual([server.connections.total, server.connections.waiting], [1, 0]);
});

test("tcp: a few addresses with all places do not lock out another one, busy as they are", async (t) => {
  const server = await open(t, { max: 64 });
  const hogs: Socket[] = [];
  for (const from of ["127.9.0.1", "127.9.0.2", "127.9.0.3", "127.9.0.4"]) {
    hogs.push(...(await crowd(t, server, { from, count: 16 })));
  }
  for (const socket of hogs) socket.write(frame(ASKED));
  await until(() => server.waiting.length === 64);
  const closed = closedOf(hogs);
  const other = connectFrom(server, "127.9.0.5");
  t.after(() => other.destroy());
  other.write(frame(ASKED));
  await until(() => server.waiting.length === 65);
  await until(() => closed.count === 1);
  assert.equal(server.connections.total, 64);
});

test("tcp: a client that resets its connection harms nobody", async (t) => {
  const server = await open(t);
  const socket = client(t, server);
  socket.write(frame(ASKED));
  await until(() => server.waiting.length === 1);
  socket.resetAndDestroy();
  await until(() => server.connections.total === 0);
  server.waiting[0]?.(Buffer.from("late"));
  const next = client(t, server);
  next.write(frame(ASKED));
  await until(() => server.waiting.length === 2);
});

/** As the responder: bytes that are no query deserve no answer. */
function replyUnlessJunk(reply: Reply, bytes: Buffer): void {
  reply(bytes.equals(ASKED) ? Buffer.from("the answer") : null);
}

test("tcp: what was asked in good order before junk is answered, then the connection ends", async (t) => {
  const server = await open(t, { serve: replyUnlessJunk });
  const socket = client(t, server);
  const received: Buffer[] = [];
  socket.on("data", (chunk) => received.push(chunk));
  socket.write(Buffer.concat([frame(ASKED), frame(ASKED), frame(Buffer.from("junk")), frame(ASKED)]));
  await within(new Promise((resolve) => socket.on("close", resolve)), "the end of the connection");
  assert.equal(unframe(Buffer.concat(received)).length, 2);
});

test("tcp: a client that closes its side behind more answers than it may have unread gets them all", async (t) => {
  const answer = Buffer.alloc(60_000, 1);
  const server = await open(t, { serve: (reply) => reply(answer) });
  const socket = client(t, server);
  socket.pause();
  const total = 100;
  socket.end(Buffer.concat(Array.from({ length: total }, () => frame(ASKED))));
  await until(() => server.connections.total === 1);
  let bytes = 0;
  socket.on("data", (chunk) => (bytes += chunk.length));
  socket.resume();
  await within(once(socket, "close"), "the end of the connection");
  assert.equal(bytes, total * (answer.length + 2));
});

test("tcp: of thousands of idle connections the oldest give way, and those that ask are served", async (t) => {
  const server = await open(t, { ...ANSWERS, restMs: 0 });
  const idle: Socket[] = [];
  t.after(() => idle.forEach((socket) => socket.destroy()));
  let ended = 0;
  const total = 10_000;
  // Fewer than the queue of connections not yet accepted holds: one left out of it comes again a second later.
  const batch = 200;
  for (let from = 0; from < total; from += batch) {
    // Each 127.x.y.1 is an address of its own here, so only the bound over all of them counts.
    const opened = Array.from({ length: batch }, (_, at) =>
      connectFrom(server, `127.${1 + ((from + at) >> 8)}.${(from + at) & 255}.1`),
    );
    idle.push(...opened);
    for (const socket of opened) socket.on("close", () => (ended += 1));
    // Not once they are connected, which the system does: they fill its queue until they are accepted.
    await until(() => ended + server.connections.total === idle.length);
    assert.ok(server.connections.total <= LIMITS.dnsConnectionsMax);
    assert.equal(await askOnce(t, server), 1);
  }
  assert.ok(idle.slice(0, total / 2).every((socket) => socket.destroyed));
  assert.ok(idle.slice(-batch).every((socket) => !socket.destroyed));
});

test("tcp: a pipeline of expensive queries lets other connections and the rest of the daemon go on", async (t) => {
  let served = 0;
  const order: string[] = [];
  const server = await open(t, {
    // Each query takes longer than a turn may.
    turnMs: 0,
    serve: (reply, bytes) => {
      served += 1;
      order.push(bytes.length === ASKED.length ? "cheap" : "dear");
      reply(ANSWER);
    },
  });
  const [dear, cheap] = [connectFrom(server, "127.0.0.1"), connectFrom(server, "127.0.0.2")];
  t.after(() => [dear, cheap].forEach((socket) => socket.destroy()));
  await until(() => server.connections.total === 2);
  const total = 200;
  dear.write(Buffer.concat(Array.from({ length: total }, () => frame(Buffer.concat([ASKED, ASKED])))));
  await until(() => served > 0, { everyMs: 0 });
  cheap.write(frame(ASKED));
  await until(() => served === total + 1);
  assert.ok(order.indexOf("cheap") < total, `after ${order.indexOf("cheap")} others`);
});

/** Longer than any test: what ends before ends by its own cause. */
const LONG_MS = 600_000;

/** A client with what it received; it never ends its own side. */
async function stubborn(t: TestContext, to: HostPort): Promise<{ socket: Socket; received: () => Buffer[] }> {
  const socket = connect({ port: to.port, host: to.host, allowHalfOpen: true });
  socket.on("error", () => socket.destroy());
  t.after(() => socket.destroy());
  const parts: Buffer[] = [];
  socket.on("data", (chunk) => parts.push(chunk));
  await within(once(socket, "connect"), "the connection");
  return { socket, received: () => unframe(Buffer.concat(parts)) };
}

test("tcp: a listener that leaves answers what comes in the next moment, and ends who is at rest", async (t) => {
  const server = await open(t);
  const [idle, busy, late] = [client(t, server), client(t, server), await stubborn(t, server)];
  idle.resume();
  const answers: Buffer[] = [];
  busy.on("data", (chunk) => answers.push(chunk));
  busy.write(frame(ASKED));
  await until(() => server.waiting.length === 1 && server.connections.total === 3);
  const left = server.listener.leave(LONG_MS);
  late.socket.write(frame(ASKED));
  await within(once(idle, "close"), "the end of the idle connection");
  await until(() => server.waiting.length === 2 && server.connections.total === 2);
  for (const reply of server.waiting) reply(ASKED);
  await within(once(busy, "close"), "the end of the busy connection");
  await until(() => late.received().length === 1);
  assert.equal(unframe(Buffer.concat(answers)).length, 1);
  late.socket.end();
  await within(left, "the end of the last connection");
  await until(() => server.connections.total === 0);
});

test("tcp: what is asked when a connection was ended is not answered, and costs no time", async (t) => {
  const server = await open(t);
  const { socket, received } = await stubborn(t, server);
  const left = server.listener.leave(1500);
  await within(once(socket, "end"), "the end of its side");
  for (let count = 0; count < 10; count += 1) socket.write(frame(ASKED));
  await within(left, "the end of the connection");
  assert.deepEqual([received(), server.waiting], [[], []]);
  assert.ok(server.turns() < 10, `put off ${server.turns()} times`);
});

test("tcp: a listener that leaves is closed at once when it is told to", async (t) => {
  const server = await open(t);
  const { socket } = await stubborn(t, server);
  socket.write(frame(ASKED));
  await until(() => server.waiting.length === 1);
  const left = server.listener.leave(LONG_MS);
  const closed = once(socket, "close");
  await within(server.listener.shut(), "the end of all");
  await within(left, "the end of its leaving");
  socket.end();
  await within(closed, "the end of the connection");
  await server.listener.leave(LONG_MS);
});

test("tcp: a connection that waits for a place when the listener leaves is ended, and asks elsewhere", async (t) => {
  const server = await open(t, { max: 1, waitMs: LONG_MS });
  const first = client(t, server);
  first.resume();
  first.write(frame(ASKED));
  await until(() => server.waiting.length === 1);
  const second = client(t, server);
  second.resume();
  await within(once(second, "connect"), "the second connection");
  const left = server.listener.leave(LONG_MS);
  await within(once(second, "close"), "the end of the one that waits");
  server.waiting[0]?.(ASKED);
  await within(left, "the end of the first");
});
