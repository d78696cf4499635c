// Foreign names: the whole server with real name servers as its upstreams, and what never reaches an upstream.

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import * as fc from "fast-check";

import type { HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import { openDnsServer, type DnsServer } from "../../src/dns/server.ts";
import { planZone } from "../../src/dns/names/zone.ts";
import type { Log } from "../../src/runtime/log.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { folderFor, openBlock } from "../support/daemons.ts";
import { until } from "../support/wait.ts";
import {
  answersOf,
  askTcp,
  askUdp,
  decode,
  openUpstream,
  opt,
  OPTIONS,
  query,
  reply,
  service,
  view,
} from "./fixture.ts";

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {} };

const ZONE = planZone(view([service("default", "web", { vip: "10.96.0.1" })]), OPTIONS);

async function open(
  t: TestContext,
  upstreams: readonly HostPort[],
  listen: HostPort = { host: "127.0.0.1", port: 0 },
): Promise<DnsServer & HostPort> {
  const server = await openDnsServer({
    listen: [listen],
    zone: ZONE,
    askerOf: () => ({ kind: "host" }),
    isAllowed: () => true,
    upstreams,
    log: SILENT,
    metrics: openMetrics(),
    random: seededRandom(1),
  });
  t.after(() => server.close());
  return Object.assign(server, server.addresses[0] ?? assert.fail());
}

async function ask(server: HostPort, bytes: Buffer): Promise<ReturnType<typeof decode>> {
  const [given] = await askUdp(server, [bytes]);
  return decode(given ?? assert.fail());
}

/** Runs a name server until the test ends; resolves when it answers. @returns false where it is not installed */
async function runServer(
  t: TestContext,
  address: HostPort,
  [program, ...args]: readonly [string, ...string[]],
): Promise<boolean> {
  const child: ChildProcess = spawn(program, args, { stdio: "ignore" });
  const failed = once(child, "error").then(() => true);
  const began = once(child, "spawn").then(() => false);
  if (await Promise.race([failed, began])) {
    t.skip(`${program} is not installed`);
    return false;
  }
  t.after(async () => {
    if (child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });
  await until(async () => {
    assert.equal(child.exitCode, null, `${program} has ended`);
    return (await askTcp(address, [query("ready.example", "A")])).length === 1;
  });
  return true;
}

const LARGE = Array.from({ length: 12 }, (_, at) => `${at}-${"x".repeat(200)}`);

/** A dnsmasq that knows a few names and whom to ask for others. */
async function runDnsmasq(t: TestContext, address: HostPort, more: readonly string[]): Promise<boolean> {
  return await runServer(t, address, [
    "dnsmasq",
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--pid-file=",
    "--user=root",
    `--port=${address.port}`,
    `--listen-address=${address.host}`,
    "--bind-interfaces",
    "--no-resolv",
    "--no-hosts",
    "--host-record=www.example,192.0.2.7,60",
    "--host-record=ready.example,192.0.2.1",
    ...LARGE.map((text) => `--txt-record=large.example,${text}`),
    ...more,
  ]);
}

/** An unbound that knows `ready.example`, and what `more` lines of its configuration say. */
async function runUnbound(t: TestContext, address: HostPort, more: readonly string[]): Promise<boolean> {
  const path = join(folderFor(t), "unbound.conf");
  const lines = [
    "server:",
    '  username: ""',
    '  chroot: ""',
    '  pidfile: ""',
    "  use-syslog: no",
    "  num-threads: 1",
    `  interface: ${address.host}@${address.port}`,
    '  local-data: "ready.example. A 192.0.2.1"',
    ...more,
    "remote-control:",
    "  control-enable: no",
  ];
  await writeFile(path, lines.join("\n"));
  return await runServer(t, address, ["unbound", "-d", "-c", path]);
}

test("foreign: what dnsmasq says comes through: addresses, NXDOMAIN, and what is large whole over TCP", async (t) => {
  const upstream = { host: (await openBlock(t)).address(1), port: 5300 };
  if (!(await runDnsmasq(t, upstream, ["--local=/example/"]))) return;
  const server = await open(t, [upstream]);
  const found = await ask(server, query("wWw.example", "A"));
  assert.deepEqual([found.rcode, found.questions?.[0]?.name], ["NOERROR", "wWw.example"]);
  assert.deepEqual(
    found.answers?.map((record) => "data" in record && record.data),
    ["192.0.2.7"],
  );
  assert.equal((await ask(server, query("nobody.example", "A"))).rcode, "NXDOMAIN");
  const cut = await ask(server, query("large.example", "TXT"));
  assert.equal(cut.flag_tc, true);
  const [bytes] = await askTcp(server, [query("large.example", "TXT")]);
  const whole = decode(bytes ?? assert.fail());
  assert.deepEqual([whole.flag_tc, whole.answers?.length], [false, LARGE.length]);
});

test("foreign: what unbound says comes through, to clients with and without EDNS, and DNSSEC's DO bit", async (t) => {
  const upstream = { host: (await openBlock(t)).address(1), port: 5300 };
  const local = ["  local-zone: example. static", '  local-data: "www.example. 60 A 192.0.2.7"'];
  if (!(await runUnbound(t, upstream, local))) return;
  const server = await open(t, [upstream]);
  const plain = await ask(server, query("www.example", "A"));
  assert.deepEqual([plain.answers?.length, plain.additionals?.length], [1, 0]);
  const asked = query("www.example", "A", { additionals: [opt({ flags: 0x8000, flag_do: true })] });
  const [given, [told]] = [await ask(server, asked), (await ask(server, asked)).additionals ?? []];
  assert.deepEqual(
    [given.answers?.length, told?.type, told?.type === "OPT" && told.flag_do],
    [1, "OPT", true],
  );
  assert.equal((await ask(server, query("nobody.example", "A"))).rcode, "NXDOMAIN");
  assert.equal((await ask(server, query("www.example", "MX"))).rcode, "NOERROR");
});

test("foreign: when the first upstream is dead, the second answers", async (t) => {
  const block = await openBlock(t);
  const upstream = { host: block.address(1), port: 5300 };
  if (!(await runDnsmasq(t, upstream, []))) return;
  const server = await open(t, [{ host: block.address(2), port: 5300 }, upstream]);
  assert.equal((await ask(server, query("www.example", "A"))).answers?.length, 1);
});

test("foreign: an upstream is not asked while it is an address of ours, and again after", async (t) => {
  const block = await openBlock(t);
  const gateway = { host: block.address(2), port: 5300 };
  const good = await openUpstream((bytes) => [reply(bytes, { address: "192.0.2.9" })]);
  t.after(() => good.close());
  const server = await open(t, [gateway, good]);
  await server.listenOn(gateway);
  assert.equal((await ask(gateway, query("elsewhere.test", "A"))).answers?.length, 1);
  const asked = (): readonly number[] =>
    server.stats().forwarding.upstreams.map(({ address }) => address.port);
  assert.deepEqual(asked(), [good.port]);
  server.setUpstreams([gateway]);
  assert.equal((await ask(gateway, query("another.test", "A"))).rcode, "REFUSED");
  server.setUpstreams([gateway, good]);
  await server.stopListening(gateway);
  assert.deepEqual(asked(), [gateway.port, good.port]);
});

type Run = (t: TestContext, address: HostPort, own: HostPort) => Promise<boolean>;

const CIRCLES: Readonly<Record<string, Run>> = {
  dnsmasq: (t, address, own) => runDnsmasq(t, address, [`--server=${own.host}#${own.port}`]),
  unbound: (t, address, own) =>
    runUnbound(t, address, [
      "  do-not-query-localhost: no",
      "  access-control: 127.0.0.0/8 allow",
      "forward-zone:",
      '  name: "."',
      `  forward-addr: ${own.host}@${own.port}`,
    ]),
};

for (const [program, run] of Object.entries(CIRCLES))
  test(`foreign: ${program} that asks us for everything is found to be a loop, and others still answer`, async (t) => {
    const block = await openBlock(t);
    const own = { host: block.address(1), port: 5300 };
    const circle = { host: block.address(2), port: 5300 };
    if (!(await run(t, circle, own))) return;
    const good = await openUpstream((bytes) => [reply(bytes, { address: "192.0.2.9" })]);
    t.after(() => good.close());
    const server = await open(t, [circle, good], own);
    await until(() => server.stats().forwarding.upstreams[0]?.state === "loop");
    const found = await ask(server, query("elsewhere.test", "A"));
    assert.equal(found.answers?.length, 1);
    assert.equal(server.stats().forwarding.upstreams[1]?.state, "alive");
  });

test("foreign: two servers that are each other's upstream find it, and each query ends", async (t) => {
  const block = await openBlock(t);
  const [one, two] = [1, 2].map((host) => ({ host: block.address(host), port: 5300 }));
  assert.ok(one !== undefined && two !== undefined);
  const servers = [await open(t, [two], one), await open(t, [one], two)];
  const early = ask(one, query("elsewhere.test", "A"));
  // One is enough to break the circle; it may well be both.
  await until(() => servers.some((server) => server.stats().forwarding.upstreams[0]?.state === "loop"));
  assert.equal((await early).rcode, "SERVFAIL");
  assert.equal((await ask(two, query("another.test", "A"))).rcode, "SERVFAIL");
  assert.ok(servers.every((server) => server.stats().forwarding.underWay === 0));
});

test("foreign: no name of ours reaches an upstream: below the domain, known labels, our reverse ranges", async (t) => {
  const names: string[] = [];
  const sniffer = await openUpstream((bytes) => {
    names.push(decode(bytes).questions?.[0]?.name ?? "");
    return [reply(bytes, { address: "203.0.113.66" })];
  });
  t.after(() => sniffer.close());
  const server = await open(t, [sniffer]);
  const label = fc.stringMatching(/^[a-z0-9_-]{1,12}$/);
  const octet = fc.nat(255);
  const own = fc.oneof(
    fc.array(label, { maxLength: 5 }).map((labels) => [...labels, "skein", "internal"].join(".")),
    fc.array(label, { maxLength: 1 }).map((labels) => [...labels, "web"].slice(-1).join(".")),
    // 10.96.0.0/12 is the pool of VIPs.
    fc
      .tuple(octet, octet, fc.integer({ min: 96, max: 111 }))
      .map(([last, third, second]) => `${last}.${third}.${second}.10.in-addr.arpa`),
  );
  const cased = fc.tuple(own, fc.boolean()).map(([name, upper]) => (upper ? name.toUpperCase() : name));
  const type = fc.constantFrom("A", "AAAA", "PTR", "SOA", "NS", "DS", "DNSKEY", "MX", "TXT", "SRV");
  await fc.assert(
    fc.asyncProperty(cased, type, fc.boolean(), async (name, typeName, overTcp) => {
      const bytes = query(name, typeName);
      const [given] = await (overTcp ? askTcp(server, [bytes]) : askUdp(server, [bytes]));
      assert.ok(given !== undefined && !answersOf(given).includes("203.0.113.66"), name);
    }),
    { numRuns: 150 },
  );
  const probes = names.filter((name) => !name.endsWith("skein-loop.example"));
  assert.deepEqual(probes, []);
  await askUdp(server, [query("www.example.com", "A")]);
  assert.ok(names.includes("www.example.com"), "the sniffer does sniff");
});
