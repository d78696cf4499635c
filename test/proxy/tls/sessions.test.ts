// Sessions: HTTP/2 within bounds, against those who take more than their share, and to its end in good form.

import assert from "node:assert/strict";
import { once } from "node:events";
import { constants, type ClientHttp2Session } from "node:http2";
import { test, type TestContext } from "node:test";

import type { RequestListener, ServerResponse } from "node:http";

import { LIMITS } from "../../../src/model/limits.ts";
import type { ProxyOptions } from "../../../src/proxy/proxy.ts";
import { readToEnd, until, within } from "../../support/wait.ts";
import { Clock, httpReplica, pool, upstream } from "../fixtures.ts";

import { askHttp2, handshake, http2Client, serveHttps, type Serving } from "./fixtures.ts";

const HOST = "a.example";
const GET = { ":authority": HOST };

async function serving(
  t: TestContext,
  answer: RequestListener,
  changes: Partial<ProxyOptions> = {},
): Promise<Serving> {
  const replica = await httpReplica(t, answer);
  const routes = [{ host: HOST, path: "/", pool: pool([upstream("a", replica)]) }];
  return serveHttps(t, { routes }, { a: [HOST] }, changes);
}

/** A frame of HTTP/2 (RFC 9113 4.1). */
function frame(type: number, flags: number, payload: Buffer = Buffer.alloc(0), stream = 0): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A frame as it was received. */
interface Frame {
  readonly type: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** The whole frames in what a client was sent. */
function framesIn(bytes: Buffer): readonly Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    const [type = 0] = bytes.subarray(at + 3);
    frames.push({ type, stream: bytes.readUInt32BE(at + 5), payload: bytes.subarray(at + 9, end) });
    at = end;
  }
  return frames;
}

const NONE = Buffer.alloc(0);
const HEADERS = 1;
const GOAWAY = 7;
const SETTINGS_ACK = frame(4, 1);
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const SETTINGS = frame(4, 0);
const PING = frame(6, 0, Buffer.alloc(8));

/** `https://a.example/`, whose names are in HPACK's static table (RFC 7541 A). */
function fieldsOf(method: "GET" | "POST"): Buffer {
  const names = [method === "GET" ? 0x82 : 0x83, 0x84, 0x87, 0x01, HOST.length];
  return Buffer.concat([Buffer.from(names), Buffer.from(HOST)]);
}

/** A request, and a reset behind it. */
function openedAndReset(stream: number): Buffer {
  const cancel = Buffer.from([0, 0, 0, constants.NGHTTP2_CANCEL]);
  return Buffer.concat([frame(1, 0x05, fieldsOf("GET"), stream), frame(3, 0, cancel, stream)]);
}

test("sessions: bodies, interim answers and trailers pass, both ways", async (t) => {
  const { port } = await serving(t, (request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      response.writeEarlyHints({ link: "</style.css>; rel=preload" });
      response.writeHead(200, { trailer: "x-sum" });
      response.write(text);
      response.addTrailers({ "x-sum": `${text.length}` });
      response.end();
    });
  });
  const session = http2Client(t, port, HOST);
  const body = "b".repeat(300_000);
  const stream = session.request({ ":method": "POST", ":path": "/", ...GET });
  const informed: unknown[] = [];
  stream.on("headers", (headers) => informed.push(headers[":status"]));
  let sum: unknown = null;
  stream.on("trailers", (trailers) => (sum = trailers["x-sum"]));
  stream.end(body);
  assert.equal(await readToEnd(stream, "the body, echoed"), body);
  assert.deepEqual(informed, [103]);
  assert.equal(sum, "300000");
});

test("sessions: who opens and resets streams without end is cut off, nobody else (CVE-2023-44487)", async (t) => {
  let requests = 0;
  const { port } = await serving(t, () => void (requests += 1));
  const socket = await handshake(t, port, { servername: HOST, ALPNProtocols: ["h2"] });
  socket.resume();
  socket.write(Buffer.concat([PREFACE, SETTINGS]));
  const STREAMS = 5000;
  for (let sent = 0; sent < STREAMS && !socket.destroyed; sent += 50) {
    const some = Array.from({ length: 50 }, (_, index) => openedAndReset(2 * (sent + index) + 1));
    const written = new Promise((resolve) => socket.write(Buffer.concat(some), resolve));
    await within(written, `streams from ${sent} are written, or the connection is cut`);
  }
  await until(() => socket.destroyed);
  assert.ok(requests < 1000, `${requests} of ${STREAMS} requests reached the replica`);
  const before = requests;
  http2Client(t, port, HOST)
    .request({ ":path": "/", ...GET })
    .on("error", () => undefined);
  await until(() => requests > before);
});

test("sessions: who pings without reading, or sends heads and bodies of nothing, is cut off", async (t) => {
  const { port } = await serving(t, (request, response) => {
    request.resume().once("end", () => response.end("ok"));
  });
  const floods: readonly (readonly [begin: Buffer, flood: Buffer])[] = [
    [NONE, PING],
    [NONE, SETTINGS],
    [frame(1, 0, fieldsOf("GET"), 1), frame(9, 0, NONE, 1)],
    [frame(1, 4, fieldsOf("POST"), 1), frame(0, 0, NONE, 1)],
  ];
  for (const [begin, flood] of floods) {
    const socket = await handshake(t, port, { servername: HOST, ALPNProtocols: ["h2"] });
    socket.pause();
    socket.write(Buffer.concat([PREFACE, SETTINGS, begin]));
    const many = Buffer.concat(Array.from({ length: 5000 }, () => flood));
    await until(
      async () => {
        if (!socket.destroyed) await new Promise((resolve) => socket.write(many, resolve));
        return socket.destroyed;
      },
      { everyMs: 0 },
    );
  }
  assert.equal((await askHttp2(http2Client(t, port, HOST), GET)).text, "ok");
});

test("sessions: no more requests at once than the bound, and a head no larger than for HTTP/1", async (t) => {
  const waiting: ServerResponse[] = [];
  const { port } = await serving(t, (_request, response) => void waiting.push(response));
  const session = http2Client(t, port, HOST);
  const told = once(session, "remoteSettings") as Promise<[ClientHttp2Session["remoteSettings"]]>;
  const [settings] = await within(told, "the proxy's settings");
  assert.equal(settings.maxConcurrentStreams, LIMITS.http2StreamsMax);
  assert.equal(settings.maxHeaderListSize, LIMITS.httpHeadBytes);
  assert.notEqual(settings.enableConnectProtocol, true);
  const refused = askHttp2(session, { ...GET, "x-large": "x".repeat(LIMITS.httpHeadBytes) });
  await assert.rejects(refused);
  const other = http2Client(t, port, HOST);
  const answers = Array.from({ length: LIMITS.http2StreamsMax }, () => askHttp2(other, GET));
  await until(() => waiting.length === LIMITS.http2StreamsMax);
  for (const response of waiting) response.end("done");
  for (const { text } of await Promise.all(answers)) assert.equal(text, "done");
});

test("sessions: CONNECT is refused", async (t) => {
  const { port } = await serving(t, (_request, response) => response.end());
  const session = http2Client(t, port, HOST);
  const stream = session.request({ ":method": "CONNECT", ":authority": "elsewhere:443" });
  // It is open when the test ends, and cut then.
  stream.on("error", () => undefined);
  const told = once(stream, "response") as Promise<[Record<string, unknown>]>;
  const [headers] = await within(told, "an answer to CONNECT");
  assert.equal(headers[":status"], 501);
});

test("sessions: a connection that asks for nothing is closed, one with a request under way is not", async (t) => {
  const clock = new Clock();
  const waiting: ServerResponse[] = [];
  const { port, proxy } = await serving(t, (_request, response) => void waiting.push(response), {
    nowMs: clock.nowMs,
    times: { firstByteMs: 10_000_000, answerMs: 10_000_000 },
  });
  const [idle, busy] = [http2Client(t, port, HOST), http2Client(t, port, HOST)];
  await within(once(idle, "remoteSettings"), "the proxy's settings");
  const answer = askHttp2(busy, GET);
  await until(() => waiting.length === 1);
  clock.pass(74_000);
  assert.ok(!idle.destroyed);
  await clock.passUntil(() => idle.destroyed);
  clock.pass(1_000_000);
  await until(() => proxy.stats().connections === 1);
  waiting[0]?.end("late");
  assert.equal((await answer).text, "late");
  clock.pass(74_000);
  await clock.passUntil(() => busy.destroyed);
});

test("sessions: a proxy that closes answers an idle client once more and tells it so", async (t) => {
  const { port, proxy } = await serving(t, (_request, response) => response.end("ok"));
  const socket = await handshake(t, port, { servername: HOST, ALPNProtocols: ["h2"] });
  let bytes = NONE;
  socket.on("data", (chunk: Buffer) => (bytes = Buffer.concat([bytes, chunk])));
  const at = (type: number, stream: number): number =>
    framesIn(bytes).findIndex((one) => one.type === type && one.stream === stream);
  socket.write(Buffer.concat([PREFACE, SETTINGS, SETTINGS_ACK, frame(HEADERS, 5, fieldsOf("GET"), 1)]));
  await until(() => at(HEADERS, 1) !== -1);
  const closed = proxy.close(60_000);
  await until(() => proxy.stats().listeners.length === 0);
  assert.equal(at(GOAWAY, 0), -1);
  socket.write(frame(HEADERS, 5, fieldsOf("GET"), 3));
  await until(() => at(HEADERS, 3) !== -1 && at(GOAWAY, 0) !== -1);
  assert.ok(at(GOAWAY, 0) < at(HEADERS, 3), "before the client could ask again");
  const frames = framesIn(bytes);
  assert.equal(frames[at(HEADERS, 3)]?.payload[0], 0x88, "status 200 of HPACK's static table");
  assert.equal(frames[at(GOAWAY, 0)]?.payload.readUInt32BE(0), 3, "the last one that is served");
  await closed;
});

test("sessions: a proxy that closes answers what is under way and tells clients to go elsewhere", async (t) => {
  const waiting: ServerResponse[] = [];
  const clock = new Clock();
  const { port, proxy } = await serving(t, (_request, response) => void waiting.push(response), {
    nowMs: clock.nowMs,
  });
  const session = http2Client(t, port, HOST);
  let code: number | null = null;
  session.once("goaway", (told) => (code = told));
  const answer = askHttp2(session, GET);
  await until(() => waiting.length === 1);
  const closed = proxy.close(60_000);
  await until(() => code !== null);
  assert.equal(code, constants.NGHTTP2_NO_ERROR);
  waiting[0]?.end("done");
  assert.equal((await answer).text, "done");
  await clock.passDuring(closed);
});

test("sessions: a proxy that closes ends connections that ask for nothing, in good form", async (t) => {
  const { port, proxy } = await serving(t, (_request, response) => response.end());
  const idle = http2Client(t, port, HOST);
  await within(once(idle, "remoteSettings"), "the proxy's settings");
  const told = once(idle, "goaway");
  // A quarter of it is the time for one more request.
  await proxy.close(4000);
  assert.equal((await told)[0], constants.NGHTTP2_NO_ERROR);
});
