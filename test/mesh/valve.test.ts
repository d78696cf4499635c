// What a valve lets through: whole frames in their turn, nothing before it, and last words after the end.

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";

import type { Lane } from "../../src/mesh/lanes.ts";
import { Valve } from "../../src/mesh/valve.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openTls, openTlsServer } from "../support/mesh-port.ts";
import { openTcp, openTcpServer } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

/** A lane that only remembers what it was told. */
function openNotebook(): Lane & { readonly told: string[] } {
  const told: string[] = [];
  return {
    told,
    unsentBytes: 0,
    wants: (bytes) => told.push(`wants ${bytes}`),
    ready: (bytes) => told.push(`ready ${bytes}`),
    handle: (frame, to) => to(frame),
    queue: () => "send",
    taken: () => undefined,
    leave: () => undefined,
  };
}

/** A valve over a real connection, what came out of it, and the peer's end. */
async function openValve(
  t: TestContext,
  dialled = false,
): Promise<{ valve: Valve; passed: () => string; peer: Socket; socket: Socket }> {
  const server = await openTcpServer(t, () => undefined);
  const { socket: peer } = await openTcp(t, server.port);
  const socket = await until(() => server.sockets[0]);
  const valve = new Valve(socket, { dialled });
  let text = "";
  valve.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
  return { valve, passed: () => text, peer, socket };
}

/** A frame without a mask; `text` is its payload. */
const frame = (text: string, first = "\x82"): string => `${first}${String.fromCharCode(text.length)}${text}`;

const ignored = (): void => undefined;

test("valve: nothing is read before it is open, and then one frame passes for each release", async (t) => {
  const { valve, passed, peer, socket } = await openValve(t);
  peer.write(frame("one") + frame("two"), "latin1");
  await until(() => peer.bytesWritten === 10);
  assert.equal(socket.bytesRead, 0);
  const lane = openNotebook();
  valve.open(lane, ignored);
  await until(() => lane.told.length === 1);
  assert.equal(passed(), "");
  valve.release();
  assert.equal(passed(), frame("one"));
  assert.deepEqual(lane.told, ["ready 5", "ready 5"]);
  valve.release();
  valve.release();
  assert.equal(passed(), frame("one") + frame("two"));
});

test("valve: a large frame is read only once it is admitted; its sender waits till then", async (t) => {
  const { valve, passed, peer, socket } = await openValve(t);
  const lane = openNotebook();
  valve.open(lane, ignored);
  const payload = Buffer.alloc(LIMITS.frameBytes, 65);
  const head = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0]);
  peer.write(Buffer.concat([head, payload, head, payload, head, payload, head, payload, head, payload]));
  await until(() => lane.told.length === 1);
  assert.deepEqual(lane.told, [`wants ${head.length + payload.length}`]);
  // What it has read at most: what its head came in, and what the stream had read by then.
  assert.ok(socket.bytesRead <= 3 * 64 * 1024, `${socket.bytesRead} bytes`);
  valve.admit();
  await until(() => lane.told.length === 2);
  assert.deepEqual(lane.told.at(-1), `ready ${head.length + payload.length}`);
  assert.equal(passed(), "");
  valve.release();
  assert.equal(passed().length, head.length + payload.length);
  assert.ok(socket.bytesRead <= payload.length + 6 * 64 * 1024, `${socket.bytesRead} bytes`);
});

test("valve: the memory of a frame is gone once it is handled", async (t) => {
  const { valve, peer } = await openValve(t);
  const lane = openNotebook();
  valve.open(lane, ignored);
  const seen: Buffer[] = [];
  valve.on("data", (bytes: Buffer) => seen.push(bytes));
  peer.write(Buffer.concat([Buffer.from([0x82, 126, 0x75, 0x30]), Buffer.alloc(30_000)]));
  await until(() => lane.told.length === 1);
  valve.admit();
  await until(() => lane.told.length === 2);
  valve.release();
  assert.equal(seen[0]?.length, 30_004);
  valve.handled();
  assert.equal(seen[0]?.length, 0);
});

test("valve: hushed it drops data, lets control frames through and is deaf after a close", async (t) => {
  const { valve, passed, peer } = await openValve(t);
  const lane = openNotebook();
  valve.open(lane, ignored);
  const [ping, close] = [frame("p", "\x89"), frame("\x03\xe8", "\x88")];
  peer.write(frame("one"), "latin1");
  await until(() => lane.told.length === 1);
  valve.hush();
  const large = `\x82\x7e\x75\x30${"x".repeat(30_000)}`;
  peer.write(frame("two") + ping + large + ping + close + frame("three") + ping, "latin1");
  await until(() => passed().endsWith(close));
  peer.end();
  await until(() => valve.readableEnded);
  assert.equal(passed(), ping + ping + close);
  assert.deepEqual(lane.told, ["ready 5"]);
});

test("valve: what no peer may send is told once, and nothing passes", async (t) => {
  const { valve, passed, peer } = await openValve(t);
  const told: string[] = [];
  valve.open(openNotebook(), ({ code, text }) => told.push(`${code} ${text}`));
  peer.write(frame("fragment", "\x02") + frame("one"), "latin1");
  await until(() => told.length === 1);
  valve.release();
  assert.equal(passed(), "");
  assert.deepEqual(told, ["1008 a message in fragments; expected one frame a message"]);
});

test("valve: the end passes behind the frames that came before it", async (t) => {
  const { valve, passed, peer } = await openValve(t);
  const lane = openNotebook();
  valve.open(lane, ignored);
  peer.end(frame("one"), "latin1");
  await until(() => lane.told.length > 0);
  assert.equal(valve.readableEnded, false);
  valve.release();
  await until(() => valve.readableEnded);
  assert.equal(passed(), frame("one"));
});

test("valve: the answer to a handshake passes however it is cut, and what is behind it waits", async (t) => {
  const answer = "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n";
  for (const cut of [1, 3, 20, answer.length - 3, answer.length - 1, answer.length, answer.length + 2]) {
    const { valve, passed, peer } = await openValve(t, true);
    const wire = answer + frame("one");
    peer.write(wire.slice(0, cut), "latin1");
    await until(() => passed() === answer.slice(0, cut));
    peer.write(wire.slice(cut), "latin1");
    await until(() => passed() === answer);
    const lane = openNotebook();
    valve.open(lane, ignored);
    await until(() => lane.told.length === 1);
    valve.release();
    assert.equal(passed(), answer + frame("one"));
  }
});

test("valve: what is written goes straight to the socket, and destroying one destroys the other", async (t) => {
  const { valve, socket, peer } = await openValve(t);
  let heard = "";
  peer.on("data", (bytes: Buffer) => (heard += bytes.toString()));
  valve.cork();
  valve.write("he");
  valve.write("llo");
  valve.uncork();
  await until(() => heard === "hello");
  valve.destroy();
  assert.equal(socket.destroyed, true);
  const other = await openValve(t);
  other.socket.destroy();
  await until(() => other.valve.destroyed);
});

test("valve: over TLS what was read is memory of its own, so giving it back takes nothing from others", async (t) => {
  const sockets: Socket[] = [];
  const { port } = await openTlsServer(t, (socket) => sockets.push(socket));
  const peers = [await openTls(t, port), await openTls(t, port)];
  const [valved, plain] = await until(() => sockets.length === 2 && sockets);
  assert.ok(valved !== undefined && plain !== undefined);
  const valve = new Valve(valved, { dialled: false });
  const lane = openNotebook();
  valve.open(lane, ignored);
  const passed: Buffer[] = [];
  valve.on("data", (bytes: Buffer) => passed.push(bytes));
  const kept: Buffer[] = [];
  plain.on("data", (chunk: Buffer) => kept.push(chunk));
  // As large as a record of TLS may be (RFC 8446 5.1), and as what is given back.
  const frames = 20;
  const payload = Buffer.alloc(LIMITS.smallFrameBytes - 4, "kept");
  const framed = Buffer.concat([
    Buffer.from([0x82, 0x7e, payload.length >> 8, payload.length & 255]),
    payload,
  ]);
  for (let count = 1; count <= frames; count += 1) {
    for (const { socket } of peers) socket.write(framed);
    await until(() => lane.told.filter((told) => told.startsWith("ready")).length >= count, { everyMs: 1 });
    valve.release();
    valve.handled();
  }
  await until(() => kept.reduce((sum, { length }) => sum + length, 0) === frames * framed.length);
  assert.ok(Buffer.concat(kept).equals(Buffer.concat(Array<Buffer>(frames).fill(framed))));
  assert.equal(passed.length, frames);
  assert.ok(
    passed.some(({ buffer }) => buffer.byteLength === 0),
    "memory was given back",
  );
});
