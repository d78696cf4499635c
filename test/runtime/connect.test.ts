// A connection, or why there is none; and nothing left behind.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { test } from "node:test";

import { connectTcp } from "../../src/runtime/connect.ts";

async function listening(): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port };
}

const inTime = () => () => undefined;

test("connect: a connection may still be written to when the other side has ended", async () => {
  const { server, port } = await listening();
  server.on("connection", (peer) => {
    peer.end("bye");
    peer.on("data", (chunk: Buffer) => void received.push(chunk.toString()));
    peer.once("end", () => server.close());
  });
  const received: string[] = [];
  const socket = await connectTcp({ host: "127.0.0.1", port }, inTime);
  await once(socket.resume(), "end");
  socket.end("still here");
  await once(server, "close");
  assert.deepEqual(received, ["still here"]);
});

test("connect: where nothing listens the system's own refusal is what is thrown", async () => {
  const { server, port } = await listening();
  server.close();
  await once(server, "close");
  await assert.rejects(connectTcp({ host: "127.0.0.1", port }, inTime), { code: "ECONNREFUSED" });
});

test("connect: when the deadline passes there is a timeout, and no connection afterwards", async () => {
  const { server, port } = await listening();
  const ended = new Promise<void>((resolve) => {
    server.on("connection", (peer) => {
      peer.on("error", () => undefined);
      peer.once("close", () => resolve());
    });
  });
  const connecting = connectTcp({ host: "127.0.0.1", port }, (passed) => {
    process.nextTick(passed);
    return () => undefined;
  });
  await assert.rejects(connecting, { code: "timeout" });
  const stray = await new Promise<number>((resolve, reject) => {
    server.getConnections((thrown, count) => (thrown === null ? resolve(count) : reject(thrown)));
  });
  if (stray > 0) await ended;
  server.close();
  await once(server, "close");
});
