// How a connection is reset when it is about to end by itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import { reset } from "../../src/runtime/pump.ts";
import { openTcp, openTcpServer } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

test("reset: a connection whose own end is just on its way is closed, without an error of ours", async (t) => {
  const server = await openTcpServer(t, (socket) => socket.resume());
  const { socket } = await openTcp(t, server.port);
  const errors: string[] = [];
  socket.on("error", (thrown) => errors.push(thrown.message));
  socket.end();
  await new Promise<void>((resolve) => process.nextTick(resolve));
  assert.deepEqual([socket.writableEnded, socket.writableFinished], [true, false]);
  reset(socket);
  await until(() => socket.closed);
  assert.deepEqual(errors, []);
});

test("reset: a connection with much unsent is reset at once, and its reader sees that", async (t) => {
  const server = await openTcpServer(t, (socket) => socket.pause());
  const { socket } = await openTcp(t, server.port);
  const codes: string[] = [];
  const reader = await until(() => server.sockets[0]);
  reader.on("error", (thrown: NodeJS.ErrnoException) => codes.push(thrown.code ?? ""));
  socket.write(Buffer.alloc(16 * 1024 * 1024));
  socket.end();
  reset(socket);
  reader.resume();
  await until(() => codes.length === 1);
  assert.deepEqual(codes, ["ECONNRESET"]);
});
