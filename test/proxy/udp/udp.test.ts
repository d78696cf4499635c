// Udp: datagrams through the proxy on loopback, to replicas that answer, refuse, drain and leave.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import type { AccessEntry } from "../../../src/proxy/access/entry.ts";
import type { Pool, Upstream } from "../../../src/proxy/routes.ts";
import { readProxyHeader } from "../../../src/proxy/tcp/proxy-header.ts";
import type { Metrics } from "../../../src/runtime/metrics.ts";
import { askUdp, connectUdp, closedUdpPort, namedUdp, openUdp, type UdpEnd } from "../../support/udp.ts";
import { until, within } from "../../support/wait.ts";

import {
  Clock,
  frontend,
  pool,
  portAt,
  serveOne,
  startProxy,
  table,
  tcpReplica,
  upstream,
} from "../fixtures.ts";

function udpUpstream(name: string, port: number, changes: Partial<Upstream> = {}): Upstream {
  return upstream(name, port, { id: `${name}:${port}/udp`, ...changes });
}

function udpPool(...tiers: (readonly Upstream[])[]): Pool {
  return { ...pool(...tiers), protocol: "udp" };
}

async function threeReplicas(t: TestContext): Promise<readonly Upstream[]> {
  const names = ["a", "b", "c"];
  const ends = await Promise.all(names.map((name) => namedUdp(t, name)));
  return ends.map(({ port }, at) => udpUpstream(names[at] ?? "", port));
}

/** The name of the replica that answers. */
async function nameAt(client: UdpEnd, port: number): Promise<string> {
  return (await askUdp(client, port, "?")).split(" ")[0] ?? "";
}

async function counted(metrics: Metrics, result: string, service = "default/web"): Promise<number> {
  const text = await metrics.registry.metrics();
  const line = text
    .split("\n")
    .filter((one) => one.startsWith("skein_proxy_datagrams_total"))
    .find((one) => one.includes(`"${result}"`) && one.includes(`"${service}"`));
  return Number(line?.split(" ").at(-1) ?? 0);
}

test("udp: a client's port keeps its replica, and clients are spread evenly", async (t) => {
  const { port } = await serveOne(t, "udp", udpPool(await threeReplicas(t)));
  const names: string[] = [];
  for (let at = 0; at < 12; at += 1) {
    const client = await openUdp(t);
    const name = await nameAt(client, port);
    for (let again = 0; again < 3; again += 1) assert.equal(await nameAt(client, port), name);
    names.push(name);
  }
  assert.deepEqual(names.toSorted(), "aaaabbbbcccc".split(""));
});

test("udp: when a replica drains, the next datagram goes elsewhere, and what it owes still comes", async (t) => {
  const late: (() => void)[] = [];
  const old = await openUdp(t, {
    answer(text, from) {
      late.push(() => old.socket.send(`old ${text}`, from.port, from.address));
      return null;
    },
  });
  const young = await namedUdp(t, "young");
  const one = udpUpstream("a", old.port);
  const other = udpUpstream("b", young.port);
  const { proxy } = await startProxy(t);
  await proxy.set(table([frontend("udp", udpPool([one]))]));
  const port = portAt(proxy, "127.0.0.1");
  const client = await openUdp(t);
  client.socket.send("first", port);
  await until(() => late.length === 1);
  await proxy.set(table([frontend("udp", udpPool([other], [one]))]));
  assert.equal(await askUdp(client, port, "second"), "young second");
  late[0]?.();
  await until(() => client.received.some(({ text }) => text === "old first"));
  assert.equal(await askUdp(client, port, "third"), "young third");
});

test("udp: when all replicas drain, a flow stays where it is", async (t) => {
  const replicas = await threeReplicas(t);
  const { proxy } = await startProxy(t);
  await proxy.set(table([frontend("udp", udpPool(replicas))]));
  const port = portAt(proxy, "127.0.0.1");
  const client = await openUdp(t);
  const before = await nameAt(client, port);
  await proxy.set(table([frontend("udp", udpPool([], replicas))]));
  await nameAt(client, port);
  const after = await nameAt(client, port);
  for (let again = 0; again < 5; again += 1) assert.equal(await nameAt(client, port), after);
  assert.equal(after, before);
});

test("udp: the next datagram after a replica has left reaches another; flows that stay silent end soon", async (t) => {
  const entries: AccessEntry[] = [];
  const access = { isOn: true, append: (entry: AccessEntry) => void entries.push(entry) };
  const clock = new Clock();
  const [one, other] = await threeReplicas(t);
  assert.ok(one && other);
  const { proxy } = await startProxy(t, { access, nowMs: clock.nowMs });
  await proxy.set(table([frontend("udp", udpPool([one]))]));
  const port = portAt(proxy, "127.0.0.1");
  const [silent, client] = [await openUdp(t), await openUdp(t)];
  for (const each of [silent, client]) assert.equal(await nameAt(each, port), "a");
  await proxy.set(table([frontend("udp", udpPool([other]))]));
  assert.equal(await nameAt(client, port), "b");
  await clock.passUntil(() => proxy.stats().flows === 1);
  assert.equal(await nameAt(client, port), "b");
  const [entry] = entries;
  assert.equal(entry?.result, "replica gone");
  assert.deepEqual(
    [entry.kind, entry.replica, entry.client, entry.bytesSent, entry.bytesReceived],
    ["udp", "a", "127.0.0.1", 1, 3],
  );
});

test("udp: a container that comes back elsewhere under its id is another life: the flow chooses anew", async (t) => {
  const [before, after] = [await namedUdp(t, "before"), await namedUdp(t, "after", { host: "127.0.0.2" })];
  const old = udpUpstream("a", before.port, { id: "a:53/udp" });
  const young = udpUpstream("a", after.port, { id: "a:53/udp", address: "127.0.0.2" });
  const { proxy } = await startProxy(t);
  await proxy.set(table([frontend("udp", udpPool([old]))]));
  const port = portAt(proxy, "127.0.0.1");
  const client = await openUdp(t);
  assert.equal(await nameAt(client, port), "before");
  await proxy.set(table([frontend("udp", udpPool([young]))]));
  assert.equal(await nameAt(client, port), "after");
});

test("udp: a datagram that a replica refuses reaches the next one, and the client sends it once", async (t) => {
  const replica = await namedUdp(t, "b");
  const dead = udpUpstream("a", await closedUdpPort(t));
  const { port, metrics, proxy } = await serveOne(t, "udp", udpPool([dead, udpUpstream("b", replica.port)]));
  for (let at = 0; at < 6; at += 1) assert.equal(await nameAt(await openUdp(t), port), "b");
  assert.ok((await counted(metrics, "resent")) >= 1);
  assert.ok(proxy.stats().ejected.some(({ id }) => id === dead.id));
});

test("udp: a replica that dies under a flow loses no datagram of it", async (t) => {
  const [one, other] = [await namedUdp(t, "one"), await namedUdp(t, "other")];
  const { port } = await serveOne(
    t,
    "udp",
    udpPool([udpUpstream("one", one.port), udpUpstream("other", other.port)]),
  );
  const client = await openUdp(t);
  const name = await nameAt(client, port);
  await (name === "one" ? one : other).close();
  const left = name === "one" ? "other" : "one";
  assert.equal(await nameAt(client, port), left);
  assert.equal(await nameAt(client, port), left);
});

test("udp: a replica that one flow found to refuse is left by the others too", async (t) => {
  // It answers some and, as one whose refusals are rationed, says nothing to the rest.
  const [one, other] = [await openUdp(t, { answer: (text) => `one ${text}` }), await namedUdp(t, "other")];
  const { port, proxy } = await serveOne(
    t,
    "udp",
    udpPool([udpUpstream("one", one.port), udpUpstream("other", other.port)]),
  );
  const clients = [await openUdp(t), await openUdp(t), await openUdp(t), await openUdp(t)];
  const names = await Promise.all(clients.map((client) => nameAt(client, port)));
  assert.equal(names.filter((name) => name === "one").length, 2);
  await one.close();
  const [first, second] = clients.filter((_, at) => names[at] === "one");
  assert.ok(first && second);
  assert.equal(await nameAt(first, port), "other");
  const mute = await openUdp(t, { port: one.port });
  assert.ok(proxy.stats().ejected.length === 1);
  assert.equal(await nameAt(second, port), "other");
  assert.deepEqual(mute.received, []);
});

test("udp: while nobody is there datagrams are lost and counted; later the same port is served", async (t) => {
  const port = await closedUdpPort(t);
  const served = await serveOne(t, "udp", udpPool([udpUpstream("a", port)]));
  const client = await openUdp(t);
  client.socket.send("lost", served.port);
  await until(async () => (await counted(served.metrics, "no-replica")) === 1);
  await namedUdp(t, "back", { port });
  assert.equal(await nameAt(client, served.port), "back");
});

test("udp: a service without a replica drops and counts, and remembers nobody", async (t) => {
  const { port, metrics, proxy } = await serveOne(t, "udp", udpPool());
  const client = await openUdp(t);
  client.socket.send("lost", port);
  await until(async () => (await counted(metrics, "no-replica")) === 1);
  assert.equal(proxy.stats().flows, 0);
});

test("udp: when a port changes hands, datagrams count for the service that has it now", async (t) => {
  const [one, other] = await threeReplicas(t);
  assert.ok(one && other);
  const { proxy, metrics } = await startProxy(t);
  await proxy.set(table([frontend("udp", udpPool([one]))]));
  const port = portAt(proxy, "127.0.0.1");
  assert.equal(await nameAt(await openUdp(t), port), "a");
  const theirs = { ...udpPool([other]), service: "default/api" };
  await proxy.set(table([frontend("udp", theirs)]));
  assert.equal(await nameAt(await openUdp(t), port), "b");
  assert.equal(await counted(metrics, "answered", "default/api"), 1);
  assert.equal(await counted(metrics, "answered"), 1);
});

test("udp: silence ends a flow: after one question and its answer soon, after more talk later", async (t) => {
  const clock = new Clock();
  const entries: AccessEntry[] = [];
  const access = { isOn: true, append: (entry: AccessEntry) => void entries.push(entry) };
  const { port, proxy } = await serveOne(t, "udp", udpPool(await threeReplicas(t)), {
    access,
    nowMs: clock.nowMs,
  });
  const [once, often] = [await openUdp(t), await openUdp(t)];
  await nameAt(once, port);
  await nameAt(often, port);
  await nameAt(often, port);
  clock.pass(6000);
  await until(() => proxy.stats().flows === 1);
  clock.pass(20_000);
  await nameAt(often, port);
  clock.pass(20_000);
  await nameAt(often, port);
  assert.equal(proxy.stats().flows, 1);
  clock.pass(31_000);
  await until(() => proxy.stats().flows === 0);
  assert.deepEqual(
    entries.map(({ result }) => result),
    ["ok", "ok"],
  );
});

test("udp: a client that wants too many flows loses its oldest, and is served all the same", async (t) => {
  const entries: AccessEntry[] = [];
  const access = { isOn: true, append: (entry: AccessEntry) => void entries.push(entry) };
  // A quarter of it for one client's address.
  const options = { access, udpFlowsMax: 8 };
  const { port, proxy } = await serveOne(t, "udp", udpPool(await threeReplicas(t)), options);
  const clients = await Promise.all([1, 2, 3].map(() => openUdp(t)));
  for (const client of clients) await nameAt(client, port);
  assert.equal(proxy.stats().flows, 2);
  assert.deepEqual(
    entries.map(({ result }) => result),
    ["too many flows"],
  );
  for (const client of clients) await nameAt(client, port);
});

test("udp: with `datagram` each datagram of one port goes to the next replica, and nothing comes back", async (t) => {
  const replicas = await Promise.all(["a", "b", "c"].map((name) => namedUdp(t, name)));
  const own = udpPool(replicas.map(({ port }, at) => udpUpstream(String(at), port)));
  const { port, proxy } = await serveOne(t, "udp", {
    ...own,
    traffic: { ...own.traffic, udpMode: "datagram" },
  });
  const client = await openUdp(t);
  for (let at = 0; at < 12; at += 1) client.socket.send(String(at), port);
  await until(() => replicas.reduce((sum, { received }) => sum + received.length, 0) === 12);
  for (const { received } of replicas) {
    assert.equal(received.length, 4);
    assert.equal(new Set(received.map(({ from }) => from.port)).size, 1, "one socket each");
  }
  assert.equal(proxy.stats().flows, 0);
  assert.deepEqual(client.received, []);
});

test("udp: with `datagram` what a replica refuses reaches another", async (t) => {
  const replica = await openUdp(t);
  const own = udpPool([udpUpstream("a", await closedUdpPort(t)), udpUpstream("b", replica.port)]);
  const { port } = await serveOne(t, "udp", { ...own, traffic: { ...own.traffic, udpMode: "datagram" } });
  const client = await openUdp(t);
  for (let at = 0; at < 4; at += 1) {
    client.socket.send(String(at), port);
    await until(() => replica.received.some(({ text }) => text === String(at)));
  }
});

test("udp: a replica that expects the PROXY protocol reads who called in front of each datagram", async (t) => {
  const replica = await openUdp(t, { answer: () => "seen" });
  const { port } = await serveOne(
    t,
    "udp",
    udpPool([udpUpstream("a", replica.port, { proxyProtocol: "v2" })]),
  );
  const client = await openUdp(t);
  client.socket.send("one", port);
  client.socket.send("two", port);
  await until(() => client.received.length === 2);
  for (const [at, text] of ["one", "two"].entries()) {
    const bytes = Buffer.from(replica.received[at]?.text ?? "", "latin1");
    const reading = readProxyHeader(bytes);
    assert.ok(reading.kind === "whole");
    const caller = { address: "127.0.0.1", port: client.port, toAddress: "127.0.0.1", toPort: port };
    assert.deepEqual(reading.caller, caller);
    assert.equal(bytes.subarray(reading.bytes).toString(), text);
  }
});

test("udp: a port taken for UDP is reported, and one taken for TCP is not in the way", async (t) => {
  const [replica] = await threeReplicas(t);
  assert.ok(replica);
  const { proxy } = await startProxy(t);
  const taken = await openUdp(t);
  const tcpPort = await tcpReplica(t, (socket) => socket.destroy());
  const failures = await proxy.set(
    table([
      frontend("udp", udpPool([replica]), { port: taken.port }),
      frontend("udp", udpPool([replica]), { port: tcpPort }),
    ]),
  );
  assert.deepEqual(
    failures.map(({ code, port }) => [code, port]),
    [["busy", taken.port]],
  );
  assert.match(failures[0]?.text ?? "", /held by/);
  assert.equal(await nameAt(await openUdp(t), tcpPort), "a");
});

test("udp: when the daemon stops, answers on their way still come, and what its socket holds is led on", async (t) => {
  const late: (() => void)[] = [];
  const replica = await openUdp(t, {
    answer(text, from) {
      late.push(() => replica.socket.send(`late ${text}`, from.port, from.address));
      return null;
    },
  });
  const { port, proxy } = await serveOne(t, "udp", udpPool([udpUpstream("a", replica.port)]));
  const client = await openUdp(t);
  const other = await connectUdp(t, { host: "127.0.0.1", port });
  client.socket.send("?", port);
  await until(() => late.length === 1);
  // In one turn: nobody has read it when the listener closes.
  other.send("unread");
  const closed = proxy.close(10_000);
  await until(() => late.length === 2);
  for (const answer of late) answer();
  await until(() => client.received.length === 1 && other.received.length === 1);
  assert.deepEqual([client.received[0]?.text, other.received[0]?.text], ["late ?", "late unread"]);
  await closed;
  assert.equal(proxy.stats().flows, 0);
});

test("udp: when the daemon stops, an answer of several datagrams comes whole; who gets none is let go", async (t) => {
  const asked: (() => void)[] = [];
  const replica = await openUdp(t, {
    answer(_text, { port, address }) {
      asked.push(() => ["1", "2", "3"].forEach((part) => replica.socket.send(part, port, address)));
      return null;
    },
  });
  const { port, proxy } = await serveOne(t, "udp", udpPool([udpUpstream("a", replica.port)]));
  const [client, mute] = [await openUdp(t), await openUdp(t)];
  for (const { socket } of [client, mute]) socket.send("?", port);
  await until(() => asked.length === 2);
  const closed = proxy.close(600_000);
  asked[0]?.();
  await within(closed, "the end of the proxy");
  const texts = [client, mute].map(({ received }) => received.map(({ text }) => text).join(""));
  assert.deepEqual(texts.toSorted(), ["", "123"]);
});
