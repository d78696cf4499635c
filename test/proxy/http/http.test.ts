// Http: what the HTTP frontends take, refuse and pass, byte by byte where bytes matter.

import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { test, type TestContext } from "node:test";

import type { ProxyOptions } from "../../../src/proxy/proxy.ts";
import { LIMITS } from "../../../src/model/limits.ts";

import { until } from "../../support/wait.ts";

import {
  ask,
  Client,
  httpReplica,
  pool,
  portAt,
  rawReplica,
  serveOne,
  startProxy,
  table,
  tcpReplica,
  upstream,
} from "../fixtures.ts";

const HANDSHAKE =
  "GET /ws HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/** A proxy before one replica that writes down the heads it gets and answers 200 with an empty body. */
async function recorded(
  t: TestContext,
  changes: Partial<ProxyOptions> = {},
): Promise<{ readonly port: number; readonly heads: readonly string[] }> {
  const heads: string[] = [];
  const replica = await rawReplica(t, (head, socket) => {
    heads.push(head);
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]), changes);
  return { port, heads };
}

test("http: the ingress tells services by host and path, and answers 404 for what nobody routes", async (t) => {
  const named = (name: string): Promise<number> => httpReplica(t, (_request, response) => response.end(name));
  const [web, api] = [await named("web"), await named("api")];
  const { proxy } = await startProxy(t);
  const to = { ...pool([upstream("a", api)]), service: "default/api" };
  await proxy.set(
    table(
      [],
      [
        { host: "app.example.com", path: "/", pool: pool([upstream("w", web)]) },
        { host: "*.example.com", path: "/api", pool: to },
      ],
    ),
  );
  const port = portAt(proxy, "127.0.0.2");
  const get = async (host: string, path: string): Promise<string> => {
    const answer = await ask(port, { host: "127.0.0.2", path, headers: { host } });
    return `${answer.status} ${answer.text}`;
  };
  assert.equal(await get("App.Example.com:8080", "/api"), "200 web");
  assert.equal(await get("other.example.com", "/api/v1"), "200 api");
  assert.match(
    await get("other.example.com", "/"),
    /^404 404 Not Found: no service is routed for this host and path/,
  );
  assert.match(await get("elsewhere", "/"), /^404 /);
});

test("http: heads with two readings, and requests for a forward proxy, are refused for good", async (t) => {
  const { port, heads } = await recorded(t);
  const cases: readonly [string, number][] = [
    ["POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
    ["POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501],
    ["GET / HTTP/1.1\r\nHost: app\r\nHost: other\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400],
    ["GET http://other/ HTTP/1.1\r\nHost: app\r\n\r\n", 400],
    ["CONNECT app:443 HTTP/1.1\r\nHost: app\r\n\r\n", 501],
    ["GET / HTTP/1.1\r\nHost: app\r\nX : 1\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\nHost: app\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400],
    [`GET / HTTP/1.1\r\nHost: app\r\nX: ${"x".repeat(LIMITS.httpHeadBytes)}\r\n\r\n`, 431],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
    ["GET / HTTP/2.0\r\nHost: app\r\n\r\n", 505],
    [`${HANDSHAKE}Content-Length: 5\r\n\r\nhello`, 400],
    [`GET /${"x".repeat(LIMITS.httpTargetBytes)} HTTP/1.1\r\nHost: app\r\n\r\n`, 414],
    ["TRACE / HTTP/1.1\r\nHost: app\r\n\r\n", 501],
    ["POST / HTTP/1.1\r\nHost: app\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n", 417],
    [`GET / HTTP/1.1\r\nHost: app\r\nVia: ${"1.1 skein-aaaaaaaa, ".repeat(9)}1.1 x\r\n\r\n`, 508],
    ["\x16\x03\x01\x02\x00\x01\x00", 400],
  ];
  for (const [request, status] of cases) {
    const client = new Client(t, port);
    const answer = await client.ask(request, () => client.ended);
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), JSON.stringify(request.slice(0, 80)));
  }
  assert.deepEqual(heads, []);
});

test("http: targets pass byte for byte", async (t) => {
  const { port, heads } = await recorded(t);
  const targets = ["//a", "/a\\b", "/%2e", "/a//b/../c?d=//e?f", "/http:/x", "/a?", "/;p", "/a|b"];
  for (const target of targets) {
    const client = new Client(t, port);
    await client.ask(`GET ${target} HTTP/1.1\r\nHost: app\r\n\r\n`, (text) => text.includes("\r\n\r\n"));
  }
  assert.deepEqual(
    heads.map((head) => head.split(" ")[1]),
    targets,
  );
});

test("http: hop-by-hop and listed headers stop here on both ways, all others pass as spelled", async (t) => {
  let head = "";
  const replica = await rawReplica(t, (text, socket) => {
    head = text;
    socket.write(
      "HTTP/1.1 200 OK\r\nConnection: X-Secret, close\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\nUpgrade: h2\r\n" +
        "Proxy-Authenticate: Basic\r\nSet-Cookie: a\r\nset-cookie: b\r\nX-Kept: yes\r\nContent-Length: 0\r\n\r\n",
    );
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  const answer = await client.ask(
    "GET / HTTP/1.1\r\nHost: app\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nTE: gzip\r\nKeep-Alive: 1\r\n" +
      "Proxy-Connection: keep-alive\r\nX-UPPER: Yes\r\n\r\n",
    () => client.ended,
  );
  assert.doesNotMatch(head, /X-Mine|TE:|Keep-Alive:|Proxy-Connection/i);
  assert.match(head, /\r\nX-UPPER: Yes\r\n/);
  assert.match(head, /\r\nConnection: keep-alive\r\n/);
  assert.doesNotMatch(answer, /X-Secret|timeout=9|Upgrade|Proxy-Authenticate/i);
  assert.match(answer, /\r\nSet-Cookie: a\r\nset-cookie: b\r\nX-Kept: yes\r\n/);
  assert.match(answer, /\r\nConnection: close\r\n/);
});

test("http: a DELETE keeps the framing it came with, so that its body never reads as a request", async (t) => {
  let received = "";
  const replica = await tcpReplica(t, (socket) => {
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString();
      if (received.endsWith("\r\n\r\n") || received.endsWith("smuggled")) {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      }
    });
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
  const chunked = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`;
  const cases: readonly [string, RegExp][] = [
    ["DELETE /1 HTTP/1.1\r\nHost: app\r\n\r\n", /\r\ncontent-length: 0\r\n[^]*\r\n\r\n$/],
    ["OPTIONS /2 HTTP/1.1\r\nHost: app\r\n\r\n", /\r\ncontent-length: 0\r\n[^]*\r\n\r\n$/],
    [
      `DELETE /3 HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`,
      new RegExp(`\r\ntransfer-encoding: chunked\r\n[^]*\r\n\r\n${chunked}$`),
    ],
    [
      `DELETE /4 HTTP/1.1\r\nHost: app\r\nContent-Length: 8\r\n\r\nsmuggled`,
      /\r\nContent-Length: 8\r\n[^]*\r\n\r\nsmuggled$/,
    ],
  ];
  for (const [request, expected] of cases) {
    received = "";
    const client = new Client(t, port);
    await client.ask(request, (text) => text.includes("\r\n\r\n"));
    assert.match(received, expected);
  }
});

test("http: the client's address is told to replicas, and a stranger cannot make one up", async (t) => {
  const { port, heads } = await recorded(t);
  const headers = { "x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https", forwarded: "for=6.6.6.6" };
  await ask(port, { headers });
  assert.match(heads[0] ?? "", /\r\nX-Forwarded-For: 127\.0\.0\.1\r\n/);
  assert.match(heads[0] ?? "", /\r\nX-Forwarded-Proto: http\r\n/);
  assert.doesNotMatch(heads[0] ?? "", /6\.6\.6\.6/);
});

test("http: a trusted proxy's word about the client is kept", async (t) => {
  const { port, heads } = await recorded(t, { trustedProxies: ["127.0.0.0/8", "fd00::/8", "nonsense"] });
  await ask(port, { headers: { "x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https" } });
  assert.match(heads[0] ?? "", /\r\nX-Forwarded-For: 6\.6\.6\.6, 127\.0\.0\.1\r\n/);
  assert.match(heads[0] ?? "", /\r\nX-Forwarded-Proto: https\r\n/i);
});

test("http: pipelined requests are answered in order, however slow the first is", async (t) => {
  const replica = await httpReplica(t, (request: IncomingMessage, response) => {
    const answer = (): void => void response.end(`<${request.url ?? ""}>`);
    if (request.url === "/0") setTimeout(answer, 100);
    else answer();
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  const requests = Array.from({ length: 20 }, (_, at) => `GET /${at} HTTP/1.1\r\nHost: app\r\n\r\n`);
  const text = await client.ask(requests.join(""), (answer) => answer.includes("</19>"));
  const order = [...text.matchAll(/<\/(\d+)>/g)].map(([, at]) => Number(at));
  assert.deepEqual(
    order,
    requests.map((_, at) => at),
  );
});

test("http: an offer to switch to another protocol than WebSocket is answered as a plain request", async (t) => {
  const { port, heads } = await recorded(t);
  const client = new Client(t, port);
  const answer = await client.ask(
    "GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n",
    (text) => text.includes("\r\n\r\n"),
  );
  assert.match(answer, /^HTTP\/1\.1 200 /);
  assert.doesNotMatch(heads[0] ?? "", /upgrade|http2-settings/i);
});

test("http: a client that resets its connection mid-request harms nobody", async (t) => {
  const { port } = await recorded(t);
  for (const text of ["", "GET", "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 9\r\n\r\nhalf"]) {
    const client = new Client(t, port);
    await new Promise((resolve) => client.socket.write(text === "" ? "\r\n" : text, resolve));
    client.socket.resetAndDestroy();
  }
  assert.equal((await ask(port)).status, 200);
});

test("http: a connection has one request at its replicas at a time, and ends when it asks for too many", async (t) => {
  let [busy, busiest] = [0, 0];
  const replica = await httpReplica(t, (_request, response) => {
    busy += 1;
    busiest = Math.max(busiest, busy);
    setTimeout(() => {
      busy -= 1;
      response.end("x");
    }, 5);
  });
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const request = "GET / HTTP/1.1\r\nHost: app\r\n\r\n";
  const client = new Client(t, port);
  await client.ask(request.repeat(20), (text) => text.split("HTTP/1.1 200").length === 21);
  assert.equal(busiest, 1);

  const greedy = new Client(t, port);
  greedy.socket.write(request.repeat(LIMITS.httpPipelineMax + 1));
  await until(() => greedy.closed || greedy.ended);
  client.socket.end();
  greedy.socket.destroy();
  await until(() => proxy.stats().connections === 0 && proxy.stats().upstreamConnections.busy === 0);
});

test("http: control characters in a header of either side reach nobody, and crash nothing", async (t) => {
  const { port, heads } = await recorded(t);
  for (const value of ["a\x7fb", "a\x01b", "a\x00b"]) {
    const client = new Client(t, port);
    const answer = await client.ask(
      `GET / HTTP/1.1\r\nHost: app\r\nX: ${value}\r\n\r\n`,
      (text) => text !== "",
    );
    assert.match(answer, /^HTTP\/1\.1 400 /);
    const replica = await rawReplica(t, (_head, socket) => {
      socket.end(`HTTP/1.1 200 OK\r\nX: ${value}\r\nContent-Length: 0\r\n\r\n`, "latin1");
    });
    const lying = await serveOne(t, "http", pool([upstream("a", replica)]));
    assert.equal((await ask(lying.port)).status, 502);
  }
  assert.deepEqual(heads, []);
});

test("http: a target in absolute form that names the host reaches replicas in origin form", async (t) => {
  const { port, heads } = await recorded(t);
  const client = new Client(t, port);
  await client.ask("GET http://app/x?y HTTP/1.1\r\nHost: app\r\n\r\n", (text) => text.includes("\r\n\r\n"));
  assert.match(heads[0] ?? "", /^GET \/x\?y HTTP\/1\.1\r\nHost: app\r\n/);
});

test("http: replicas are told the hop, the port and a request id, which a trusted proxy may choose", async (t) => {
  const { port, heads } = await recorded(t, { trustedProxies: ["127.0.0.1"] });
  await ask(port, { headers: { "x-request-id": "front-1", via: "1.1 front" } });
  assert.match(heads[0] ?? "", /\r\nvia: 1\.1 front, 1\.1 skein-aaaaaaaa\r\n/i);
  assert.match(heads[0] ?? "", /\r\nx-request-id: front-1\r\n/i);
  assert.match(heads[0] ?? "", new RegExp(`\r\nX-Forwarded-Port: ${port}\r\n`));
  const strict = await recorded(t);
  await ask(strict.port, { headers: { "x-request-id": "mine" } });
  assert.match(strict.heads[0] ?? "", /\r\nX-Request-Id: [0-9a-z]{12}\r\n/i);
});

test("http: OPTIONS that has no hop left is answered here", async (t) => {
  const { port, heads } = await recorded(t);
  assert.equal((await ask(port, { method: "OPTIONS", headers: { "max-forwards": "0" } })).status, 204);
  assert.deepEqual(heads, []);
  await ask(port, { method: "OPTIONS", headers: { "max-forwards": "1" } });
  assert.match(heads[0] ?? "", /\r\nMax-Forwards: 0\r\n/i);
});

test("http: an HTTP/1.0 client keeps its connection when it asks to, and is never sent chunks", async (t) => {
  const replica = await httpReplica(t, (request, response) => {
    if (request.url === "/length") response.setHeader("Content-Length", 2);
    response.write("o");
    response.end("k");
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  const asked = (path: string): string => `GET ${path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`;
  for (const count of [1, 2]) {
    const text = await client.ask(
      asked("/length"),
      (answer) => answer.split("\r\n\r\nok").length === count + 1,
    );
    assert.match(text, /\r\nConnection: keep-alive\r\n/i);
  }
  client.text = "";
  const last = await client.ask(asked("/"), () => client.ended);
  assert.match(last, /\r\n\r\nok$/);
  assert.doesNotMatch(last, /chunked/i);
});

test("http: nonsense behind a request that waits is no answer to it", async (t) => {
  let answer = (): void => undefined;
  const replica = await httpReplica(t, (_request, response) => {
    answer = () => void response.end("late");
  });
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  client.socket.write("GET / HTTP/1.1\r\nHost: app\r\n\r\n");
  await until(() => proxy.stats().upstreamConnections.busy === 1);
  client.socket.write("nonsense\r\n\r\n");
  await until(() => client.closed || client.ended);
  assert.equal(client.text, "");
  answer();
});

test("http: what is no request at all is told so, with an id", async (t) => {
  const { port } = await recorded(t);
  const client = new Client(t, port);
  const text = await client.ask("nonsense\r\n\r\n", () => client.ended || client.closed);
  assert.match(
    text,
    /^HTTP\/1\.1 400 Bad Request\r\n[^]*this is no HTTP request \(request [0-9a-z]{12}\)\n$/,
  );
});

test("http: a handshake behind a request that waits is not answered before it", async (t) => {
  const waiting: (() => void)[] = [];
  const replica = await httpReplica(t, (_request, response) => void waiting.push(() => response.end("late")));
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  client.socket.write(`GET / HTTP/1.1\r\nHost: app\r\n\r\n${HANDSHAKE}\r\n`);
  await until(() => client.closed || client.ended);
  assert.equal(client.text, "");
});

test("http: a client that leaves before an answer is counted as 499", async (t) => {
  const replica = await httpReplica(t, () => undefined);
  const { port, proxy, metrics } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  client.socket.write("GET / HTTP/1.1\r\nHost: app\r\n\r\n");
  await until(() => proxy.stats().upstreamConnections.busy === 1);
  client.socket.destroy();
  await until(() => proxy.stats().upstreamConnections.busy === 0 && proxy.stats().connections === 0);
  assert.match(
    await metrics.registry.metrics(),
    /skein_proxy_requests_total\{service="default\/web",code="499"\} 1/,
  );
});

test("http: a head that arrives too slowly is answered with 408 and ends its connection alone", async (t) => {
  const replica = await httpReplica(t, (_request, response) => response.end("ok"));
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]), { times: { headMs: 200 } });
  const slow = new Client(t, port);
  const kept = new Client(t, port);
  const request = "GET / HTTP/1.1\r\nHost: app\r\n\r\n";
  await kept.ask(request, (text) => text.endsWith("ok"));
  slow.socket.write("GET / HTTP/1.1\r\n");
  // Each byte is in time: the whole is what is not.
  await until(() => {
    if (!slow.ended && !slow.closed) slow.socket.write("x");
    return slow.ended || slow.closed;
  });
  assert.match(slow.text, /^HTTP\/1\.1 408 Request Timeout\r\n/);
  kept.text = "";
  await kept.ask(request, (text) => text.endsWith("ok"));
});
