// Exchange: for what an upstream is left alone, and for what not, since its client was at fault.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { test, type TestContext } from "node:test";

import type { Times } from "../../../src/proxy/choice/attempts.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { STREAK_MAX } from "../../../src/proxy/choice/streaks.ts";
import { until } from "../../support/wait.ts";

import { ask, Client, Clock, httpReplica, pool, serveOne, tcpReplica, upstream } from "../fixtures.ts";

/** Shorter than in use, so that the clock needs to be moved less. */
const TIMES: Partial<Times> = { answerMs: 5000 };
/** Answers may take longer than streams. */
const UNHURRIED: Partial<Times> = { firstByteMs: 60_000 };
/** Nearly all requests are for the first replica. */
const WEIGHTED = { weight: 1000 };
/** More than the buffers of two connections hold. */
const UPLOAD = Buffer.alloc(64 * 1024 * 1024);

function named(t: TestContext, name: string): Promise<number> {
  return httpReplica(t, (request, response) => {
    request.resume();
    response.end(name);
  });
}

/** Uploads through a proxy as often as bad answers eject, and tells what the clients got and who was ejected. */
async function upload(t: TestContext, replica: number, body: Buffer): Promise<readonly string[]> {
  const clock = new Clock();
  const to = pool([upstream("a", replica, WEIGHTED), upstream("b", await named(t, "b"))]);
  const { port, proxy } = await serveOne(t, "http", to, {
    random: () => 0,
    nowMs: clock.nowMs,
    times: TIMES,
  });
  // One is for the other replica.
  const clients = Array.from({ length: STREAK_MAX + 1 }, () => new Client(t, port));
  for (const { socket } of clients) {
    socket.write(`POST / HTTP/1.1\r\nHost: app\r\nContent-Length: ${UPLOAD.length}\r\n\r\n`);
    socket.write(body);
  }
  await clock.passUntil(() => clients.every(({ text }) => text.includes("\r\n\r\n")));
  const ejected = proxy.stats().ejected.map(({ id, reason }) => `${id.slice(0, 1)} ejected: ${reason}`);
  return [...clients.map(({ text }) => text.slice(9, 12)).toSorted(), ...ejected];
}

test("exchange: a replica that stops reading uploads is left alone after some of them", async (t) => {
  // Nobody reads these connections.
  const deaf = await tcpReplica(t, (socket) => socket.pause());
  const statuses = Array.from({ length: STREAK_MAX }, () => "504");
  assert.deepEqual(await upload(t, deaf, UPLOAD), ["200", ...statuses, "a ejected: broken"]);
});

test("exchange: clients that stop sending their uploads have nobody left alone", async (t) => {
  const reading = await tcpReplica(t, (socket) => socket.resume());
  const statuses = Array.from({ length: STREAK_MAX }, () => "408");
  assert.deepEqual(await upload(t, reading, Buffer.alloc(10)), ["200", ...statuses]);
});

test("exchange: lengths that cannot be sent on are refused, and nobody is left alone for them", async (t) => {
  const to = pool([upstream("a", await named(t, "a")), upstream("b", await named(t, "b"))]);
  const { port, proxy } = await serveOne(t, "http", to);
  for (let count = 0; count < 3 * STREAK_MAX; count += 1) {
    const client = new Client(t, port);
    const length = count % 2 === 0 ? "0".repeat(19) : "1".repeat(16);
    const head = `POST / HTTP/1.1\r\nHost: app\r\nContent-Length: ${length}\r\n\r\n`;
    const text = await client.ask(head, () => client.ended);
    assert.match(text, /^HTTP\/1\.1 400 [^]*in at most 15 digits/);
    if (count % 3 === 0) assert.equal((await ask(port)).status, 200);
  }
  assert.deepEqual(proxy.stats().ejected, []);
});

test("exchange: a burst for which streams cannot be opened fast enough is told so; nobody is left alone", async (t) => {
  const clock = new Clock();
  const startedMs = clock.nowMs();
  const atOnce = 2 * LIMITS.streamDialsMax;
  const silent = await httpReplica(t, () => undefined);
  const held: (() => void)[] = [];
  const dial = async ({ port: to }: { readonly port: number }): Promise<Duplex> => {
    await new Promise<void>((resolve) => void held.push(resolve));
    const socket = connect({ port: to, host: "127.0.0.1", allowHalfOpen: true });
    await once(socket, "connect");
    return socket;
  };
  const to = pool([upstream("a", silent, { via: "stream" }), upstream("b", silent, { via: "stream" })]);
  const options = { dial, nowMs: clock.nowMs, times: UNHURRIED };
  const { port, proxy } = await serveOne(t, "http", to, options);
  const clients = Array.from({ length: 3 * atOnce }, () => new Client(t, port));
  for (const { socket } of clients) socket.write("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n");
  await until(() => held.length === atOnce && proxy.stats().connections === clients.length);
  // Each stream takes most of the second that there is for it.
  for (const [opensAtMs, count] of [
    [800, atOnce],
    [1500, 2 * atOnce],
  ] as const) {
    await clock.passUntil(() => clock.nowMs() - startedMs >= opensAtMs);
    for (const open of held) open();
    await until(() => proxy.stats().upstreamConnections.busy === count && held.length === count + atOnce);
  }
  const refused = (): readonly Client[] => clients.filter(({ text }) => text.includes("\r\n\r\n"));
  await clock.passUntil(() => refused().length > 0);
  for (const { text } of refused())
    assert.match(text, /^HTTP\/1\.1 503 [^]*no connection to a replica of default\/web could be had/);
  assert.deepEqual(proxy.stats().ejected, []);
});
