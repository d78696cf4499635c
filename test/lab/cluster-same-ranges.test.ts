/**
 * Tests of a cluster whose hosts have the same container addresses, as hosts with Docker's defaults do.
 *
 * There an address that leaks from one host to another means a wrong container and not just none. One cluster for all
 * tests of this file.
 *
 * Touches: a lab of two hosts.
 */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { untilSettled } from "./overlay.ts";
import { skipReason } from "./requirements.ts";
import { openCluster, type SkeinCluster } from "./skein.ts";
import { until } from "../support/wait.ts";

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("cluster of hosts alike", { timeout: 120_000 }, () => {
  let opened: SkeinCluster | null = null;
  const open = (): SkeinCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  before(async () => {
    if (skip === false) opened = await openCluster({ hosts: 2, bridgeSubnets: "same" });
  });

  afterEach((context) => {
    if ("passed" in context && !context.passed) console.error(open().lab.logs());
  });

  after(async () => await opened?.close());

  for (const protocol of ["tcp", "http"]) {
    test(
      `same ranges: two replicas of one address share the requests to a ${protocol} port`,
      { skip },
      async () => {
        const cluster = open();
        const labels = { "skein.port": `80:8080/${protocol}`, "skein.publish": "8088:80" };
        const replicas = await cluster.runReplicas("web", [1, 2], labels);
        await cluster.untilEligible("web", replicas);
        await untilSettled(cluster);
        const explained = (await cluster.node(1).explain("web"))?.replicas ?? [];
        assert.equal(new Set(explained.map(({ address }) => address)).size, 1, "they have one address");
        for (const { name, host, client } of cluster.nodes) {
          const even = { "web-1": 6, "web-2": 6 };
          assert.deepEqual((await client.get("http://web/", 12)).countByName, even, `by name from ${name}`);
          const published = `http://${host.address}:8088/`;
          assert.deepEqual(
            (await client.get(published, 12)).countByName,
            even,
            `by published port from ${name}`,
          );
        }
        await cluster.node(2).host.pause("web-2");
        await cluster.untilEligible("web", ["web-1"]);
        assert.deepEqual((await cluster.node(2).client.get("http://web/", 6)).countByName, { "web-1": 6 });
        await cluster.remove(replicas);
      },
    );
  }

  test("same ranges: clients of one address on two hosts see each its own network", { skip }, async () => {
    const cluster = open();
    const port = { "skein.port": "80:8080" };
    const blue = await cluster.runReplicas("sky", [1], { ...port, "skein.network": "blue" });
    const green = await cluster.runReplicas("grass", [2], { ...port, "skein.network": "green" });
    await cluster.untilEligible("blue/sky", blue);
    await cluster.untilEligible("green/grass", green);
    const enter = (network: string): string[] => [
      `--label=skein.network=${network}`,
      "--label=skein.enable=false",
    ];
    const [one, two] = [cluster.node(1), cluster.node(2)];
    const inBlue = await one.runClient("asking", ...enter("blue"));
    const inGreen = await two.runClient("asking", ...enter("green"));
    const addressOf = async (node: typeof one): Promise<string> =>
      await node.host.docker("inspect", "--format={{.NetworkSettings.IPAddress}}", "asking");
    assert.equal(await addressOf(one), await addressOf(two));
    await until(async () => (await inBlue.resolve("sky")).error === "", { what: "blue sees its service" });
    await until(async () => (await inGreen.resolve("grass")).error === "", {
      what: "green sees its service",
    });
    assert.equal((await inBlue.resolve("grass")).error, "ENOTFOUND");
    assert.equal((await inGreen.resolve("sky")).error, "ENOTFOUND");
    assert.deepEqual((await inBlue.get("http://sky/", 1)).countByName, { "sky-1": 1 });
    assert.deepEqual((await inGreen.get("http://grass/", 1)).countByName, { "grass-1": 1 });
    await cluster.remove([...blue, ...green, "asking"]);
  });
});
