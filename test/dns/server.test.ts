// The server: real sockets on loopback, asked by dns-packet and by kdig.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import { openDnsServer, type DnsServer, type DnsServerOptions } from "../../src/dns/server.ts";
import { planZone } from "../../src/dns/names/zone.ts";
import type { Log } from "../../src/runtime/log.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { ownSockets } from "../../src/runtime/sharing.ts";
import { openBlock } from "../support/daemons.ts";
import { connectUdp, openUdp } from "../support/udp.ts";
import { until, within } from "../support/wait.ts";
import {
  answersOf,
  askTcp,
  askUdp,
  decode,
  frame,
  hasKdig,
  kdig,
  openUpstream,
  opt,
  OPTIONS,
  query,
  replicas,
  reply,
  service,
  unframe,
  view,
} from "./fixture.ts";

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {} };

const ZONE = planZone(
  view([
    service("default", "web", { vip: "10.96.0.1", replicas: replicas("web", 3, 1) }),
    service("default", "fifty", { replicas: replicas("fifty", 50, 2) }),
    service("default", "many", { replicas: replicas("many", 500, 3) }),
    service("blue", "api", { vip: "10.96.0.2" }),
  ]),
  OPTIONS,
);

const ANYWHERE = { host: "127.0.0.1", port: 0 };

async function open(t: TestContext, more: Partial<DnsServerOptions> = {}): Promise<DnsServer & HostPort> {
  const server = await openDnsServer({
    listen: [ANYWHERE],
    zone: ZONE,
    askerOf: () => ({ kind: "host" }),
    isAllowed: () => true,
    upstreams: [],
    log: SILENT,
    metrics: openMetrics(),
    random: seededRandom(1),
    ...more,
  });
  t.after(() => server.close());
  const [first] = server.addresses;
  assert.ok(first !== undefined);
  // Not a spread: that would freeze what are getters.
  return Object.assign(server, first);
}

/** A port that nobody has but whom this test gives it to, on an address that is the test's alone. */
async function ownPort(t: TestContext): Promise<HostPort> {
  return { host: (await openBlock(t)).address(1), port: 5300 };
}

async function metric(metrics: ReturnType<typeof openMetrics>, name: string): Promise<string[]> {
  const text = await metrics.registry.metrics();
  return text.split("\n").filter((line) => line.startsWith(`skein_${name}{`));
}

test("server: answers over UDP and TCP on one port that the system chose", async (t) => {
  const server = await open(t);
  const [udp] = await askUdp(server, [query("web", "A")]);
  const [tcp] = await askTcp(server, [query("web", "A")]);
  for (const bytes of [udp, tcp]) assert.deepEqual(bytes && answersOf(bytes), ["10.96.0.1"]);
});

test("server: 50 and 500 addresses come as far as they fit over UDP, with TC, and whole over TCP", async (t) => {
  const server = await open(t);
  for (const [name, count] of [
    ["tasks.fifty", 50],
    ["tasks.many", 500],
  ] as const) {
    const [cut] = await askUdp(server, [query(name, "A")]);
    assert.ok(cut && decode(cut).flag_tc && cut.length <= 512);
    assert.equal(new Set(answersOf(cut)).size, 30);
    const [whole] = await askTcp(server, [query(name, "A")]);
    assert.equal(whole && new Set(answersOf(whole)).size, count);
  }
  const [fits] = await askUdp(server, [query("tasks.fifty", "A", { additionals: [opt()] })]);
  assert.equal(fits && answersOf(fits).length, 50);
});

test("server: kdig gets all of 50 and 500 addresses, plain, over TCP and with a small buffer", async (t) => {
  if (!(await hasKdig())) return t.skip("kdig is not installed (knot-dnsutils)");
  const server = await open(t);
  for (const [name, count] of [
    ["tasks.fifty.default.skein.internal", 50],
    ["tasks.many.default.skein.internal", 500],
  ] as const) {
    for (const how of [[], ["+tcp"], ["+bufsize=700"], ["+tcp", "+bufsize=700"]]) {
      const out = await kdig(server, [name, "A", "+short", ...how]);
      assert.equal(new Set(out.trim().split("\n")).size, count, `${name} ${how.join(" ")}`);
    }
  }
});

test("server: kdig reads status, flags, records and SOA as they should be", async (t) => {
  if (!(await hasKdig())) return t.skip("kdig is not installed (knot-dnsutils)");
  const server = await open(t);
  const found = await kdig(server, ["web.default.skein.internal", "A", "+edns"]);
  assert.match(found, /status: NOERROR/);
  assert.match(found, /Flags: qr aa rd;/);
  assert.match(found, /EDNS PSEUDOSECTION/);
  assert.match(found, /web\.default\.skein\.internal\.\s+5\s+IN\s+A\s+10\.96\.0\.1/);
  const missing = await kdig(server, ["nobody.skein.internal", "A"]);
  assert.match(missing, /status: NXDOMAIN/);
  assert.match(
    missing,
    /AUTHORITY SECTION:\n;*skein\.internal\.\s+5\s+IN\s+SOA\s+host-1\.node\.skein\.internal/,
  );
  assert.match(await kdig(server, ["web", "AAAA"]), /status: NOERROR.*\n.*ANSWER: 0; AUTHORITY: 1/);
  assert.match(await kdig(server, ["web", "A", "+edns=1"]), /BADVERS/);
  assert.match(await kdig(server, ["version.bind", "TXT", "CH"]), /status: NOERROR.*[^]*"skein /);
});

test("server: junk and answers get no answer and are counted, and the server goes on", async (t) => {
  const metrics = openMetrics();
  const server = await open(t, { metrics });
  const junk = [Buffer.from("x"), Buffer.alloc(1501), reply(query("web", "A"), { address: "10.0.0.1" })];
  const [only] = await askUdp(server, [...junk, query("web", "A")]);
  assert.deepEqual(only && answersOf(only), ["10.96.0.1"]);
  const dropped = await metric(metrics, "dns_dropped_total");
  assert.deepEqual(
    ["short", "long", "answer"].map((reason) =>
      dropped.includes(`skein_dns_dropped_total{reason="${reason}"} 1`),
    ),
    [true, true, true],
  );
});

test("server: queries are counted by type, code and source, with made-up types under one label", async (t) => {
  const metrics = openMetrics();
  const server = await open(t, { metrics });
  await askUdp(server, [query("web", "A")]);
  await askUdp(server, [query("web", "A")]);
  const odd = query("web", "A");
  odd.writeUInt16BE(4711, odd.length - 4);
  await askUdp(server, [odd]);
  await askUdp(server, [query("nobody.skein.internal", "AAAA")]);
  const counted = await metric(metrics, "dns_queries_total");
  for (const labels of [
    'qtype="A",rcode="NOERROR",source="zone"',
    'qtype="A",rcode="NOERROR",source="cache"',
    'qtype="other",rcode="NOERROR",source="zone"',
    'qtype="AAAA",rcode="NXDOMAIN",source="zone"',
  ]) {
    assert.ok(
      counted.some((line) => line.includes(labels)),
      `${labels} in ${counted.join("\n")}`,
    );
  }
});

test("server: who asks decides what is seen, cached or not", async (t) => {
  let asker: ReturnType<DnsServerOptions["askerOf"]> = { kind: "host" };
  const server = await open(t, { askerOf: () => asker });
  const rcodeOf = async (): Promise<string | undefined> => {
    const [bytes] = await askUdp(server, [query("api", "A")]);
    return bytes && decode(bytes).rcode;
  };
  assert.equal(await rcodeOf(), "NOERROR");
  asker = { kind: "container", networks: ["default"], isolated: false };
  assert.equal(await rcodeOf(), "NXDOMAIN");
  asker = { kind: "container", networks: ["default", "blue"], isolated: false };
  assert.equal(await rcodeOf(), "NOERROR");
});

test("server: a new zone answers at once, whatever was cached", async (t) => {
  const server = await open(t);
  await askUdp(server, [query("web", "A")]);
  assert.equal(server.stats().cacheEntries, 1);
  server.setZone(planZone(view([service("default", "web", { vip: "10.96.0.99" })]), OPTIONS));
  const [bytes] = await askUdp(server, [query("web", "A")]);
  assert.deepEqual(bytes && answersOf(bytes), ["10.96.0.99"]);
});

test("server: foreign names are forwarded for allowed clients and refused for others, own names never", async (t) => {
  const asked: (string | undefined)[] = [];
  const upstream = await openUpstream((bytes) => {
    asked.push(decode(bytes).questions?.[0]?.name);
    return [reply(bytes, { address: "192.0.2.7" })];
  });
  t.after(() => upstream.close());
  const server = await open(t, { upstreams: [upstream] });
  const [given] = await askUdp(server, [query("www.example.com", "A")]);
  assert.deepEqual(given && answersOf(given), ["192.0.2.7"]);
  const strict = await open(t, { upstreams: [upstream], isAllowed: () => false });
  const [refused] = await askUdp(strict, [query("www.example.com", "A", { additionals: [opt()] })]);
  assert.deepEqual(refused && [decode(refused).rcode, decode(refused).flag_ra], ["REFUSED", false]);
  const [own] = await askUdp(strict, [query("web", "A")]);
  assert.deepEqual(own && answersOf(own), ["10.96.0.1"]);
  await askUdp(server, [query("nobody.skein.internal", "A")]);
  // Besides, each server has asked it for a name of its own, to find out whether it forwards to us.
  const foreign = asked.filter((name) => name?.endsWith(".skein-loop.example") !== true);
  assert.deepEqual(foreign, ["www.example.com"]);
});

test("server: without upstreams foreign names are refused", async (t) => {
  const [bytes] = await askUdp(await open(t), [query("www.example.com", "A")]);
  assert.equal(bytes && decode(bytes).rcode, "REFUSED");
});

test("server: an upstream that is gone makes SERVFAIL", async (t) => {
  const server = await open(t, { upstreams: [await ownPort(t)] });
  const [bytes] = await askUdp(server, [query("www.example.com", "A", { additionals: [opt()] })]);
  assert.deepEqual(bytes && [decode(bytes).rcode, decode(bytes).additionals?.length], ["SERVFAIL", 1]);
});

/** With one more record, of a type without a meaning. */
function withRecord(message: Buffer, dataBytes: number): Buffer {
  const more = Buffer.concat([
    message,
    Buffer.from("00ff010001000000000000", "hex"),
    Buffer.alloc(dataBytes),
  ]);
  more.writeUInt16BE(dataBytes, message.length + 9);
  more.writeUInt16BE(1, 10);
  return more;
}

test("server: an upstream's reply too large for the client's UDP is truncated, and whole over TCP", async (t) => {
  const upstream = await openUpstream((bytes) => [withRecord(reply(bytes, { address: "192.0.2.7" }), 1000)]);
  t.after(() => upstream.close());
  const server = await open(t, { upstreams: [upstream] });
  const [cut] = await askUdp(server, [query("www.example.com", "A")]);
  assert.deepEqual(cut && [decode(cut).flag_tc, answersOf(cut)], [true, []]);
  const [whole] = await askTcp(server, [query("www.example.com", "A")]);
  assert.deepEqual(whole && answersOf(whole), ["192.0.2.7"]);
});

test("server: an upstream that is this server is refused at open, and nothing stays bound", async (t) => {
  const free = await ownPort(t);
  await assert.rejects(open(t, { listen: [free], upstreams: [free] }), { code: "invalid" });
  await open(t, { listen: [free] });
});

test("server: a taken port is a failure that names address, protocol and remedy", async (t) => {
  const { host, port } = await ownPort(t);
  const taken = createServer();
  taken.listen(port, host);
  await once(taken, "listening");
  t.after(() => taken.close());
  const at = `${host.replaceAll(".", "\\.")}:${port}`;
  const busy = { code: "busy", message: new RegExp(`${at}/tcp is taken.*ss -lnp`) };
  await assert.rejects(open(t, { listen: [ANYWHERE, { host, port }] }), busy);
  const free = createSocket("udp4");
  free.bind(port, host);
  await once(free, "listening");
  t.after(() => free.close());
  const busyUdp = { code: "busy", message: new RegExp(`:${port}/udp is taken`) };
  await assert.rejects(open(t, { listen: [{ host, port }] }), busyUdp);
});

test("server: an address that is not this host's is unreachable, with the system's word for it", async (t) => {
  await assert.rejects(open(t, { listen: [{ host: "192.0.2.1", port: 0 }] }), { code: "unreachable" });
});

test("server: addresses come and go while it runs", async (t) => {
  const server = await open(t);
  const extra = await server.listenOn(await ownPort(t));
  assert.equal(await server.listenOn(extra), extra, "twice is once");
  assert.equal(server.addresses.length, 2);
  const [bytes] = await askUdp(extra, [query("web", "A")]);
  assert.deepEqual(bytes && answersOf(bytes), ["10.96.0.1"]);
  await server.stopListening(extra);
  await server.stopListening(extra);
  assert.deepEqual(server.addresses, [{ host: "127.0.0.1", port: server.port }]);
  await assert.rejects(askTcp(extra, [query("web", "A")]), { code: "ECONNREFUSED" });
});

test("server: IPv6 clients are served where the host has IPv6", async (t) => {
  const server = await open(t);
  let six: HostPort;
  try {
    six = await server.listenOn({ host: "::1", port: 0 });
  } catch {
    return t.skip("no IPv6 loopback on this host");
  }
  const [bytes] = await askUdp(six, [query("web", "A")]);
  assert.deepEqual(bytes && answersOf(bytes), ["10.96.0.1"]);
});

test("server: TCP queries sent without waiting are all answered, forwarded ones when they are ready", async (t) => {
  const upstream = await openUpstream((bytes) => [reply(bytes, { address: "192.0.2.7" })]);
  t.after(() => upstream.close());
  const server = await open(t, { upstreams: [upstream] });
  const queries = Array.from({ length: 300 }, (_, id) =>
    query(id % 3 === 0 ? `h${id}.example.com` : "tasks.web", "A", { id }),
  );
  const answers = await askTcp(server, queries);
  assert.deepEqual(
    answers.map((bytes) => decode(bytes).id).toSorted((a, b) => a - b),
    [...queries.keys()],
  );
  for (const bytes of answers) assert.equal(answersOf(bytes).length, decode(bytes).id % 3 === 0 ? 1 : 3);
});

test("server: a TCP query in single bytes is answered, one cut short is not", async (t) => {
  const server = await open(t);
  const socket = connect(server.port, server.host);
  const received: Buffer[] = [];
  socket.on("data", (chunk) => received.push(chunk));
  socket.setNoDelay(true);
  for (const byte of frame(query("web", "A"))) {
    await new Promise<void>((resolve) => socket.write(Buffer.of(byte), () => resolve()));
  }
  await until(() => unframe(Buffer.concat(received)).length === 1);
  socket.end(frame(query("web", "A")).subarray(0, 9));
  await within(once(socket, "close"), "the end of the connection");
  assert.equal(unframe(Buffer.concat(received)).length, 1);
  await until(() => server.stats().tcpConnections === 0);
});

test("server: junk over TCP, an announced long message and an answer end the connection", async (t) => {
  const server = await open(t);
  const answer = reply(query("web", "A"), { address: "10.0.0.1" });
  for (const bytes of [frame(Buffer.from("junk")), Buffer.from("ffff00", "hex"), frame(answer)]) {
    const socket = connect(server.port, server.host);
    socket.on("error", () => socket.destroy());
    socket.resume();
    socket.write(bytes);
    await within(once(socket, "close"), "the end of the connection");
  }
  const [bytes] = await askTcp(server, [query("web", "A")]);
  assert.deepEqual(bytes && answersOf(bytes), ["10.96.0.1"]);
});

test("server: close() ends idle connections and forwards under way, and frees the port", async (t) => {
  const upstream = await openUpstream(() => []);
  t.after(() => upstream.close());
  const { host, port } = await ownPort(t);
  const server = await open(t, { listen: [{ host, port }], upstreams: [upstream] });
  const idle = connect(port, host);
  idle.on("error", () => idle.destroy());
  await until(() => server.stats().tcpConnections === 1);
  const socket = createSocket("udp4");
  t.after(() => socket.close());
  socket.send(query("www.example.com", "A"), port, host);
  await until(() => server.stats().forwarding.underWay === 1);
  const closed = once(idle, "close");
  await server.close();
  await closed;
  await until(() => server.stats().forwarding.underWay === 0);
  await open(t, { listen: [{ host, port }] });
});

test("server: one that leaves beside another answers all that came, over UDP and TCP, and nothing else", async (t) => {
  const upstream = await openUdp(t);
  const answerAll = (): void => {
    for (const { text, from } of upstream.received) {
      upstream.socket.send(
        reply(Buffer.from(text, "latin1"), { address: "192.0.2.7" }),
        from.port,
        from.address,
      );
    }
  };
  const at = await ownPort(t);
  const upstreams = [{ host: "127.0.0.1", port: upstream.port }];
  const old = await open(t, { listen: [at], upstreams });
  const idle = connect(at.port, at.host);
  const busy = connect(at.port, at.host);
  for (const one of [idle, busy]) one.on("error", () => one.destroy());
  const received: Buffer[] = [];
  busy.on("data", (chunk) => received.push(chunk));
  await until(() => old.stats().tcpConnections === 2);
  busy.write(frame(query("tcp.example.com", "A")));
  const { received: first, socket } = await openUdp(t, { host: at.host });
  socket.send(query("udp.example.com", "A"), at.port, at.host);
  await until(() => old.stats().forwarding.underWay === 2 && upstream.received.length >= 2);
  const closed = [idle, busy].map((one) => within(once(one, "close"), "the end of a connection"));

  // In one turn: nobody has read it when the server leaves.
  const second = await connectUdp(t, at);
  second.send(query("web", "A"));
  const left = old.leave();
  await until(() => second.received.length === 1);
  await closed[0];
  const young = await open(t, { listen: [at], shared: new Set(await ownSockets()) });
  const lastMs = old.lastAskedMs("127.0.0.1");
  for (let port = 0; port < 20; port += 1) {
    const [bytes] = await askUdp(at, [query("web", "A")]);
    assert.deepEqual(bytes && answersOf(bytes), ["10.96.0.1"]);
  }
  assert.ok(young.lastAskedMs("127.0.0.1") !== null, "the other one answered");
  assert.equal(old.lastAskedMs("127.0.0.1"), lastMs, "and this one none");
  answerAll();
  await until(() => first.length === 1 && unframe(Buffer.concat(received)).length === 1);
  const [overUdp] = first.map(({ text }) => Buffer.from(text, "latin1"));
  const [overTcp] = unframe(Buffer.concat(received));
  for (const answer of [overUdp, overTcp]) assert.deepEqual(answer && answersOf(answer), ["192.0.2.7"]);
  await Promise.all([left, ...closed]);
  assert.equal(old.stats().tcpConnections, 0);
});

test("server: it is known when an address last asked, and that another one did not", async (t) => {
  const server = await open(t);
  assert.equal(server.lastAskedMs("127.0.0.1"), null);
  const beforeMs = performance.now();
  await askUdp(server, [query("web", "A")]);
  const askedMs = server.lastAskedMs("127.0.0.1");
  assert.ok(askedMs !== null && askedMs >= beforeMs && askedMs <= performance.now());
  assert.equal(server.lastAskedMs("127.0.0.2"), null);
});
