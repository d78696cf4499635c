// The Docker client, against a fake engine that breaks in every way a real one does, and a real one where there is one.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import {
  locateDocker,
  openDocker,
  renderTarget,
  type DockerClient,
  type DockerTarget,
} from "../../../src/source/docker/client.ts";
import type { DockerEvent } from "../../../src/source/docker/facts.ts";
import { containerEvent, openEngine, type FakeContainer, type FakeEngine } from "../../support/engine.ts";
import { until } from "../../support/wait.ts";
import { idOf } from "./fixture.ts";

const WEB: FakeContainer = { id: idOf("a"), name: "web-1", address: "172.17.0.2" };

/** Longer than any pause of a busy machine: where a call must run out of time, the test moves the timers. */
const CALL_TIMEOUT_MS = 60_000;

async function open(t: TestContext): Promise<{ engine: FakeEngine; client: DockerClient }> {
  const engine = await openEngine([WEB]);
  const options = { callTimeoutMs: CALL_TIMEOUT_MS };
  const client = await openDocker({ kind: "socket", path: engine.socketPath }, options);
  t.after(async () => {
    client.close();
    await engine.close();
  });
  return { engine, client };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "settled";
  } catch (thrown) {
    return thrown instanceof Failure ? thrown.code : `not a Failure: ${String(thrown)}`;
  }
}

/** What becomes of a call that the engine has got and does not answer in time; timers are the test's. */
async function lateCodeOf(t: TestContext, engine: FakeEngine, call: () => Promise<unknown>): Promise<string> {
  const before = engine.requests.length;
  const code = codeOf(call());
  await until(() => engine.requests.length > before);
  t.mock.timers.tick(CALL_TIMEOUT_MS);
  return code;
}

test("client: version, list, inspection and gateways come checked", async (t) => {
  const { client } = await open(t);
  await client.checkVersion();
  const { containers, unread } = await client.listContainers();
  assert.deepEqual(
    containers.map((facts) => facts.name),
    ["web-1"],
  );
  assert.equal(unread, 0);
  assert.equal((await client.inspectContainer(WEB.id))?.attachments[0]?.address, "172.17.0.2");
  assert.equal(await client.inspectContainer(idOf("b")), null);
  const { gateways, internalByName } = await client.listNetworks();
  assert.deepEqual([gateways, internalByName.get("bridge")], [["172.17.0.1"], false]);
});

test("client: an engine whose API is older than Docker 20.10's, or none, is refused by name", async (t) => {
  const { engine, client } = await open(t);
  for (const version of ["1.40", "0.99", "what"]) {
    engine.apiVersion = version;
    assert.equal(await codeOf(client.checkVersion()), "invalid", version);
  }
  for (const version of ["1.41", "1.52", "2.0"]) {
    engine.apiVersion = version;
    assert.equal(await codeOf(client.checkVersion()), "settled", version);
  }
});

test("client: no reply, however broken, makes a call hang or ends the process", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { engine, client } = await open(t);
  const faults = [
    [{ kind: "cut" }, "unreachable"],
    [{ kind: "stalled" }, "timeout"],
    [{ kind: "silent" }, "timeout"],
    [{ kind: "body", body: '[{"Id":' }, "corrupt"],
    [{ kind: "body", body: '{"not":"a list"}' }, "corrupt"],
    [{ kind: "status", status: 500 }, "refused"],
    [{ kind: "status", status: 404 }, "not-found"],
    [{ kind: "status", status: 302, location: "ftp://elsewhere/x" }, "refused"],
    [{ kind: "status", status: 307, location: "relative" }, "refused"],
    [{ kind: "status", status: 301, location: "http://127.0.0.1:1/" }, "refused"],
  ] as const;
  for (const [fault, code] of faults) {
    engine.faults.set("/containers", fault);
    const list = (): Promise<unknown> => client.listContainers();
    const told = code === "timeout" ? lateCodeOf(t, engine, list) : codeOf(list());
    assert.equal(await told, code, JSON.stringify(fault));
  }
  engine.faults.clear();
  assert.equal((await client.listContainers()).containers.length, 1);
});

test("client: what cannot be read of a list is counted, and the rest is used", async (t) => {
  const { engine, client } = await open(t);
  const body = JSON.stringify([{ Id: WEB.id, State: "running" }, null, { Id: 7 }]);
  engine.faults.set("/containers/json", { kind: "body", body });
  const { containers, unread } = await client.listContainers();
  assert.deepEqual([containers.length, unread], [1, 2]);
});

test("client: events come in order, whatever chunks they come in, and noise is left out", async (t) => {
  const { engine, client } = await open(t);
  const events: DockerEvent[] = [];
  await client.openEvents({ onEvent: (event) => events.push(event), onMissed: () => {}, onEnd: () => {} });
  engine.emit(containerEvent(WEB.id, "exec_start: true"));
  engine.emit(containerEvent(WEB.id, "kill", { signal: "15" }));
  const line = `${JSON.stringify(containerEvent(WEB.id, "die"))}\n`;
  engine.emitRaw(line.slice(0, 20));
  engine.emitRaw(`${line.slice(20)}not json\n`);
  engine.emit(containerEvent(WEB.id, "start"));
  await until(() => events.length === 3);
  assert.deepEqual(
    events.map((event) => event.kind),
    ["killed", "died", "changed"],
  );
});

test("client: an event too long to be kept is told as missed, and those after it arrive", async (t) => {
  const { engine, client } = await open(t);
  const seen: string[] = [];
  await client.openEvents({
    onEvent: (event) => seen.push(event.kind),
    onMissed: () => seen.push("missed"),
    onEnd: () => {},
  });
  engine.emitRaw(`${"x".repeat(LIMITS.dockerEventBytes + 1)}\n`);
  engine.emit(containerEvent(WEB.id, "start"));
  await until(() => seen.length === 2);
  assert.deepEqual(seen.toSorted(), ["changed", "missed"]);
});

test("client: the end of the stream is told once, however it comes", async (t) => {
  for (const how of ["end", "destroy"] as const) {
    const { engine, client } = await open(t);
    const ends: Failure[] = [];
    await client.openEvents({
      onEvent: () => {},
      onMissed: () => {},
      onEnd: (failure) => ends.push(failure),
    });
    engine.emitRaw('{"Type":"contai');
    engine.endStreams(how);
    await until(() => ends.length > 0);
    client.close();
    assert.deepEqual(
      ends.map((failure) => failure.code),
      ["unreachable"],
      how,
    );
  }
});

test("client: an event stream that is idle for longer than a call may take stays open", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { engine, client } = await open(t);
  const events: DockerEvent[] = [];
  let ended = false;
  await client.openEvents({
    onEvent: (event) => events.push(event),
    onMissed: () => {},
    onEnd: () => {
      ended = true;
    },
  });
  engine.faults.set("/version", { kind: "silent" });
  for (let turn = 0; turn < 2; turn += 1) {
    assert.equal(await lateCodeOf(t, engine, () => client.checkVersion()), "timeout");
  }
  engine.emit(containerEvent(WEB.id, "start"));
  await until(() => events.length === 1);
  assert.ok(!ended);
});

test("client: a stream that is refused or never begins is a failure within the deadline", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { engine, client } = await open(t);
  const listener = { onEvent: () => {}, onMissed: () => {}, onEnd: () => {} };
  engine.faults.set("/events", { kind: "status", status: 403 });
  assert.equal(await codeOf(client.openEvents(listener)), "refused");
  engine.faults.set("/events", { kind: "silent" });
  assert.equal(await lateCodeOf(t, engine, () => client.openEvents(listener)), "timeout");
});

test("client: close ends every call and the stream", async (t) => {
  const { engine, client } = await open(t);
  let ended = false;
  await client.openEvents({
    onEvent: () => {},
    onMissed: () => {},
    onEnd: () => {
      ended = true;
    },
  });
  engine.faults.set("/version", { kind: "silent" });
  const call = codeOf(client.checkVersion());
  await until(() => engine.requests.includes("GET /version"));
  client.close();
  assert.equal(await call, "unreachable");
  await until(() => ended && engine.streams() === 0);
  assert.equal(await codeOf(client.listContainers()), "unreachable");
});

test("client: a socket that is not there is unreachable, and says which", async (t) => {
  const client = await openDocker({ kind: "socket", path: "/nowhere/docker.sock" });
  t.after(() => client.close());
  await assert.rejects(client.checkVersion(), /cannot reach docker: .*\/nowhere\/docker\.sock/);
});

test("client: a path that is given is used even where DOCKER_HOST names another engine", async (t) => {
  const before = process.env["DOCKER_HOST"];
  process.env["DOCKER_HOST"] = "tcp://127.0.0.1:1";
  t.after(() => {
    if (before === undefined) delete process.env["DOCKER_HOST"];
    else process.env["DOCKER_HOST"] = before;
  });
  const { client } = await open(t);
  await client.checkVersion();
});

test("client: networks are made and removed; a refusal comes in the engine's words, never as a hang", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { engine, client } = await open(t);
  await client.createNetwork({ Name: "app", Driver: "bridge" });
  const made = async () => (await client.listNetworks()).networks.find(({ name }) => name === "app");
  const { id = "" } = (await made()) ?? {};
  assert.notEqual(id, "");
  await assert.rejects(client.createNetwork({ Name: "app" }), /409 .*network with name app already exists/);
  engine.containers.set(idOf("b"), { id: idOf("b"), name: "web-2", network: "app", running: false });
  engine.containers.set(idOf("c"), { id: idOf("c"), name: "web-3", network: "app" });
  assert.deepEqual(await client.listUsers("app"), ["web-2", "web-3"], "those that do not run, too");
  await assert.rejects(client.removeNetwork(id), /403 .*active endpoints/);
  engine.containers.clear();
  await client.removeNetwork(id);
  await client.removeNetwork(id);
  assert.equal(await made(), undefined);
  engine.faults.set("/networks", { kind: "silent" });
  assert.equal(await lateCodeOf(t, engine, () => client.createNetwork({ Name: "app" })), "timeout");
  engine.faults.set("/networks", { kind: "cut" });
  assert.equal(await codeOf(client.removeNetwork(id)), "unreachable");
});

test("locate: off, a path, DOCKER_HOST, and nothing", () => {
  assert.equal(locateDocker("off", { DOCKER_HOST: "unix:///x" }), null);
  assert.deepEqual(locateDocker("/x/y", { DOCKER_HOST: "unix:///z" }), { kind: "socket", path: "/x/y" });
  assert.deepEqual(locateDocker("unix:///x/y", {}), { kind: "socket", path: "/x/y" });
  assert.deepEqual(locateDocker("auto", { DOCKER_HOST: "unix:///z" }), { kind: "socket", path: "/z" });
  const tcp: DockerTarget = { kind: "environment", host: "tcp://127.0.0.1:2375" };
  assert.deepEqual(locateDocker("auto", { DOCKER_HOST: "tcp://127.0.0.1:2375" }), tcp);
  assert.equal(renderTarget(tcp), "tcp://127.0.0.1:2375");
  assert.equal(renderTarget({ kind: "socket", path: "/z" }), "/z");
});

test("locate: an engine over ssh is refused, since its containers are on another machine", async () => {
  assert.equal(await codeOf(openDocker({ kind: "environment", host: "ssh://host" })), "invalid");
});

test("client: a real engine answers the same way", async (t) => {
  const target = locateDocker("auto", process.env);
  if (target === null) {
    t.skip("no Docker here: neither DOCKER_HOST nor /var/run/docker.sock");
    return;
  }
  const client = await openDocker(target);
  t.after(() => client.close());
  const reached = await codeOf(client.checkVersion());
  if (reached !== "settled") {
    t.skip(`docker at ${renderTarget(target)} cannot be used: ${reached}`);
    return;
  }
  await client.openEvents({ onEvent: () => {}, onMissed: () => {}, onEnd: () => {} });
  const { containers, unread } = await client.listContainers();
  assert.equal(unread, 0);
  for (const { id } of containers.slice(0, 3)) await client.inspectContainer(id);
  for (const gateway of (await client.listNetworks()).gateways) assert.match(gateway, /[.:]/);
});

test("client: an engine describes itself, as far as a proxy before it lets it", async (t) => {
  const { engine, client } = await open(t);
  engine.told = { OperatingSystem: "Debian", Swarm: { LocalNodeState: "active" } };
  const { version, operatingSystem, inSwarm } = await client.describe();
  assert.deepEqual([version, operatingSystem, inSwarm], ["fake", "Debian", true]);
  engine.faults.set("/info", { kind: "status", status: 403 });
  assert.deepEqual((await client.describe()).operatingSystem, "");
  engine.faults.set("/version", { kind: "status", status: 403 });
  assert.equal(await codeOf(client.describe()), "refused");
});

test("client: a file of a container comes as it sees it; one that is not there or too long is none", async (t) => {
  const { engine, client } = await open(t);
  assert.equal(await client.readFile(WEB.id, "/etc/resolv.conf"), null);
  engine.containers.set(WEB.id, { ...WEB, resolvConf: "nameserver 192.0.2.1\n" });
  assert.equal(await client.readFile(WEB.id, "/etc/resolv.conf"), "nameserver 192.0.2.1\n");
  assert.equal(await client.readFile(WEB.id, "/etc/other"), null);
  engine.containers.set(WEB.id, { ...WEB, resolvConf: "x".repeat(128 * 1024) });
  assert.equal(await client.readFile(WEB.id, "/etc/resolv.conf"), null);
});
