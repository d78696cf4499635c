// What a daemon can tell of a relayed stream that has ended: how much of it the replica was given.

import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { askGiven } from "../../src/mesh/receipts.ts";
import { openStreams } from "../../src/mesh/streams.ts";
import { openMeshPort } from "../support/mesh-port.ts";
import { openMember, papersOf } from "../support/mesh-trust.ts";
import { openTcpServer } from "../support/tcp.ts";
import { DEADLINE_MS, until } from "../support/wait.ts";

const WEB = { replica: "web-1", port: 80, deadlineMs: DEADLINE_MS } as const;
const RECEIPT = "abcdefghijklmnop0123456789abcdef";

interface Relayed {
  /** The asking daemon's end, the replica's end. */
  readonly stream: Socket;
  readonly replica: Socket;
  readonly read: () => string;
  readonly given: (receipt?: string) => Promise<number | null>;
}

/** A relayed stream with a receipt, as two members have it. */
async function relayed(t: TestContext): Promise<Relayed> {
  const server = await openTcpServer(t, (socket) => socket.on("error", () => undefined));
  const { address, id } = await openMeshPort(t, {
    papers: papersOf(0),
    resolve: () => ({ address: "127.0.0.1", port: server.port }),
    wayTo: () => ({ kind: "unknown" }),
  });
  const streams = openStreams(openMember(papersOf(1)));
  t.after(() => streams.close());
  const peer = { address, id };
  const stream = await streams.open(peer, { ...WEB, receipt: RECEIPT });
  stream.on("error", () => undefined);
  t.after(() => stream.destroy());
  let text = "";
  stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const replica = await until(() => server.sockets[0]);
  const given = (receipt = RECEIPT): Promise<number | null> =>
    askGiven(streams.open, peer, { ...WEB, receipt });
  return { stream, replica, read: () => text, given };
}

async function say(from: Socket, to: Socket, text: string): Promise<void> {
  const heard = once(to, "data");
  from.write(text);
  await heard;
}

test("receipt: a replica that hung up was given what came before, and nothing of what came after", async (t) => {
  const { stream, replica, read, given } = await relayed(t);
  await say(stream, replica, "one");
  replica.write("answer");
  await until(() => read() === "answer");
  const ended = once(stream, "end");
  replica.end();
  await ended;
  stream.write("a request that crossed the end");
  assert.equal(await given(), "one".length);
  // Nothing is added to what the replica said.
  assert.equal(read(), "answer");
});

test("receipt: one that hung up with a request in its hands was given it", async (t) => {
  const { stream, replica, given } = await relayed(t);
  const ended = once(stream, "end");
  await say(stream, replica, "two");
  replica.end();
  await ended;
  assert.equal(await given(), "two".length);
});

test("receipt: what reached its system only after it had hung up was not given, if it came in one piece", async (t) => {
  const { stream, replica, read, given } = await relayed(t);
  await say(stream, replica, "one");
  replica.write("answer");
  await until(() => read() === "answer");
  // Both in one turn: the daemon beside the replica may give what it has before it reads the end.
  const ended = once(stream, "end");
  replica.destroy();
  stream.write("a request that crossed the end");
  await ended;
  assert.equal(await given(), "one".length);
});

test("receipt: a replica that reset its idle connection was given nothing more, either", async (t) => {
  const { stream, replica, given } = await relayed(t);
  await say(stream, replica, "one");
  replica.write("answer");
  await once(stream, "data");
  replica.resetAndDestroy();
  await until(() => stream.closed);
  assert.equal(await given(), "one".length);
});

test("receipt: of a stream that goes on, or that nobody knows, nothing is told", async (t) => {
  const { given } = await relayed(t);
  assert.equal(await given(), null);
  assert.equal(await given("0".repeat(32)), null);
});

test("receipt: a daemon that is not there tells nothing, and nobody waits for it", async () => {
  const refusing = (): Promise<Socket> => Promise.reject(new Error("refused"));
  const peer = { address: { host: "127.0.0.1", port: 1 }, id: "aaaaaaaaaaaaaaaaaaaa" };
  assert.equal(await askGiven(refusing, peer, { ...WEB, receipt: RECEIPT }), null);
});

test("receipt: a body larger than any buffer passes whole to a replica that reads slowly", async (t) => {
  const { stream, replica } = await relayed(t);
  const body = Buffer.alloc(3_000_000, "x");
  let bytes = 0;
  stream.end(body);
  replica.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    replica.pause();
    setImmediate(() => replica.resume());
  });
  await once(replica, "end");
  assert.equal(bytes, body.length);
});
