// Hello: the first message of a client is read, and every byte of it is there for whoever takes the connection.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createServer, type Socket } from "node:net";

import { Deadlines } from "../../../src/proxy/deadlines.ts";
import { peekHello, type Hello } from "../../../src/proxy/tls/hello.ts";
import { until } from "../../support/wait.ts";
import { Client, listening } from "../fixtures.ts";

import { hostName, inRecords, renderHello } from "./hellos.ts";

const WAIT_MS = 10_000;

/** A client whose connection is peeked at. */
interface Peeked {
  readonly client: Client;
  readonly deadlines: Deadlines;
  readonly socket: Socket;
  readonly heard: Hello[];
}

async function peeked(t: TestContext): Promise<Peeked> {
  const deadlines = new Deadlines();
  const heard: Hello[] = [];
  let taken: Socket | null = null;
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    taken = socket;
    peekHello(socket, { deadlines, nowMs: () => 0, waitMs: WAIT_MS }, (hello) => heard.push(hello));
  });
  const client = new Client(t, await listening(t, server));
  const socket = await until((): Socket | null => taken);
  return { client, deadlines, socket, heard };
}

test("peekHello: a message in pieces is heard once, and stays to be read from its first byte", async (t) => {
  const { client, deadlines, socket, heard } = await peeked(t);
  const bytes = Buffer.concat([
    inRecords(renderHello({ names: [hostName("A.example")] }), 50),
    Buffer.from("more"),
  ]);
  for (const byte of bytes.subarray(0, 60)) client.socket.write(Buffer.from([byte]));
  await until(() => socket.bytesRead === 60);
  assert.deepEqual(heard, []);
  client.socket.write(bytes.subarray(60));
  await until(() => heard.length > 0);
  assert.deepEqual(heard, [{ kind: "hello", serverName: "a.example" }]);
  assert.equal(deadlines.size, 0);
  assert.equal(socket.isPaused(), true);
  let read = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => (read = Buffer.concat([read, chunk])));
  socket.resume();
  await until(() => read.length === bytes.length);
  assert.deepEqual(read, bytes);
  assert.equal(heard.length, 1);
});

test("peekHello: what is no TLS is heard as none, and stays to be read", async (t) => {
  const { client, socket, heard } = await peeked(t);
  client.socket.write("GET / HTTP/1.1\r\n\r\n");
  await until(() => heard.length > 0);
  assert.deepEqual(heard, [{ kind: "none" }]);
  assert.equal(String(socket.read()), "GET / HTTP/1.1\r\n\r\n");
});

test("peekHello: who leaves, resets or is late before the message is whole is let go, and not heard of", async (t) => {
  const half = inRecords(renderHello({ names: [hostName("a.example")] })).subarray(0, 40);
  const ways: readonly ((one: Peeked) => void)[] = [
    ({ client }) => client.socket.end(half),
    ({ client }) => client.socket.resetAndDestroy(),
    ({ client, socket, deadlines }) => {
      client.socket.write(
        half,
        () => void until(() => socket.bytesRead > 0).then(() => deadlines.tick(WAIT_MS)),
      );
    },
  ];
  for (const leave of ways) {
    const one = await peeked(t);
    one.socket.on("error", () => undefined);
    one.deadlines.tick(WAIT_MS - 1);
    assert.equal(one.socket.destroyed, false);
    leave(one);
    await until(() => one.socket.destroyed && one.client.closed);
    assert.deepEqual(one.heard, []);
    assert.equal(one.deadlines.size, 0);
  }
});
