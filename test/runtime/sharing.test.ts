// Who listens where, and who may beside whom: a successor beside its predecessor, and nobody else.

import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import test, { type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import { ownSockets, survey } from "../../src/runtime/sharing.ts";
import { openBlock } from "../support/daemons.ts";

const HOST = "127.0.0.1";
const skip = existsSync("/proc/net/udp") ? false : "this system has no /proc/net";
const SELF = `\\S+ \\(pid ${process.pid}\\)`;

interface Opened extends HostPort {
  readonly close: () => Promise<void>;
}

async function openTcp(t: TestContext, host: string): Promise<Opened> {
  const server = createServer();
  server.listen({ host, port: 0, reusePort: true });
  await once(server, "listening");
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => (closing ??= new Promise((resolve) => server.close(() => resolve())));
  t.after(close);
  return { host, port: (server.address() as AddressInfo).port, close };
}

async function openUdp(t: TestContext, host: string): Promise<Opened> {
  const type = host.includes(":") ? "udp6" : "udp4";
  const socket: Socket = createSocket({ type, reusePort: true, ipv6Only: type === "udp6" });
  socket.bind(0, host);
  await once(socket, "listening");
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => (closing ??= new Promise((resolve) => socket.close(() => resolve())));
  t.after(close);
  return { host, port: socket.address().port, close };
}

for (const [transport, open] of [
  ["tcp", openTcp],
  ["udp", openUdp],
] as const) {
  for (const host of [HOST, "::1", "0.0.0.0", "::"]) {
    test(`sharing: a ${transport} place ${host} is its holder's, who is named`, { skip }, async (t) => {
      const at = await open(t, host);
      const message = new RegExp(`:${at.port}(/udp)? is held by ${SELF}$`);
      for (const shared of [new Set<string>(), new Set(["1"])]) {
        const seen = await survey(shared);
        await assert.rejects(seen.expectShareable(at, transport), { code: "busy", message });
      }
    });
  }

  test(`sharing: a ${transport} place of the predecessor may be shared`, { skip }, async (t) => {
    for (const host of [HOST, "::1", "0.0.0.0"]) {
      const at = await open(t, host);
      await (await survey(new Set(await ownSockets()))).expectShareable(at, transport);
    }
  });

  test(
    `sharing: a ${transport} place whose predecessor closes while it is looked at is free`,
    { skip },
    async (t) => {
      const at = await open(t, HOST);
      const seen = await survey(new Set(await ownSockets()));
      await at.close();
      await seen.expectShareable(at, transport);
    },
  );

  test(
    `sharing: what we have on every address over ${transport} is no hindrance on one`,
    { skip },
    async (t) => {
      const { port } = await open(t, "0.0.0.0");
      await (await survey()).expectShareable({ host: HOST, port }, transport);
    },
  );

  test(`sharing: a ${transport} place nearby is free, and so is one that the system is to choose`, async (t) => {
    const { port } = await open(t, HOST);
    const seen = await survey();
    await seen.expectShareable({ host: "127.0.0.2", port }, transport);
    await seen.expectShareable({ host: HOST, port: 0 }, transport);
  });

  test(`survey: names who has a ${transport} place, or the port on every address`, { skip }, async (t) => {
    const block = await openBlock(t);
    const one = await open(t, block.address(1));
    const every = await open(t, "0.0.0.0");
    const seen = await survey();
    const self = new RegExp(`^${SELF}$`);
    assert.match((await seen.holderOf(one, transport)) ?? "", self);
    assert.match((await seen.holderOf({ host: HOST, port: every.port }, transport)) ?? "", self);
    assert.equal(await seen.holderOf({ host: block.address(2), port: one.port }, transport), null);
  });
}
