// Traffic of a daemon: what is looked at when, and what is said of members that tell nothing.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { openTrafficWatch, type TrafficParts } from "../../src/daemon/traffic.ts";
import type { Log } from "../../src/runtime/log.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { member, OTHER, view } from "../admin/picture.ts";
import { until } from "../support/wait.ts";

interface Scene {
  readonly watch: ReturnType<typeof openTrafficWatch>;
  /** What was logged, each with what it is about. */
  readonly told: readonly string[];
  readonly looks: () => number;
}

/** This host and another, which answers as told. */
function scene(t: TestContext, ask: TrafficParts["ask"], carried: TrafficParts["proxy"]["carried"]): Scene {
  const told: string[] = [];
  const say = (text: string, about = {}): void => void told.push(`${text} ${JSON.stringify(about)}`);
  let looks = 0;
  const members = [member(), member({ id: OTHER, name: "host-2", self: false })];
  const lifecycle = { opened: ({ close }: { readonly close: () => void }) => t.after(close) };
  const base = {
    metrics: openMetrics(),
    lifecycle,
    options: { log: { debug: say, error: say } as Partial<Log> },
  };
  const proxy = {
    stats: () => ({ ejected: [] }),
    carried() {
      looks += 1;
      return carried();
    },
  };
  const node = { gossip: { standing: () => null } };
  const parts = { node, proxy, view: () => view({ members }), ask, readKernel: null };
  const watch = openTrafficWatch(
    base as unknown as Parameters<typeof openTrafficWatch>[0],
    parts as unknown as TrafficParts,
  );
  return { watch, told, looks: () => looks };
}

test("traffic: scrapes in quick succession walk open connections once", async (t) => {
  const { watch, looks } = scene(
    t,
    () => Promise.resolve(null),
    () => [],
  );
  for (let scrape = 0; scrape < 5; scrape += 1) await watch.settle();
  assert.equal(looks(), 1);
});

test("traffic: a member that tells nothing, or nonsense, is silent in the report; the log says why", async (t) => {
  const failure = new Failure("corrupt", "10.0.0.2:7650 answered with more than 9 bytes");
  const answers: Readonly<Record<string, TrafficParts["ask"]>> = {
    "more than 9 bytes": () => Promise.reject(failure),
    "makes no sense": () => Promise.resolve({ services: "many" }),
  };
  for (const [reason, ask] of Object.entries(answers)) {
    const { watch, told } = scene(t, ask, () => []);
    const report = await watch.report("cluster");
    assert.deepEqual([report.hosts, report.silent], [["host-1"], ["host-2"]]);
    assert.ok(
      told.some((line) => line.includes(reason) && line.includes(OTHER)),
      told.join("\n"),
    );
  }
});

test("traffic: a look that fails is told in the log, and the next one counts", async (t) => {
  let isBroken = true;
  const { watch, told } = scene(
    t,
    () => Promise.resolve(null),
    () => {
      if (isBroken) throw new Error("our bug");
      return [];
    },
  );
  const report = watch.report("host");
  await until(() => told.some((line) => line.includes("our bug")));
  isBroken = false;
  assert.deepEqual((await report).hosts, ["host-1"]);
});
