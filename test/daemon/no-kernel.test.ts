// No kernel: what an earlier life of the daemon left goes, is told until it is gone, and nothing else is touched.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { NoKernel, type NoKernelGround } from "../../src/daemon/no-kernel.ts";
import { givenOf, networkOf } from "../kernel/pictures.ts";
import { until } from "../support/wait.ts";

import { Kept, surround, type Surround } from "./kernel-scene.ts";

interface Scene extends Surround {
  readonly kernel: NoKernel;
  readonly links: Kept;
  readonly rules: Kept;
}

function open(t: TestContext, over: Partial<NoKernelGround> = {}): Scene {
  const around = surround(givenOf({ networks: [networkOf("app")] }).view);
  const [links, rules] = [new Kept("links"), new Kept("rules")];
  const kernel = new NoKernel(around.base, {
    reason: "nft took longer than 5000 ms",
    parts: [links, rules],
    mayTouch: true,
    hasNetAdmin: async () => true,
    devices: async () => new Set<string>(),
    again: { firstMs: 1, longestMs: 5 },
    ...over,
  });
  t.after(() => kernel.hold());
  return Object.assign(around, { kernel, links, rules });
}

function told({ report }: Scene): readonly string[] {
  return report.kernelProblems().flatMap(({ area, text }) => (area === "kernel" ? [text] : []));
}

test("no kernel: what an earlier life left goes at the start, whyever the kernel is not used", async (t) => {
  const scene = open(t);
  scene.kernel.begin(scene.sources);
  await until(() => scene.rules.removals === 1 && scene.links.removals === 1);
  assert.equal(scene.networksRemoved, 0, "containers may be on Docker's networks");
  assert.deepEqual(scene.report.dataPlane(), { mode: "proxy", reason: "nft took longer than 5000 ms" });
});

test("no kernel: what cannot go at once is told, and goes as soon as it can", async (t) => {
  const scene = open(t);
  scene.rules.failure = new Failure("timeout", "nft took longer than 5000 ms and was killed");
  scene.kernel.begin(scene.sources);
  await until(() => scene.rules.removals > 2);
  const text =
    "left by an earlier life of the daemon, and still in force: rules: nft took longer than 5000 ms";
  assert.deepEqual(told(scene), [`${text} and was killed`]);
  scene.rules.failure = null;
  await until(() => told(scene).length === 0);
});

test("no kernel: a program that is not there, and no trace of ours, is no trouble", async (t) => {
  const scene = open(t);
  scene.rules.failure = new Failure("not-found", 'program "nft" is not installed');
  scene.kernel.begin(scene.sources);
  await until(() => scene.links.removals > 0);
  assert.deepEqual([told(scene), scene.rules.removals], [[], 1]);
});

test("no kernel: without the right to change anything, devices that are left are told", async (t) => {
  const scene = open(t, { hasNetAdmin: async () => false, devices: async () => new Set(["sk-wg"]) });
  scene.kernel.begin(scene.sources);
  await until(() => told(scene).length > 0);
  assert.match(told(scene)[0] ?? "", /devices sk-wg; run skein doctor --clean with NET_ADMIN/);
  assert.equal(scene.rules.removals, 0);
});

test("no kernel: what another daemon of the network stack has made is left alone", async (t) => {
  const scene = open(t, { mayTouch: false });
  scene.kernel.begin(scene.sources);
  await scene.kernel.hold();
  assert.deepEqual([scene.rules.removals, scene.kernel.removals], [0, []]);
});

test("no kernel: a purge takes Docker's networks, too", async (t) => {
  const scene = open(t);
  scene.kernel.begin(scene.sources);
  await scene.kernel.hold();
  for (const { remove } of scene.kernel.removals) await remove();
  assert.equal(scene.networksRemoved, 1);
});

test("no kernel: each network of the cluster is told not to be made here", (t) => {
  const scene = open(t, { mayTouch: false });
  scene.kernel.begin(scene.sources);
  const [problem] = scene.report.kernelProblems();
  assert.equal(problem?.subject, "app");
  assert.match(problem.text, /^not made on this host, whose data plane is the proxy \(nft took/);
});
