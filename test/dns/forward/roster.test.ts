// Roster: what is thought of upstreams before any client has asked for anything.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Roster } from "../../../src/dns/forward/roster.ts";
import type { Log } from "../../../src/runtime/log.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";
import { until } from "../../support/wait.ts";
import { openUpstream, reply } from "../fixture.ts";

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {} };
const MINUTE_MS = 60_000;

/** A roster of one upstream that answers and one that refuses its port. */
async function opened(t: TestContext) {
  const good = await openUpstream((bytes) => [reply(bytes, { rcode: 3 })]);
  t.after(() => good.close());
  const closed = await openUpstream(() => []);
  await closed.close();
  const clock = { nowMs: 0 };
  const metrics = openMetrics();
  const upstreams = [good, closed];
  const roster = new Roster({ upstreams, nowMs: () => clock.nowMs, log: SILENT, metrics });
  t.after(() => roster.close());
  const states = (): string => roster.standings.map(({ state }) => state).join(" ");
  return { roster, clock, states, metrics };
}

test("roster: an upstream that has said nothing yet is unknown, until the first probes tell", async (t) => {
  const { roster, clock, states, metrics } = await opened(t);
  roster.probe();
  assert.equal(states(), "unknown unknown", "probes wait for our listeners");
  assert.match(await metrics.registry.metrics(), /^skein_dns_upstreams\{state="unknown"\} 2$/m);
  clock.nowMs = 1000;
  roster.probe();
  await until(() => states() === "alive unknown");
  assert.match(await metrics.registry.metrics(), /^skein_dns_upstreams\{state="alive"\} 1$/m);
});

test("roster: one that never answers is probed each minute until it is known to be silent, and after", async (t) => {
  const { roster, clock, states } = await opened(t);
  clock.nowMs = 1000;
  roster.probe();
  // How often a refusal is heard is not to be seen from outside; a minute a look is more than enough.
  await until(() => {
    clock.nowMs += MINUTE_MS;
    roster.probe();
    return states() === "alive silent";
  });
});

test("roster: one that is closed tells nobody of its servers, whatever comes of queries under way", async (t) => {
  const { roster, metrics } = await opened(t);
  roster.close();
  const next = new Roster({ upstreams: roster.upstreams, nowMs: () => 0, log: SILENT, metrics });
  t.after(() => next.close());
  for (let count = 0; count < 3; count += 1) {
    roster.began();
    roster.ended(1, "missed");
  }
  const text = await metrics.registry.metrics();
  assert.match(text, /^skein_dns_upstreams\{state="unknown"\} 2$/m);
  assert.match(text, /^skein_dns_upstreams\{state="silent"\} 0$/m);
  assert.match(
    text,
    /^skein_dns_upstream_exchanges_total\{result="missed"\} 3$/m,
    "what was asked is counted all the same",
  );
});

test("roster: what was under way when it closes says nothing of anybody", async (t) => {
  const { roster, clock, states } = await opened(t);
  clock.nowMs = 1000;
  roster.probe();
  roster.close();
  await new Promise(setImmediate);
  assert.equal(states(), "unknown unknown");
});
