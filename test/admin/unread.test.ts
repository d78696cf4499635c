// Unread: what no parser reads is answered as anything else is, so that nobody takes the daemon for something else.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { answerUnread } from "../../src/admin/unread.ts";
import { openClient } from "../../src/cli/client.ts";
import { openTcp } from "../support/tcp.ts";
import { until } from "../support/wait.ts";
import { openDoors, openRaw } from "./doors.ts";

const MALFORMED: readonly (readonly [string, string, RegExp])[] = [
  ["no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", /^HTTP\/1\.1 400 .*"code":"usage"/s],
  ["a head without a Host", "GET /healthz HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 400 .*has no Host/s],
  [
    "a head too long",
    `GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${"x".repeat(20_000)}\r\n\r\n`,
    /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n.*longer than a daemon reads/s,
  ],
  [
    "a body in pieces that are none",
    "POST /api/v1/drains HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnone\r\n",
    /^HTTP\/1\.1 400 /,
  ],
  [
    "an expectation that nobody knows",
    "GET /healthz HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\nconnection: close\r\n\r\n",
    /^HTTP\/1\.1 200 .*ok\n$/s,
  ],
];

for (const [what, bytes, told] of MALFORMED) {
  test(`unread: ${what} gets one answer that tells that it is of Skein's API`, async (t) => {
    const { socketPath } = await openDoors(t);
    const raw = openRaw(t, socketPath, bytes);
    await until(() => /\r\n\r\n.*\n$/s.test(raw.read()) || raw.socket.readableEnded);
    assert.match(raw.read(), told);
    assert.deepEqual(raw.read().match(/^(?:HTTP|skein-api).*$/gim)?.length, 2, raw.read());
    assert.match(raw.read(), /^skein-api: 1\r$/m);
  });
}

test("unread: what is malformed behind an answer that has begun cuts it, and is not written into it", async (t) => {
  const { socketPath } = await openDoors(t);
  const raw = openRaw(t, socketPath, "GET /api/v1/watch HTTP/1.1\r\nhost: x\r\n\r\n");
  await until(() => raw.read().includes("event: picture"));
  raw.socket.write("nonsense\r\n\r\n");
  await until(() => raw.socket.readableEnded || raw.socket.destroyed);
  assert.equal(raw.read().match(/HTTP\/1\.1/g)?.length, 1);
});

test("unread: a caller that breaks off is not answered, and leaves the door open to others", async (t) => {
  const { socketPath } = await openDoors(t);
  const leaving = openRaw(t, socketPath, "GET /healthz HT");
  leaving.socket.destroy();
  const next = openRaw(t, socketPath, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
  await until(() => next.read().endsWith("ok\n"));
});

test("unread: a request that does not come whole in time is told that, and its connection ends", async (t) => {
  const server = createServer({ headersTimeout: 50, requestTimeout: 50, connectionsCheckingInterval: 10 });
  answerUnread(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { socket, received } = await openTcp(t, (server.address() as AddressInfo).port);
  socket.write("GET /healthz HTTP/1.1\r\nhost: x\r\n");
  await until(() => socket.readableEnded);
  assert.match(received(), /^HTTP\/1\.1 408 Request Timeout\r\n.*^skein-api: 1\r$.*"code":"timeout"/ms);
});

test("unread: a command that asks for too much is told that, and not that a stranger listens", async (t) => {
  const { socketPath } = await openDoors(t);
  const client = openClient({ socketPaths: [socketPath], interrupted: new AbortController().signal });
  await assert.rejects(client.get(`/api/v1/explain/${"x".repeat(20_000)}`), {
    code: "usage",
    message: /longer than a daemon reads; expected names of at most 253 characters/,
  });
});
