// Leaving: of two sockets on one port the one that goes away answers all that came to it, and gets nothing more.

import assert from "node:assert/strict";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { test, type TestContext } from "node:test";

import { Leaving } from "../../src/runtime/leaving.ts";
import { udpOptions } from "../../src/runtime/udp.ts";
import { openBlock } from "../support/daemons.ts";
import { connectUdp, openUdp, type UdpEnd } from "../support/udp.ts";
import { until, within } from "../support/wait.ts";

/** A socket on a port that others may have as well. */
interface Sharer {
  readonly socket: Socket;
  readonly heard: { readonly text: string; readonly from: RemoteInfo }[];
}

async function share(t: TestContext, host: string, port: number): Promise<Sharer> {
  const socket = createSocket({ ...udpOptions(host), reusePort: true });
  const heard: Sharer["heard"] = [];
  socket.on("error", () => undefined);
  socket.on("message", (payload, from) => void heard.push({ text: payload.toString(), from }));
  // Before: with an address that needs no lookup it is told within the call.
  const listening = once(socket, "listening");
  socket.bind(port, host);
  await listening;
  let isOpen = true;
  socket.once("close", () => (isOpen = false));
  t.after(() => (isOpen ? socket.close() : undefined));
  return { socket, heard };
}

interface Scene {
  readonly at: { readonly host: string; readonly port: number };
  readonly old: Sharer;
  readonly young: Sharer;
  readonly clients: readonly (UdpEnd & { readonly send: (text: string) => void })[];
  /** Sends a text of each client, all within this turn. */
  readonly sendAll: (text: string) => void;
}

async function prepare(t: TestContext, host: string, port = 5300): Promise<Scene> {
  const at = { host, port };
  const [old, young] = [await share(t, at.host, at.port), await share(t, at.host, at.port)];
  const clients = await Promise.all(Array.from({ length: 40 }, () => connectUdp(t, at)));
  const sendAll = (text: string): void => {
    for (const { send } of clients) send(text);
  };
  return { at, old, young, clients, sendAll };
}

async function ownHost(t: TestContext): Promise<string> {
  return (await openBlock(t)).address(1);
}

/** A port of [::1] that was free just now: the address is everybody's. */
async function freePortOfSix(): Promise<number> {
  const socket = createSocket("udp6");
  const listening = once(socket, "listening");
  socket.bind(0, "::1");
  await listening;
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

for (const family of ["IPv4", "IPv6"]) {
  test(`leaving: over ${family} what stands in the queue is answered, what comes later is the other's`, async (t) => {
    let where: readonly [string, number];
    try {
      where = family === "IPv4" ? [await ownHost(t), 5300] : ["::1", await freePortOfSix()];
    } catch {
      return t.skip("no IPv6 loopback on this host");
    }
    const { at, old, young, clients, sendAll } = await prepare(t, ...where);
    sendAll("before");
    const leaving = new Leaving(old.socket, at, { isShared: true, isAwaited: () => false, graceMs: 20_000 });
    old.socket.on("message", (payload, { address, port }) => {
      leaving.send(Buffer.from(`old ${payload.toString()}`), { host: address, port });
    });
    sendAll("after");
    await within(leaving.closed, "the end of the socket");
    await until(() => old.heard.length + young.heard.length === 2 * clients.length);
    const texts = new Set(old.heard.map(({ text }) => text));
    assert.deepEqual([...texts], ["before"]);
    assert.ok(
      young.heard.some(({ text }) => text === "before"),
      "the other had a share of them",
    );
    await until(() => clients.flatMap(({ received }) => received).length === old.heard.length);
    for (const { received } of clients) for (const { from } of received) assert.equal(from.port, at.port);
  });
}

test("leaving: a queue of many reads is read to its end, from within a read, and however late", async (t) => {
  const host = await ownHost(t);
  const trigger = await openUdp(t);
  for (const graceMs of [20_000, 0]) {
    const [{ socket, heard }, at] = [await share(t, host, 5301), { host, port: 5301 }];
    const client = await connectUdp(t, at);
    const begun = Promise.withResolvers<Leaving>();
    // In the phase in which datagrams are read.
    trigger.socket.once("message", () => {
      for (let count = 0; count < 200; count += 1) client.send("x");
      begun.resolve(new Leaving(socket, at, { isShared: true, isAwaited: () => false, graceMs }));
    });
    (await connectUdp(t, { host: "127.0.0.1", port: trigger.port })).send("go");
    const leaving = await within(begun.promise, "the datagram that begins it");
    await within(leaving.closed, "the end of the socket");
    assert.equal(heard.length, 200);
  }
});

test("leaving: nothing is lost of what is asked while it sends its last answers", async (t) => {
  const { at, old, young, clients } = await prepare(t, await ownHost(t));
  old.socket.close();
  const sockets = [young];
  let asked = 0;
  for (let round = 0; round < 60; round += 1) {
    const one = await share(t, at.host, at.port);
    sockets.push(one);
    let isAwaited = true;
    const leaving = new Leaving(one.socket, at, {
      isShared: true,
      isAwaited: () => isAwaited,
      graceMs: 20_000,
    });
    const answer = (): void => {
      leaving.send(Buffer.from("answer"), { host: "127.0.0.1", port: clients[0]?.port ?? 0 });
      isAwaited = false;
    };
    const send = one.socket.send.bind(one.socket);
    t.mock.method(one.socket, "send", (...given: Parameters<typeof send>) => {
      for (const client of clients) client.send("amid");
      asked += clients.length;
      send(...given);
    });
    // From each phase of a turn: at once, when all else is done, and while datagrams are read.
    if (round % 3 === 0) answer();
    if (round % 3 === 1) setImmediate(() => setImmediate(answer));
    if (round % 3 === 2) {
      young.socket.once("message", answer);
      clients[0]?.send("go");
      asked += 1;
    }
    await within(leaving.closed, "the end of the socket");
  }
  assert.equal(asked, 60 * clients.length + 20);
  await until(() => sockets.flatMap(({ heard }) => heard).length === asked);
});

test("leaving: an answer that is awaited is sent when it comes, and nothing is lost around it", async (t) => {
  const { at, old, young, clients, sendAll } = await prepare(t, await ownHost(t));
  sendAll("question");
  await until(() => old.heard.length + young.heard.length === clients.length);
  let isAwaited = true;
  const leaving = new Leaving(old.socket, at, {
    isShared: true,
    isAwaited: () => isAwaited,
    graceMs: 20_000,
  });
  sendAll("meanwhile");
  await until(() => old.heard.length + young.heard.length === 2 * clients.length);
  const asked = old.heard.filter(({ text }) => text === "question");
  for (const { from } of asked) leaving.send(Buffer.from("answer"), { host: from.address, port: from.port });
  // In the turn in which it can be chosen again, since it sends.
  setImmediate(() => sendAll("amid"));
  await until(() => clients.flatMap(({ received }) => received).length === asked.length);
  isAwaited = false;
  await within(leaving.closed, "the end of the socket");
  await until(() => old.heard.length + young.heard.length === 3 * clients.length);
  assert.ok(old.heard.every(({ text }) => text !== "meanwhile"));
});

test("leaving: what is awaited in vain keeps it no longer than it may stay, and it can be ended before", async (t) => {
  const { at, old, young } = await prepare(t, await ownHost(t));
  const brief = new Leaving(old.socket, at, { isShared: true, isAwaited: () => true, graceMs: 50 });
  await within(brief.closed, "the end of the socket");
  assert.equal(brief.send(Buffer.from("late"), at), false);
  const ended = new Leaving(young.socket, at, { isShared: true, isAwaited: () => true, graceMs: 600_000 });
  ended.end();
  ended.end();
  await within(ended.closed, "the end of the other socket");
});

test("leaving: a port that the system chose, and nobody shares, is left the same way", async (t) => {
  const socket = createSocket(udpOptions("127.0.0.1"));
  const listening = once(socket, "listening");
  socket.bind(0, "127.0.0.1");
  await listening;
  const at = { host: "127.0.0.1", port: socket.address().port };
  const client = await connectUdp(t, at);
  client.send("before");
  const leaving = new Leaving(socket, at, { isShared: false, isAwaited: () => false, graceMs: 20_000 });
  socket.on("message", (_payload, { address, port }) => {
    leaving.send(Buffer.from("answer"), { host: address, port });
  });
  await until(() => client.received.length === 1);
  await within(leaving.closed, "the end of the socket");
});
