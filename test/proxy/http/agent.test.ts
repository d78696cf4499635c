// Agent: a connection for each request, and none afterwards.

import assert from "node:assert/strict";
import { get, type Agent } from "node:http";
import { test } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { openConnector } from "../../../src/proxy/connect.ts";
import { Deadlines } from "../../../src/proxy/deadlines.ts";
import { SingleUseAgent } from "../../../src/proxy/http/agent.ts";
import { until } from "../../support/wait.ts";

import { CALLER, httpReplica, tcpReplica, upstream } from "../fixtures.ts";

const connect = openConnector({
  dial: () => Promise.reject(new Error("no mesh in this test")),
  deadlines: new Deadlines(),
  nowMs: () => 0,
  connectMs: 500,
  streamMs: 500,
});

/** One request; the status, or the error's code. */
function through(agent: Agent): Promise<number | string> {
  return new Promise((resolve) => {
    const request = get({ host: "upstream", agent }, (response) => {
      response.resume().once("end", () => resolve(response.statusCode ?? 0));
    });
    request.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "?"));
  });
}

test("agent: each request has its own connection, which is closed after it", async (t) => {
  let opened = 0;
  let open = 0;
  const port = await httpReplica(t, (request, response) => {
    opened += 1;
    open += 1;
    request.socket.once("close", () => (open -= 1));
    response.end();
  });
  const agent = new SingleUseAgent(() => connect(upstream("a", port)));
  for (let count = 0; count < 2; count += 1) assert.equal(await through(agent), 200);
  assert.equal(opened, 2);
  await until(() => open === 0);
});

test("agent: a failed connect is the request's error, with its code", async () => {
  const agent = new SingleUseAgent(() => Promise.reject(new Failure("refused", "no")));
  assert.equal(await through(agent), "refused");
});

test("agent: where upstreams are told who calls, the connection says so", async (t) => {
  let received = "";
  const port = await tcpReplica(t, (socket) => {
    socket.once("data", (chunk: Buffer) => {
      received = chunk.toString("latin1").split("\r\n")[0] ?? "";
      socket.end("HTTP/1.1 204 No Content\r\n\r\n");
    });
  });
  const to = upstream("a", port, { proxyProtocol: "v1" });
  assert.equal(await through(new SingleUseAgent(() => connect(to, CALLER))), 204);
  assert.equal(received, "PROXY TCP4 127.0.0.1 127.0.0.1 40000 8080");
});
