// Pump: two connections joined as one, and how a connection is reset.

import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Duplex, duplexPair } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";

import { join, reset } from "../../src/runtime/pump.ts";
import { certify } from "../trust/certificates.ts";
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

test("reset: a TLS connection that cannot reset what is below it is closed all the same", async (t) => {
  const { keyPem: key, pem: cert } = certify({ subject: "/CN=web", extensions: ["subjectAltName=DNS:web"] });
  let served: TLSSocket | null = null;
  const server = createTlsServer({ key, cert }, (socket) => (served = socket));
  server.listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const client = connectTls({ port: (server.address() as AddressInfo).port, rejectUnauthorized: false });
  client.on("error", () => undefined);
  reset(await until((): TLSSocket | null => served));
  await until(() => client.closed);
  assert.equal((served as unknown as TLSSocket).destroyed, true);
});

/** A pair of streams in memory: what is written to one is read from the other. */
function pair(): readonly [Duplex, Duplex] {
  return duplexPair({ allowHalfOpen: true });
}

test("join: bytes and ends pass both ways, and it is over when both have closed in form", async () => {
  const [client, one] = pair();
  const [other, server] = pair();
  const brokenBy: (Duplex | null)[] = [];
  join(one, other, { over: (stream) => void brokenBy.push(stream) });
  client.end("question");
  assert.equal(await text(server), "question");
  assert.deepEqual(brokenBy, []);
  server.end("answer");
  assert.equal(await text(client), "answer");
  await until(() => brokenBy.length === 1);
  assert.deepEqual(brokenBy, [null]);
});

test("join: it is told which of the two broke the connection off, and the other is cut", async () => {
  const [client, one] = pair();
  const [other, server] = pair();
  for (const stream of [client, server]) stream.on("error", () => undefined);
  const brokenBy: (Duplex | null)[] = [];
  join(one, other, { over: (stream) => void brokenBy.push(stream) });
  other.destroy();
  await until(() => brokenBy.length === 1);
  assert.deepEqual([brokenBy[0] === other, one.destroyed], [true, true]);
});

test("join: from a side whose peer does not read no more is taken than some hundred kilobytes", async () => {
  let takenBytes = 0;
  const source = new Duplex({
    read() {
      takenBytes += 65_536;
      this.push(Buffer.alloc(65_536));
    },
    write: (_chunk, _encoding, done) => done(),
  });
  let pendingWrites = 0;
  const sink = new Duplex({
    read: () => undefined,
    write: () => (pendingWrites += 1),
  });
  join(source, sink);
  await until(() => pendingWrites === 1);
  const before = takenBytes;
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(takenBytes, before);
  assert.ok(takenBytes <= 4 * 65_536, `${takenBytes} bytes are held`);
  source.destroy();
});
