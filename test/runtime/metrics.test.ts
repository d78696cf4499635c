// Metrics: the promised names are there, each daemon has its own registry, the event loop is watched.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";

import { openMetrics, watchEventLoop } from "../../src/runtime/metrics.ts";

/** Names and labels that interface.md promises and that this build has. */
const PROMISED: Readonly<Record<string, readonly string[]>> = {
  skein_build_info: [],
  skein_members: ["state"],
  skein_gossip_messages_total: ["kind", "direction"],
  skein_gossip_bytes_total: ["kind", "direction"],
  skein_gossip_propagation_seconds: [],
  skein_view_version: [],
  skein_services: [],
  skein_replicas: ["state"],
  skein_dns_queries_total: ["qtype", "rcode", "source"],
  skein_dns_query_duration_seconds: [],
  skein_proxy_connections_total: ["service", "result"],
  skein_proxy_requests_total: ["service", "code"],
  skein_proxy_request_duration_seconds: ["service"],
  skein_proxy_retries_total: ["service", "reason"],
  skein_upstream_ejections_total: ["service"],
  skein_kernel_apply_duration_seconds: [],
  skein_kernel_apply_failures_total: [],
  skein_event_loop_delay_seconds: [],
};

describe("metrics", () => {
  it("every metric promised to users is exported under its name and takes its labels", async () => {
    const { registry } = openMetrics();
    for (const [name, labels] of Object.entries(PROMISED)) {
      const metric = registry.getSingleMetric(name) as unknown as
        | { readonly labelNames: readonly string[] }
        | undefined;
      assert.ok(metric, name);
      for (const label of labels)
        assert.ok(metric.labelNames.includes(label), `${name} has no label ${label}`);
    }
    assert.match(await registry.metrics(), /^# HELP skein_build_info /m);
  });

  it("names follow Prometheus: skein_ in front, counters end in _total, durations in _seconds", async () => {
    for (const { name, type, help } of await openMetrics().registry.getMetricsAsJSON()) {
      assert.match(name, /^(?:skein|process)_[a-z_]+$/);
      assert.equal(name.endsWith("_total"), String(type) === "counter", name);
      if (String(type) === "histogram") assert.match(name, /_seconds$/);
      assert.match(help, /\.$/, name);
    }
  });

  it("promtool finds nothing to say against names, types, units and help", async (t) => {
    const { text } = openMetrics();
    const found = spawnSync("promtool", ["check", "metrics"], { input: await text(), encoding: "utf8" });
    if (found.error !== undefined) return t.skip("promtool is not installed");
    assert.deepEqual([found.status, found.stdout, found.stderr], [0, "", ""]);
  });

  it("two daemons in one process count apart", async () => {
    const [one, other] = [openMetrics(), openMetrics()];
    one.streams.inc({ result: "opened" });
    assert.equal((await one.streams.get()).values.length, 1);
    assert.equal((await other.streams.get()).values.length, 0);
  });

  it("the event loop's delay is exported in seconds every five, until it is no longer watched", async (t) => {
    t.mock.timers.enable({ apis: ["setInterval"] });
    const metrics = openMetrics();
    const watch = watchEventLoop(metrics);
    assert.equal(watch.delayMs(), 0, "nothing is said of the first moments");
    const quantiles = async (): Promise<readonly unknown[]> =>
      (await metrics.eventLoopDelay.get()).values
        .filter(({ labels }) => labels.quantile !== undefined)
        .map(({ labels, value }) => [labels.quantile, value >= 0 && value < 60]);
    t.mock.timers.tick(5000);
    assert.deepEqual(await quantiles(), [
      ["0.5", true],
      ["0.99", true],
      ["1", true],
    ]);
    assert.ok(watch.delayMs() >= 0 && watch.delayMs() < 60_000);
    watch.close();
    metrics.eventLoopDelay.reset();
    t.mock.timers.tick(10_000);
    assert.deepEqual(await quantiles(), []);
  });
});
