// What the system of the other side tells of last words that nobody read.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { test, type TestContext } from "node:test";

import { wasRefused } from "../../src/runtime/refused.ts";
import { openTcpServer } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

async function pair(t: TestContext): Promise<readonly [Socket, Socket]> {
  const server = await openTcpServer(t, (socket) => socket.on("error", () => undefined));
  const near = connect({ port: server.port, host: "127.0.0.1", allowHalfOpen: true });
  near.on("error", () => undefined).resume();
  t.after(() => near.destroy());
  return [near, await until(() => server.sockets[0])];
}

test("refused: what came after the other side had closed was not read", async (t) => {
  const [near, far] = await pair(t);
  far.destroy();
  await once(far, "close");
  // Its end is in the system here by now, and unread: this write crosses nothing that we could have known of.
  near.write("last words");
  await until(() => near.readableEnded);
  assert.equal(await wasRefused(near), true);
});

test("refused: what was read before the other side closed was not", async (t) => {
  const [near, far] = await pair(t);
  near.write("last words");
  await once(far, "data");
  far.destroy();
  await until(() => near.readableEnded);
  assert.equal(await wasRefused(near), false);
});

test("refused: a connection that was reset without an end tells nothing", async (t) => {
  const [near, far] = await pair(t);
  near.write("last words");
  await once(far, "data");
  far.resetAndDestroy();
  await until(() => near.destroyed);
  assert.equal(await wasRefused(near), false);
});

test("refused: one that we have ended or destroyed ourselves tells nothing, and so does no socket", async (t) => {
  const [near] = await pair(t);
  near.end();
  assert.equal(await wasRefused(near), false);
  near.destroy();
  assert.equal(await wasRefused(near), false);
  assert.equal(await wasRefused(new PassThrough()), false);
});
