/**
 * Tests of who can read what passes between real hosts, and of hosts that do not agree on the time.
 *
 * Each test has a cluster of its own, since both look at how it comes to be.
 *
 * Touches: labs of three hosts.
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { afterEach, describe, test } from "node:test";

import { until } from "../support/wait.ts";

import { skipReason } from "./requirements.ts";
import { prepareCluster, roleOf, type ClusterOptions, type SkeinCluster } from "./skein.ts";

const DAY_SECONDS = 24 * 60 * 60;
const LABELS = { "skein.port": "80:8080/http" };

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

/** Which of these texts are in what was captured. */
function readable(captured: Buffer, textByName: Readonly<Record<string, string>>): string[] {
  return Object.keys(textByName).filter((name) => captured.includes(textByName[name] ?? ""));
}

describe("cluster closed to others", { timeout: 240_000 }, () => {
  let prepared: SkeinCluster | null = null;
  const prepare = async (options: ClusterOptions = {}): Promise<SkeinCluster> => {
    prepared = await prepareCluster(options);
    return prepared;
  };

  afterEach(async (context) => {
    if ("passed" in context && !context.passed) console.error(prepared?.lab.logs());
    await prepared?.close();
    prepared = null;
  });

  test(
    "trust: who sees all that passes between hosts reads no token, no name and no word of what is carried",
    { skip },
    async () => {
      const cluster = await prepare();
      const wire = await cluster.lab.capture();
      await cluster.start();
      const [asking, serving] = [cluster.node(1), cluster.node(3)];
      const ofContainers = await asking.host.capture("docker0");
      const service = `walrus${randomBytes(6).toString("hex")}`;
      await cluster.untilEligible(service, await cluster.runReplicas(service, [3], LABELS));
      // So small that no packet's end cuts it in two.
      const sent = randomBytes(12).toString("hex");
      const echoed = await asking.inContainer("client", "curl", "-sS", "-d", sent, `http://${service}/echo`);
      assert.equal(echoed, sent, "the replica on the other host took it, and it came back");
      const [worker, manager] = [await asking.token("worker"), await asking.token("manager")];
      await serving.stop();
      await serving.start();
      await cluster.untilWhole();

      const carried = { "the request's and the answer's body": sent, "the service's name": service };
      const near = await ofContainers.stop();
      assert.deepEqual(readable(near, carried), Object.keys(carried), "containers do speak in the clear");
      const far = await wire.stop();
      // What each connection is for stands at its begin, where TLS has no keys yet: so all of them were captured.
      const protocols = { gossip: "skein-gossip/1", streams: "skein-stream/1", joining: "skein-join/1" };
      assert.deepEqual(readable(far, protocols), Object.keys(protocols), "the mesh was captured");
      const { self, id } = (await serving.members()).find((member) => member.self) ?? {};
      assert.ok(self === true && id !== undefined);
      const secrets = {
        "the worker's secret": worker.slice(worker.lastIndexOf("-") + 1),
        "the manager's secret": manager.slice(manager.lastIndexOf("-") + 1),
        "which cluster it is": (await asking.status()).cluster.id,
        "a member's id": id,
      };
      assert.deepEqual(readable(far, { ...carried, ...secrets }), []);
    },
  );

  test("trust: hosts whose clocks are a day apart join, serve and come back", { skip }, async () => {
    const cluster = await prepare({ clocks: [0, DAY_SECONDS, -DAY_SECONDS] });
    const [one, ahead, behind] = [cluster.node(1), cluster.node(2), cluster.node(3)];
    await cluster.start();
    const replicas = await cluster.runReplicas("web", [1, 2, 3], LABELS);
    const expectWell = async (): Promise<void> => {
      await cluster.untilEligible("web", replicas);
      for (const { name, client } of cluster.nodes) {
        const { failures, countByName } = await client.get("http://web/", 6);
        assert.deepEqual(
          [failures, Object.keys(countByName).toSorted()],
          [[], replicas],
          `asked from ${name}`,
        );
      }
    };
    await expectWell();
    const { startedAtMs } = await one.status();
    const offDays = async (node: typeof one): Promise<number> =>
      Math.round(((await node.status()).startedAtMs - startedAtMs) / (DAY_SECONDS * 1000));
    assert.deepEqual([await offDays(ahead), await offDays(behind)], [1, -1], "the clocks are off");
    for (const node of cluster.nodes) {
      const roles = (await node.members()).map(({ name, role }) => `${name} ${role}`);
      assert.deepEqual(
        roles.toSorted(),
        cluster.nodes.map(({ name }, at) => `${name} ${roleOf(at + 1)}`),
      );
    }
    const drained = await ahead.cli("drain", "web-3", "--wait");
    assert.equal(drained.code, 0, drained.stderr);
    await cluster.untilEligible("web", ["web-1", "web-2"]);
    const back = await ahead.cli("drain", "web-3", "--undo");
    assert.equal(back.code, 0, back.stderr);
    for (const node of cluster.nodes) {
      const { listen: before } = await node.status();
      await node.stop();
      await node.start();
      await cluster.untilWhole();
      // Docker tells of its bridges, whose gateways answer its containers, a moment after the daemon is ready.
      await until(async () => (await node.status()).listen.dns.length === before.dns.length);
      await expectWell();
    }
  });
});
