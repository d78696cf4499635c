// Junk on every port: refused, counted, told; and the cluster goes on answering.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import test from "node:test";
import { connect as connectTls } from "node:tls";

import { WebSocket } from "ws";

import type { EventLine } from "../../src/admin/contract.ts";
import { LIFE_KEY, renderLife } from "../../src/gossip/life.ts";
import type { Delta } from "../../src/gossip/message.ts";
import { GOSSIP_ALPN, STREAM_ALPN, type MeshProtocol } from "../../src/mesh/secure.ts";
import { GOSSIP_PATH } from "../../src/mesh/websocket.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { Ending } from "../support/daemons.ts";
import { DEADLINE_MS, until, within } from "../support/wait.ts";

import {
  ask,
  doorAt,
  expectEven,
  INGRESS_PORT,
  membersOf,
  prepareCluster,
  startAll,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { connectAs, joinAs, newCluster, newMember } from "./fake-member.ts";

/** What is told of a member that says hello with an id that is not that of its certificate. */
const WRONG_ID = /stranger.*expected/;

/** Sends bytes over TCP. @returns all that came back until the other side closed, as text */
async function exchange(
  t: Ending,
  at: { host: string; port: number },
  bytes: Buffer | string,
): Promise<string> {
  const socket = connect(at);
  t.after(() => socket.destroy());
  return await exchangeOver(socket, bytes);
}

/** The same over a connection that is there already. */
async function exchangeOver(socket: Socket, bytes: Buffer | string): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  // A reset is as good an end as any.
  socket.on("error", () => undefined);
  // A member's connection may be half open, so it does not end by itself.
  socket.once("end", () => socket.end());
  socket.write(bytes);
  await until(() => socket.closed, { what: "the connection is closed" });
  return text;
}

/** One HTTP request of any kind. */
async function send(
  at: { host: string; port: number; method?: string; path?: string; headers?: Record<string, string> },
  body = "",
): Promise<{ status: number; text: string; type: string }> {
  const sent = request({ ...at, agent: false, signal: AbortSignal.timeout(DEADLINE_MS) });
  sent.end(body);
  const [response] = (await within(once(sent, "response"), "an answer")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode ?? 0, text, type: response.headers["content-type"] ?? "" };
}

test("junk: two hosts that serve, and strangers on every port of one", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [[one] = [], [two] = []] = await webReplicas(t, block, [1, 1]);
  assert.ok(one !== undefined && two !== undefined);
  const ways = { publish: ["8088:8000"], http: [{ host: "web.example.com" }] };
  first.configure({ services: [webService([one], ways)] });
  second.configure({ services: [webService([two], ways)] });
  const pair = [first, second];
  await startAll(pair);
  await untilServing(pair, [one, two]);
  const door = doorAt(first, 8088);
  await untilOpen(door);
  const [vip] = await first.lookup("web");
  const mesh = { host: first.address, port: 7650 };
  const admin = { host: first.address, port: 7651 };
  const dns = { host: first.address, port: 5300 };
  const ingress = { host: first.address, port: INGRESS_PORT };
  const refusedFor = (reason: string): Promise<number> => {
    return first.metric("skein_gossip_refused_total", `reason="${reason}"`);
  };
  const told = async (): Promise<string> => {
    const events = (await first.get("/api/v1/events")) as readonly EventLine[];
    return events.map(({ kind, subject, text }) => `${kind} ${subject}: ${text}`).join("\n");
  };
  /** Everything still works: on both hosts, by name and by traffic, with both members. */
  const expectWell = async (): Promise<void> => {
    for (const host of pair) {
      assert.ok(host.isRunning(), `${host.name} runs`);
      assert.deepEqual(await host.lookup("web"), [vip]);
      const alive = (await membersOf(host)).filter(({ state }) => state === "alive");
      assert.deepEqual(
        alive.map(({ name }) => name),
        ["host-1", "host-2"],
      );
    }
    await expectEven(door, [one, two]);
  };
  t.afterEach(expectWell);

  const meshRefusedFor = (reason: string): Promise<number> => {
    return first.metric("skein_mesh_refused_total", `reason="${reason}"`);
  };
  /** Bytes of a member, inside TLS. */
  const asMember = async (alpn: MeshProtocol, bytes: Buffer | string): Promise<string> =>
    exchangeOver(await connectAs(t, insider, { address: first.address, alpn }), bytes);
  const insider = await newMember(t, first, { name: "insider" });

  await t.test("mesh: what is no TLS is answered in a line and counted", async () => {
    const noise = randomBytes(4096);
    // Not the first byte of a TLS handshake.
    noise[0] = 0x80;
    assert.match(await exchange(t, mesh, noise), /^HTTP\/1\.1 400 /);
    assert.match(await exchange(t, mesh, `GET ${GOSSIP_PATH} HTTP/1.1\r\n\r\n`), /TLS 1\.3 only/);
    assert.equal(await meshRefusedFor("plaintext"), 2);
    assert.doesNotMatch(await exchange(t, mesh, "\x16\x03\x01\x00\x05nonsense"), /HTTP/);
    await until(async () => (await meshRefusedFor("handshake")) === 1, { what: "bad TLS is counted" });
    assert.match(await told(), /mesh\.refused 127\.\S+: plaintext \(at 127\.\S+\)/);
  });

  await t.test("mesh: TLS 1.2, no certificate, a certificate of another cluster", async () => {
    const { chain, key } = insider.material();
    const old = connectTls({ ...mesh, key, cert: chain, maxVersion: "TLSv1.2", rejectUnauthorized: false });
    t.after(() => old.destroy());
    const [thrown] = (await within(once(old, "error"), "a refusal")) as [NodeJS.ErrnoException];
    assert.match(thrown.code ?? "", /PROTOCOL_VERSION/);
    const bare = connectTls({ ...mesh, ALPNProtocols: [GOSSIP_ALPN], rejectUnauthorized: false });
    t.after(() => bare.destroy());
    assert.match(await exchangeOver(bare, "hello"), /showed no certificate/);
    assert.equal(await meshRefusedFor("no-certificate"), 1);
    const foreign = await newCluster(t);
    const shown = { key: foreign.material().key, cert: foreign.material().chain };
    const other = connectTls({ ...mesh, ...shown, ALPNProtocols: [GOSSIP_ALPN], rejectUnauthorized: false });
    t.after(() => other.destroy());
    assert.match(await exchangeOver(other, "hello"), /^HTTP\/1\.1 403 /);
    assert.equal(await meshRefusedFor("certificate"), 1);
    assert.match(await told(), new RegExp(`mesh\\.refused ${foreign.id}: certificate`));
  });

  await t.test("mesh: a member's browser, another protocol, another path", async () => {
    const upgrade = (path: string, headers: Record<string, string>, alpn: MeshProtocol = GOSSIP_ALPN) => {
      const fields = Object.entries({
        host: "mesh",
        connection: "Upgrade",
        upgrade: "websocket",
        ...headers,
      });
      const text = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      return asMember(alpn, `GET ${path} HTTP/1.1\r\n${text}\r\n`);
    };
    assert.match(await asMember(GOSSIP_ALPN, "GET / HTTP/1.1\r\nhost: mesh\r\n\r\n"), /^HTTP\/1\.1 426 /);
    const key = { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13" };
    assert.match(await upgrade("/", key), /^HTTP\/1\.1 404 /);
    const old = { ...key, "sec-websocket-protocol": "skein.v0" };
    assert.match(await upgrade(GOSSIP_PATH, old), /^HTTP\/1\.1 400 /);
    assert.match(await upgrade(GOSSIP_PATH, { ...key, origin: "http://example.com" }), /^HTTP\/1\.1 403 /);
    assert.match(await upgrade("/stream/web/9", { upgrade: "skein-stream/1" }), /^HTTP\/1\.1 404 /);
    assert.match(
      await upgrade("/stream/web/9", { upgrade: "skein-stream/1" }, STREAM_ALPN),
      /^HTTP\/1\.1 404 /,
    );
    await asMember(GOSSIP_ALPN, `GET /${"x".repeat(20_000)} HTTP/1.1\r\n`);
    assert.ok((await meshRefusedFor("request")) >= 3);
    for (const reason of ["upgrade", "junk"]) assert.ok((await meshRefusedFor(reason)) >= 1, reason);
  });

  await t.test(
    "mesh: no address behind a replica can be had, only declared ports of replicas here",
    async () => {
      const explained = (await first.get("/api/v1/explain/web")) as {
        replicas: { id: string; local: boolean }[];
      };
      const id = explained.replicas.find(({ local }) => local)?.id ?? "";
      const head = "HTTP/1.1\r\nHost: mesh\r\nConnection: Upgrade\r\nUpgrade: skein-stream/1\r\n\r\n";
      const stream = (path: string): Promise<string> => asMember(STREAM_ALPN, `GET ${path} ${head}`);
      assert.match(await stream(`/stream/${id}/7651`), /^HTTP\/1\.1 404 /);
      assert.match(await stream(`/stream/127.0.0.1/22`), /^HTTP\/1\.1 404 /);
      assert.match(await stream(`/stream/${id}/99999`), /^HTTP\/1\.1 400 /);
    },
  );

  const hellos = { "another wire version": { wire: 99 }, "the host's own id": null } as const;
  for (const [what, over] of Object.entries(hellos)) {
    await t.test(`mesh: a hello with ${what} is refused by name`, async () => {
      const self = (await membersOf(first)).find((member) => member.self)?.id ?? "";
      const before = await refusedFor("frame");
      const stranger = await joinAs(t, "stranger", first, over ?? { id: self });
      await until(() => !stranger.isOpen(), { what: "the link is closed" });
      assert.equal(await refusedFor("frame"), before + 1);
      assert.match(await told(), over === null ? WRONG_ID : /wire version 99/);
    });
  }

  const frames: Record<string, Uint8Array | string> = {
    "random bytes": randomBytes(1000),
    "JSON of no known kind": Buffer.from('{"kind":"take over"}'),
    "a delta with a hole": Buffer.from('{"kind":"delta","deltas":[{"owner":"x"}]}'),
    "a text frame": "hello",
    "a frame past the bound": Buffer.alloc(LIMITS.frameBytes + 1, 0x20),
    "deep nesting": Buffer.from("[".repeat(500_000)),
    "a second hello": Buffer.from('{"kind":"hello"}'),
  };
  for (const [what, frame] of Object.entries(frames)) {
    await t.test(`mesh: behind a good hello, ${what} ends that link and no other`, async () => {
      const refusals = async (): Promise<number> =>
        (await first.metric("skein_gossip_refused_total")) + (await meshRefusedFor("violation"));
      const before = await refusals();
      const stranger = await joinAs(t, `stranger-${what.replaceAll(" ", "-").toLowerCase()}`, first);
      await until(() => stranger.received.some(({ kind }) => kind === "hello"), { what: "it is greeted" });
      stranger.send(frame);
      await until(() => !stranger.isOpen(), { what: "the link is closed" });
      await until(async () => (await refusals()) > before, { what: "it is counted" });
    });
  }

  await t.test("mesh: records that lie are refused one by one, and by name", async () => {
    const liar = await joinAs(t, "liar", first);
    const node = {
      kind: "node",
      name: "liar",
      host: "127.0.0.1",
      port: 9,
      zone: "",
      labels: {},
      software: "0",
      prefixes: [],
    };
    const bodies: [string, string][] = [
      ["node", JSON.stringify(node)],
      ["replica/web-x", JSON.stringify({ kind: "replica", id: "other" })],
      [
        "vip/default/web",
        JSON.stringify({ kind: "vip", network: "default", service: "web", address: "8.8.8.8", order: 0 }),
      ],
      ["future/thing", "{}"],
    ];
    const said = liar.publish(bodies);
    await until(async () => /member\.refused record: liar: record "replica\/web-x"/.test(await told()), {
      what: "the bad record is told of",
    });
    assert.deepEqual(await first.lookup("web"), [vip], "a VIP outside the pool counts for nothing");
    // Other members' words are not its to say, and its own only as it sealed them.
    const say = (delta: Delta): void =>
      liar.send({ kind: "delta", deltas: [delta], until: null, acknowledge: false });
    const owner = (await membersOf(first)).find(({ name }) => name === "host-2")?.id ?? "";
    const before = await refusedFor("seal");
    say({ ...said, owner, incarnation: 9999 });
    await until(async () => (await refusedFor("seal")) > before, { what: "the forged delta is counted" });
    liar.publish([[LIFE_KEY, renderLife({ refutation: 1, said: "left", forMs: 0 })]]);
    await until(() => !liar.isOpen());
  });

  await t.test("dns: what is no query is dropped and counted, over UDP and TCP", async () => {
    const before = await first.metric("skein_dns_dropped_total");
    const socket = createSocket("udp4");
    t.after(() => socket.close());
    const answerToUs = Buffer.from("beef818000010001000000000377656200000100010000", "hex");
    const junk = [Buffer.alloc(0), randomBytes(3), Buffer.alloc(1600, 7), answerToUs, Buffer.alloc(12, 0xff)];
    for (const bytes of junk) socket.send(bytes, dns.port, dns.host);
    await until(async () => (await first.metric("skein_dns_dropped_total")) >= before + 3, {
      what: "counted",
    });
    await exchange(t, dns, Buffer.concat([Buffer.from([0xff, 0xff]), randomBytes(70_000)]));
    await exchange(t, dns, Buffer.from([0, 1, 0]));
    await exchange(t, dns, "GET / HTTP/1.1\r\n\r\n");
  });

  await t.test(
    "admin: other sites, other hosts, writes, junk and unknown paths get the right no",
    async () => {
      assert.equal((await send({ ...admin, headers: { host: "evil.example.com" } })).status, 403);
      assert.equal((await send({ ...admin, headers: { origin: "http://evil.example.com" } })).status, 403);
      const headers = { "content-type": "application/json" };
      const write = await send(
        { ...admin, method: "POST", path: "/api/v1/drains", headers },
        '{"replica":"web-1"}',
      );
      assert.equal(write.status, 403);
      assert.match(write.type, /application\/problem\+json/);
      assert.equal((await send({ ...admin, path: "/api/v1/nosuch" })).status, 404);
      assert.match(await exchange(t, admin, randomBytes(2000)), /^HTTP\/1\.1 400 /);
      assert.equal((await send({ ...admin, path: "/healthz" })).status, 200);
    },
  );

  await t.test("ingress and published ports: junk is refused before any replica sees it", async () => {
    const served = one.served + two.served;
    assert.match(await exchange(t, ingress, randomBytes(2000)), /^HTTP\/1\.1 400 /);
    assert.match(
      await exchange(t, ingress, `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(60_000)}\r\n\r\n`),
      /^HTTP\/1\.1 431 /,
    );
    assert.match(
      await exchange(
        t,
        { host: first.address, port: 8088 },
        "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ),
      /^HTTP\/1\.1 400 /,
    );
    assert.equal((await send({ ...ingress, headers: { host: "other.example.com" } })).status, 404);
    assert.equal(one.served + two.served, served);
    assert.equal(await first.metric("skein_proxy_refused_total", 'reason="no-route"'), 1);
    await ask(doorAt(first, INGRESS_PORT, { hostHeader: "web.example.com" }));
  });

  await t.test("a crowd of silent connections on every port keeps nobody out", async () => {
    const crowd = [mesh, admin, dns, ingress].flatMap((at) => Array.from({ length: 40 }, () => connect(at)));
    for (const socket of crowd) {
      t.after(() => socket.destroy());
      socket.on("error", () => undefined);
    }
    await Promise.all(crowd.map((socket) => within(once(socket, "connect"), "the connection is open")));
    await expectWell();
    for (const socket of crowd) socket.destroy();
  });
});

test("junk: links need the subprotocol, also from a WebSocket client that offers none", async (t) => {
  const { hosts } = await prepareCluster(t);
  const [first] = hosts;
  await first.start();
  const insider = await newMember(t, first, { name: "insider" });
  const secure = await connectAs(t, insider, { address: first.address, alpn: GOSSIP_ALPN });
  const socket = new WebSocket(`ws://mesh${GOSSIP_PATH}`, { createConnection: () => secure });
  const [thrown] = (await within(once(socket, "error"), "a refusal")) as [Error];
  assert.match(thrown.message, /400/);
});
