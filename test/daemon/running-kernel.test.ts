// The data plane of a daemon: when the kernel is touched first, what becomes of a host that changes, and what Docker is
// told is wanted.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import type { Encryption, Way } from "../../src/daemon/kernel-ground.ts";
import { RunningKernel, type RunningPace } from "../../src/daemon/running-kernel.ts";
import type { Forwarding } from "../../src/kernel/given.ts";
import type { Network } from "../../src/model/network.ts";
import type { View } from "../../src/model/view.ts";
import { bridgeOf, givenOf, memberOf, networkOf, SELF } from "../kernel/pictures.ts";
import { until } from "../support/wait.ts";

import { Kept, surround, type Surround } from "./kernel-scene.ts";

const UNDERLAY = { address: "192.0.2.1", device: "eth0", mtu: 1500 };
const HERE: Way = { underlay: UNDERLAY, lack: "" };
const QUIET: Partial<RunningPace> = {
  quietMs: 10,
  longestMs: 600_000,
  lookEveryMs: 5,
  looksPerUnderlay: 1,
  looksPerLack: 1,
  reconcile: { gatherMs: 1, repairEveryMs: 600_000, again: { firstMs: 1, longestMs: 5 } },
};

interface Scene extends Surround {
  readonly kernel: RunningKernel;
  readonly rules: Kept;
  readonly links: Kept;
  questionsFreed: number;
  // What is seen of the host.
  devices: ReadonlySet<string>;
  tables: ReadonlySet<string> | null;
  forwards: Forwarding;
  way: Way;
  moved: Way["underlay"];
  encrypts: boolean;
}

interface Host {
  readonly networks?: readonly Network[];
  readonly way?: Way;
  readonly encrypts?: boolean;
  readonly pace?: Partial<RunningPace>;
  readonly devices?: ReadonlySet<string>;
}

function viewOf(networks: readonly Network[]): View {
  return { ...givenOf({ networks }).view, members: [memberOf(SELF, { self: true })] };
}

function open(t: TestContext, host: Host = {}): Scene {
  const { networks = [], way = HERE, encrypts = false, pace = {}, devices = new Set() } = host;
  const around = surround(viewOf(networks));
  const [links, rules] = [new Kept("links"), new Kept("rules")];
  const part = {
    publicKey: "key",
    ability: async () => ({ works: scene.encrypts, way: null, reason: scene.encrypts ? "wg" : "no wg" }),
  };
  const encryption = {
    part,
    works: encrypts,
    reason: encrypts ? "wg" : "no wg",
  } as unknown as Encryption;
  const pool = givenOf({}).pool;
  const kernel = new RunningKernel(around.base, {
    pool: { text: pool } as never,
    pool6: null,
    advertised: "192.0.2.1",
    reason: "NET_ADMIN and nftables are there",
    parts: {
      all: [links, rules],
      async freeQuestions() {
        scene.questionsFreed += 1;
        return { changes: 1, problems: [] };
      },
    },
    eyes: {
      devices: async () => scene.devices,
      tables: async () => scene.tables,
      forwarding: async () => scene.forwards,
      underlay: async () => scene.way,
      moved: async () => scene.moved,
    },
    encryption,
    way,
    forwards: { v4: true, v6: true },
    devices,
    pace: { ...QUIET, ...pace },
  });
  const seen = { devices, tables: new Set<string>(), forwards: { v4: true, v6: true }, encrypts };
  const scene: Scene = Object.assign(around, {
    kernel,
    rules,
    links,
    ...seen,
    questionsFreed: 0,
    way,
    moved: way.underlay,
  });
  t.after(() => kernel.hold());
  return scene;
}

/** Begins with the proxy's listeners open, as a daemon that serves. */
function begin({ kernel, sources }: Scene): void {
  kernel.begin(sources);
  kernel.listens();
}

async function applied(scene: Scene): Promise<void> {
  begin(scene);
  await until(() => scene.rules.given.length > 0);
}

test("running kernel: nothing is touched before the proxy listens", async (t) => {
  const scene = open(t);
  scene.kernel.begin(scene.sources);
  await scene.kernel.caughtUp();
  assert.equal(scene.rules.given.length, 0);
  scene.kernel.listens();
  await until(() => scene.rules.given.length > 0);
});

test("running kernel: nothing is touched while the picture is not whole or a source has not told", async (t) => {
  const scene = open(t);
  scene.view = { ...scene.view, complete: false };
  begin(scene);
  await scene.kernel.caughtUp();
  assert.equal(scene.rules.given.length, 0);
  scene.isAwaiting = true;
  scene.view = { ...scene.view, complete: true };
  scene.kernel.note();
  await scene.kernel.caughtUp();
  assert.equal(scene.rules.given.length, 0);
  scene.isAwaiting = false;
  scene.kernel.note();
  await until(() => scene.rules.given.length > 0);
});

test("running kernel: a picture that still changes is waited for, and the one at rest is applied", async (t) => {
  const scene = open(t, { pace: { quietMs: 300 } });
  begin(scene);
  for (let version = 2; version < 12; version += 1) {
    scene.view = { ...scene.view, version };
    scene.kernel.note();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => scene.rules.given.length > 0);
  assert.equal(scene.rules.given[0]?.view.version, 11);
});

test("running kernel: a picture that never rests is waited for so long and no longer", async (t) => {
  const scene = open(t, { pace: { quietMs: 600_000, longestMs: 30 } });
  begin(scene);
  await until(() => {
    scene.view = { ...scene.view, version: scene.view.version + 1 };
    scene.kernel.note();
    return scene.rules.given.length > 0;
  });
  assert.ok(scene.view.version > 1);
});

test("running kernel: nothing is taken away while Docker has not told of its bridges", async (t) => {
  const scene = open(t);
  scene.bridges = null;
  await applied(scene);
  assert.equal(scene.rules.mayRemove.at(-1), false);
  scene.bridges = [];
  scene.kernel.note();
  await until(() => scene.rules.mayRemove.at(-1) === true);
});

test("running kernel: nothing is taken away while the slice of a bridge is not in the picture", async (t) => {
  const app = networkOf("app");
  const scene = open(t, { networks: [{ ...app, slices: [] }] });
  scene.bridges = [bridgeOf("app")];
  await applied(scene);
  assert.equal(scene.rules.mayRemove.at(-1), false);
  scene.view = viewOf([app]);
  scene.kernel.note();
  await until(() => scene.rules.mayRemove.at(-1) === true);
});

test("running kernel: Docker is told of the networks of which this host has a slice, and of changes", async (t) => {
  const scene = open(t, { networks: [networkOf("app")] });
  await applied(scene);
  assert.deepEqual(scene.wishes.at(-1)?.networks[0]?.network, "app");
  scene.view = viewOf([]);
  scene.kernel.note();
  assert.deepEqual(scene.wishes.at(-1)?.networks, []);
});

test("running kernel: another way to this host is told to members and to Docker", async (t) => {
  const scene = open(t, { networks: [networkOf("app")] });
  await applied(scene);
  scene.moved = { address: "192.0.2.9", device: "eth1", mtu: 9000 };
  await until(() => scene.fed.length > 0);
  assert.deepEqual(scene.fed.at(-1), { kind: "overlay", overlay: { address: "192.0.2.9", mtu: 9000 } });
  await until(() => scene.wishes.at(-1)?.networks[0]?.mtu === 8950);
  await until(() => scene.rules.given.at(-1)?.overlay?.device === "eth1");
});

test("running kernel: a way that is not seen for a moment changes nothing", async (t) => {
  const scene = open(t);
  let looks = 0;
  await applied(scene);
  Object.defineProperty(scene, "moved", { get: () => ((looks += 1), null) });
  await until(() => looks > 3);
  assert.deepEqual([scene.fed, scene.kernel.overlay], [[], { address: "192.0.2.1", mtu: 1500 }]);
});

test("running kernel: an address that comes after the daemon lets it carry networks after all", async (t) => {
  const way: Way = { underlay: null, lack: "192.0.2.1 is no address of this host" };
  const scene = open(t, { networks: [networkOf("app")], way });
  await applied(scene);
  assert.deepEqual([scene.kernel.overlay, scene.wishes.at(-1)?.networks], [null, []]);
  assert.match(scene.report.kernelProblems()[0]?.text ?? "", /192\.0\.2\.1 is no address of this host/);
  scene.way = HERE;
  scene.moved = UNDERLAY;
  await until(() => scene.wishes.at(-1)?.networks.length === 1);
  assert.deepEqual(scene.fed.at(-1), { kind: "overlay", overlay: { address: "192.0.2.1", mtu: 1500 } });
  assert.deepEqual(scene.report.kernelProblems(), []);
});

test("running kernel: WireGuard that is installed later makes encrypted networks", async (t) => {
  const scene = open(t, { networks: [{ ...networkOf("app"), encrypted: true }] });
  await applied(scene);
  assert.deepEqual(scene.wishes.at(-1)?.networks, []);
  scene.encrypts = true;
  await until(() => scene.wishes.at(-1)?.networks.length === 1);
  const wireguard = { key: "key", port: 51_820 };
  const overlay = { address: "192.0.2.1", mtu: 1500, wireguard };
  assert.deepEqual(scene.fed.at(-1), { kind: "overlay", overlay });
});

test("running kernel: a device or a table that somebody took away is missed at the next look", async (t) => {
  const scene = open(t, { devices: new Set(["sk-vx4100"]) });
  scene.tables = new Set(["skein"]);
  await applied(scene);
  scene.devices = new Set();
  await until(() => scene.rules.repairs === 1);
  scene.tables = new Set();
  await until(() => scene.rules.repairs === 2);
});

test("running kernel: a host that does not forward any more is noticed", async (t) => {
  const scene = open(t);
  await applied(scene);
  scene.forwards = { v4: false, v6: true };
  await until(() => scene.rules.given.at(-1)?.forwards.v4 === false);
});

test("running kernel: an engine that comes back has its things read back", async (t) => {
  const scene = open(t);
  scene.stale = "Docker does not answer";
  await applied(scene);
  assert.equal(scene.rules.repairs, 0);
  scene.stale = null;
  scene.kernel.note();
  await until(() => scene.rules.repairs === 1);
});

test("running kernel: once no rules are left, members send nothing over the overlay", async (t) => {
  const scene = open(t, { networks: [networkOf("app")] });
  scene.bridges = [bridgeOf("app")];
  await applied(scene);
  await until(() => scene.kernel.carriedIn(scene.view).has("app"));
  scene.rules.failure = new Failure("not-allowed", "nft may not change rules any more");
  scene.kernel.note();
  await until(() => scene.report.dataPlane().mode === "proxy");
  assert.deepEqual(scene.fed, [], "rules of before are left, and lead over the overlay");
  assert.ok(scene.kernel.carriedIn(scene.view).has("app"));
  scene.rules.canGo = true;
  await until(() => scene.kernel.overlay === null);
  assert.deepEqual([scene.kernel.overlay, scene.kernel.carriedIn(scene.view).size], [null, 0]);
  assert.deepEqual(scene.fed.at(-1), { kind: "overlay", overlay: null });
  scene.rules.failure = null;
  await until(() => scene.kernel.carriedIn(scene.view).has("app"));
  assert.deepEqual(scene.fed.at(-1), { kind: "overlay", overlay: { address: "192.0.2.1", mtu: 1500 } });
});

test("running kernel: before the first change, what has its device from an earlier life is carried", (t) => {
  const { kernel, view } = open(t, { networks: [networkOf("app")], devices: new Set(["sk-vx4100"]) });
  assert.deepEqual([...kernel.carriedIn(view)], ["app"]);
});

test("running kernel: only changes are measured", async (t) => {
  const scene = open(t);
  await applied(scene);
  const { values } = await scene.base.metrics.kernelApplySeconds.get();
  assert.equal(values.find(({ metricName }) => metricName?.endsWith("_count"))?.value ?? 0, 0);
});

test("running kernel: held, it changes nothing any more, and lets questions for names go when told", async (t) => {
  const scene = open(t);
  await applied(scene);
  await scene.kernel.hold();
  const before = scene.rules.given.length;
  scene.kernel.note();
  assert.equal(scene.kernel.isBehind, false);
  await scene.kernel.freeQuestions();
  assert.deepEqual([scene.questionsFreed, scene.rules.given.length], [1, before]);
});

test("running kernel: a purge takes rules, links and Docker's networks, in this order", async (t) => {
  const scene = open(t);
  await applied(scene);
  await scene.kernel.hold();
  const order: string[] = [];
  for (const { remove } of scene.kernel.removals) {
    await remove();
    order.push(`${scene.rules.removals} ${scene.links.removals} ${scene.networksRemoved}`);
  }
  assert.deepEqual(order, ["0 0 0", "1 0 0", "1 1 0", "1 1 1"]);
});
