// Who may listen beside whom: a successor beside its predecessor, and nobody else.

import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import test, { type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import { expectShareable, ownSockets } from "../../src/runtime/sharing.ts";

const HOST = "127.0.0.1";

async function openTcp(t: TestContext): Promise<HostPort> {
  const server = createServer();
  server.listen({ host: HOST, port: 0, reusePort: true });
  t.after(() => server.close());
  await once(server, "listening");
  return { host: HOST, port: (server.address() as AddressInfo).port };
}

async function openUdp(t: TestContext): Promise<HostPort> {
  const socket: Socket = createSocket({ type: "udp4", reusePort: true });
  socket.bind(0, HOST);
  t.after(() => socket.close());
  await once(socket, "listening");
  return { host: HOST, port: socket.address().port };
}

for (const [protocol, open] of [
  ["tcp", openTcp],
  ["udp", openUdp],
] as const) {
  test(`sharing: a ${protocol} place that a stranger holds is taken, though the kernel would share it`, async (t) => {
    const at = await open(t);
    await assert.rejects(expectShareable(at, protocol, new Set()), { code: "EADDRINUSE" });
    await assert.rejects(expectShareable(at, protocol, new Set(["1"])), { code: "EADDRINUSE" });
  });

  test(`sharing: a ${protocol} place of the predecessor may be shared`, async (t) => {
    const at = await open(t);
    await expectShareable(at, protocol, new Set(await ownSockets()));
  });
}

test("sharing: a free place is free, and so is one that the system is to choose", async (t) => {
  const { host, port } = await openTcp(t);
  await expectShareable({ host: "127.0.0.2", port }, "tcp", new Set());
  await expectShareable({ host, port: 0 }, "tcp", new Set());
});
