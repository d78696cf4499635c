// The keeper of Docker's networks, against a fake engine: they come to be as wanted whatever happens to them.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { seededRandom } from "../../../src/base/random.ts";
import { openDocker } from "../../../src/source/docker/client.ts";
import {
  describeNetwork,
  type NetworkWishes,
  type WantedNetwork,
} from "../../../src/source/docker/network-plan.ts";
import {
  openDockerNetworks,
  removeDockerNetworks,
  type DockerNetworks,
} from "../../../src/source/docker/networks.ts";
import {
  openEngine,
  type FakeContainer,
  type FakeEngine,
  type NetworkDescription,
} from "../../support/engine.ts";
import { until } from "../../support/wait.ts";
import { idOf } from "./fixture.ts";

const WEB: FakeContainer = { id: idOf("a"), name: "web-1", network: "app", address: "10.160.3.2" };
const PREFIX6 = "fd12:3456:789a:4d:3::/80";

const wanted = (network: string, over: Partial<WantedNetwork> = {}): WantedNetwork => {
  return { network, device: `sk-${network}`, prefix: "10.160.3.0/24", prefix6: PREFIX6, mtu: 1450, ...over };
};
const wish = (...networks: WantedNetwork[]): NetworkWishes => ({
  networks,
  known: new Set(networks.map(({ network }) => network)),
});

interface Kept {
  readonly engine: FakeEngine;
  readonly networks: DockerNetworks;
  /** Tells the keeper what the engine has, as the watch does after an event. */
  readonly look: () => Promise<void>;
  readonly described: (name: string) => NetworkDescription | undefined;
  readonly changes: () => number;
}

async function keep(t: TestContext, containers: readonly FakeContainer[] = []): Promise<Kept> {
  const engine = await openEngine(containers);
  const target = { kind: "socket", path: engine.socketPath } as const;
  const client = await openDocker(target);
  let changes = 0;
  const networks = openDockerNetworks({
    target,
    random: seededRandom(7),
    onChanged: () => {
      changes += 1;
    },
    retry: { firstMs: 10, longestMs: 20 },
  });
  t.after(async () => {
    await networks.close();
    client.close();
    await engine.close();
  });
  const look = async (): Promise<void> => {
    networks.told((await client.listNetworks()).networks);
    await networks.idle();
  };
  const described = (name: string) =>
    (engine.networks as readonly NetworkDescription[]).find(({ Name }) => Name === name);
  return { engine, networks, look, described, changes: () => changes };
}

test("networks: nothing is done before the engine has told; then what is wanted is made", async (t) => {
  const { networks, look, described, changes } = await keep(t);
  networks.set(wish(wanted("app")));
  await networks.idle();
  const devices = () => networks.bridges?.map(({ device, gateway6 }) => [device, gateway6]) ?? null;
  assert.equal(devices(), null);
  assert.equal(described("app"), undefined);
  await look();
  assert.deepEqual(devices(), [["sk-app", "fd12:3456:789a:4d:3::1"]]);
  assert.equal(described("app")?.Labels?.["skein.network"], "app");
  const before = changes();
  await look();
  assert.equal(changes(), before, "nothing new is nothing to tell");
});

test("networks: what somebody removes is told as gone and made again", async (t) => {
  const { engine, networks, look, described, changes } = await keep(t);
  networks.set(wish(wanted("app")));
  await look();
  engine.networks = [];
  const before = changes();
  await look();
  assert.ok(described("app") !== undefined);
  assert.equal(networks.bridges?.length, 1);
  assert.equal(changes(), before + 2, "gone, and there again");
});

test("networks: with its record gone a network is removed, once no container could be on it", async (t) => {
  const stopped = { ...WEB, running: false };
  const { engine, networks, look, described } = await keep(t);
  networks.set(wish(wanted("app")));
  await look();
  engine.containers.set(stopped.id, stopped);
  networks.set(wish());
  await networks.idle();
  assert.ok(described("app") !== undefined, "a container that is stopped could not start again");
  assert.match(networks.problems[0]?.text ?? "", /no such network any more; .*: web-1$/);
  engine.containers.clear();
  await until(() => described("app") === undefined && networks.problems.length === 0);
});

test("networks: while the picture is incomplete nothing is removed", async (t) => {
  const { networks, look, described } = await keep(t);
  networks.set(wish(wanted("app")));
  await look();
  networks.set({ networks: [], known: null });
  await networks.idle();
  assert.ok(described("app") !== undefined);
  assert.equal(networks.bridges?.length, 1);
});

test("networks: with another slice an empty one is made anew", async (t) => {
  const { networks, look, described } = await keep(t);
  networks.set(wish(wanted("app", { prefix: "10.160.9.0/24" })));
  await look();
  networks.set(wish(wanted("app")));
  await networks.idle();
  assert.match(JSON.stringify(described("app")?.IPAM), /10\.160\.3\.0/);
  assert.deepEqual(
    networks.bridges?.map(({ prefix }) => prefix),
    ["10.160.3.0/24"],
  );
});

test("networks: an engine without IPv6 makes them without it, and says why", async (t) => {
  const { engine, networks, look, described } = await keep(t);
  engine.refusal = ({ EnableIPv6 }) => (EnableIPv6 === true ? "ip6tables is not here" : null);
  networks.set(wish(wanted("app")));
  await look();
  assert.equal(described("app")?.EnableIPv6, false);
  assert.match(networks.problems[0]?.text ?? "", /^it has no IPv6 here: .*ip6tables is not here/);
  assert.equal(networks.bridges?.length, 1);
});

test("networks: one that the engine refuses is told in its words, and tried again; the others are made", async (t) => {
  const { engine, networks, look, described } = await keep(t);
  engine.refusal = ({ Name }) => (Name === "app" ? "conflicts with network sk-app" : null);
  networks.set(wish(wanted("app"), wanted("back", { prefix: "10.161.3.0/24", prefix6: null })));
  await look();
  assert.ok(described("back") !== undefined);
  assert.deepEqual(networks.problems[0]?.subject, "docker network app");
  assert.match(networks.problems[0].text, /conflicts with network sk-app/);
  engine.refusal = () => null;
  await until(() => described("app") !== undefined && networks.problems.length === 0);
});

test("networks: while the engine is gone its bridges stand; when it is back the rest is done", async (t) => {
  const { engine, networks, look, described } = await keep(t);
  networks.set(wish(wanted("app")));
  await look();
  await engine.stop();
  networks.set(wish(wanted("app"), wanted("back", { prefix: "10.161.3.0/24", prefix6: null })));
  await until(() => networks.problems.length > 0);
  assert.match(networks.problems[0]?.text ?? "", /^docker networks cannot be kept: cannot reach docker/);
  assert.equal(networks.bridges?.length, 1);
  await engine.start();
  await until(() => described("back") !== undefined && networks.bridges?.length === 2);
});

test("networks: removal takes away what no container uses, and says what is left", async (t) => {
  const { engine, networks, look, described } = await keep(t);
  networks.set(wish(wanted("app"), wanted("back", { prefix: "10.161.3.0/24", prefix6: null })));
  await look();
  engine.containers.set(WEB.id, WEB);
  assert.deepEqual(await networks.remove(), ["docker network app: containers use it: web-1"]);
  assert.equal(described("back"), undefined);
  await look();
  assert.equal(described("back"), undefined);
  engine.containers.clear();
  assert.deepEqual(await removeDockerNetworks({ kind: "socket", path: engine.socketPath }), []);
  assert.equal(described("app"), undefined);
  assert.ok(described("bridge") !== undefined, "what others made stays");
});

test("networks: one that another daemon has just made is no failure; the same wish costs nothing", async (t) => {
  const { engine, networks, look, described } = await keep(t);
  await look();
  engine.networks = [{ Id: idOf("e"), ...describeNetwork(wanted("app"), true) }];
  networks.set(wish(wanted("app")));
  await networks.idle();
  assert.deepEqual(networks.problems, []);
  assert.equal(networks.bridges?.length, 1);
  assert.ok(described("app") !== undefined);
  const before = engine.requests.length;
  networks.set(wish(wanted("app")));
  await networks.idle();
  assert.equal(engine.requests.length, before);
});
