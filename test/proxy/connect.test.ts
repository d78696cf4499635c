// Connect: one upstream, taken, refused, silent or out of reach.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { connect as netConnect } from "node:net";
import { PassThrough } from "node:stream";
import { test, type TestContext } from "node:test";

import { openConnector, type Connect, type Dial } from "../../src/proxy/connect.ts";
import { Deadlines } from "../../src/proxy/deadlines.ts";
import { nowMs } from "../../src/runtime/clock.ts";
import { reset } from "../../src/runtime/pump.ts";
import { closedPort } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

import { tcpReplica, upstream } from "./fixtures.ts";

/** For connects that succeed or fail by themselves: far more than they take on the busiest machine. */
const AMPLE_MS = 60_000;

function connector(
  t: TestContext,
  connectMs: number,
  dial: Dial = () => Promise.reject(new Error("no")),
): Connect {
  const deadlines = new Deadlines();
  const timer = setInterval(() => deadlines.tick(nowMs()), 10);
  t.after(() => clearInterval(timer));
  t.after(() => assert.equal(deadlines.size, 0, "no deadline is left behind"));
  return openConnector({ dial, deadlines, nowMs, connectMs, streamMs: 1234 });
}

/** A port whose queue of connections is full and whose process is stopped: SYNs to it are dropped. */
async function swallowingPort(t: TestContext): Promise<number> {
  const script =
    'const s = require("net").createServer();' +
    's.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {' +
    ' process.stdout.write(s.address().port + "\\n", () => process.kill(process.pid, "SIGSTOP")); });';
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  let line = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (line += chunk));
  await until(() => line.includes("\n"));
  const port = Number(line);
  const fillers = Array.from({ length: 4 }, () => netConnect({ port, host: "127.0.0.1" }));
  for (const filler of fillers) filler.on("error", () => undefined);
  t.after(() => fillers.forEach((filler) => filler.destroy()));
  await until(() => fillers.filter((filler) => !filler.connecting).length >= 2);
  return port;
}

test("connect: gives a connected socket that may half-close", async (t) => {
  const port = await tcpReplica(t, (socket) => socket.end("hi"));
  const stream = await connector(t, AMPLE_MS)(upstream("a", port));
  t.after(() => stream.destroy());
  assert.equal(stream.allowHalfOpen, true);
});

test("connect: a refusal is a Failure that names replica and address", async (t) => {
  const port = await closedPort();
  await assert.rejects(
    connector(t, AMPLE_MS)(upstream("web-1", port)),
    (thrown: Error & { code?: string }) => {
      assert.equal(thrown.code, "refused");
      assert.match(thrown.message, new RegExp(`^web-1 at 127\\.0\\.0\\.1:${port}: .*ECONNREFUSED`));
      return true;
    },
  );
});

test("connect: a host that swallows the SYN is given up at the deadline", async (t) => {
  const port = await swallowingPort(t);
  await assert.rejects(connector(t, 100)(upstream("a", port)), { code: "timeout" });
});

test("connect: an address without a route is unreachable", async (t) => {
  const to = upstream("a", 80, { address: "255.255.255.255" });
  await assert.rejects(connector(t, AMPLE_MS)(to), { code: "unreachable" });
});

test("connect: an upstream of another host is dialled by the given function, with its own deadline", async (t) => {
  const stream = new PassThrough();
  const asked: unknown[] = [];
  const dial: Dial = (to, deadlineMs) => {
    asked.push([to.replica, deadlineMs]);
    return Promise.resolve(stream);
  };
  assert.equal(await connector(t, AMPLE_MS, dial)(upstream("far", 80, { via: "stream" })), stream);
  assert.deepEqual(asked, [["far", 1234]]);
});

test("connect: an upstream that wants the PROXY protocol is told first, over a relayed stream as well", async (t) => {
  const caller = { address: "192.0.2.7", port: 40_000, toAddress: "198.51.100.2", toPort: 443 };
  const streams = [0, 1].map(() => new PassThrough());
  const dialled = [...streams];
  const dial: Dial = () => Promise.resolve(dialled.shift() ?? new PassThrough());
  const open = connector(t, AMPLE_MS, dial);
  const to = upstream("far", 80, { via: "stream", proxyProtocol: "v1" });
  await open(to, caller);
  // Nobody's connection but ours: a probe, for one.
  await open(to);
  assert.deepEqual(
    streams.map((stream) => String(stream.read())),
    ["PROXY TCP4 192.0.2.7 198.51.100.2 40000 443\r\n", "PROXY UNKNOWN\r\n"],
  );
});

test("reset: ends a socket with RST, destroys what is no socket, and does nothing twice", async (t) => {
  let errorCode = "";
  const port = await tcpReplica(t, (socket) => {
    socket.on("error", (error: NodeJS.ErrnoException) => (errorCode = error.code ?? ""));
    socket.resume();
  });
  const stream = await connector(t, AMPLE_MS)(upstream("a", port));
  reset(stream);
  reset(stream);
  await until(() => errorCode === "ECONNRESET");
  const other = new PassThrough();
  reset(other);
  assert.equal(other.destroyed, true);
});
