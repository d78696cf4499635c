// Frontends: what is to listen for a table, and whom each listener leads where.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import type { Pool, RouteTable } from "../../src/proxy/routes.ts";
import { until } from "../support/wait.ts";
import { namedUdp, askUdp, openUdp } from "../support/udp.ts";

import {
  ask,
  Client,
  frontend,
  httpReplica,
  pool,
  portAt,
  startProxy,
  table,
  tcpReplica,
  upstream,
} from "./fixtures.ts";

async function named(t: TestContext, name: string): Promise<Pool> {
  const port = await httpReplica(t, (_request, response) => response.end(name));
  return { ...pool([upstream(name, port)]), service: `default/${name}` };
}

test("frontends: each service is served by its protocol", async (t) => {
  const line = await tcpReplica(t, (socket) => socket.end("tcp"));
  const datagrams = await namedUdp(t, "udp");
  const { proxy } = await startProxy(t);
  await proxy.set(
    table([
      frontend("http", await named(t, "http"), { address: "127.0.0.3" }),
      frontend("tcp", { ...pool([upstream("b", line)]), protocol: "tcp" }, { address: "127.0.0.4" }),
      frontend(
        "udp",
        { ...pool([upstream("c", datagrams.port)]), protocol: "udp" },
        { address: "127.0.0.1" },
      ),
    ]),
  );
  assert.equal((await ask(portAt(proxy, "127.0.0.3"), { host: "127.0.0.3" })).text, "http");
  const client = new Client(t, portAt(proxy, "127.0.0.4"), "127.0.0.4");
  await until(() => client.ended);
  assert.equal(client.text, "tcp");
  assert.match(await askUdp(await openUdp(t), portAt(proxy, "127.0.0.1"), "x"), /udp/);
});

test("frontends: a new table counts with the next request of a kept connection, no listener opens anew", async (t) => {
  const [one, other] = [await named(t, "one"), await named(t, "other")];
  const { proxy } = await startProxy(t);
  const routed = (to: Pool): RouteTable => table([], [{ host: "app", path: "/", pool: to }]);
  await proxy.set(routed(one));
  const before = portAt(proxy, "127.0.0.2");
  const client = new Client(t, before, "127.0.0.2");
  const request = "GET / HTTP/1.1\r\nHost: app\r\n\r\n";
  await client.ask(request, (text) => text.endsWith("one"));
  await proxy.set(routed(other));
  await client.ask(request, (text) => text.endsWith("other"));
  assert.equal(portAt(proxy, "127.0.0.2"), before);
  await proxy.set(table([], [{ host: "else", path: "/", pool: one }]));
  await client.ask(request, (text) =>
    /404 Not Found.*no service is routed for this host and path/s.test(text),
  );
});

test("frontends: HTTPS listens when there is TLS to pass on, and not without that or certificates", async (t) => {
  const to = await named(t, "one");
  const { proxy } = await startProxy(t);
  const ingress = {
    address: "127.0.0.2",
    port: null,
    httpsPort: 0,
    routes: [{ host: "app", path: "/", pool: to }],
  };
  const secure = (passthrough: boolean): RouteTable => ({
    ...table([]),
    ingress: {
      ...ingress,
      passthrough: passthrough ? [{ host: "db", pool: { ...to, protocol: "tcp" } }] : [],
    },
  });
  await proxy.set(secure(false));
  assert.deepEqual(proxy.stats().listeners, []);
  await proxy.set(secure(true));
  assert.equal(proxy.stats().listeners.length, 1);
  await proxy.set(secure(false));
  assert.deepEqual(proxy.stats().listeners, []);
});
