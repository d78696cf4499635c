// The daemon's kernel data plane: what it says where there is none, and that it then carries everything itself.
// That the kernel forwards is tested where there are hosts to forward to: test/kernel and test/lab.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { StatusReport } from "../../src/admin/contract.ts";
import { CODES } from "../../src/base/failure.ts";
import { prepareCluster, untilServing, webReplicas, webService } from "../cluster/cluster.ts";
import { httpGet, type DaemonUnderTest, type Ending, type WebReplica } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

async function daemonWith(
  t: Ending,
  over: object,
): Promise<{ daemon: DaemonUnderTest; replica: WebReplica }> {
  const { block, hosts } = await prepareCluster(t);
  const [daemon] = hosts;
  const [[replica] = []] = await webReplicas(t, block, [1]);
  assert.ok(replica !== undefined);
  const services = [webService([replica], { publish: ["8088:8000"] })];
  daemon.configure({ mesh: { listen: `${daemon.address}:7650` }, ...over, services });
  return { daemon, replica };
}

test("kernel: asked for where it cannot be had, the daemon does not start and names what is missing", async (t) => {
  const { daemon } = await daemonWith(t, { dataplane: { mode: "kernel" } });
  const { code, stderr } = await daemon.runToEnd();
  assert.equal(code, 5);
  assert.match(stderr, /dataplane\.mode is kernel, but it cannot be: VIPs are of loopback/);
});

test("kernel: auto carries everything by the proxy where the kernel cannot, and status tells why", async (t) => {
  const { daemon, replica } = await daemonWith(t, { dataplane: { mode: "auto" } });
  await daemon.start();
  await untilServing([daemon], [replica]);
  const { dataPlane, choices } = (await daemon.get("/api/v1/status")) as StatusReport;
  assert.equal(dataPlane.mode, "proxy");
  assert.match(dataPlane.reason, /^VIPs are of loopback \(127\./);
  assert.deepEqual(
    choices.filter(({ key }) => key === "dataplane.mode").map(({ value }) => value),
    ["proxy"],
  );
  const { body } = await until(() => httpGet(daemon.address, 8088), { what: "the published port answers" });
  assert.match(body, new RegExp(replica.name));
});

test("kernel: the proxy, configured, is the reason by itself", async (t) => {
  const { daemon, replica } = await daemonWith(t, { dataplane: { mode: "proxy" } });
  await daemon.start();
  await untilServing([daemon], [replica]);
  const { dataPlane } = (await daemon.get("/api/v1/status")) as StatusReport;
  assert.deepEqual(dataPlane, { mode: "proxy", reason: "configured" });
});

test("kernel: what a running daemon has made is not taken away under it", async (t) => {
  const { daemon, replica } = await daemonWith(t, {});
  await daemon.start();
  await untilServing([daemon], [replica]);
  const { code, stderr } = await daemon.cli("doctor", "--clean", "--config", daemon.file);
  assert.equal(code, CODES.busy.exit);
  assert.match(stderr, /is in use by the skein daemon with pid \d+; stop it first/);
});

test("kernel: what another daemon of the same network stack has made is not taken away", async (t) => {
  const { daemon } = await daemonWith(t, { vip: { listen: false } });
  const { code, stderr } = await daemon.cli("doctor", "--clean", "--config", daemon.file);
  assert.equal(code, CODES["not-allowed"].exit);
  assert.match(stderr, /vip\.listen is off: what is in the kernel is another daemon's/);
});
