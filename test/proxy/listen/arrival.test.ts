// Arrival: who called, told by a proxy in front of us that is trusted, to each kind of server.

import assert from "node:assert/strict";
import { connect as connectHttp2, createSecureServer } from "node:http2";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";

import { Deadlines } from "../../../src/proxy/deadlines.ts";
import { Arrivals, type HeaderMode } from "../../../src/proxy/listen/arrival.ts";
import type { ProxyOptions } from "../../../src/proxy/proxy.ts";
import { renderProxyHeader, type Caller } from "../../../src/proxy/tcp/proxy-header.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";
import { certify } from "../../trust/certificates.ts";
import { until } from "../../support/wait.ts";

import {
  Client,
  Clock,
  httpReplica,
  listening,
  pool,
  serveOne,
  SILENT,
  tcpReplica,
  upstream,
} from "../fixtures.ts";

const CALLER: Caller = { address: "192.0.2.7", port: 40_000, toAddress: "198.51.100.2", toPort: 443 };
const V1 = "PROXY TCP4 192.0.2.7 198.51.100.2 40000 443\r\n";
const V2 = renderProxyHeader({ version: "v2", caller: CALLER }).toString("latin1");

const trusting = (proxyProtocol: HeaderMode, more: Partial<ProxyOptions> = {}): Partial<ProxyOptions> => {
  return { trustedProxies: ["127.0.0.0/8"], proxyProtocol, ...more };
};

/** A replica that is told of callers by version 1, and says what it got. */
async function telling(t: TestContext): Promise<{ readonly port: number; readonly got: () => string }> {
  let got = "";
  const port = await tcpReplica(t, (socket) => {
    socket.on("data", (chunk: Buffer) => (got += chunk.toString("latin1")));
  });
  return { port, got: () => got };
}

async function serveTelling(t: TestContext, options: Partial<ProxyOptions>) {
  const replica = await telling(t);
  const to = pool([upstream("a", replica.port, { proxyProtocol: "v1" })]);
  return { ...(await serveOne(t, "tcp", to, options)), got: replica.got };
}

for (const [name, header] of [
  ["1", V1],
  ["2", V2],
] as const) {
  test(`arrival: a header of version ${name} tells who called, and what follows it is the client's`, async (t) => {
    const { port, got } = await serveTelling(t, trusting("auto"));
    new Client(t, port).socket.write(`${header}hello`, "latin1");
    await until(() => got().endsWith("hello"));
    assert.equal(got(), `${V1}hello`);
  });

  test(`arrival: a header of version ${name} may come a byte at a time`, async (t) => {
    const { port, got } = await serveTelling(t, trusting("required"));
    const { socket } = new Client(t, port);
    socket.setNoDelay(true);
    for (const character of `${header}!`) {
      socket.write(character, "latin1");
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => got().endsWith("!"));
    assert.equal(got(), `${V1}!`);
  });
}

test("arrival: a proxy that calls for itself is the caller", async (t) => {
  const { port, got } = await serveTelling(t, trusting("required"));
  const { socket } = new Client(t, port);
  socket.write("PROXY UNKNOWN\r\nhello");
  await until(() => got().endsWith("hello"));
  assert.equal(got(), `PROXY TCP4 127.0.0.1 127.0.0.1 ${socket.localPort} ${port}\r\nhello`);
});

test("arrival: of a client that is not trusted the same bytes are passed on as they are", async (t) => {
  const { port, got } = await serveTelling(t, trusting("required", { trustedProxies: ["192.0.2.0/24"] }));
  const { socket } = new Client(t, port);
  socket.write(V1);
  await until(() => got().endsWith(V1));
  assert.equal(got(), `PROXY TCP4 127.0.0.1 127.0.0.1 ${socket.localPort} ${port}\r\n${V1}`);
});

test("arrival: where nothing is to be read, a header is only bytes", async (t) => {
  const { port, got } = await serveTelling(t, trusting("off"));
  new Client(t, port).socket.write(V2, "latin1");
  await until(() => got().endsWith(V2));
  assert.notEqual(got(), V1 + V2);
});

test("arrival: a trusted proxy that sends no header is carried where it may, refused where it must", async (t) => {
  const may = await serveTelling(t, trusting("auto"));
  new Client(t, may.port).socket.write("hello");
  await until(() => may.got().endsWith("hello"));

  const must = await serveTelling(t, trusting("required"));
  const refused = new Client(t, must.port);
  refused.socket.write("hello");
  await until(() => refused.closed);
  assert.deepEqual([refused.errorCode, must.got()], ["ECONNRESET", ""]);
  const text = await must.metrics.registry.metrics();
  assert.match(text, /skein_proxy_refused_total\{reason="proxy-header"\} 1\b/);
});

test("arrival: a header that is broken off, malformed or without end ends the connection", async (t) => {
  const clock = new Clock();
  const { port, got, proxy } = await serveTelling(t, trusting("auto", { nowMs: clock.nowMs }));
  for (const text of ["PROXY TCP4 nobody\r\n", `PROXY ${"x".repeat(200)}`, V2.slice(0, 20)]) {
    const client = new Client(t, port);
    client.socket.end(text, "latin1");
    await until(() => client.closed);
    assert.equal(client.errorCode, "ECONNRESET");
  }
  const slow = new Client(t, port);
  slow.socket.write("PROXY ");
  await clock.passUntil(() => slow.closed);
  assert.equal(slow.errorCode, "ECONNRESET");
  assert.deepEqual([got(), proxy.stats().connections], ["", 0]);
});

test("arrival: a server that speaks first does so once the client had a second to say who called", async (t) => {
  const clock = new Clock();
  const replica = await tcpReplica(t, (socket) => socket.write("220 hello"));
  const options = trusting("auto", { nowMs: clock.nowMs });
  const { port } = await serveOne(t, "tcp", pool([upstream("a", replica)]), options);
  const client = new Client(t, port);
  await clock.passUntil(() => client.text === "220 hello");
  assert.equal(client.closed, false);
});

test("arrival: a proxy that closes waits for who has not said who called, within its grace", async (t) => {
  const { port, got, proxy } = await serveTelling(t, trusting("required"));
  const saying = new Client(t, port);
  const silent = new Client(t, port);
  saying.socket.write(V1.slice(0, 9));
  await until(() => saying.socket.bytesWritten === 9 && !silent.socket.connecting);
  // Both are accepted once a third one is carried.
  new Client(t, port).socket.write(`${V1}third`);
  await until(() => got().endsWith("third"));
  const closed = proxy.close(60_000);
  saying.socket.end(`${V1.slice(9)}said`);
  await until(() => got().endsWith("said"));
  await proxy.close(0);
  await closed;
  await until(() => silent.closed);
  assert.equal(silent.errorCode, "ECONNRESET");
});

test("arrival: HTTP servers forward the caller that was told, and believe it no more than others", async (t) => {
  const replica = await httpReplica(t, (request, response) => {
    response.end(`${String(request.headers["x-forwarded-for"])} ${request.url}`);
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]), trusting("auto"));
  const client = new Client(t, port);
  const get = (path: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: web\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n`;
  // Two requests in one piece with the header, one after it: all of one connection.
  await client.ask(`${V1}${get("/1")}${get("/2")}`, (text) => text.includes("/2"));
  await client.ask(get("/3"), (text) => text.includes("/3"));
  assert.deepEqual(client.text.match(/^[\d., ]+ \/\d/gm), ["192.0.2.7 /1", "192.0.2.7 /2", "192.0.2.7 /3"]);

  const plain = new Client(t, port);
  await plain.ask(get("/4"), (text) => text.includes("/4"));
  assert.match(plain.text, /203\.0\.113\.9, 127\.0\.0\.1 \/4/);
});

/** For servers that no proxy has made. */
function openArrivals(): Arrivals {
  const nowMs = new Clock().nowMs;
  const parts = { deadlines: new Deadlines(), nowMs, log: SILENT, metrics: openMetrics() };
  return new Arrivals({ mode: "auto", isTrusted: () => true, ...parts });
}

const { keyPem: key, pem: cert } = certify({ subject: "/CN=web", extensions: ["subjectAltName=DNS:web"] });

/** TLS over a connection that has been told of first. */
async function secureClient(t: TestContext, port: number, alpn: string): Promise<TLSSocket> {
  const socket = connect(port, "127.0.0.1");
  await new Promise((resolve) => socket.write(V1, resolve));
  const secure = connectTls({ socket, ALPNProtocols: [alpn], rejectUnauthorized: false });
  t.after(() => secure.destroy());
  return secure;
}

test("arrival: behind TLS the caller is the one that was told in front of it", async (t) => {
  const callers: Caller[] = [];
  const arrivals = openArrivals();
  const server = createTlsServer({ key, cert }, (socket) => callers.push(arrivals.callerOf(socket)));
  const port = await listening(t, arrivals.guard(server));
  const first = await secureClient(t, port, "http/1.1");
  await until(() => callers.length === 1);
  first.destroy();
  const second = connectTls({ port, rejectUnauthorized: false });
  t.after(() => second.destroy());
  await until(() => callers.length === 2);
  const own = { address: "127.0.0.1", port: second.localPort, toAddress: "127.0.0.1", toPort: port };
  assert.deepEqual(callers, [CALLER, own]);
});

test("arrival: all requests of an HTTP/2 session are of the caller that was told", async (t) => {
  const arrivals = openArrivals();
  const server = createSecureServer({ key, cert }, ({ socket, url }, response) => {
    response.end(`${url} of ${arrivals.callerOf(socket).address}`);
  });
  const port = await listening(t, arrivals.guard(server));
  const secure = await secureClient(t, port, "h2");
  const session = connectHttp2("https://web", { createConnection: () => secure });
  t.after(() => session.destroy());
  const texts = ["/1", "/2"].map(async (path) => {
    let text = "";
    for await (const chunk of session.request({ ":path": path })) text += String(chunk);
    return text;
  });
  assert.deepEqual(await Promise.all(texts), ["/1 of 192.0.2.7", "/2 of 192.0.2.7"]);
});
