// TCP connections of the DNS server: bounds, idleness and clients that do not read.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import type { Reply, Responder } from "../../src/dns/responder.ts";
import { countConnections, TcpListener } from "../../src/dns/tcp.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { until } from "../support/wait.ts";
import { frame, query, unframe } from "./fixture.ts";

const ASKED = query("web", "A");

interface Opened extends HostPort {
  readonly connections: ReturnType<typeof countConnections>;
  /** Queries being answered now, and the most there were at once. */
  readonly waiting: Reply[];
}

/** A listener whose queries are answered by `serve`; by default they wait in `waiting`. */
async function open(
  t: TestContext,
  { idleMs = 60_000, serve }: { idleMs?: number; serve?: (reply: Reply, bytes: Buffer) => void } = {},
): Promise<Opened> {
  const waiting: Reply[] = [];
  const connections = countConnections();
  const responder: Pick<Responder, "recall" | "serve"> = {
    recall: () => null,
    serve: (bytes, _client, reply) => (serve === undefined ? waiting.push(reply) : serve(reply, bytes)),
  };
  const options = { responder: responder as Responder, connections, metrics: openMetrics(), idleMs };
  const listener = new TcpListener(options);
  t.after(() => listener.shut());
  const address = await listener.open({ host: "127.0.0.1", port: 0 });
  return { ...address, connections, waiting };
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
  await once(socket, "close");
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
  await once(socket, "close");
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
  await once(socket, "close");
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
  await once(socket, "close");
  assert.equal(bytes, total * (answer.length + 2));
});

test("tcp: one address gets only so many connections, and one that ends makes room", async (t) => {
  const server = await open(t);
  const sockets = Array.from({ length: LIMITS.dnsConnectionsPerAddress }, () => client(t, server));
  await until(() => server.connections.total === LIMITS.dnsConnectionsPerAddress);
  const refused = client(t, server);
  refused.resume();
  await once(refused, "close");
  sockets[0]?.destroy();
  await until(() => server.connections.total === LIMITS.dnsConnectionsPerAddress - 1);
  const next = client(t, server);
  next.write(frame(ASKED));
  await until(() => server.waiting.length === 1);
});

test("tcp: connections are bounded over all addresses together", () => {
  const count = countConnections();
  const addresses = Array.from(
    { length: LIMITS.dnsConnectionsMax },
    (_, at) => `10.0.${at >> 8}.${at & 255}`,
  );
  assert.ok(addresses.every((address) => count.enter(address)));
  assert.equal(count.enter("10.1.0.1"), false);
  count.leave("10.0.0.0");
  assert.equal(count.enter("10.1.0.1"), true);
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
  await new Promise((resolve) => socket.on("close", resolve));
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
  await once(socket, "close");
  assert.equal(bytes, total * (answer.length + 2));
});

test("tcp: thousands of idle connections are refused past the cap, and those that are there are served", async (t) => {
  const server = await open(t, { serve: (reply) => reply(Buffer.from("the answer")) });
  const early = client(t, server);
  const received: Buffer[] = [];
  early.on("data", (chunk) => received.push(chunk));
  await until(() => server.connections.total === 1);
  let refused = 0;
  const idle: Socket[] = [];
  t.after(() => idle.forEach((socket) => socket.destroy()));
  const total = 10_000;
  // Fewer than the queue of connections not yet accepted holds: one left out of it comes again a second later.
  const batch = 200;
  for (let from = 0; from < total; from += batch) {
    // Each 127.x.y.1 is an address of its own here, so only the bound over all of them counts.
    const opened = Array.from({ length: batch }, (_, at) => connectFrom(server, from + at));
    idle.push(...opened);
    for (const socket of opened) socket.on("close", () => (refused += 1));
    // Not once they are connected, which the system does: they fill its queue until they are accepted.
    await until(() => refused + server.connections.total === 1 + idle.length);
    assert.ok(server.connections.total <= LIMITS.dnsConnectionsMax);
  }
  assert.equal(refused, total + 1 - LIMITS.dnsConnectionsMax);
  early.write(frame(ASKED));
  await until(() => unframe(Buffer.concat(received)).length === 1);
});

function connectFrom({ host, port }: HostPort, at: number): Socket {
  const socket = connect({ host, port, localAddress: `127.${1 + (at >> 8)}.${at & 255}.1` });
  socket.on("error", () => socket.destroy());
  socket.resume();
  return socket;
}
