// Upgrading: one daemon takes over from another on its host, and nobody who uses it sees that.

import assert from "node:assert/strict";
import { once } from "node:events";
import { Resolver } from "node:dns/promises";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import test, { type TestContext } from "node:test";

import type { EventLine } from "../../src/admin/contract.ts";
import { DNS_PORT } from "../../src/base/nameservers.ts";
import {
  daemonFor,
  openBlock,
  type ConfigTree,
  type DaemonUnderTest,
  type Ending,
} from "../support/daemons.ts";
import { openEngine } from "../support/engine.ts";
import { until, within } from "../support/wait.ts";

import {
  doorAt,
  prepareCluster,
  startAll,
  statusOf,
  untilAlive,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
  type Door,
} from "./cluster.ts";
import { steadyLoad } from "./load.ts";

/**
 * For a connection to a replica, and twice for one through another host. No handshake is quick on a machine that starts
 * a daemon beside those that serve; what an upgrade must not do is break, refuse or lose one.
 */
const PROXY = { connect: "3s" };

/** Sends a word over a connection and waits until it comes back. */
async function echoed(socket: Socket, word: string): Promise<string> {
  socket.write(word);
  const [chunk] = (await within(once(socket, "data"), "the echo")) as [Buffer];
  return chunk.toString();
}

/** A server that says back what it hears. */
async function openEcho(t: Ending, host: string): Promise<string> {
  const server = await listenOn(t, host, 0);
  server.on("connection", (socket) => socket.pipe(socket).on("error", () => undefined));
  const { port } = server.address() as AddressInfo;
  return `${host}:${port}`;
}

/** Two hosts. The first has the one replica of a service that both publish; at `spare` another address of it. */
async function openPair(t: TestContext) {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [[one] = []] = await webReplicas(t, block, [1]);
  assert.ok(one !== undefined);
  const services = [webService([one], { publish: ["8088:8000"] })];
  const configure = (over: ConfigTree = {}): void => first.configure({ proxy: PROXY, services, ...over });
  configure();
  second.configure({ proxy: PROXY });
  await startAll([first, second]);
  const doors = [first, second].map((host) => doorAt(host, 8088));
  for (const door of doors) await untilOpen(door);
  return { first, second, one, doors, spare: block.address(9), configure };
}

async function connectTo(t: Ending, { host, port }: Door): Promise<Socket> {
  const socket = connect({ host, port });
  t.after(() => socket.destroy());
  await within(once(socket, "connect"), "the connection is open");
  return socket;
}

async function listenOn(t: Ending, host: string, port: number): Promise<Server> {
  const server = createServer().listen(port, host);
  t.after(() => server.close());
  await once(server, "listening");
  return server;
}

/** The address that `web` has according to a name server, or why none. One question, as an impatient program asks. */
async function askedAt(server: string): Promise<string> {
  const resolver = new Resolver({ tries: 1, timeout: 4000 });
  resolver.setServers([server]);
  const failed = ({ code }: NodeJS.ErrnoException): string => code ?? "";
  return await resolver.resolve4("web.default.skein.internal").then((found) => found.join(), failed);
}

async function mayListenAt({ host, port }: Pick<Door, "host" | "port">): Promise<boolean> {
  const server = createServer().listen(port, host);
  const isListening = await once(server, "listening").then(
    () => true,
    () => false,
  );
  server.close();
  return isListening;
}

/** What a host has seen of members that were not there. */
async function lossesSeenBy(host: DaemonUnderTest): Promise<readonly string[]> {
  const told = (await host.get("/api/v1/events")) as readonly EventLine[];
  return told.map(({ kind }) => kind).filter((kind) => /^member\.(away|dead|left)$/.test(kind));
}

test("cluster: a daemon is upgraded under load, and no request fails on any host", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [[one] = [], [two] = []] = await webReplicas(t, block, [1, 1]);
  assert.ok(one !== undefined && two !== undefined);
  const publish = ["8088:8000"];
  // `alone` and `raw` have their only replica on the host that is upgraded: nobody else could serve them meanwhile.
  const alone = webService([one], { name: "alone", publish: ["8089:8000"] });
  const echo = await openEcho(t, block.address(1, 20));
  const raw = { name: "raw", ports: [{ port: 8000 }], replicas: [echo], publish: ["8090:8000"] };
  first.configure({ proxy: PROXY, services: [webService([one], { publish }), alone, raw] });
  second.configure({ proxy: PROXY, services: [webService([two], { publish })] });
  await startAll([first, second]);
  await untilServing([first, second], [one, two]);
  await untilServing([first, second], [one], { service: "alone" });
  const doors = [first, second].flatMap((host) => [8088, 8089].map((port) => doorAt(host, port)));
  const rawDoors = [first, second].map((host) => doorAt(host, 8090));
  for (const door of doors) await untilOpen(door);
  const long = await Promise.all(rawDoors.map((door) => connectTo(t, door)));
  for (const socket of long) assert.equal(await echoed(socket, "before"), "before");

  const load = steadyLoad(t, doors);
  await load.more(200);
  const before = await statusOf(first);
  const { ended } = await first.replace();
  await load.more(200);
  for (const socket of long) {
    assert.equal(await echoed(socket, "after"), "after", "an open connection goes on");
    socket.end();
  }
  assert.equal(await within(ended, "the old daemon ends"), 0);
  await load.more(200);
  await load.stop();
  const after = await statusOf(first);
  assert.equal(after.node.id, before.node.id);
  assert.ok(after.startedAtMs > before.startedAtMs);
  assert.deepEqual(await lossesSeenBy(second), [], "the other host never missed it");
  await untilServing([first, second], [one, two]);
});

test("cluster: while a daemon is upgraded DNS answers on, also on the gateways of Docker's networks", async (t) => {
  const block = await openBlock(t);
  const gateways = [1, 2, 3, 4].map((network) => block.address(9, network));
  const [gateway = assert.fail()] = gateways;
  if (!(await mayListenAt({ host: gateway, port: DNS_PORT }))) return t.skip("port 53 is only for root");
  const engine = await openEngine();
  t.after(() => engine.close());
  engine.networks = gateways.map((Gateway) => {
    const Config = [{ Subnet: Gateway.replace(/\d+$/, "0/24"), Gateway }];
    return { Name: `net-${Gateway}`, Driver: "bridge", IPAM: { Config } };
  });
  const services = [{ name: "web", ports: [{ port: 80 }], replicas: ["127.0.0.1:9"] }];
  const daemon = daemonFor(t, {
    name: "host-1",
    address: block.address(1),
    vipPool: block.vipPool,
    config: () => ({ docker: { socket: engine.socketPath }, services }),
  });
  await daemon.start();
  const servers = [...gateways.map((host) => `${host}:${DNS_PORT}`), `${daemon.address}:5300`];
  const expected = await until(async () => {
    const told = await Promise.all(servers.map((server) => askedAt(server)));
    return told.every((address) => address.startsWith("127.")) ? told : null;
  });
  const failures: string[] = [];
  let asked = 0;
  const judge = async (server: string, right: string): Promise<void> => {
    const address = await askedAt(server);
    asked += 1;
    if (address !== right) failures.push(`${server}: ${address}`);
  };
  const timer = setInterval(() => {
    for (const [at, server] of servers.entries()) {
      void judge(server, expected[at] ?? "");
    }
  }, 20);
  t.after(() => clearInterval(timer));
  const more = async (): Promise<void> => {
    const wanted = asked + 200;
    await until(() => asked >= wanted, { what: "more questions" });
  };
  await more();
  const { ended } = await daemon.replace();
  assert.equal(await within(ended, "the old daemon ends"), 0);
  await more();
  clearInterval(timer);
  assert.deepEqual(failures, []);
  assert.doesNotMatch(daemon.log(), /no DNS on the bridge gateway/);
});

test("cluster: a daemon whose successor fails to start takes back what it gave, and nothing fails", async (t) => {
  const { first, second, spare, doors, configure } = await openPair(t);
  const load = steadyLoad(t, doors);
  await load.more(100);
  const pid = first.pid();
  // Taken by this test: the successor finds that out only when it has been handed over to.
  const blocker = await listenOn(t, spare, 7651);
  configure({ admin: { listen: `${spare}:7651` } });
  await assert.rejects(first.replace(), /7651/);
  await load.more(200);
  blocker.close();
  await until(() => first.log().includes("opens anew"));
  await untilAlive(first, [first, second]);
  await load.more(100);
  await load.stop();
  process.kill(pid, 0);
  assert.deepEqual(await lossesSeenBy(second), [], "the other host never missed it");
});

test("cluster: a successor that fails to start takes no request of another host along", async (t) => {
  const { first, one, spare, doors, configure } = await openPair(t);
  const [, door = assert.fail()] = doors;
  await listenOn(t, spare, 7651);
  configure({ admin: { listen: `${spare}:7651` } });
  // Each is relayed by whichever daemon took its connection, and under way until the end.
  one.silent = true;
  const asked: { text: string; readonly socket: Socket }[] = [];
  const askOne = async (): Promise<void> => {
    const request = { text: "", socket: await connectTo(t, door) };
    request.socket.on("data", (chunk: Buffer) => (request.text += chunk.toString()));
    request.socket.write("GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
    asked.push(request);
  };
  const replacing = { isOver: false };
  const failed = assert.rejects(first.replace(), /7651/).finally(() => (replacing.isOver = true));
  while (!replacing.isOver && asked.length < 200) {
    await askOne();
    await until(() => replacing.isOver || one.held() >= asked.length, { what: "the replica was asked" });
  }
  await failed;
  one.release();
  await until(() => asked.every(({ socket }) => socket.closed), { what: "each was answered" });
  assert.deepEqual(
    asked.map(({ text }) => text).filter((text) => !text.startsWith("HTTP/1.1 200 ")),
    [],
  );
});

test("cluster: a successor killed half way leaves a daemon that is whole again, whatever is in its way", async (t) => {
  const { first, second, spare, doors, configure } = await openPair(t);
  const old = first.pid();
  configure({ admin: { listen: `${spare}:7651` } });
  const replaced = assert.rejects(first.replace());
  // As soon as it is given up, what the old daemon will want again is somebody else's.
  const taken = (): Promise<Server | null> => listenOn(t, first.address, 7651).catch(() => null);
  const blocker = await until(taken, { what: "the old daemon gives up its port", everyMs: 2 });
  // The first that the successor says of peers: by then it relays their streams, and is not done yet.
  const isMet = (): boolean => first.log().split("view.complete").length === 3;
  await until(isMet, { what: "the successor has met its peers", everyMs: 2 });
  process.kill(first.pid(), "SIGKILL");
  await replaced;
  await until(() => first.log().includes("not opened anew yet"), { what: "it is told what is in its way" });
  blocker.close();
  await untilAlive(first, [first, second]);
  await untilAlive(second, [first, second]);
  for (const door of doors) await untilOpen(door);
  process.kill(old, "SIGTERM");
  await until(() => !isThere(old), { what: "the daemon stops when it is told to" });
});

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
