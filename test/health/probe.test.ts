// Probes: one question to one endpoint, over real sockets on loopback.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { probe, type ProbeTarget } from "../../src/health/probe.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { closedPort } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

async function listen(t: TestContext, server: Server, address = "127.0.0.1"): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => sockets.delete(socket));
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, address);
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const http = (t: TestContext, listener: RequestListener) => listen(t, createHttpServer(listener));

function target(kind: "tcp" | "http", port: number, over: Partial<ProbeTarget> = {}): ProbeTarget {
  const path = kind === "http" ? "/healthz" : "";
  return { kind, address: "127.0.0.1", port, path, host: "web", timeoutMs: 30_000, preamble: null, ...over };
}

test("probe tcp: passes where somebody listens, and ends the connection without a reset", async (t) => {
  const ends: string[] = [];
  const server = createServer((socket) => {
    socket.write("220 hello\r\n");
    socket.on("end", () => ends.push("end"));
    socket.on("error", (thrown) => ends.push(thrown.message));
    socket.resume();
  });
  const port = await listen(t, server);
  assert.deepEqual(await probe(target("tcp", port)), { kind: "passed" });
  await until(() => ends.length > 0);
  assert.deepEqual(ends, ["end"]);
});

test("probe tcp: does not hold on to a server that never closes, or talks without end", async (t) => {
  const closed: boolean[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const talk = setInterval(() => socket.write("x"), 20);
    socket.on("close", () => {
      clearInterval(talk);
      closed.push(true);
    });
  });
  const port = await listen(t, server);
  assert.deepEqual(await probe(target("tcp", port)), { kind: "passed" });
  await until(() => closed.length === 1);
});

test("probe: a refused connection is told apart", async () => {
  const port = await closedPort();
  const refused = { kind: "failed", reason: "connection refused", refused: true };
  assert.deepEqual(await probe(target("tcp", port)), refused);
  assert.deepEqual(await probe(target("http", port)), refused);
});

test("probe http: 2xx and 3xx pass, others fail with their status; redirects are not followed", async (t) => {
  const paths: string[] = [];
  let status = 200;
  const port = await http(t, (request, response) => {
    paths.push(request.url ?? "");
    response.writeHead(status, { location: "/elsewhere" });
    response.end("body");
  });
  for (const passing of [200, 204, 301, 302, 399]) {
    status = passing;
    assert.deepEqual(await probe(target("http", port)), { kind: "passed" }, String(passing));
  }
  for (const failing of [400, 404, 500, 503]) {
    status = failing;
    const reason = `http status ${failing}`;
    assert.deepEqual(await probe(target("http", port)), { kind: "failed", reason, refused: false });
  }
  assert.deepEqual([...new Set(paths)], ["/healthz"]);
});

test("probe http: asks by the service's name, on a connection of its own", async (t) => {
  const seen: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  const port = await http(t, (request, response) => {
    seen.push(request.headers.host, request.headers.connection, request.method);
    sockets.add(request.socket);
    response.end();
  });
  await probe(target("http", port));
  await probe(target("http", port));
  assert.deepEqual(seen, ["web", "close", "GET", "web", "close", "GET"]);
  assert.equal(sockets.size, 2);
});

test("probe http: an answer without end is read a little, and left", async (t) => {
  let sent = 0;
  const closed: boolean[] = [];
  const port = await http(t, (_, response) => {
    response.on("close", () => closed.push(true));
    const more = (): void => {
      while (!response.destroyed && sent < 64 * LIMITS.probeBodyBytes) {
        sent += 16_384;
        if (!response.write(Buffer.alloc(16_384))) {
          response.once("drain", more);
          return;
        }
      }
    };
    more();
  });
  assert.deepEqual(await probe(target("http", port)), { kind: "passed" });
  await until(() => closed.length === 1);
  assert.ok(sent < 64 * LIMITS.probeBodyBytes);
});

test("probe http: an answer that drips is judged by its head and cut off at the deadline", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const closed: boolean[] = [];
  const port = await http(t, (_, response) => {
    response.writeHead(200);
    response.write("x");
    response.on("close", () => closed.push(true));
  });
  assert.deepEqual(await probe(target("http", port, { timeoutMs: 200 })), { kind: "passed" });
  t.mock.timers.tick(199);
  assert.equal(closed.length, 0);
  t.mock.timers.tick(1);
  await until(() => closed.length === 1);
});

test("probe: no answer in time is a failure, whether nothing comes or only part of a head", async (t) => {
  const silent = await listen(
    t,
    createServer((socket) => socket.write("HTTP/1.1 200 O")),
  );
  assert.deepEqual(await probe(target("http", silent, { timeoutMs: 100 })), {
    kind: "failed",
    reason: "no answer within 100 ms",
    refused: false,
  });
});

test("probe: a pause of its own process is not held against a server that answered in it", async (t) => {
  const realTimeout = setTimeout;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const port = await listen(
    t,
    createServer((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        // The pause: the deadline is due with the timers that come before the answer can be read.
        realTimeout(() => t.mock.timers.tick(1000), 1);
        for (const start = performance.now(); performance.now() - start < 10;);
      });
    }),
  );
  assert.deepEqual(await probe(target("http", port, { timeoutMs: 1000 })), { kind: "passed" });
});

test("probe http: whatever else a server does is a failure in words, never a rejection", async (t) => {
  const answers = [
    "nonsense\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "HTTP/1.1 099 Odd\r\n\r\n",
    `HTTP/1.1 200 OK\r\nX: ${"x".repeat(LIMITS.httpHeadBytes + 1)}\r\n\r\n`,
    "",
  ];
  for (const text of answers) {
    const port = await listen(
      t,
      createServer((socket) => {
        socket.resume();
        socket.end(text);
      }),
    );
    const outcome = await probe(target("http", port, { timeoutMs: 30_000 }));
    assert.ok(outcome.kind === "failed" && !outcome.refused && outcome.reason !== "", text.slice(0, 30));
  }
});

test("probe http: a path that cannot be sent is a failure", async () => {
  const outcome = await probe(target("http", 1, { path: "/a b\r\nX: y" }));
  assert.equal(outcome.kind, "failed");
});

test("probe: IPv6 is asked like IPv4", async (t) => {
  const server = createHttpServer((_, response) => response.end());
  let port: number;
  try {
    port = await listen(t, server, "::1");
  } catch {
    t.skip("no IPv6 loopback here");
    return;
  }
  assert.deepEqual(await probe(target("http", port, { address: "::1" })), { kind: "passed" });
  assert.deepEqual(await probe(target("tcp", port, { address: "::1" })), { kind: "passed" });
});

test("probe: what the endpoint expects in front of a connection comes first", async (t) => {
  const preamble = Buffer.from("PROXY UNKNOWN\r\n");
  const got: string[] = [];
  const server = createServer((socket) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (text.endsWith("\r\n\r\n")) socket.end("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    });
    socket.on("end", () => got.push(text.slice(0, 34)));
  });
  const port = await listen(t, server);
  assert.deepEqual(await probe(target("tcp", port, { preamble })), { kind: "passed" });
  await until(() => got.length === 1);
  assert.deepEqual(await probe(target("http", port, { preamble })), { kind: "passed" });
  await until(() => got.length === 2);
  assert.deepEqual(got, ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN\r\nGET /healthz HTTP/1"]);
  const refused = { kind: "failed", reason: "connection refused", refused: true };
  assert.deepEqual(await probe(target("http", await closedPort(), { preamble })), refused);
});
