// Https: which certificate, which protocol, which server; what passes unopened, and what ends with the proxy.

import assert from "node:assert/strict";
import { once } from "node:events";
import { constants } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { createServer as createHttpServer, type IncomingHttpHeaders } from "node:http";
import { connect as connectTcp, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { test, type TestContext } from "node:test";
import type { TLSSocket } from "node:tls";

import type { AccessEntry } from "../../../src/proxy/access/entry.ts";
import type { Pool } from "../../../src/proxy/routes.ts";
import { makePair } from "../../support/certificate.ts";
import { readToEnd, until, within } from "../../support/wait.ts";
import { Client, Clock, httpReplica, listening, pool, startProxy, upstream } from "../fixtures.ts";

import {
  ADDRESS,
  askHttp2,
  askHttps,
  handshake,
  http2Client,
  httpsTable,
  serveHttps,
  shownTo,
  writePair,
} from "./fixtures.ts";
import { portAt } from "../fixtures.ts";
import { hostName, inRecords, renderHello } from "./hellos.ts";

/** A pool of one replica that answers with what it was told of the client. */
async function told(t: TestContext): Promise<{ readonly to: Pool; readonly seen: IncomingHttpHeaders[] }> {
  const seen: IncomingHttpHeaders[] = [];
  const replica = await httpReplica(t, (request, response) => {
    seen.push(request.headers);
    response.end(`${request.method} ${request.url}`);
  });
  return { to: pool([upstream("a", replica)]), seen };
}

/** A TLS server of its own, for TLS that passes unopened; answers every request with its name. */
async function ownTls(t: TestContext, host: string, name: string): Promise<Pool> {
  const { certificate, key } = makePair({ hosts: [host] });
  const server = createHttpsServer({ cert: certificate, key }, (_request, response) => response.end(name));
  return {
    ...pool([upstream(name, await listening(t, server))]),
    service: `default/${name}`,
    protocol: "tcp",
  };
}

test("https: HTTP/2 and HTTP/1.1 are served as the client offers, and replicas learn that it was https", async (t) => {
  const { to, seen } = await told(t);
  const { port } = await serveHttps(
    t,
    { routes: [{ host: "app.example", path: "/", pool: to }] },
    { a: ["app.example"] },
  );
  const answer = await askHttp2(http2Client(t, port, "app.example"), {
    ":authority": "app.example",
    ":path": "/x?y=1",
    cookie: "a=1",
  });
  assert.equal(answer.headers[":status"], 200);
  assert.equal(answer.text, "GET /x?y=1");
  assert.equal((await askHttps(port, "app.example", { path: "/z" })).text, "GET /z");
  for (const headers of seen) {
    assert.equal(headers.host, "app.example");
    assert.equal(headers["x-forwarded-proto"], "https");
    assert.equal(headers["x-forwarded-for"], "127.0.0.1");
  }
  assert.equal(seen.length, 2);
  const socket = await handshake(t, port, { ALPNProtocols: ["http/1.1"], servername: "app.example" });
  assert.equal(socket.alpnProtocol, "http/1.1");
});

test("https: the name that a client asks for decides on its certificate, and nobody goes without", async (t) => {
  const { to } = await told(t);
  const { port } = await serveHttps(
    t,
    { routes: [{ host: "a.example", path: "/", pool: to }] },
    { a: ["a.example"], wild: ["*.example"], default: ["fallback.example"] },
  );
  assert.equal(await shownTo(t, port, "a.example"), "DNS:a.example");
  assert.equal(await shownTo(t, port, "B.example"), "DNS:*.example");
  assert.equal(await shownTo(t, port, "elsewhere"), "DNS:fallback.example");
  assert.equal(await shownTo(t, port), "DNS:fallback.example");
});

test("https: TLS 1.1 and unknown protocols are refused with an alert, TLS 1.2 is served", async (t) => {
  const { port, metrics } = await serveHttps(t, {}, { a: ["a.example"] });
  const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
  await assert.rejects(handshake(t, port, old), { code: /ALERT_PROTOCOL_VERSION/ });
  await assert.rejects(handshake(t, port, { ALPNProtocols: ["spdy/3"] }), {
    code: /NO_APPLICATION_PROTOCOL/,
  });
  const socket = await handshake(t, port, { maxVersion: "TLSv1.2" });
  assert.equal(socket.getProtocol(), "TLSv1.2");
  const text = await metrics.registry.getSingleMetricAsString("skein_proxy_refused_total");
  assert.match(text, /reason="tls"\} 2/);
});

test("https: a client that offers no protocol, or none but HTTP/1, is served HTTP/1.1", async (t) => {
  const { to } = await told(t);
  const { port } = await serveHttps(
    t,
    { routes: [{ host: "a.example", path: "/", pool: to }] },
    { a: ["a.example"] },
  );
  const socket = await handshake(t, port, { servername: "a.example" });
  assert.equal(socket.alpnProtocol, false);
  socket.write("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
  const text = await readToEnd(socket, "the answer");
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*GET \/$/);
});

test("https: without any certificate a client is told that its name is not known here", async (t) => {
  const { port } = await serveHttps(t, {}, {});
  await assert.rejects(handshake(t, port, { servername: "a.example" }), { code: /UNRECOGNIZED_NAME/ });
  await assert.rejects(handshake(t, port), { code: /UNRECOGNIZED_NAME/ });
});

test("https: a certificate is exchanged without a restart; connections keep theirs and go on", async (t) => {
  const { to } = await told(t);
  const { port, folder, certificates } = await serveHttps(
    t,
    { routes: [{ host: "a.example", path: "/", pool: to }] },
    { a: ["a.example"] },
  );
  const session = http2Client(t, port, "a.example");
  await askHttp2(session, { ":authority": "a.example" });
  const before = await handshake(t, port, { servername: "a.example" });
  await writePair(folder, "a", makePair({ hosts: ["a.example", "b.example"] }));
  await certificates.refresh();
  assert.equal(await shownTo(t, port, "a.example"), "DNS:a.example, DNS:b.example");
  // The default as well.
  assert.equal(await shownTo(t, port), "DNS:a.example, DNS:b.example");
  assert.equal((await askHttp2(session, { ":authority": "a.example" })).headers[":status"], 200);
  before.write("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
  const [bytes] = (await within(once(before, "data"), "an answer")) as [Buffer];
  assert.match(bytes.toString(), /^HTTP\/1\.1 200 /);
});

test("https: a client that comes back resumes its session, of TLS 1.2 and of TLS 1.3", async (t) => {
  const { port } = await serveHttps(t, {}, { a: ["a.example"], b: ["b.example"] });
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    const first = await handshake(t, port, { servername: "b.example", maxVersion });
    const told: Buffer[] = [];
    first.on("session", (session) => told.push(session));
    first.resume();
    const session = await until(() => (maxVersion === "TLSv1.2" ? first.getSession() : told[0]));
    const second = await handshake(t, port, { servername: "b.example", maxVersion, session });
    assert.ok(second.isSessionReused(), maxVersion);
  }
});

test("https: hosts that pass unopened reach their own TLS, all others are served here", async (t) => {
  const { to } = await told(t);
  const db = await ownTls(t, "db.example", "db");
  const wild = await ownTls(t, "*.deep.example", "wild");
  const { port } = await serveHttps(
    t,
    {
      routes: [{ host: "app.example", path: "/", pool: to }],
      passthrough: [
        { host: "db.example", pool: db },
        { host: "*.deep.example", pool: wild },
      ],
    },
    { a: ["app.example", "*.example"] },
  );
  assert.equal(await shownTo(t, port, "db.example"), "DNS:db.example");
  assert.equal((await askHttps(port, "db.example")).text, "db");
  assert.equal((await askHttps(port, "x.deep.example")).text, "wild");
  assert.equal((await askHttps(port, "app.example")).text, "GET /");
  assert.equal(
    (await askHttp2(http2Client(t, port, "app.example"), { ":authority": "app.example" })).text,
    "GET /",
  );
  assert.equal(await shownTo(t, port), "DNS:app.example, DNS:*.example");
});

test("https: TLS passes unopened without any certificate here, and in as many pieces as it comes", async (t) => {
  const db = await ownTls(t, "db.example", "db");
  const { proxy } = await startProxy(t);
  await proxy.set(httpsTable({ passthrough: [{ host: "db.example", pool: db }] }));
  const port = portAt(proxy, ADDRESS);
  assert.equal((await askHttps(port, "db.example")).text, "db");
  await assert.rejects(handshake(t, port, { servername: "other.example" }), { code: /UNRECOGNIZED_NAME/ });
  // Byte by byte, by a connection between the client and the ingress that passes one at a time.
  const raw = connectTcp({ host: ADDRESS, port, noDelay: true });
  t.after(() => raw.destroy());
  const slow = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      for (const byte of chunk) raw.write(Buffer.from([byte]));
      done();
    },
  });
  raw.on("data", (chunk: Buffer) => slow.push(chunk));
  raw.on("error", () => undefined);
  const socket = await handshake(t, port, { socket: slow, servername: "db.example" });
  assert.equal(socket.getPeerCertificate().subjectaltname, "DNS:db.example");
});

test("https: with nothing to serve and nothing to pass the port is not taken", async (t) => {
  const { proxy } = await startProxy(t);
  await proxy.set(httpsTable({}));
  assert.deepEqual(proxy.stats().listeners, []);
});

test("https: a client that does not say whom it wants is let go at the deadline", async (t) => {
  const clock = new Clock();
  const { proxy } = await startProxy(t, { nowMs: clock.nowMs });
  await proxy.set(httpsTable({ passthrough: [{ host: "db.example", pool: pool([]) }] }));
  const port = portAt(proxy, ADDRESS);
  const silent = new Client(t, port, ADDRESS);
  const half = new Client(t, port, ADDRESS);
  half.socket.write(Buffer.from([22, 3, 1, 2, 0, 1, 0]));
  const leaving = new Client(t, port, ADDRESS);
  await until(() => proxy.stats().connections === 3);
  leaving.socket.end();
  await until(() => proxy.stats().connections === 2);
  await clock.passUntil(() => silent.closed && half.closed);
  await until(() => proxy.stats().connections === 0);
});

test("https: what is no TLS is refused, and the ingress goes on", async (t) => {
  const { to } = await told(t);
  const passthrough = [{ host: "db.example", pool: { ...pool([]), service: "default/db" } }];
  for (const passed of [[], passthrough]) {
    const { port } = await serveHttps(
      t,
      { routes: [{ host: "a.example", path: "/", pool: to }], passthrough: passed },
      { a: ["a.example"] },
    );
    const plain = new Client(t, port, ADDRESS);
    plain.socket.write("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    await until(() => plain.closed || plain.ended);
    assert.doesNotMatch(plain.text, /^HTTP/);
    assert.equal((await askHttps(port, "a.example")).status, 200);
  }
});

test("https: a request that belongs on another connection is sent back with 421, others are not", async (t) => {
  const { to } = await told(t);
  const routes = ["a.example", "b.example", "c.example", "x.wild.example", "bare"].map((host) => {
    return { host, path: "/", pool: to };
  });
  const db = await ownTls(t, "db.wild.example", "db");
  const { port } = await serveHttps(
    t,
    { routes, passthrough: [{ host: "db.wild.example", pool: db }] },
    { a: ["a.example", "c.example"], b: ["b.example"], w: ["*.wild.example"] },
  );
  const status = async (asked: string, host: string): Promise<unknown> =>
    (await askHttp2(http2Client(t, port, asked), { ":authority": host })).headers[":status"];
  assert.equal(await status("a.example", "a.example:8443"), 200);
  assert.equal(await status("a.example", "c.example"), 200, "covered by the same certificate");
  assert.equal(await status("a.example", "b.example"), 421, "has a certificate of its own");
  assert.equal(await status("x.wild.example", "db.wild.example"), 421, "passes unopened");
  assert.equal(await status("b.example", "bare"), 421, "the default would have been shown");
  assert.equal(await status("bare", "bare"), 200, "no certificate is any better");
  assert.equal((await askHttps(port, "a.example", { headers: { host: "b.example" } })).status, 200);
});

test("https: a trusted proxy in front tells who called, before TLS begins, also of what passes unopened", async (t) => {
  const { to, seen } = await told(t);
  const db = await ownTls(t, "db.example", "db");
  const entries: AccessEntry[] = [];
  const { port } = await serveHttps(
    t,
    {
      routes: [{ host: "a.example", path: "/", pool: to }],
      passthrough: [{ host: "db.example", pool: db }],
    },
    { a: ["a.example"] },
    {
      trustedProxies: ["127.0.0.1"],
      proxyProtocol: "auto",
      access: { isOn: true, append: (entry) => void entries.push(entry) },
    },
  );
  const behind = async (host: string, protocol: string): Promise<TLSSocket> => {
    const socket = connectTcp({ host: ADDRESS, port });
    t.after(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.write("PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n");
    return handshake(t, port, { socket, servername: host, ALPNProtocols: [protocol] });
  };
  const session = http2Client(t, port, "a.example", await behind("a.example", "h2"));
  assert.equal((await askHttp2(session, { ":authority": "a.example" })).text, "GET /");
  const plain = await behind("a.example", "http/1.1");
  plain.write("GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n");
  await until(() => seen.length === 2);
  for (const headers of seen) assert.equal(headers["x-forwarded-for"], "192.0.2.7");
  const passed = await behind("db.example", "http/1.1");
  passed.end("GET / HTTP/1.1\r\nHost: db.example\r\nConnection: close\r\n\r\n");
  passed.resume();
  const entry = await until(() => entries.find(({ kind }) => kind === "tls"));
  assert.deepEqual([entry.client, entry.service, entry.replica], ["192.0.2.7", "default/db", "db"]);
  assert.ok(entry.bytesSent > 0 && entry.bytesReceived > 0);
  const { http } = await until(() => entries.find(({ http }) => http?.version === "2.0"));
  assert.deepEqual([http?.proto, http?.host, http?.status], ["https", "a.example", 200]);
});

test("https: WebSockets come over HTTP/1.1, and a replica that dies takes one down, not the proxy", async (t) => {
  const server = createHttpServer();
  const upstreams: Socket[] = [];
  server.on("upgrade", (_request, socket) => {
    upstreams.push(socket as Socket);
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    socket.on("data", (chunk: Buffer) => socket.write(chunk));
  });
  const replica = await listening(t, server);
  const { port } = await serveHttps(
    t,
    { routes: [{ host: "ws.example", path: "/", pool: pool([upstream("a", replica)]) }] },
    { a: ["ws.example"] },
  );
  const socket = await handshake(t, port, { servername: "ws.example", ALPNProtocols: ["http/1.1"] });
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.write(
    "GET / HTTP/1.1\r\nHost: ws.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  await until(() => /^HTTP\/1\.1 101 [^]*\r\n\r\n/.test(text));
  socket.write("hello");
  await until(() => text.endsWith("hello"));
  const cut = assert.rejects(once(socket, "close"), { code: "ECONNRESET" });
  upstreams[0]?.resetAndDestroy();
  await within(cut, "the WebSocket is reset, as its replica reset it");
  assert.equal(await shownTo(t, port, "ws.example"), "DNS:ws.example");
});

test("https: who leaves or keeps silent within the handshake is let go, who has done it stays", async (t) => {
  const { to } = await told(t);
  const db = await ownTls(t, "db.example", "db");
  const hello = inRecords(renderHello({ names: [hostName("a.example")] }));
  const routes = [{ host: "a.example", path: "/", pool: to }];
  for (const passthrough of [[], [{ host: "db.example", pool: db }]]) {
    const clock = new Clock();
    const { port, proxy } = await serveHttps(
      t,
      { routes, passthrough },
      { a: ["a.example"] },
      { nowMs: clock.nowMs },
    );
    const [first, second] = [await handshake(t, port), await handshake(t, port, { ALPNProtocols: ["h2"] })];
    const clients = Array.from({ length: 6 }, () => new Client(t, port, ADDRESS));
    await until(() => proxy.stats().connections === 8);
    const [, half, ended, reset, whole, dripping] = clients.map(({ socket }) => socket);
    half?.write(hello.subarray(0, 50));
    ended?.end(hello.subarray(0, 50));
    reset?.write(hello.subarray(0, 50), () => reset.resetAndDestroy());
    whole?.write(hello);
    let sent = 0;
    await clock.passUntil(() => {
      // A byte each tenth of a second.
      if (sent < hello.length && dripping?.writable === true)
        dripping.write(hello.subarray(sent, (sent += 1)));
      return proxy.stats().connections === 2;
    });
    for (const socket of [first, second]) assert.equal(socket.destroyed, false);
    await clock.passUntil(() => clients.every((client) => client.ended || client.closed));
    first.write("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    const [answer] = (await within(once(first, "data"), "an answer")) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  }
});

test("https: a head that arrives too slowly over TLS is refused as well", async (t) => {
  const { to } = await told(t);
  const { port } = await serveHttps(
    t,
    { routes: [{ host: "a.example", path: "/", pool: to }] },
    { a: ["a.example"] },
    { times: { headMs: 200 } },
  );
  const socket = await handshake(t, port, { ALPNProtocols: ["http/1.1"] });
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.write("GET / HTTP/1.1\r\n");
  await until(() => socket.readableEnded || socket.destroyed);
  assert.match(text, /^HTTP\/1\.1 408 Request Timeout\r\n/);
});

test("https: a client of HTTP/2 that leaves before its answer ends the upstream's request, of HEAD too", async (t) => {
  let closed = 0;
  let asked = 0;
  const replica = await httpReplica(t, (request) => {
    asked += 1;
    request.socket.once("close", () => (closed += 1));
  });
  const routes = [{ host: "a.example", path: "/", pool: pool([upstream("a", replica)]) }];
  const { port, proxy } = await serveHttps(t, { routes }, { a: ["a.example"] });
  const session = http2Client(t, port, "a.example");
  for (const [at, method] of ["GET", "HEAD", "POST"].entries()) {
    const stream = session.request({ ":authority": "a.example", ":path": "/", ":method": method });
    stream.on("error", () => undefined);
    await until(() => asked === at + 1);
    stream.close(constants.NGHTTP2_CANCEL);
    await until(() => closed === at + 1);
  }
  await until(() => proxy.stats().upstreamConnections.busy === 0);
});

test("https: closing waits for no connection whose end is just being written", async (t) => {
  const { to } = await told(t);
  const routes = [{ host: "a.example", path: "/", pool: to }];
  // So soon after the end of idle connections that the reset of the rest meets them at it.
  for (const graceMs of [1, 2, 3, 4, 5]) {
    const { port, proxy } = await serveHttps(t, { routes }, { a: ["a.example"] });
    const sessions = Array.from({ length: 30 }, () => http2Client(t, port, "a.example"));
    await Promise.all(sessions.map((session) => askHttp2(session, { ":authority": "a.example" })));
    let isClosed = false;
    const closed = proxy.close(graceMs).then(() => (isClosed = true));
    await until(() => isClosed, { what: `the proxy is closed, with ${graceMs} ms for what is under way` });
    await closed;
  }
});
