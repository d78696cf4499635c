// Client: what differs between HTTP/1 and HTTP/2, told at the interface; a server of each without TLS.

import assert from "node:assert/strict";
import { connect, createServer, type ClientHttp2Session, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { LIMITS } from "../../../src/model/limits.ts";
import { clientOf, type HttpClient } from "../../../src/proxy/http/client.ts";
import { until } from "../../support/wait.ts";

import { Client, httpReplica } from "../fixtures.ts";

/** A session with an HTTP/2 server that hands each request to `take`. */
async function http2(t: TestContext, take: (client: HttpClient) => void): Promise<ClientHttp2Session> {
  const server = createServer();
  server.on("request", (request, response) => take(clientOf(request, response)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  session.on("error", () => undefined);
  t.after(() => {
    session.destroy();
    server.close();
  });
  return session;
}

test("clientOf: an HTTP/2 request reads as HTTP/1.1: Host, one line of cookies, no pseudo-headers", async (t) => {
  let client: HttpClient | null = null;
  const session = await http2(t, (taken) => {
    client = taken;
    taken.writeHead({ status: 204, message: "", headers: [], closes: false });
    taken.end();
  });
  const headers = { ":path": "/x?y", ":authority": "app:81", cookie: ["a=1", "b=2"], "x-a": "1" };
  session.request(headers).resume().end();
  const taken: HttpClient = await until((): HttpClient | null => client);
  assert.deepEqual(taken.head, {
    method: "GET",
    target: "/x?y",
    httpVersion: "2.0",
    rawHeaders: ["host", "app:81", "x-a", "1", "cookie", "a=1; b=2"],
  });
  assert.equal(taken.hasBody, false);
});

test("clientOf: hints, head, body and trailers arrive over HTTP/2 as they were written", async (t) => {
  const session = await http2(t, (client) => {
    client.inform(103, ["Link", "</a>"]);
    client.writeHead({
      status: 200,
      message: "x",
      headers: ["Set-Cookie", "a", "set-cookie", "b"],
      closes: true,
    });
    client.write("hello");
    client.end(["grpc-status", "0"]);
  });
  const stream = session.request({ ":path": "/" });
  const seen: Record<string, IncomingHttpHeaders> = {};
  stream.on("headers", (headers) => (seen["hints"] = headers));
  stream.on("response", (headers) => (seen["head"] = headers));
  stream.on("trailers", (headers) => (seen["trailers"] = headers));
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await until(() => stream.closed);
  assert.equal(session.closed, false);
  assert.equal(seen["hints"]?.["link"], "</a>");
  assert.deepEqual(seen["head"]?.["set-cookie"], ["a", "b"]);
  assert.equal(text, "hello");
  assert.equal(seen["trailers"]?.["grpc-status"], "0");
});

test("clientOf: an answer that is cut over HTTP/2 ends as an error, and only its own stream", async (t) => {
  let cut: (() => void) | null = null;
  const session = await http2(t, (client) => {
    client.writeHead({ status: 200, message: "", headers: [], closes: false });
    client.write("half");
    cut ??= () => client.cut();
  });
  const [one, other] = [session.request({ ":path": "/" }), session.request({ ":path": "/" })];
  let failure: NodeJS.ErrnoException | null = null;
  one.on("error", (error: NodeJS.ErrnoException) => (failure = error)).resume();
  let text = "";
  other.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await until(() => cut !== null && text === "half");
  (cut as unknown as () => void)();
  await until(() => failure !== null);
  assert.equal(one.rstCode, 2);
  assert.equal(other.closed, false);
});

test("clientOf: what an HTTP/1 client calls its version is not believed", async (t) => {
  const versions: string[] = [];
  const port = await httpReplica(t, (request, response) => {
    versions.push(clientOf(request, response).head.httpVersion);
    response.end();
  });
  for (const version of ["1.1", "1.0", "2.0"]) {
    const client = new Client(t, port);
    const text = `GET / HTTP/${version}\r\nHost: app\r\nConnection: close\r\n\r\n`;
    await client.ask(text, () => client.ended || client.closed);
  }
  assert.deepEqual(versions, ["1.1", "1.0", "unknown"]);
});

test("clientOf: interim answers are dropped while too much waits for a client that reads nothing", async (t) => {
  const hint = ["Link", "x".repeat(8000)];
  let waiting = 0;
  const port = await httpReplica(t, (request, response) => {
    const client = clientOf(request, response);
    for (let count = 0; count < 2000; count += 1) client.inform(103, hint);
    waiting = request.socket.writableLength;
    client.writeHead({ status: 204, message: "", headers: [], closes: true });
    client.end();
  });
  const client = new Client(t, port);
  client.socket.pause();
  client.socket.write("GET / HTTP/1.1\r\nHost: app\r\n\r\n");
  await until(() => waiting > 0);
  assert.ok(waiting < LIMITS.httpInterimWaitingBytes + 10_000, `${waiting} bytes wait`);
  client.socket.resume();
  await until(() => client.text.includes("HTTP/1.1 204"));
});

test("clientOf: so are those over HTTP/2, until what waited has been sent", async (t) => {
  const rounds: (() => void)[] = [];
  const session = await http2(t, (client) => {
    rounds.push(() => {
      for (let count = 0; count < 100; count += 1) client.inform(103, ["Link", "x".repeat(8000)]);
    });
    rounds.push(() => {
      client.writeHead({ status: 204, message: "", headers: [], closes: false });
      client.end();
    });
  });
  const stream = session.request({ ":path": "/" });
  let hints = 0;
  stream.on("headers", () => (hints += 1)).resume();
  await until(() => rounds.length === 2);
  rounds[0]?.();
  await until(() => hints === 9);
  rounds[0]?.();
  await until(() => hints === 18);
  rounds[1]?.();
  await until(() => stream.closed);
  assert.equal(hints, 18);
});
