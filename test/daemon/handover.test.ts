// The words of a handover, over a real unix socket with the real doors behind it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import test, { type TestContext } from "node:test";

import { askHandover, openSuccessor, type Successor } from "../../src/daemon/handover.ts";
import type { Legacy } from "../../src/daemon/legacy.ts";
import { openDoors } from "../admin/doors.ts";
import { folderFor } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

const LEGACY: Legacy = {
  sockets: ["4711"],
  endpoints: [
    {
      id: "web-1",
      address: "192.0.2.1",
      declaration: { ports: [{ target: 8080, protocol: "http" }] },
    },
  ],
  ready: ["web-1"],
};

/** An old daemon's doors, and the connection of the first that asks to take over. */
async function oldDaemon(
  t: TestContext,
): Promise<{ readonly socketPath: string; readonly successor: Promise<Successor> }> {
  const { promise, resolve } = Promise.withResolvers<Successor>();
  const { socketPath } = await openDoors(t, {
    onHandover: (connection) => resolve(openSuccessor(connection)),
  });
  return { socketPath, successor: promise };
}

test("handover: the new daemon gets the legacy, and is heard in turn until it is ready", async (t) => {
  const { socketPath, successor } = await oldDaemon(t);
  const asked = askHandover(socketPath);
  const old = await successor;
  old.give(LEGACY);
  const predecessor = await asked;
  assert.deepEqual(predecessor?.legacy, LEGACY);
  const relieved = predecessor?.relieveOfStreams();
  assert.equal(await old.next(), "relays");
  old.done();
  await relieved;
  const ended = predecessor?.relieve();
  assert.equal(await old.next(), "ready");
  old.done();
  await ended;
});

test("handover: a new daemon that takes minutes to be ready is waited for", async (t) => {
  const { socketPath, successor } = await oldDaemon(t);
  const asked = askHandover(socketPath);
  const old = await successor;
  old.give(LEGACY);
  const predecessor = await asked;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const said = old.next();
  t.mock.timers.tick(5 * 60_000);
  t.mock.timers.reset();
  void predecessor?.relieve();
  assert.equal(await said, "ready");
  old.done();
});

test("handover: a new daemon that gives up, or dies, is gone for the old one", async (t) => {
  const { socketPath, successor } = await oldDaemon(t);
  const asked = askHandover(socketPath);
  const old = await successor;
  old.give(LEGACY);
  (await asked)?.abandon();
  assert.equal(await old.next(), "gone");
});

test("handover: an old daemon that ends instead of handing over is a failure that says so", async (t) => {
  const connections: { destroy(): void }[] = [];
  const { socketPath } = await openDoors(t, { onHandover: (connection) => connections.push(connection) });
  const asked = askHandover(socketPath);
  await until(() => connections.length === 1);
  connections[0]?.destroy();
  await assert.rejects(asked, { code: "busy" });
});

test("handover: where no daemon runs there is nobody to take over from", async (t) => {
  assert.equal(await askHandover(join(folderFor(t), "none.sock")), null);
});

test("handover: a daemon of a version that cannot is told of, with what to do", async (t) => {
  const socketPath = join(folderFor(t), "old.sock");
  const server = createServer((_request, response) => response.writeHead(404).end());
  t.after(() => server.close());
  server.listen(socketPath);
  await once(server, "listening");
  await assert.rejects(askHandover(socketPath), { code: "invalid", message: /stop it, then start/ });
});

test("handover: the doors close at once while the connection of the handover lives on", async (t) => {
  const connections: { destroyed: boolean }[] = [];
  const { socketPath, admin } = await openDoors(t, { onHandover: (one) => connections.push(one) });
  const asked = askHandover(socketPath);
  await until(() => connections.length === 1);
  await admin.close();
  assert.equal(connections[0]?.destroyed, false);
  (connections[0] as unknown as { destroy(): void }).destroy();
  await assert.rejects(asked, { code: "busy" });
});
