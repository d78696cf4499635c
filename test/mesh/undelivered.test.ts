// What a daemon says of a request that never reached its replica, and what it keeps to itself.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { tellUndelivered, undeliveredOf } from "../../src/mesh/undelivered.ts";
import { renderUndelivered, UNDELIVERED_HEADER } from "../../src/model/undelivered.ts";
import { join } from "../../src/runtime/pump.ts";
import { until } from "../support/wait.ts";

const TOKEN = "0123456789abcdef";

/** Both ends of a connection over loopback; they keep their writing half open. */
async function pair(t: TestContext): Promise<readonly [Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const near = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const [far] = (await once(server, "connection")) as [Socket];
  server.close();
  for (const socket of [near, far]) socket.on("error", () => undefined);
  t.after(() => [near, far].forEach((socket) => socket.destroy()));
  return [near, far];
}

/** A replica behind a daemon that was asked for a stream: the client's end, the replica's end, what the client reads. */
async function relayed(t: TestContext): Promise<{ client: Socket; replica: Socket; read: () => string }> {
  const [client, asker] = await pair(t);
  const [upstream, replica] = await pair(t);
  tellUndelivered(asker, upstream, TOKEN);
  join(asker, upstream);
  let text = "";
  client.on("data", (chunk: Buffer) => (text += chunk.toString()));
  return { client, replica, read: () => text };
}

test("undelivered: a replica that ends before it was given anything is told of, then the end passes on", async (t) => {
  const { client, replica, read } = await relayed(t);
  const ended = once(client, "end");
  replica.end();
  await ended;
  assert.equal(read(), renderUndelivered(TOKEN));
});

test("undelivered: one that ends after its answer, before the next request, is told of", async (t) => {
  const { client, replica, read } = await relayed(t);
  const ended = once(client, "end");
  client.write("one");
  await once(replica, "data");
  replica.write("answer");
  await until(() => read() === "answer");
  replica.end();
  await ended;
  assert.equal(read(), `answer${renderUndelivered(TOKEN)}`);
});

test("undelivered: one that ends with a request in its hands is not: it may have acted", async (t) => {
  const { client, replica, read } = await relayed(t);
  const ended = once(client, "end");
  client.write("one");
  await once(replica, "data");
  replica.end();
  await ended;
  assert.equal(read(), "");
});

test("undelivered: a request for a stream names its token in a header; one of another form is not taken", () => {
  assert.equal(undeliveredOf({ headers: { [UNDELIVERED_HEADER]: TOKEN } }), TOKEN);
  assert.equal(undeliveredOf({ headers: {} }), null);
  assert.equal(undeliveredOf({ headers: { [UNDELIVERED_HEADER]: "short" } }), null);
  assert.equal(undeliveredOf({ headers: { [UNDELIVERED_HEADER]: [TOKEN, TOKEN] } }), null);
});
