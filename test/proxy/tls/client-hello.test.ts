// Client hello: names are read as clients send them, in whatever pieces; nothing else is taken for one.

import assert from "node:assert/strict";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";
import { test } from "node:test";
import { connect } from "node:tls";

import * as fc from "fast-check";

import { LIMITS } from "../../../src/model/limits.ts";
import { HelloReader, hostOf, type HelloReading } from "../../../src/proxy/tls/client-hello.ts";

import { within } from "../../support/wait.ts";
import { hostName, inRecords, renderHello } from "./hellos.ts";

const label = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,20}$/);
const host = fc
  .array(label, { minLength: 1, maxLength: 5 })
  .map((labels) => labels.join("."))
  .filter((text) => !/^[0-9.]+$/.test(text));
const protocol = fc.stringMatching(/^[a-z0-9/.]{1,12}$/);

function read(...pieces: readonly Buffer[]): HelloReading {
  const reader = new HelloReader();
  let reading: HelloReading = { kind: "more" };
  for (const piece of pieces) reading = reader.add(piece);
  return reading;
}

test("client hello: names come out as they were sent, cut anywhere and in records of any size", () => {
  const parts = fc.record({
    name: host,
    protocols: fc.array(protocol, { maxLength: 4 }),
    padding: fc.nat(3000),
    recordBytes: fc.integer({ min: 1, max: 16_384 }),
    cuts: fc.array(fc.nat(6000), { maxLength: 5 }),
  });
  fc.assert(
    fc.property(parts, ({ name, protocols, padding, recordBytes, cuts }) => {
      const message = renderHello({ names: [hostName(name)], protocols, padding });
      const bytes = inRecords(message, recordBytes);
      fc.pre(bytes.length < LIMITS.clientHelloBytes);
      const ends = [...cuts.map((cut) => cut % bytes.length), bytes.length].sort((a, b) => a - b);
      const pieces = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
      assert.deepEqual(read(...pieces), { kind: "hello", serverName: name });
      assert.deepEqual(read(bytes.subarray(0, bytes.length - 1)), { kind: "more" });
    }),
  );
});

test("client hello: what follows the message is left alone", () => {
  const bytes = inRecords(renderHello({ names: [hostName("db.example.com")] }));
  const early = Buffer.from([23, 3, 3, 0, 1, 0]);
  const reading = read(Buffer.concat([bytes, early]));
  assert.deepEqual(reading, { kind: "hello", serverName: "db.example.com" });
});

test("client hello: a name is lowered and loses its closing dot; what is no host's name is none", () => {
  const nameIn = (...names: Parameters<typeof hostName>[0][]): unknown => {
    const reading = read(inRecords(renderHello({ names: names.map(hostName) })));
    return reading.kind === "hello" ? reading.serverName : reading.kind;
  };
  assert.equal(nameIn("Db.Example.COM."), "db.example.com");
  assert.equal(nameIn("my_host"), "my_host");
  for (const name of [
    "",
    ".",
    "a..b",
    "127.0.0.1",
    "::1",
    "a b",
    "a\0b",
    "*.example.com",
    "ü.de",
    "a".repeat(64),
  ]) {
    assert.equal(nameIn(name), null, name);
  }
  assert.equal(nameIn(`${"a".repeat(60)}.`.repeat(5)), null);
  assert.equal(nameIn("a.example", "b.example"), null);
  assert.equal(hostOf("Example.com."), "example.com");
});

test("client hello: one without extensions, or with names of other types only, names no host", () => {
  assert.deepEqual(read(inRecords(renderHello({ isBare: true }))), {
    kind: "hello",
    serverName: null,
  });
  const other = renderHello({ names: [{ type: 7, name: Buffer.from("a.example") }] });
  assert.equal(read(inRecords(other)).kind, "hello");
  assert.deepEqual(read(inRecords(other)), { kind: "hello", serverName: null });
});

test("client hello: other protocols are told from TLS by their first bytes", () => {
  for (const text of ["GET / HTTP/1.1\r\n", "SSH-2.0-x", "\0", "\x80\x2e\x01\x03\x01", "\x16\x02\x00"]) {
    assert.deepEqual(read(Buffer.from(text, "latin1")), { kind: "none" }, text);
  }
  // A handshake of another kind, an empty record, one longer than records may be.
  for (const bytes of [
    [22, 3, 1, 0, 1, 2],
    [22, 3, 1, 0, 0],
    [22, 3, 1, 0x40, 1],
  ]) {
    assert.deepEqual(read(Buffer.from(bytes)), { kind: "none" });
  }
});

test("client hello: one that says more than the bound is not waited for", () => {
  const message = renderHello({ padding: LIMITS.clientHelloBytes });
  assert.deepEqual(read(inRecords(message).subarray(0, 100)), { kind: "none" });
  // The heads of records count too, or a byte a record would be six times as much.
  const small = inRecords(renderHello({ padding: LIMITS.clientHelloBytes - 1000 }), 1);
  const reader = new HelloReader();
  let taken = 0;
  while (reader.add(small.subarray(taken, taken + 1)).kind === "more") taken += 1;
  assert.ok(taken < LIMITS.clientHelloBytes);
  assert.deepEqual(reader.add(small), { kind: "none" });
});

test("client hello: what a TLS client sends is understood", async (t) => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const client = connect({
    port,
    host: "127.0.0.1",
    servername: "App.example.com",
    ALPNProtocols: ["h2", "http/1.1"],
  });
  client.on("error", () => undefined);
  const [socket] = await within(once(server, "connection") as Promise<[Socket]>, "the client's connection");
  socket.on("error", () => undefined);
  const reader = new HelloReader();
  let reading: HelloReading = { kind: "more" };
  for await (const chunk of socket) {
    reading = reader.add(chunk as Buffer);
    if (reading.kind !== "more") break;
  }
  client.destroy();
  assert.deepEqual(reading, { kind: "hello", serverName: "app.example.com" });
});
