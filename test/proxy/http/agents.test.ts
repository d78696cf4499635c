// Agents: which connections to an upstream are kept, and for how long.

import assert from "node:assert/strict";
import { get, type Agent } from "node:http";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { LIMITS } from "../../../src/model/limits.ts";
import { UpstreamAgents, type Freshness } from "../../../src/proxy/http/agents.ts";
import { openConnector } from "../../../src/proxy/connect.ts";
import { Deadlines } from "../../../src/proxy/deadlines.ts";
import type { Caller } from "../../../src/proxy/tcp/proxy-header.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";

import { CALLER, rawReplica, tcpReplica, upstream } from "../fixtures.ts";

interface Bench {
  readonly agents: UpstreamAgents;
  readonly port: number;
  /** Connections that the replica has open. */
  readonly sockets: Set<Socket>;
  now: number;
}

async function bench(t: TestContext): Promise<Bench> {
  const sockets = new Set<Socket>();
  const port = await rawReplica(t, (_head, socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.write("HTTP/1.1 204 No Content\r\n\r\n");
  });
  const on = { port, sockets, now: 0, agents: null as unknown as UpstreamAgents };
  const nowMs = (): number => on.now;
  const dial = (): Promise<never> => Promise.reject(new Error("no"));
  const connect = openConnector({ dial, deadlines: new Deadlines(), nowMs, connectMs: 500, streamMs: 500 });
  const agents = new UpstreamAgents(connect, nowMs);
  t.after(() => agents.close());
  return Object.assign(on, { agents });
}

function asked(freshness: Freshness): { readonly caller: Caller; readonly freshness: Freshness } {
  return { caller: CALLER, freshness };
}

/** One request; the status, or the error's code. */
function through(agent: Agent): Promise<number | string> {
  return new Promise((resolve) => {
    const request = get({ host: "upstream", agent }, (response) => {
      response.resume().once("end", () => resolve(response.statusCode ?? 0));
    });
    request.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "?"));
  });
}

test("agentFor: an eligible upstream keeps its connection, any other's is closed after use", async (t) => {
  const on = await bench(t);
  const to = upstream("a", on.port);
  on.agents.setEligible([to]);
  assert.equal(await through(on.agents.agentFor(to, asked("any"))), 204);
  await until(() => on.agents.sizes.idle === 1);
  await through(on.agents.agentFor(to, asked("any")));
  assert.equal(on.sockets.size, 1);
  await through(on.agents.agentFor(upstream("b", on.port), asked("any")));
  await until(() => on.sockets.size === 1);
});

test("setEligible: an upstream that is not eligible any more, or has moved, loses its idle connections", async (t) => {
  const on = await bench(t);
  const to = upstream("a", on.port);
  for (const next of [[], [{ ...to, address: "127.0.0.9" }]]) {
    on.agents.setEligible([to]);
    await through(on.agents.agentFor(to, asked("any")));
    await until(() => on.agents.sizes.idle === 1);
    on.agents.setEligible(next);
    await until(() => on.sockets.size === 0);
  }
});

test("agentFor: `warm` takes a connection that was in use within a second, `new` takes none", async (t) => {
  const on = await bench(t);
  const to = upstream("a", on.port);
  on.agents.setEligible([to]);
  const opened = async (freshness: "any" | "warm" | "new"): Promise<boolean> => {
    const before = new Set(on.sockets);
    await through(on.agents.agentFor(to, asked(freshness)));
    await until(() => on.agents.sizes.idle === 1);
    return [...on.sockets].some((socket) => !before.has(socket));
  };
  assert.equal(await opened("warm"), true);
  on.now += 999;
  assert.equal(await opened("warm"), false);
  on.now += 1000;
  assert.equal(await opened("any"), false);
  on.now += 1000;
  assert.equal(await opened("warm"), true);
  assert.equal(await opened("new"), true);
});

test("agentFor: an upstream that ends an idle connection is not sent a request over it", async (t) => {
  const on = await bench(t);
  const to = upstream("a", on.port);
  on.agents.setEligible([to]);
  await through(on.agents.agentFor(to, asked("any")));
  await until(() => on.agents.sizes.idle === 1);
  for (const socket of on.sockets) socket.end();
  await until(() => on.agents.sizes.idle === 0);
  assert.equal(await through(on.agents.agentFor(to, asked("any"))), 204);
});

test("agentFor: after a burst no more connections stay than the bound", async (t) => {
  const on = await bench(t);
  const to = upstream("a", on.port);
  on.agents.setEligible([to]);
  const burst = LIMITS.upstreamIdleSocketsMax + 40;
  await Promise.all(Array.from({ length: burst }, () => through(on.agents.agentFor(to, asked("any")))));
  await until(() => on.sockets.size === LIMITS.upstreamIdleSocketsMax);
});

test("agentFor: a failed connect is the request's error, with its code", async (t) => {
  const on = await bench(t);
  assert.equal(await through(on.agents.agentFor(upstream("a", await closedPort()), asked("any"))), "refused");
});

test("agentFor: where upstreams are told who calls, each request has a connection that says so", async (t) => {
  const on = await bench(t);
  const received: string[] = [];
  const port = await tcpReplica(t, (socket) => {
    socket.once("data", (chunk: Buffer) => {
      received.push(chunk.toString("latin1").split("\r\n")[0] ?? "");
      socket.end("HTTP/1.1 204 No Content\r\n\r\n");
    });
  });
  const to = upstream("a", port, { proxyProtocol: "v1" });
  on.agents.setEligible([to]);
  for (const address of ["203.0.113.1", "203.0.113.2"]) {
    const caller = { ...CALLER, address };
    assert.equal(await through(on.agents.agentFor(to, { caller, freshness: "any" })), 204);
  }
  assert.deepEqual(received, [
    "PROXY TCP4 203.0.113.1 127.0.0.1 40000 8080",
    "PROXY TCP4 203.0.113.2 127.0.0.1 40000 8080",
  ]);
});
