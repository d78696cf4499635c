// The driver: in which order a node's wants are carried out, and what is on disk when it ends.

import assert from "node:assert/strict";
import test from "node:test";

import { parsePrefix } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import { openDriver, type Driver, type DriverOptions } from "../../src/daemon/driver.ts";
import type { Outgoing } from "../../src/mesh/links.ts";
import { NOTHING_KEPT, type KeptState } from "../../src/model/kept.ts";
import type { View } from "../../src/model/view.ts";
import { Node } from "../../src/node.ts";
import { nowMs } from "../../src/runtime/clock.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { idOf } from "../simulation/host.ts";
import { endpoint } from "../simulation/workload.ts";
import { CHARTER } from "../support/charter.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { until } from "../support/wait.ts";

interface Rig {
  readonly node: Node;
  readonly driver: Driver;
  readonly sent: Outgoing[];
  readonly dialled: string[];
  readonly views: View[];
  readonly saved: KeptState[];
  readonly kinds: string[];
}

function rig(over: Partial<DriverOptions> = {}, seeds: readonly { host: string; port: number }[] = []): Rig {
  const pool = parsePrefix("10.96.0.0/16");
  assert.ok(pool.ok);
  const address = { name: "a", host: "a", port: 7650 };
  const node = new Node({
    id: idOf("a"),
    record: { ...address, zone: "", labels: {}, software: "test", prefixes: [] },
    seeds,
    sources: ["static"],
    pool: pool.value,
    kept: NOTHING_KEPT,
    seals: cheapSeals(idOf("a")),
    charter: CHARTER,
    random: seededRandom(1),
    nowMs: nowMs(),
  });
  const seen = {
    sent: [] as Outgoing[],
    dialled: [] as string[],
    views: [] as View[],
    saved: [] as KeptState[],
    kinds: [] as string[],
  };
  const driver = openDriver({
    node,
    links: {
      send: (outgoing) => seen.sent.push(outgoing),
      dial: ({ host }) => seen.dialled.push(host),
      close: () => undefined,
    },
    save: async (kept) => void seen.saved.push(kept),
    onView: (view) => seen.views.push(view),
    onHappenings: (happenings) => seen.kinds.push(...happenings.map(({ kind }) => kind)),
    onSaved: () => undefined,
    onCharter: () => undefined,
    loopDelayMs: () => 0,
    kernel: { isBehind: false, caughtUp: async () => undefined },
    metrics: openMetrics(),
    ...over,
  });
  return { node, driver, ...seen };
}

function discovered(...ids: string[]) {
  const endpoints = ids.map((id) => endpoint("web", id, { health: { kind: "none" } }));
  return {
    kind: "discovered",
    discovery: { source: "static", endpoints, clients: [], problems: [], stale: null },
  } as const;
}

test("driver: nothing happens before it starts; then it dials, and each new view is shown once", async () => {
  const { driver, dialled, views, kinds } = rig({}, [{ host: "b", port: 7650 }]);
  assert.deepEqual([dialled, views], [[], []]);
  driver.start();
  assert.deepEqual(dialled, ["b"]);
  driver.feed(discovered("web-1"));
  driver.feed({ kind: "dialFailed", address: { host: "b", port: 7650 }, refused: true });
  await until(() => views.at(-1)?.services[0]?.vip !== undefined && views.at(-1)?.complete === true);
  assert.equal(new Set(views).size, views.length);
  assert.ok(kinds.includes("view.complete") && kinds.includes("replica.ready"));
  await driver.close();
});

test("driver: an input that comes while one is worked on waits for it, whatever else is still to be done", async () => {
  const order: string[] = [];
  const { driver } = rig({
    onView(view) {
      order.push(`view of ${view.services[0]?.replicas.length ?? 0}`);
      if (order.length === 1) {
        driver.feed(discovered("web-1", "web-2"));
        order.push("fed");
      }
    },
    onHappenings: (happenings) => order.push(`${happenings.length > 0}`),
  });
  driver.feed(discovered("web-1"));
  driver.start();
  await until(() => order.includes("view of 2"));
  assert.ok(order.indexOf("fed") < order.indexOf("view of 2"));
  await driver.close();
});

test("driver: state is written one at a time, and the newest is on disk when it has closed", async () => {
  let writing = 0;
  let release = (): void => undefined;
  const saved: KeptState[] = [];
  const { driver, node } = rig({
    async save(kept) {
      writing += 1;
      assert.equal(writing, 1, "one at a time");
      await new Promise<void>((resolve) => (release = resolve));
      saved.push(kept);
      writing -= 1;
    },
  });
  driver.feed(discovered("web-1"));
  driver.start();
  await until(() => writing === 1 && node.view.services[0]?.vip !== null);
  driver.feed({ kind: "drain", replica: "web-1", draining: true });
  driver.feed({ kind: "tick" });
  const closed = driver.close();
  await until(() => {
    release();
    return saved.at(-1)?.drains.length === 1;
  });
  await closed;
  assert.ok(saved.length <= 3, "what is overtaken is not written");
});

test("driver: a disk that fails is told of, and so is the write that works again; the node goes on", async () => {
  let isBroken = true;
  const saved: KeptState[] = [];
  const told: (string | null)[] = [];
  const { driver, node } = rig({
    async save(kept) {
      if (isBroken) throw new Error("the disk is full");
      saved.push(kept);
    },
    onSaved: (problem) => told.push(problem),
  });
  driver.feed(discovered("web-1"));
  driver.start();
  await until(() => told.at(-1) === "the disk is full");
  assert.equal(node.view.services.length, 1);
  isBroken = false;
  driver.feed({ kind: "drain", replica: "web-1", draining: true });
  await until(() => saved.at(-1)?.drains.length === 1 && told.at(-1) === null);
  await driver.close();
});

test("driver: the state is written when something in it changed, and not with every tick", async () => {
  const { driver, saved, node } = rig();
  driver.feed(discovered("web-1"));
  driver.start();
  await until(() => saved.at(-1)?.claims.length === 1 && node.view.services[0]?.vipTentative === false);
  const before = saved.length;
  for (let count = 0; count < 200; count += 1) driver.feed({ kind: "tick" });
  await driver.close();
  assert.equal(saved.length, before);
});

test("driver: a process whose event loop is late makes its node slow to judge, and the metric says so", async () => {
  const metrics = openMetrics();
  const { driver, node } = rig({ loopDelayMs: () => 700, metrics });
  driver.start();
  await until(() => node.gossip.healthScore > 0, { what: "the node has been told" });
  await until(async () => ((await metrics.gossipHealth.get()).values[0]?.value ?? 0) > 0);
  await driver.close();
});

test("driver: closed, it takes nothing more and shows nothing more", async () => {
  const { driver, views, sent } = rig();
  driver.feed(discovered("web-1"));
  driver.start();
  await until(() => views.length > 0);
  await driver.close();
  const before = [views.length, sent.length];
  driver.feed(discovered("web-1", "web-2"));
  driver.feed({ kind: "stop", farewell: "away" });
  assert.deepEqual([views.length, sent.length], before);
});

test("driver: a drain is told to be over only once this host's kernel follows it", async (t) => {
  const { promise, resolve: follow } = Promise.withResolvers<void>();
  const kernel = { isBehind: true, caughtUp: () => promise };
  const { driver, node } = rig({ kernel });
  t.after(() => driver.close());
  const isApplied = (): boolean => node.view.services[0]?.replicas[0]?.drainApplied === true;
  driver.feed(discovered("web-1"));
  driver.start();
  await until(() => node.view.services[0]?.replicas[0]?.state === "ready");
  driver.feed({ kind: "drain", replica: "web-1", draining: true });
  await until(() => node.view.services[0]?.replicas[0]?.state === "draining");
  for (let count = 0; count < 50; count += 1) driver.feed({ kind: "tick", aheadMs: 0 });
  assert.equal(isApplied(), false);
  kernel.isBehind = false;
  follow();
  await until(isApplied);
});

test("driver: an acknowledgement waits for the kernel, and everything else goes at once", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const frames = ["delta", "applied", "ping"].map((kind, link) => ({ kind, link, frame: new Uint8Array() }));
  const plain = rig().node;
  let isFirst = true;
  const step = (...given: Parameters<Node["step"]>): ReturnType<Node["step"]> => {
    const effects = plain.step(...given);
    const send = isFirst ? (frames as unknown as typeof effects.send) : [];
    isFirst = false;
    return { ...effects, send };
  };
  const node = { step, gossip: plain.gossip } as unknown as Node;
  const { driver, sent } = rig({ node, kernel: { isBehind: true, caughtUp: () => promise } });
  driver.feed({ kind: "tick" });
  assert.deepEqual(
    sent.map(({ kind }) => kind),
    ["delta", "ping"],
  );
  resolve();
  await until(() => sent.at(-1)?.kind === "applied");
  await driver.close();
});
