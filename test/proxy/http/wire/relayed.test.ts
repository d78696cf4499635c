// Requests to replicas of other hosts, through the whole proxy: what a receipt tells decides what is sent again.

import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent } from "node:http";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";

import type { GivenOf } from "../../../../src/proxy/connect.ts";

import { ask, pool, serveOne, tcpReplica, upstream } from "../../fixtures.ts";

interface Relayed {
  readonly port: number;
  /** Each connection's requests, as the replica got them. */
  readonly received: readonly string[];
  /** Receipts that were asked by. */
  readonly asked: readonly string[];
}

/**
 * A proxy in front of a relayed replica that answers the first request of its first connection and hangs up on the
 * second, answering all on any other.
 */
async function relayed(t: TestContext, given: (firstBytes: number) => number | null): Promise<Relayed> {
  const received: string[] = [];
  const replicaPort = await tcpReplica(t, (socket) => {
    const at = received.push("") - 1;
    socket.on("data", (chunk: Buffer) => {
      const isCrossed = at === 0 && received[0] !== "";
      received[at] += chunk.toString("latin1");
      if (isCrossed) socket.end();
      else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  const asked: string[] = [];
  const givenOf: GivenOf = (_upstream, receipt) => {
    asked.push(receipt);
    return Promise.resolve(given(received[0]?.indexOf("POST") ?? 0));
  };
  const { port } = await serveOne(t, "http", pool([upstream("a", replicaPort, { via: "stream" })]), {
    dial: async ({ port: to }) => {
      const socket = connect({ port: to, host: "127.0.0.1", allowHalfOpen: true });
      await once(socket, "connect");
      return socket;
    },
    givenOf,
  });
  return { port, received, asked };
}

test("relayed: a POST that its replica was not given is sent over another stream, body and all", async (t) => {
  const { port, received, asked } = await relayed(t, (firstBytes) => firstBytes);
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  assert.equal((await ask(port, { agent })).text, "ok");
  const answer = await ask(port, { agent, method: "POST", body: "once" });
  assert.equal(answer.text, "ok");
  assert.match(received[1] ?? "", /^POST \/ [^]*\r\n\r\n(?:4\r\n)?once/);
  assert.equal(asked.length, 1);
  assert.match(asked[0] ?? "", /^[a-z0-9]{32}$/);
});

test("relayed: a POST of which a byte was given, or nobody knows, is not sent twice", async (t) => {
  for (const given of [(firstBytes: number): number => firstBytes + 1, (): null => null]) {
    const { port, received } = await relayed(t, given);
    assert.equal((await ask(port)).text, "ok");
    assert.equal((await ask(port, { method: "POST", body: "once" })).status, 502);
    assert.equal(received.length, 1);
  }
});
