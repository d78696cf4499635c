// Proxy: tables that follow each other, and what is learnt in between.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { TIMES } from "../../src/proxy/proxy.ts";
import { closedPort } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

import {
  ask,
  Clock,
  frontend,
  httpReplica,
  pool,
  portAt,
  rawReplica,
  startProxy,
  table,
  tcpReplica,
  upstream,
} from "./fixtures.ts";

test("set: a new table is in use before anything is awaited", async (t) => {
  const [one, other] = await Promise.all(
    ["one", "other"].map((name) => httpReplica(t, (_request, response) => response.end(name))),
  );
  const { proxy } = await startProxy(t);
  await proxy.set(table([frontend("http", pool([upstream("a", one ?? 0)]))]));
  const port = portAt(proxy, "127.0.0.1");
  assert.equal((await ask(port)).text, "one");
  const done = proxy.set(table([frontend("http", pool([upstream("a", other ?? 0)]))]));
  assert.equal((await ask(port)).text, "other");
  await done;
});

test("set: many tables at once end with the last one", async (t) => {
  const { proxy } = await startProxy(t);
  const addresses = ["127.0.0.11", "127.0.0.12", "127.0.0.13"];
  const sets = addresses.map((address) => proxy.set(table([frontend("tcp", pool(), { address })])));
  assert.deepEqual(await Promise.all(sets), [[], [], []]);
  assert.deepEqual(
    proxy.stats().listeners.map(({ address }) => address),
    ["127.0.0.13"],
  );
});

test("set: who would tell of a service's address waits until it is listened on, or cannot be", async (t) => {
  const told: number[] = [];
  const onListening = (): void => void told.push(proxy.opensInMs("127.97.0.1"));
  const { proxy } = await startProxy(t, { onListening });
  const taken = await tcpReplica(t, () => undefined);
  const vip = frontend("tcp", pool(), { origin: "vip", address: "127.97.0.1", port: await closedPort() });
  const failing = frontend("tcp", pool(), { origin: "vip", address: "127.0.0.1", port: taken });
  const setting = proxy.set(table([vip, failing]));
  for (const { address } of [vip, failing]) assert.ok(proxy.opensInMs(address) > 0, address);
  assert.equal(proxy.opensInMs("127.97.0.2"), 0);
  await proxy.listening([vip.address]);
  assert.equal(proxy.opensInMs(vip.address), 0);
  assert.equal((await setting).length, 1);
  for (const { address } of [vip, failing]) assert.equal(proxy.opensInMs(address), 0, address);
  assert.deepEqual(told, [0]);
});

test("set: a thousand listeners are opened and closed, with a proxy that answers meanwhile", async (t) => {
  const replica = await httpReplica(t, (_request, response) => response.end("ok"));
  const { proxy } = await startProxy(t);
  const web = frontend("http", pool([upstream("a", replica)]));
  await proxy.set(table([web]));
  const port = portAt(proxy, "127.0.0.1");
  const free = await closedPort();
  const many = Array.from({ length: 1000 }, (_, at) =>
    frontend("tcp", pool(), { address: `127.97.${at >> 8}.${at & 255}`, port: free }),
  );
  const setting = proxy.set(table([web, ...many]));
  assert.equal((await ask(port)).text, "ok");
  assert.deepEqual(await setting, []);
  assert.equal(proxy.stats().listeners.length, 1001);
  await proxy.set(table([web]));
  assert.equal(proxy.stats().listeners.length, 1);
});

test("set: while the table is incomplete listeners are added, none is closed", async (t) => {
  const replica = await httpReplica(t, (_request, response) => response.end("ok"));
  const { proxy } = await startProxy(t);
  await proxy.set(table([frontend("http", pool([upstream("a", replica)]))]));
  const port = portAt(proxy, "127.0.0.1");
  const added = frontend("tcp", pool(), { address: "127.0.0.11" });
  await proxy.set({ ...table([added]), complete: false });
  assert.equal(proxy.stats().listeners.length, 2);
  assert.equal((await ask(port)).text, "ok");
  await proxy.set(table([added]));
  assert.deepEqual(
    proxy.stats().listeners.map(({ address }) => address),
    ["127.0.0.11"],
  );
});

test("set: an upstream that leaves the table takes its ejection with it", async (t) => {
  const { proxy } = await startProxy(t);
  const refusing = upstream("a", await closedPort());
  const good = upstream("b", await httpReplica(t, (_, response) => response.end("ok")));
  await proxy.set(table([frontend("http", pool([refusing, good]))]));
  for (let count = 0; count < 2; count += 1) assert.equal((await ask(portAt(proxy, "127.0.0.1"))).text, "ok");
  const [ejected] = proxy.stats().ejected;
  assert.deepEqual([ejected?.id, ejected?.reason], [refusing.id, "connect"]);
  await proxy.set(table([frontend("http", pool())]));
  assert.deepEqual(proxy.stats().ejected, []);
});

test("proxy: an ejected replica that is well again is back before any client asks", async (t) => {
  const clock = new Clock();
  const port = await closedPort();
  const good = await httpReplica(t, (_, response) => response.end("good"));
  const to = pool([upstream("a", port), upstream("b", good)]);
  const { proxy } = await startProxy(t, { nowMs: clock.nowMs });
  await proxy.set(table([frontend("http", to)]));
  for (let count = 0; count < 2; count += 1)
    assert.equal((await ask(portAt(proxy, "127.0.0.1"))).text, "good");
  assert.equal(proxy.stats().ejected.length, 1);
  let requests = 0;
  const back = createServer((_, response) => {
    requests += 1;
    response.end("back");
  });
  t.after(() => back.close());
  back.listen(port, "127.0.0.1");
  await once(back, "listening");
  await clock.passUntil(() => proxy.stats().ejected.length === 0);
  assert.equal(requests, 0);
  const texts = [await ask(portAt(proxy, "127.0.0.1")), await ask(portAt(proxy, "127.0.0.1"))];
  assert.deepEqual(texts.map(({ text }) => text).toSorted(), ["back", "good"]);
});

test("set: HTTP goes through streams as it goes through sockets, with connections kept", async (t) => {
  const replica = await httpReplica(t, (request, response) => response.end(request.url));
  let dials = 0;
  const { proxy } = await startProxy(t, {
    dial: async (to, deadlineMs) => {
      assert.deepEqual([to.replica, to.port, deadlineMs], ["far", 9, 1000]);
      dials += 1;
      if (dials === 1) throw new Failure("refused", "not ready");
      const socket = connect({ port: replica, host: "127.0.0.1", allowHalfOpen: true });
      await once(socket, "connect");
      return socket;
    },
  });
  const far = upstream("far", 9, { via: "stream", address: "172.17.0.2" });
  await proxy.set(table([frontend("http", pool([far]))]));
  const port = portAt(proxy, "127.0.0.1");
  assert.equal((await ask(port)).status, 502);
  assert.equal((await ask(port, { path: "/1" })).text, "/1");
  await until(() => proxy.stats().upstreamConnections.idle === 1);
  assert.equal((await ask(port, { path: "/2" })).text, "/2");
  assert.equal(dials, 2);
});

test("proxy: a pause of its own process is not held against a replica that answered in it", async (t) => {
  const clock = new Clock();
  const replica = await rawReplica(t, (_head, socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    clock.pass(TIMES.answerMs);
    // As long as it takes for the proxy's timer to be due before the answer is read.
    for (const start = performance.now(); performance.now() - start < 200;);
  });
  const { proxy } = await startProxy(t, { nowMs: clock.nowMs });
  await proxy.set(table([frontend("http", pool([upstream("a", replica)]))]));
  assert.equal((await ask(portAt(proxy, "127.0.0.1"))).text, "ok");
});

test("close: twice is as good as once, and a table that comes after it opens nothing", async (t) => {
  const { proxy } = await startProxy(t);
  await Promise.all([proxy.close(1000), proxy.close(1000)]);
  assert.deepEqual(await proxy.set(table([frontend("tcp", pool())])), []);
  assert.deepEqual(proxy.stats().listeners, []);
});
