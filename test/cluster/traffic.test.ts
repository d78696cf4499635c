// Traffic: what passes through three hosts, as each of them tells it by the second.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import test, { type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import type { TrafficReport } from "../../src/admin/contract-live.ts";
import type { DaemonUnderTest } from "../support/daemons.ts";
import { until, within } from "../support/wait.ts";

import {
  doorAt,
  INGRESS_PORT,
  prepareCluster,
  startAll,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { steadyLoad } from "./load.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

async function trafficOf(host: DaemonUnderTest, scope: "host" | "cluster"): Promise<TrafficReport> {
  return (await host.get(`/api/v1/traffic?scope=${scope}`)) as TrafficReport;
}

/** Runs a command on a terminal of 100 by 20 until it has shown all of this, and then types Ctrl-C. */
async function onTerminal(
  t: TestContext,
  { socket }: DaemonUnderTest,
  command: string,
  shown: readonly RegExp[],
): Promise<{ readonly text: string; readonly status: number | null }> {
  const words = [process.execPath, MAIN, "--socket", socket, command].join(" ");
  // script(1), of Debian's essential packages: runs a program on a terminal of its own.
  const child = spawn("script", ["-qec", `stty rows 20 cols 100; exec ${words}`, "/dev/null"], {
    env: { ...process.env, TERM: "xterm", NO_COLOR: "1" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  for (const each of shown) await until(() => each.test(text), { what: `${command} shows ${each}` });
  child.stdin.write("\u0003");
  const [status] = (await within(once(child, "close"), "the command ends")) as [number | null];
  return { text, status };
}

test("cluster: traffic of three hosts", async (t) => {
  const { block, hosts } = await prepareCluster(t, { role: "manager" });
  const [first, second, third] = hosts;
  const [[one] = [], [two] = []] = await webReplicas(t, block, [1, 1]);
  assert.ok(one !== undefined && two !== undefined);
  const http = [{ host: "web.test" }];
  first.configure({ services: [webService([one], { http })] });
  second.configure({ services: [webService([two], { http })] });
  await startAll(hosts);
  await untilServing(hosts, [one, two]);
  const door = doorAt(first, INGRESS_PORT, { hostHeader: "web.test" });
  await untilOpen(door);
  const load = steadyLoad(t, [door]);
  await load.more(20);

  await t.test("the host that carries it tells requests, latency and each replica", async () => {
    const report = await until(async () => {
      const told = await trafficOf(first, "host");
      // Links are as the last pings found them.
      const isLinked = told.links.every(({ state }) => state === "open");
      return isLinked && told.replicas.length === 2 && told.latencyMs !== null ? told : null;
    });
    assert.deepEqual([report.scope, report.hosts, report.silent], ["host", ["host-1"], []]);
    const [web] = report.services;
    assert.deepEqual(
      report.services.map(({ key }) => key),
      ["default/web"],
    );
    assert.ok(web !== undefined && web.rates.requests > 0 && web.rates.sentBytes > 0);
    assert.ok(web.latencyMs !== null && web.latencyMs.p50 <= web.latencyMs.p99);
    assert.deepEqual(report.replicas.map(({ node }) => node).toSorted(), ["host-1", "host-2"]);
    assert.ok(report.replicas.every(({ rates }) => rates.requests > 0 && rates.sentBytes > 0));
    assert.deepEqual(report.links.map(({ from, to, state }) => `${from} ${to} ${state}`).toSorted(), [
      "host-1 host-2 open",
      "host-1 host-3 open",
    ]);
  });

  await t.test("any host tells of all of them, and whose links are how", async () => {
    await third.lookup("web");
    const report = await until(async () => {
      const told = await trafficOf(third, "cluster");
      const isLinked = told.links.every(({ state }) => state === "open");
      return isLinked && told.hosts.length === 3 && told.total.requests > 0 ? told : null;
    });
    assert.deepEqual([report.hosts, report.silent], [["host-1", "host-2", "host-3"], []]);
    assert.equal(report.services[0]?.key, "default/web");
    assert.equal(report.links.length, 6);
    assert.ok(report.links.every(({ state, rttMs }) => state === "open" && rttMs !== null));
    // Its own host has none of it.
    assert.equal((await trafficOf(third, "host")).total.requests, 0);
  });

  await t.test("questions for names are told by code and by source", async () => {
    const report = await until(async () => {
      await third.lookup("web");
      await third.lookup("nobody.skein.internal");
      const told = await trafficOf(third, "host");
      return (told.dns.byCode["NXDOMAIN"] ?? 0) > 0 && (told.dns.byCode["NOERROR"] ?? 0) > 0 ? told : null;
    });
    assert.ok(report.dns.queries > 0 && report.dns.latencyMs !== null);
    assert.ok((report.dns.bySource["zone"] ?? 0) > 0);
  });

  await t.test("top shows it on a real terminal, and Ctrl-C gives that back as it was", async (context) => {
    // Not all in the first picture: a host that has no time to answer is left out of one.
    const shown = [/default\/web/, /traffic .*3 hosts/];
    const { text, status } = await onTerminal(context, third, "top", shown);
    assert.equal(status, 0, text);
    assert.ok(text.startsWith("\u001B[?1049h\u001B[?25l"), text.slice(0, 40));
    assert.ok(text.trimEnd().endsWith("\u001B[?25h\u001B[?1049l"), text.slice(-40));
  });

  await t.test("a host that does not answer is named, and its link is broken", async () => {
    second.signal("SIGSTOP");
    await until(async () => (await trafficOf(third, "cluster")).silent.includes("host-2"));
    const report = await until(async () => {
      const told = await trafficOf(third, "cluster");
      const [link] = told.links.filter(({ from, to }) => from === "host-3" && to === "host-2");
      return link?.state === "broken" ? told : null;
    });
    assert.ok(report.hosts.includes("host-1") && !report.hosts.includes("host-2"));
    second.signal("SIGCONT");
  });
});
