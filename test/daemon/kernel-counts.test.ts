// Kernel counts: what nftables has counted becomes a metric that only rises.

import assert from "node:assert/strict";
import { test } from "node:test";

import { KernelCounts } from "../../src/daemon/kernel-counts.ts";
import type { View } from "../../src/model/view.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";

import { service, view } from "../admin/picture.ts";

interface Made {
  readonly counts: KernelCounts;
  /** What the counters say next; null: nft fails. */
  counters: ReadonlyMap<string, number> | null;
  reads: number;
  readonly metric: () => number;
}

function made(counters: Readonly<Record<string, number>>): Made {
  const metrics = openMetrics();
  const picture: View = { ...view(), services: [service("default", "web")] };
  const counts = new KernelCounts({
    metrics,
    view: () => picture,
    read() {
      self.reads += 1;
      if (self.counters === null) return Promise.reject(new Error("no nft"));
      return Promise.resolve(self.counters);
    },
  });
  const self: Made = {
    counts,
    counters: new Map(Object.entries(counters)),
    reads: 0,
    metric: () => metrics.kernelConnections.byService.get("default/web")?.get("")?.count ?? 0,
  };
  return self;
}

test("kernel counts: what an earlier life of the daemon left counts too, and then what comes", async () => {
  const one = made({ "led-default/web": 500, "led-default/unknown": 7 });
  await one.counts.refresh(0);
  assert.equal(one.metric(), 500);
  one.counters = new Map([["led-default/web", 512]]);
  await one.counts.refresh(0);
  assert.equal(one.metric(), 512);
});

test("kernel counts: a counter that began anew, or was away for a while, never takes anything back", async () => {
  const one = made({ "led-default/web": 500 });
  await one.counts.refresh(0);
  one.counters = new Map([["led-default/web", 3]]);
  await one.counts.refresh(0);
  assert.equal(one.metric(), 503);
  one.counters = new Map();
  await one.counts.refresh(0);
  one.counters = new Map([["led-default/web", 4]]);
  await one.counts.refresh(0);
  assert.equal(one.metric(), 507);
});

test("kernel counts: an nft that fails costs nothing but news, and who asks at once shares one call", async () => {
  const one = made({ "led-default/web": 500 });
  one.counters = null;
  await one.counts.refresh(0);
  assert.equal(one.metric(), 0);
  one.counters = new Map([["led-default/web", 500]]);
  await Promise.all([one.counts.refresh(0), one.counts.refresh(0)]);
  assert.deepEqual([one.metric(), one.reads], [500, 2]);
  await one.counts.refresh(60_000);
  assert.equal(one.reads, 2, "not while what is known is young enough");
});

test("kernel counts: what passed before the first look is in the metric and in no rate", async () => {
  const one = made({ "led-default/web": 1_000_000 });
  const seen = (): number | undefined => one.counts.seen.get("default/web");
  one.counters = null;
  await one.counts.refresh(0);
  assert.equal(seen(), undefined);
  one.counters = new Map([["led-default/web", 1_000_000]]);
  await one.counts.refresh(0);
  assert.deepEqual([one.metric(), seen()], [1_000_000, 0]);
  one.counters = new Map([["led-default/web", 1_000_012]]);
  await one.counts.refresh(0);
  assert.deepEqual([one.metric(), seen()], [1_000_012, 12]);
  // Made anew: all that it has counted passed since the last look.
  one.counters = new Map([["led-default/web", 5]]);
  await one.counts.refresh(0);
  assert.deepEqual([one.metric(), seen()], [1_000_017, 17]);
});
