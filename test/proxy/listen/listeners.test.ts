// Listeners: opening and closing one by one, and what is said when a port cannot be had.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { test, type TestContext } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { serverListener, type Listener } from "../../../src/proxy/listen/listener.ts";
import { Listeners, type WantedListener } from "../../../src/proxy/listen/listeners.ts";
import { ownSockets } from "../../../src/runtime/sharing.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";

import { Client, Clock, frontend, pool, SILENT, startProxy, table } from "../fixtures.ts";

/** A wanted listener whose connections read `name`. */
const EAGER = { mayClose: true, triesFailed: true };

function wanted(address: string, port: number, name = "x", kind: "tcp" | "http" = "tcp"): WantedListener {
  const create = (): Listener =>
    serverListener(createServer((socket) => socket.on("error", () => undefined).end(name)));
  return { kind, address, port, service: "default/web", create };
}

function opened(t: TestContext): Listeners {
  const listeners = new Listeners({ vipPool: "10.96.0.0/12", log: SILENT });
  t.after(() => listeners.close());
  return listeners;
}

/** Listens on a port that nobody else gets by chance, before or after. */
async function held(
  t: TestContext,
  host: string,
): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer();
  server.listen({ host, port: await closedPort() });
  await once(server, "listening");
  t.after(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

async function read(t: TestContext, host: string, port: number): Promise<string> {
  const client = new Client(t, port, host);
  await until(() => client.ended);
  client.socket.end();
  return client.text;
}

test("reconcile: one port on every address and on a VIP is two listeners", async (t) => {
  const listeners = opened(t);
  const port = await closedPort();
  await listeners.reconcile([wanted("127.96.0.5", port, "vip"), wanted("0.0.0.0", port, "published")], EAGER);
  assert.deepEqual(listeners.failures, []);
  assert.equal(await read(t, "127.96.0.5", port), "vip");
  assert.equal(await read(t, "127.0.0.1", port), "published");
  await listeners.reconcile([wanted("0.0.0.0", port, "published")], EAGER);
  assert.equal(await read(t, "127.96.0.5", port), "published");
});

test("reconcile: a busy port is reported with its holder, and the rest works without it", async (t) => {
  const listeners = opened(t);
  const { port } = await held(t, "127.0.0.1");
  await listeners.reconcile([wanted("127.0.0.1", port), wanted("127.0.0.1", 0)], EAGER);
  const [failure] = listeners.failures;
  assert.equal(failure?.code, "busy");
  assert.match(
    failure?.text ?? "",
    new RegExp(`^127\\.0\\.0\\.1:${port} is held by .+ \\(pid ${process.pid}\\)$`),
  );
  assert.equal(listeners.open.length, 1);
});

test("reconcile: a port held on every address is busy for each of them", async (t) => {
  const listeners = opened(t);
  const { port } = await held(t, "0.0.0.0");
  await listeners.reconcile([wanted("127.96.0.7", port)], EAGER);
  assert.match(
    listeners.failures[0]?.text ?? "",
    new RegExp(`^127\\.96\\.0\\.7:${port} is held by .+pid ${process.pid}`),
  );
});

test("reconcile: a port that another of ours listens on is not shared with it in silence", async (t) => {
  const first = opened(t);
  const port = await closedPort();
  await first.reconcile([wanted("127.0.0.1", port)], EAGER);
  const second = opened(t);
  await second.reconcile([wanted("127.0.0.1", port)], EAGER);
  assert.equal(second.failures[0]?.code, "busy");
});

test("reconcile: an address that is not this host's is reported with the remedy", async (t) => {
  const listeners = opened(t);
  await listeners.reconcile([wanted("10.96.3.4", 8080)], EAGER);
  const [failure] = listeners.failures;
  assert.equal(failure?.code, "unreachable");
  assert.match(
    failure?.text ?? "",
    /10\.96\.3\.4:8080 is no address of this host; run `ip route add local 10\.96\.0\.0\/12 dev lo`/,
  );
});

test("reconcile: a listener whose kind changes is opened anew, one that stays the same is left alone", async (t) => {
  const listeners = opened(t);
  await listeners.reconcile([wanted("127.0.0.1", 0, "old"), wanted("127.0.0.2", 0, "same")], EAGER);
  const same = listeners.open.find(({ address }) => address === "127.0.0.2")?.port;
  await listeners.reconcile([wanted("127.0.0.1", 0, "new", "http"), wanted("127.0.0.2", 0, "other")], EAGER);
  const [changed, kept] = ["127.0.0.1", "127.0.0.2"].map((at) =>
    listeners.open.find(({ address }) => address === at),
  );
  assert.equal(kept?.port, same);
  assert.equal(await read(t, "127.0.0.1", changed?.port ?? 0), "new");
  assert.equal(await read(t, "127.0.0.2", kept?.port ?? 0), "same");
});

test("proxy: a busy port is tried again by itself once it is free", async (t) => {
  const { server, port } = await held(t, "127.0.0.1");
  const warnings: string[] = [];
  const clock = new Clock();
  const log = { ...SILENT, warn: (text: string) => warnings.push(text) };
  const { proxy } = await startProxy(t, { log, nowMs: clock.nowMs });
  const [failure] = await proxy.set(table([frontend("tcp", pool(), { port })]));
  assert.equal(failure?.code, "busy");
  server.close();
  await clock.passUntil(() => proxy.stats().listeners.length === 1);
  assert.deepEqual(proxy.stats().failures, []);
  assert.equal(warnings.length, 1);
});

test("reconcile: a successor listens beside its predecessor, and alone when that one closes", async (t) => {
  const [old, port] = [opened(t), await closedPort()];
  await old.reconcile([wanted("127.0.0.1", port, "old")], EAGER);
  const stranger = opened(t);
  await stranger.reconcile([wanted("127.0.0.1", port)], EAGER);
  assert.equal(stranger.failures[0]?.code, "busy");
  const shared = new Set(await ownSockets());
  const successor = new Listeners({ vipPool: "10.96.0.0/12", log: SILENT, shared });
  t.after(() => successor.close());
  await successor.reconcile([wanted("127.0.0.1", port, "new")], EAGER);
  assert.deepEqual(successor.failures, []);
  old.close();
  for (let tries = 0; tries < 8; tries += 1) assert.equal(await read(t, "127.0.0.1", port), "new");
});

test("reconcile: IPv6 addresses are made before they are listened on; if that fails it tells how", async (t) => {
  const asked: string[] = [];
  const listeners = new Listeners({
    vipPool: "10.96.0.0/12",
    log: SILENT,
    hold(addresses, { mayRelease }) {
      asked.push(`${addresses.join(" ")} ${mayRelease} ${listeners.open.length}`);
      return Promise.reject(new Failure("not-allowed", "no NET_ADMIN"));
    },
  });
  t.after(() => listeners.close());
  const port = await closedPort();
  const all = [wanted("127.0.0.1", port), wanted("fd12:3456:789a:0:8000::9", port)];
  await listeners.reconcile(all, { mayClose: false, triesFailed: true });
  assert.deepEqual(asked, ["fd12:3456:789a:0:8000::9 false 0"]);
  await listeners.reconcile(all, { mayClose: false, triesFailed: false });
  assert.equal(asked.length, 1, "not with each table");
  await listeners.reconcile(all, EAGER);
  assert.equal(asked.length, 2);
  assert.deepEqual(
    listeners.open.map(({ address }) => address),
    ["127.0.0.1"],
  );
  assert.match(
    listeners.failures[0]?.text ?? "",
    /is no address of this host; give it NET_ADMIN, or set vip.pool6/,
  );
});

test("reconcile: who watches is told when a listener was opened or closed, and of nothing else", async (t) => {
  let told = 0;
  const listeners = new Listeners({
    vipPool: "10.96.0.0/12",
    log: SILENT,
    onChanged: () => void (told += 1),
  });
  t.after(() => listeners.close());
  const one = wanted("127.0.0.1", await closedPort());
  await listeners.reconcile([one], EAGER);
  assert.equal(told, 1);
  await listeners.reconcile([one], EAGER);
  assert.equal(told, 1);
  await listeners.reconcile([], EAGER);
  assert.equal(told, 2);
});
