// The watch on Docker: the set stays true whatever becomes of events, replies and the engine itself.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { seededRandom } from "../../../src/base/random.ts";
import type { Discovered, Discovery } from "../../../src/model/endpoint.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { watchDocker, type DockerWatch } from "../../../src/source/docker/watch.ts";
import { nowMs } from "../../../src/runtime/clock.ts";
import { folderFor } from "../../support/daemons.ts";
import { containerEvent, openEngine, type FakeContainer, type FakeEngine } from "../../support/engine.ts";
import { until } from "../../support/wait.ts";
import { idOf, TIMES } from "./fixture.ts";

/** Longer than a busy machine takes for a call, shorter than the time between full lists. */
const CALL_TIMEOUT_MS = 20_000;
const A = idOf("a");
const B = idOf("b");

const container = (id: string, name: string, over: Partial<FakeContainer> = {}): FakeContainer => ({
  id,
  name,
  address: "172.17.0.2",
  labels: { "skein.service": "web" },
  exposed: ["80/tcp"],
  ...over,
});

interface Watched {
  readonly engine: FakeEngine;
  readonly discoveries: Discovery[];
  readonly gateways: (readonly string[])[];
  readonly last: () => Discovery;
  readonly endpoint: (id: string) => Discovered | undefined;
  readonly watched: DockerWatch;
}

async function watch(
  t: TestContext,
  containers: readonly FakeContainer[],
  options: { readonly resyncMs?: number; readonly callTimeoutMs?: number; readonly down?: boolean } = {},
): Promise<Watched> {
  const engine = await openEngine(containers);
  if (options.down === true) await engine.stop();
  const discoveries: Discovery[] = [];
  const gateways: (readonly string[])[] = [];
  const watched = watchDocker({
    target: { kind: "socket", path: engine.socketPath },
    plan: { exposeByDefault: false, health: TIMES },
    random: seededRandom(7),
    onDiscovery: (discovery) => discoveries.push(discovery),
    onNetworks: (networks) => gateways.push(networks.gateways),
    resyncMs: options.resyncMs ?? 30_000,
    callTimeoutMs: options.callTimeoutMs ?? CALL_TIMEOUT_MS,
  });
  t.after(async () => {
    await watched.close();
    await engine.close();
  });
  await until(() => discoveries.length > 0);
  const last = (): Discovery => {
    const discovery = discoveries.at(-1);
    assert.ok(discovery !== undefined);
    return discovery;
  };
  const endpoint = (id: string) => last().endpoints.find((one) => one.id === id.slice(0, 12));
  return { engine, discoveries, gateways, last, endpoint, watched };
}

test("watch: the first set holds every container that runs, and the gateways are told", async (t) => {
  const plain = container(B, "db", { labels: {}, address: "172.17.0.3" });
  const { last, gateways, engine } = await watch(t, [container(A, "web-1"), plain]);
  assert.equal(last().stale, null);
  assert.deepEqual(
    last().endpoints.map((endpoint) => endpoint.name),
    ["web-1"],
  );
  assert.deepEqual(
    last().clients.map((client) => client.name),
    ["web-1", "db"],
  );
  assert.deepEqual(gateways, [["172.17.0.1"]]);
  assert.ok(!engine.requests.includes(`GET /containers/${B}/json`), "a client needs no inspection");
});

test("watch: the event stream is opened before the list is asked for", async (t) => {
  const { engine } = await watch(t, [container(A, "web-1")]);
  assert.ok(engine.requests.indexOf("GET /events") < engine.requests.indexOf("GET /containers/json"));
});

test("watch: a start adds, a die takes out, a pause, a health change and a rename are seen", async (t) => {
  const { engine, endpoint } = await watch(t, [container(A, "web-1")]);
  const change = (over: Partial<FakeContainer>, action: string): void => {
    engine.containers.set(B, container(B, "web-2", over));
    engine.emit(containerEvent(B, action));
  };
  change({}, "start");
  await until(() => endpoint(B)?.lifecycle === "running");
  change({ paused: true }, "pause");
  await until(() => endpoint(B)?.lifecycle === "paused");
  change({ health: "unhealthy" }, "health_status: unhealthy");
  await until(() => endpoint(B)?.health.kind === "reported");
  change({ address: "172.18.0.9" }, "update");
  await until(() => endpoint(B)?.address === "172.18.0.9");
  engine.containers.set(B, container(B, "renamed"));
  engine.emit(containerEvent(B, "rename"));
  await until(() => endpoint(B)?.name === "renamed");
  engine.containers.delete(B);
  engine.emit(containerEvent(B, "die"));
  await until(() => endpoint(B) === undefined);
  assert.equal(endpoint(A)?.name, "web-1");
});

test("watch: the stop signal marks a container as stopping while Docker cannot be asked", async (t) => {
  const { engine, endpoint } = await watch(t, [container(A, "web-1")]);
  engine.faults.set("/containers", { kind: "silent" });
  engine.emit(containerEvent(A, "kill", { signal: "15" }));
  await until(() => endpoint(A)?.lifecycle === "stopping");
  engine.emit(containerEvent(A, "die"));
  await until(() => endpoint(A) === undefined);
});

test("watch: a signal that is no stop signal, as docker kill -s HUP sends, changes nothing", async (t) => {
  const { engine, discoveries, endpoint } = await watch(t, [container(A, "web-1")]);
  engine.emit(containerEvent(A, "kill", { signal: "1" }));
  await until(() => engine.requests.filter((path) => path === `GET /containers/${A}/json`).length >= 2);
  engine.containers.set(B, container(B, "web-2"));
  engine.emit(containerEvent(B, "start"));
  await until(() => endpoint(B));
  assert.ok(discoveries.every((discovery) => discovery.endpoints[0]?.lifecycle === "running"));
});

test("watch: a container that is stopped and started again is running, with its new start", async (t) => {
  const { engine, endpoint } = await watch(t, [container(A, "web-1")]);
  engine.emit(containerEvent(A, "kill", { signal: "15" }));
  engine.emit(containerEvent(A, "die"));
  engine.containers.set(A, container(A, "web-1", { startedAt: "2026-02-02T00:00:00Z" }));
  engine.emit(containerEvent(A, "start"));
  await until(() => endpoint(A)?.startedAtMs === Date.parse("2026-02-02T00:00:00Z"));
  assert.equal(endpoint(A)?.lifecycle, "running");
});

test("watch: many events on one container are answered by few inspections", async (t) => {
  const { engine, endpoint } = await watch(t, [container(A, "web-1")]);
  engine.containers.set(A, container(A, "web-9"));
  for (let count = 0; count < 200; count += 1) engine.emit(containerEvent(A, "update"));
  await until(() => endpoint(A)?.name === "web-9");
  const inspections = engine.requests.filter((path) => path === `GET /containers/${A}/json`).length;
  assert.ok(inspections < 100, `${inspections} inspections`);
});

test("watch: what events did not tell is found by the next full list", async (t) => {
  const { engine, endpoint } = await watch(t, [container(A, "web-1")], { resyncMs: 50 });
  engine.containers.set(B, container(B, "web-2"));
  engine.containers.delete(A);
  await until(() => endpoint(B) !== undefined && endpoint(A) === undefined);
});

test("watch: somebody whom no event told of leads to a full list, not each time that he asks", async (t) => {
  const { engine, watched, endpoint } = await watch(t, []);
  engine.containers.set(A, container(A, "web-1"));
  for (let count = 0; count < 100; count += 1) watched.lookAgain();
  await until(() => endpoint(A) !== undefined);
  const lists = engine.requests.filter((line) => line.endsWith("/containers/json")).length;
  assert.ok(lists <= 3, `${lists} lists`);
});

test("watch: an event too long to be read leads to a full list at once", async (t) => {
  const { engine, endpoint } = await watch(t, [container(A, "web-1")]);
  engine.containers.set(B, container(B, "web-2"));
  engine.emitRaw(`${"x".repeat(LIMITS.dockerEventBytes + 1)}\n`);
  await until(() => endpoint(B));
});

test("watch: a network that is made leads to its gateway", async (t) => {
  const { engine, gateways } = await watch(t, []);
  engine.networks = [{ Driver: "bridge", IPAM: { Config: [{ Gateway: "172.30.0.1" }] } }];
  engine.emit({ Type: "network", Action: "create", Actor: { ID: "n", Attributes: {} } });
  await until(() => gateways.at(-1)?.[0] === "172.30.0.1");
  assert.equal(gateways.length, 2);
});

test("watch: a container is isolated while all its networks are internal, also on one made a moment ago", async (t) => {
  const bridge = { Name: "bridge", Driver: "bridge", Internal: false };
  const sealed = { Name: "sealed", Driver: "bridge", Internal: true };
  const { engine, last, discoveries } = await watch(t, [container(A, "web-1")]);
  const isolated = (name: string) => last().clients.find((client) => client.name === name)?.isolated;
  assert.equal(isolated("web-1"), false);
  // Not a word of the network itself, as when that event was lost.
  for (const [name, network] of [
    ["inside", "sealed"],
    ["outside", "open"],
  ] as const) {
    engine.networks = [bridge, sealed, { ...bridge, Name: "open" }];
    engine.containers.set(B, container(B, name, { network, address: "172.18.0.2" }));
    engine.emit(containerEvent(B, "start"));
    await until(() => isolated(name) === (network === "sealed"));
    // An address goes from one to the other; what each may do goes with it, from the first moment on.
    const told = discoveries.flatMap(({ clients }) => clients.filter((client) => client.name === name));
    assert.ok(told.every((client) => client.isolated === (network === "sealed")));
  }
});

test("watch: on an overlay network a container is found without a label, on one made a moment ago too", async (t) => {
  const { engine, endpoint, last } = await watch(t, []);
  engine.networks = [
    { Id: idOf("e"), Name: "app", Driver: "bridge", Labels: { "skein.network": "app" } },
    { Id: idOf("f"), Name: "plain", Driver: "bridge" },
  ];
  const place = { labels: {}, network: "app", networkMode: "app", address: "10.160.3.2" };
  engine.containers.set(A, container(A, "web-1", place));
  engine.containers.set(B, container(B, "db", { ...place, network: "plain", networkMode: "plain" }));
  // Not a word of the networks themselves, as when that event was lost.
  engine.emit(containerEvent(A, "start"));
  engine.emit(containerEvent(B, "start"));
  await until(() => endpoint(A)?.reach === "overlay" && last().clients.length === 2);
  assert.equal(endpoint(A)?.network, "app");
  assert.equal(endpoint(B), undefined);
  engine.containers.set(A, container(A, "web-1", { ...place, network: "plain" }));
  engine.emit({ Type: "network", Action: "disconnect", Actor: { ID: "n", Attributes: { container: A } } });
  await until(() => endpoint(A) === undefined);
});

test("watch: a network that turns out to be an overlay's makes endpoints of those that are on it", async (t) => {
  const plain = { Id: idOf("e"), Name: "app", Driver: "bridge" };
  const place = { labels: {}, network: "app", networkMode: "app", address: "10.160.3.2" };
  const { engine, endpoint, last } = await watch(t, [container(A, "web-1", place)]);
  await until(() => last().clients.length === 1);
  assert.equal(endpoint(A), undefined);
  engine.networks = [{ ...plain, Labels: { "skein.network": "app" } }];
  engine.emit({ Type: "network", Action: "create", Actor: { ID: "n", Attributes: {} } });
  await until(() => endpoint(A)?.reach === "overlay");
});

test("watch: while the engine is gone the last set stands, marked stale; afterwards it is fresh again", async (t) => {
  const { engine, last, endpoint } = await watch(t, [container(A, "web-1")]);
  await engine.stop();
  await until(() => last().stale !== null);
  assert.match(last().stale ?? "", /^docker does not answer: .*, since \d{4}-\d\d-\d\dT/);
  assert.equal(endpoint(A)?.name, "web-1");
  engine.containers.set(B, container(B, "web-2"));
  await engine.start();
  await until(() => last().stale === null && endpoint(B) !== undefined);
  assert.equal(engine.streams(), 1);
});

test("watch: an engine that is not there at first is waited for", async (t) => {
  const { engine, last, endpoint } = await watch(t, [container(A, "web-1")], { down: true });
  assert.deepEqual(last().endpoints, []);
  assert.match(last().stale ?? "", /ENOENT|ECONNREFUSED/);
  await engine.start();
  await until(() => endpoint(A));
  assert.equal(last().stale, null);
});

test("watch: an event stream that ends, politely or not, is opened again and nothing is lost", async (t) => {
  const { engine, last, endpoint } = await watch(t, [container(A, "web-1")]);
  for (const [how, id] of [
    ["end", idOf("c")],
    ["destroy", idOf("d")],
  ] as const) {
    await until(() => engine.streams() === 1 && last().stale === null);
    engine.emitRaw('{"Type":"container","Act');
    engine.containers.set(id, container(id, `web-${id.slice(0, 1)}`));
    engine.endStreams(how);
    await until(() => endpoint(id));
  }
});

test("watch: broken replies of every kind leave the last set standing, until they are whole again", async (t) => {
  const { engine, last, endpoint } = await watch(t, [container(A, "web-1")], {
    resyncMs: 20,
    callTimeoutMs: 150,
  });
  const faults = [
    { kind: "cut" },
    { kind: "stalled" },
    { kind: "silent" },
    { kind: "status", status: 500 },
    { kind: "body", body: "[{" },
    { kind: "body", body: "7" },
  ] as const;
  for (const fault of faults) {
    engine.faults.set("/containers/json", fault);
    await until(() => last().stale !== null, { what: `stale by ${JSON.stringify(fault)}` });
    assert.equal(endpoint(A)?.name, "web-1");
    engine.faults.clear();
    await until(() => last().stale === null, { what: `fresh after ${JSON.stringify(fault)}` });
  }
});

test("watch: one container that Docker cannot describe does not keep the others from being seen", async (t) => {
  // A call runs out of time when the test says so: one that is only slow would be another problem.
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { engine, last, endpoint } = await watch(t, [container(A, "web-1")]);
  const inspections = (): number => engine.requests.filter((path) => path.includes(A)).length;
  for (const fault of [
    { kind: "status", status: 500 },
    { kind: "silent" },
    { kind: "body", body: "{}" },
  ] as const) {
    engine.faults.set(`/containers/${A}`, fault);
    const before = inspections();
    engine.emit(containerEvent(A, "update"));
    await until(() => inspections() > before);
    if (fault.kind === "silent") t.mock.timers.tick(CALL_TIMEOUT_MS);
    await until(() => last().problems.some((problem) => problem.subject === "container web-1"));
    assert.equal(last().stale, null);
    assert.equal(endpoint(A)?.name, "web-1");
    engine.faults.clear();
    engine.emit(containerEvent(A, "update"));
    await until(() => last().problems.length === 0);
  }
});

test("watch: an engine too old is reported as one that cannot be used", async (t) => {
  const { engine, last } = await watch(t, [container(A, "web-1")], { down: true });
  engine.apiVersion = "1.24";
  await engine.start();
  await until(() => last().stale?.startsWith("docker cannot be used: docker's API is 1.24"));
});

test("watch: a reload changes how containers are checked, and which of them count", async (t) => {
  const plain = container(B, "db", { labels: {} });
  const { endpoint, watched } = await watch(t, [container(A, "web-1"), plain]);
  assert.equal(endpoint(B), undefined);
  watched.replan({ exposeByDefault: true, health: { ...TIMES, intervalMs: 7000 } });
  const health = endpoint(A)?.health;
  assert.equal(health?.kind === "probe" ? health.probe.intervalMs : null, 7000);
  await until(() => endpoint(B));
});

test("watch: a container made anew at the address of another has it since then only", async (t) => {
  const { engine, endpoint, watched } = await watch(t, [container(A, "web-1")]);
  const heldByName = async () =>
    new Map((await watched.namePaths()).map(({ name, addresses }) => [name, addresses[0]]));
  const first = (await heldByName()).get("web-1");
  const betweenMs = nowMs();
  assert.ok(first !== undefined && first.sinceMs < betweenMs);
  engine.containers.delete(A);
  engine.containers.set(B, container(B, "web-2"));
  engine.emit(containerEvent(A, "die"));
  engine.emit(containerEvent(B, "start"));
  await until(() => endpoint(B));
  const next = await heldByName();
  assert.deepEqual([...next.keys()], ["web-2"]);
  const second = next.get("web-2");
  assert.equal(second?.address, first.address);
  assert.ok((second?.sinceMs ?? 0) > betweenMs);
  engine.emit(containerEvent(B, "update"));
  const path = `GET /containers/${B}/json`;
  await until(() => engine.requests.filter((request) => request === path).length >= 2);
  engine.containers.set(B, container(B, "web-2", { paused: true }));
  engine.emit(containerEvent(B, "pause"));
  await until(() => endpoint(B)?.lifecycle === "paused");
  assert.deepEqual((await heldByName()).get("web-2"), second, "it is the same run still");
});

test("watch: nothing is reported after close, which does not wait for an engine that hangs", async (t) => {
  const { engine, discoveries, watched } = await watch(t, [container(A, "web-1")]);
  engine.faults.set("/containers", { kind: "silent" });
  engine.emit(containerEvent(A, "update"));
  await until(() => engine.requests.filter((path) => path === `GET /containers/${A}/json`).length >= 2);
  await watched.close();
  const count = discoveries.length;
  await until(() => engine.streams() === 0);
  engine.emit(containerEvent(A, "die"));
  assert.equal(discoveries.length, count);
});

test("watch: tells how labelled containers ask for names, by their resolv.conf where it can be read", async (t) => {
  const file = join(folderFor(t), "resolv.conf");
  writeFileSync(file, "nameserver 172.17.0.1\n");
  const labelless = container(idOf("c"), "client-1", { labels: {} });
  const { watched } = await watch(t, [
    container(B, "web-2", { resolvConfPath: "/nowhere/resolv.conf", dns: ["192.0.2.1"], network: "shop" }),
    container(A, "web-1", { resolvConfPath: file }),
    // On a file system that is not ours, as for a daemon that runs in a container itself.
    container(idOf("d"), "web-3", {
      resolvConfPath: "/nowhere/resolv.conf",
      resolvConf: "nameserver 127.0.0.11\n# ExtServers: [host(127.0.0.53) 192.0.2.7]\n",
      network: "shop",
    }),
    labelless,
  ]);
  const told = (await watched.namePaths()).map(({ name, servers }) => [name, servers?.[0]?.address]);
  assert.deepEqual(told, [
    ["web-1", "172.17.0.1"],
    ["web-2", "192.0.2.1"],
    ["web-3", "127.0.0.53"],
  ]);
});
