// Udp: a socket to one place says what it hears, and that nobody is there.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { systemCodeOf } from "../../src/base/failure.ts";
import { openUdpSocket, type UdpSocket } from "../../src/runtime/udp.ts";
import { closedUdpPort, namedUdp, openUdp } from "../support/udp.ts";
import { until } from "../support/wait.ts";

function openTo(t: TestContext, port: number, host = "127.0.0.1") {
  const received: string[] = [];
  const failures: (string | null)[] = [];
  const socket: UdpSocket = openUdpSocket(
    { host, port },
    {
      received: (payload) => void received.push(payload.toString()),
      failed: (thrown) => void failures.push(systemCodeOf(thrown)),
    },
  );
  t.after(() => socket.close());
  return { socket, received, failures };
}

test("udp socket: what is sent in the turn that opens it arrives, and answers come back", async (t) => {
  const server = await namedUdp(t, "one");
  const { socket, received } = openTo(t, server.port);
  assert.equal(socket.send(Buffer.from("a")), true);
  await until(() => received.includes("one a"));
});

test("udp socket: a port that nobody has is told as refused, also after it was used", async (t) => {
  const server = await namedUdp(t, "one");
  const { socket, received, failures } = openTo(t, server.port);
  socket.send(Buffer.from("a"));
  await until(() => received.length === 1);
  await server.close();
  socket.send(Buffer.from("b"));
  await until(() => failures.includes("ECONNREFUSED"));
  const other = openTo(t, await closedUdpPort(t));
  other.socket.send(Buffer.from("a"));
  await until(() => other.failures.includes("ECONNREFUSED"));
});

test("udp socket: datagrams of anybody else do not get in", async (t) => {
  const server = await openUdp(t);
  const { socket, received } = openTo(t, server.port);
  socket.send(Buffer.from("a"));
  await until(() => server.received.length === 1);
  const port = server.received[0]?.from.port ?? 0;
  const stranger = await openUdp(t);
  stranger.socket.send("stranger", port, "127.0.0.1");
  server.socket.send("server", port, "127.0.0.1");
  await until(() => received.length > 0);
  assert.deepEqual(received, ["server"]);
});

test("udp socket: a datagram that is too long is told, and the next one arrives", async (t) => {
  const server = await openUdp(t);
  const { socket, failures } = openTo(t, server.port);
  socket.send(Buffer.alloc(70_000));
  await until(() => failures.includes("EMSGSIZE"));
  socket.send(Buffer.from("a"));
  await until(() => server.received.length === 1);
});

test("udp socket: once closed it sends nothing and says nothing", async (t) => {
  const { socket, failures } = openTo(t, await closedUdpPort(t));
  socket.send(Buffer.from("a"));
  socket.close();
  socket.close();
  assert.equal(socket.send(Buffer.from("b")), false);
  await new Promise(setImmediate);
  assert.deepEqual(failures, []);
});
