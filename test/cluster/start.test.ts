// Starting: what a daemon cannot start with it names and leaves alone; what it can live with it reports.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import test, { type TestContext } from "node:test";

import { KEPT_SCHEMA } from "../../src/model/kept.ts";
import { saveState } from "../../src/runtime/files.ts";
import {
  daemonFor,
  openBlock,
  webReplica,
  type Block,
  type DaemonUnderTest,
  type Ending,
} from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import {
  ask,
  doorAt,
  explain,
  INGRESS_PORT,
  problemsOf,
  statusOf,
  untilServing,
  webService,
} from "./cluster.ts";

function aloneOn(t: Ending, block: Block): DaemonUnderTest {
  return daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool });
}

/** Takes an address and port, until the returned server is closed. */
async function hold(t: Ending, host: string, port: number): Promise<Server> {
  const server = createServer((socket) => socket.destroy()).listen(port, host);
  await once(server, "listening");
  t.after(() => server.close());
  return server;
}

/** Checks that nothing of a daemon that has ended is left behind: every port of it is free. */
async function expectFree(t: TestContext, address: string): Promise<void> {
  for (const port of [7650, 7651, 5300, INGRESS_PORT]) {
    const server = await hold(t, address, port);
    server.close();
    await once(server, "close");
  }
}

test("start: a config with mistakes: exit 2, each with its line, key, value and what was expected", async (t) => {
  const daemon = aloneOn(t, await openBlock(t));
  const lines = [
    "node: { name: host-1 }",
    "dns:",
    "  tll: 5s",
    "health:",
    "  interval: soon",
    "services:",
    "  - name: web",
    "    replicas: ['127.0.0.1']",
    "    ports: [{ port: 80a }]",
  ];
  writeFileSync(daemon.file, `${lines.join("\n")}\n`);
  const { code, stderr } = await daemon.runToEnd();
  assert.equal(code, 2, stderr);
  assert.match(stderr, /skein\.yaml:3: "dns\.tll" is unknown; did you mean "ttl"\?/);
  assert.match(stderr, /skein\.yaml:5: "health\.interval" is "soon"; expected .*duration/);
  assert.match(
    stderr,
    /skein\.yaml:9: "services\[0\]\.ports\[0\]\.port" is "80a"; expected a port in 1\.\.65535/,
  );
  await expectFree(t, daemon.address);
});

test("start: a file that is no YAML: exit 2, by line", async (t) => {
  const daemon = aloneOn(t, await openBlock(t));
  writeFileSync(daemon.file, "node: { name: host-1\ndns: [}");
  const broken = await daemon.runToEnd();
  assert.equal(broken.code, 2);
  assert.match(broken.stderr, /skein\.yaml.*line 2/s);
  assert.doesNotMatch(broken.stderr, /\n\s+at .*\.ts:/, "no stack trace");
});

for (const [what, port] of [
  ["mesh", 7650],
  ["dns", 5300],
  ["admin", 7651],
] as const) {
  test(`start: a busy ${what} port: exit 1, by address, and nothing is left open`, async (t) => {
    const daemon = aloneOn(t, await openBlock(t));
    const holder = await hold(t, daemon.address, port);
    const { code, stderr } = await daemon.runToEnd();
    assert.equal(code, 1, stderr);
    assert.ok(stderr.includes(`${daemon.address}:${port}`), stderr);
    assert.doesNotMatch(stderr, /\n\s+at .*\.ts:/, "no stack trace");
    holder.close();
    await expectFree(t, daemon.address);
    await daemon.start();
    assert.equal(await daemon.end("SIGTERM"), 0);
  });
}

test("start: a DNS port that is busy for UDP only: exit 1, by address", async (t) => {
  const daemon = aloneOn(t, await openBlock(t));
  const holder = createSocket("udp4").bind(5300, daemon.address);
  await once(holder, "listening");
  t.after(() => holder.close());
  const { code, stderr } = await daemon.runToEnd();
  assert.equal(code, 1, stderr);
  assert.ok(stderr.includes(`${daemon.address}:5300/udp`), stderr);
});

test("start: a busy ingress port: the rest works, status tells, and it heals when the port is free", async (t) => {
  const block = await openBlock(t);
  const daemon = aloneOn(t, block);
  const replica = await webReplica(t, "web-1", block.address(1, 11));
  daemon.configure({
    services: [webService([replica], { publish: ["8088:8000"], http: [{ host: "web.example.com" }] })],
  });
  const holder = await hold(t, daemon.address, INGRESS_PORT);
  await daemon.start();
  await untilServing([daemon], [replica]);
  const problem = `${daemon.address}:${INGRESS_PORT}`;
  await until(async () => (await problemsOf(daemon)).some((text) => text.startsWith(`bind: ${problem}`)));
  const [told] = (await problemsOf(daemon)).filter((text) => text.includes(problem));
  assert.ok(told?.includes(`pid ${process.pid}`), `${told} names who holds it`);
  await until(() => ask(doorAt(daemon, 8088)), { what: "the published port answers" });
  holder.close();
  const door = doorAt(daemon, INGRESS_PORT, { hostHeader: "web.example.com" });
  assert.equal(await until(() => ask(door), { what: "the ingress answers" }), "web-1");
  assert.deepEqual(await problemsOf(daemon), []);
});

test("start: a second daemon on one data dir: exit 1, and the pid of the first", async (t) => {
  const block = await openBlock(t);
  const first = aloneOn(t, block);
  await first.start();
  const second = daemonFor(t, { name: "host-2", address: block.address(2) });
  second.configure({ node: { name: "host-2", dataDir: first.dataDir } });
  const { code, stderr } = await second.runToEnd();
  assert.equal(code, 1, stderr);
  assert.ok(stderr.includes(first.dataDir) && stderr.includes(String(first.pid())), stderr);
  await first.end("SIGKILL");
  await second.start();
  assert.equal(await second.end("SIGTERM"), 0, "a lock whose holder died is no lock");
});

test("start: a damaged state file is set aside and told of; the previous one keeps the VIP", async (t) => {
  const block = await openBlock(t);
  const daemon = aloneOn(t, block);
  const replica = await webReplica(t, "web-1", block.address(1, 11));
  daemon.configure({ services: [webService([replica])] });
  await daemon.start();
  await untilServing([daemon], [replica]);
  await daemon.end("SIGTERM");
  // Not the address that a fresh daemon would choose: only memory can lead to it.
  const vip = block.vipPool.replace("0.0/16", "77.77");
  const path = join(daemon.dataDir, "state.json");
  const kept = {
    incarnation: 9,
    claims: [{ key: "default/web", address: vip, order: 1 }],
    addresses: [],
    drains: [],
  };
  await saveState(path, KEPT_SCHEMA, kept);
  await saveState(path, KEPT_SCHEMA, kept);
  const damaged = readFileSync(path);
  damaged[60] = (damaged[60] ?? 0) ^ 1;
  writeFileSync(path, damaged);
  await daemon.start();
  await untilServing([daemon], [replica]);
  assert.deepEqual(await daemon.lookup("web"), [vip]);
  assert.match(
    (await problemsOf(daemon)).join("\n"),
    /state: .*state\.json: .*set aside as .*previous one is used/,
  );
  const aside = readdirSync(daemon.dataDir).find((name) => name.includes(".corrupt-"));
  assert.deepEqual(readFileSync(join(daemon.dataDir, aside ?? "none")), damaged, "nothing of it is lost");
  await daemon.end("SIGTERM");
  await daemon.start();
  assert.deepEqual(await problemsOf(daemon), [], "the next start finds a whole one");
  assert.equal((await explain(daemon)).vip, vip);
});

test("start: state of an earlier version is taken over; that of a later one is refused and left", async (t) => {
  const block = await openBlock(t);
  const daemon = aloneOn(t, block);
  const replica = await webReplica(t, "web-1", block.address(1, 11));
  daemon.configure({ services: [webService([replica])] });
  const path = join(daemon.dataDir, "state.json");
  const vip = block.vipPool.replace("0.0/16", "77.77");
  const claims = [{ key: "default/web", address: vip, order: 1 }];
  // As the first version wrote it: it knew of no slices and no releases.
  mkdirSync(daemon.dataDir, { mode: 0o700 });
  await saveState(path, 1, { incarnation: 9, claims, addresses: [], drains: [] });
  await daemon.start();
  await untilServing([daemon], [replica]);
  assert.deepEqual(await daemon.lookup("web"), [vip]);
  assert.deepEqual(await problemsOf(daemon), []);
  await daemon.end("SIGTERM");
  await saveState(path, KEPT_SCHEMA + 1, { tomorrow: true });
  const later = readFileSync(path);
  const { code, stderr } = await daemon.runToEnd();
  assert.equal(code, 1, stderr);
  assert.match(stderr, new RegExp(`state\\.json .*schema ${KEPT_SCHEMA + 1}`));
  assert.deepEqual(readFileSync(path), later);
});

test("start: a node key that is damaged, or readable by others: refused with the remedy, never replaced", async (t) => {
  const daemon = aloneOn(t, await openBlock(t));
  await daemon.start();
  const { id } = (await statusOf(daemon)).node;
  await daemon.end("SIGTERM");
  const path = join(daemon.dataDir, "node.key");
  const whole = readFileSync(path);
  chmodSync(path, 0o644);
  const open = await daemon.runToEnd();
  assert.equal(open.code, 5, open.stderr);
  assert.ok(open.stderr.includes(`chmod 600 ${path}`), open.stderr);
  chmodSync(path, 0o600);
  writeFileSync(path, whole.subarray(0, 100));
  const cut = await daemon.runToEnd();
  assert.equal(cut.code, 1, cut.stderr);
  assert.match(cut.stderr, /node\.key is damaged; put it back from a backup, or move it away/);
  assert.equal(readFileSync(path).length, 100, "it is left as it was");
  writeFileSync(path, whole);
  await daemon.start();
  assert.equal((await statusOf(daemon)).node.id, id);
});

test("start: a static replica with a host name is reported, and its neighbours are served", async (t) => {
  const block = await openBlock(t);
  const daemon = aloneOn(t, block);
  const replica = await webReplica(t, "web-1", block.address(1, 11));
  const replicas = ["web.internal:8000", replica.endpoint, replica.endpoint];
  daemon.configure({ services: [{ ...webService([]), replicas }] });
  await daemon.start();
  await untilServing([daemon], [replica]);
  const problems = (await problemsOf(daemon)).join("\n");
  assert.match(problems, /service web: replica is "web\.internal:8000"; expected an IP address/);
  assert.match(problems, /service web: replica ".*" is declared twice/);
});

test("start: with 300 static services, and peers that are not there: ready, and DNS answers", async (t) => {
  const block = await openBlock(t);
  const daemon = aloneOn(t, block);
  const services = Array.from({ length: 300 }, (_, index) => {
    const replicas = [`${block.address(1, 11)}:${9000 + index}`];
    return { name: `svc-${index}`, ports: [{ port: 80, target: 9000 + index }], replicas };
  });
  const join = [`${block.address(2)}:7650`, `${block.address(3)}:7650`];
  daemon.configure({ services, mesh: { listen: `${daemon.address}:7650`, join } });
  await daemon.start();
  const vips = new Set<string>();
  for (const { name } of services) {
    const answer = await until(async () => {
      const found = await daemon.lookup(name);
      return typeof found === "string" ? null : found;
    });
    for (const vip of answer) vips.add(vip);
  }
  assert.equal(vips.size, 300, "each has a VIP of its own");
  assert.equal(await daemon.end("SIGTERM"), 0);
});
