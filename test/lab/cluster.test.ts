/**
 * Tests of a cluster of three real Docker hosts: its names, where its traffic goes, and what labels do to them.
 *
 * One cluster for all tests of this file, in the order written; a test that starts containers removes them.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { untilSettled } from "./overlay.ts";
import { skipReason } from "./requirements.ts";
import { askFromMachine, openCluster, type SkeinCluster } from "./skein.ts";
import { assertSpread, tallyFromMachine } from "./spread.ts";
import { until } from "../support/wait.ts";

const DOMAIN = "skein.internal";

/** What `docker compose up --scale web=3` would set on the nth copy of a service of project `shop`. */
function composeLabels(service: string, nth: number): Record<string, string> {
  return {
    "com.docker.compose.service": service,
    "com.docker.compose.project": "shop",
    "com.docker.compose.container-number": String(nth),
    "com.docker.compose.oneoff": "False",
  };
}

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("cluster", { timeout: 300_000 }, () => {
  let opened: SkeinCluster | null = null;
  const open = (): SkeinCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  /** The VIP of a service, the same on every node. */
  const vipOf = async (service: string): Promise<string> => {
    const vips = await Promise.all(open().nodes.map(async (node) => (await node.explain(service))?.vip));
    const [vip = null] = vips;
    assert.ok(vip !== null && vips.every((one) => one === vip), `one VIP of ${service}: ${vips.join(", ")}`);
    return vip;
  };

  before(async () => {
    if (skip === false) opened = await openCluster();
  });

  afterEach((context) => {
    if ("passed" in context && !context.passed) console.error(open().lab.logs());
  });

  after(async () => await opened?.close());

  test(
    "cluster: a service of Compose on three hosts has one VIP, by each of its names, in containers and on hosts",
    { skip },
    async () => {
      const cluster = open();
      await Promise.all(
        cluster.nodes.map(async ({ host }, index) => {
          const labels = { ...composeLabels("web", index + 1), "skein.port": "80:8080/http" };
          await host.runReplica(`shop_web_${index + 1}`, { labels });
        }),
      );
      const replicas = ["shop_web_1", "shop_web_2", "shop_web_3"];
      await cluster.untilEligible("web", replicas);
      const vip = await vipOf("web");
      const names = ["web", "web.default", `web.default.${DOMAIN}`, `WEB.Default.${DOMAIN}.`, "shop_web"];
      for (const node of cluster.nodes) {
        for (const name of [...names, "web.shop"]) {
          const looked = await node.client.lookup(name);
          assert.deepEqual(looked.addresses, [vip], `${name}, looked up in a container of ${node.name}`);
          const asked = await node.process.resolve(name);
          assert.deepEqual(asked.addresses, [vip], `${name}, asked on ${node.name}`);
        }
        for (const name of ["web", "web.default", `web.default.${DOMAIN}`]) {
          assert.equal(await node.inContainer("client", "kdig", "+short", name), vip);
          const body = await node.inContainer("client", "curl", "-sS", `http://${name}/`);
          assert.ok(replicas.includes(body), `curl http://${name}/ in a container of ${node.name}: ${body}`);
        }
      }
      await cluster.remove(replicas);
    },
  );

  test("cluster: names of replicas, slots, nodes, and names that are not there", { skip }, async () => {
    const cluster = open();
    await Promise.all(
      cluster.nodes.map(async ({ host }, index) => {
        const labels = {
          ...composeLabels("api", index + 1),
          "skein.port": "80:8080",
          "skein.alias": "backend",
        };
        await host.runReplica(`api-${index + 1}`, { labels });
      }),
    );
    const replicas = ["api-1", "api-2", "api-3"];
    await cluster.untilEligible("api", replicas);
    const explained = (await cluster.node(1).explain("api"))?.replicas ?? [];
    const addressOf = (name: string): string =>
      (explained.find((replica) => replica.name === name)?.address ?? "").replace(/:.*/, "");
    const all = replicas.map(addressOf).toSorted();
    for (const node of cluster.nodes) {
      for (const asker of [node.client, node.process]) {
        assert.deepEqual((await asker.resolve(`tasks.api.default.${DOMAIN}`)).addresses, all);
        assert.deepEqual((await asker.resolve("tasks.api")).addresses, all);
        assert.deepEqual((await asker.resolve("api-2.api")).addresses, [addressOf("api-2")]);
        assert.deepEqual((await asker.resolve("3.api")).addresses, [addressOf("api-3")]);
        assert.deepEqual((await asker.resolve("backend")).addresses, [await vipOf("api")]);
        const { address } = cluster.node(2).host;
        assert.deepEqual((await asker.resolve(`h2.node.${DOMAIN}`)).addresses, [address]);
        assert.equal((await asker.resolve("api", "AAAA")).error, "ENODATA");
        assert.equal((await asker.resolve(`no-such.default.${DOMAIN}`)).error, "ENOTFOUND");
      }
    }
    await cluster.remove(replicas);
  });

  for (const protocol of ["tcp", "http"]) {
    test(
      `cluster: 12 requests reach three replicas on three hosts 4 times each, over a ${protocol} port`,
      { skip },
      async () => {
        const cluster = open();
        const labels = { "skein.port": `80:8080/${protocol}`, "skein.publish": "8088:80" };
        const replicas = await cluster.runReplicas("web", [1, 2, 3], labels);
        await cluster.untilEligible("web", replicas);
        await untilSettled(cluster);
        const even = { "web-1": 4, "web-2": 4, "web-3": 4 };
        for (const node of cluster.nodes) {
          const where = `from ${node.name}`;
          assertSpread(await node.client.get("http://web/", 12), even, `by name ${where}`);
          assertSpread(await node.process.get(`http://${await vipOf("web")}/`, 12), even, `by VIP ${where}`);
          const published = `http://${node.host.address}:8088/`;
          assertSpread(await node.client.get(published, 12), even, `by published port ${where}`);
          assert.deepEqual(await tallyFromMachine(node, 8088, { count: 12 }), even, `from outside, ${where}`);
        }
        await cluster.remove(replicas);
      },
    );
  }

  test(
    "cluster: the HTTP ingress of a host without a replica reaches those of the others by Host, evenly",
    { skip },
    async () => {
      const cluster = open();
      const labels = { "skein.port": "80:8080/http", "skein.http.host": "shop.example.com" };
      const replicas = await cluster.runReplicas("front", [2, 2, 3], labels);
      await cluster.untilEligible("front", replicas);
      const even = { "front-1": 4, "front-2": 4, "front-3": 4 };
      const headers = { host: "shop.example.com" };
      for (const node of cluster.nodes) {
        assert.deepEqual(await tallyFromMachine(node, 8080, { count: 12, headers }), even, node.name);
      }
      const ingress = `http://${cluster.node(1).host.address}:8080/`;
      assertSpread(await cluster.node(1).client.get(ingress, 12, headers), even, "from a container");
      const elsewhere = await askFromMachine(cluster.node(1).host, 8080, { host: "other.example.com" });
      assert.equal(elsewhere.status, 404);
      await cluster.remove(replicas);
    },
  );

  test("cluster: traffic follows docker run and docker rm -f", { skip }, async () => {
    const cluster = open();
    const labels = { "skein.port": "80:8080/http" };
    const one = await cluster.runReplicas("scaled", [1], labels);
    await cluster.untilEligible("scaled", one);
    const vip = await vipOf("scaled");
    const { client } = cluster.node(3);
    assertSpread(await client.get("http://scaled/", 6), { "scaled-1": 6 }, "one replica");
    await cluster.node(2).host.runReplica("more-1", { labels: { "skein.service": "scaled", ...labels } });
    await cluster.node(2).host.runReplica("more-2", { labels: { "skein.service": "scaled", ...labels } });
    await cluster.untilEligible("scaled", [...one, "more-1", "more-2"]);
    const thirds = { "scaled-1": 4, "more-1": 4, "more-2": 4 };
    assertSpread(await client.get("http://scaled/", 12), thirds, "three replicas");
    await cluster.remove(["scaled-1", "more-1"]);
    await cluster.untilEligible("scaled", ["more-2"]);
    assertSpread(
      await client.get("http://scaled/", 6),
      { "more-2": 6 },
      "one replica again, on another host",
    );
    assert.equal(await vipOf("scaled"), vip);
    await cluster.remove(["more-2"]);
    await cluster.untilEligible("scaled", []);
    const isGone = async (): Promise<boolean> =>
      (await client.resolve(`scaled.default.${DOMAIN}`)).error === "ENOTFOUND";
    await until(isGone, { what: "a service without containers has no name" });
  });

  test(
    "cluster: two networks do not see each other's services; the host sees both, and one name has two VIPs",
    { skip },
    async () => {
      const cluster = open();
      const port = { "skein.port": "80:8080" };
      const inBlue = { ...port, "skein.network": "blue" };
      const inGreen = { ...port, "skein.network": "green" };
      const replicas = [
        ...(await cluster.runReplicas("sky", [1, 2], inBlue)),
        ...(await cluster.runReplicas("grass", [2, 3], inGreen)),
        ...(await cluster.runReplicas("both", [1, 3], inBlue)),
      ];
      const twin = { "skein.service": "both", ...inGreen };
      await cluster.node(2).host.runReplica("both-of-green", { labels: twin });
      await cluster.untilEligible("blue/sky", ["sky-1", "sky-2"]);
      await cluster.untilEligible("green/grass", ["grass-1", "grass-2"]);
      await cluster.untilEligible("blue/both", ["both-1", "both-2"]);
      await cluster.untilEligible("green/both", ["both-of-green"]);
      const [blueVip, greenVip] = [await vipOf("blue/both"), await vipOf("green/both")];
      assert.notEqual(blueVip, greenVip);

      const node = cluster.node(1);
      const member = (network: string): string[] => [
        `--label=skein.network=${network}`,
        "--label=skein.enable=false",
      ];
      const blue = await node.runClient("in-blue", ...member("blue"));
      const green = await node.runClient("in-green", ...member("green"));
      // A container is known by its address as soon as Docker has told of it.
      const isKnown = async (): Promise<boolean> => (await blue.resolve("both")).addresses[0] === blueVip;
      await until(isKnown, { what: "the container in blue is known" });
      const isKnownToo = async (): Promise<boolean> =>
        (await green.resolve("both")).addresses[0] === greenVip;
      await until(isKnownToo, { what: "the container in green is known" });

      assert.deepEqual((await blue.lookup("sky")).addresses, [await vipOf("blue/sky")]);
      assert.deepEqual((await green.lookup("grass")).addresses, [await vipOf("green/grass")]);
      for (const name of ["grass", `grass.green.${DOMAIN}`, `tasks.grass.green.${DOMAIN}`]) {
        assert.equal((await blue.resolve(name)).error, "ENOTFOUND", `${name} in blue`);
      }
      for (const name of ["sky", `sky.blue.${DOMAIN}`, `tasks.sky.blue.${DOMAIN}`]) {
        assert.equal((await green.resolve(name)).error, "ENOTFOUND", `${name} in green`);
        assert.equal((await node.client.resolve(name)).error, "ENOTFOUND", `${name} in default`);
      }
      assertSpread(await blue.get("http://both/", 4), { "both-1": 2, "both-2": 2 }, "in blue");
      assertSpread(await green.get("http://both/", 4), { "both-of-green": 4 }, "in green");

      assert.deepEqual((await node.process.resolve("sky.blue")).addresses, [await vipOf("blue/sky")]);
      assert.deepEqual((await node.process.resolve("sky")).addresses, [await vipOf("blue/sky")]);
      assert.deepEqual((await node.process.resolve("grass")).addresses, [await vipOf("green/grass")]);
      assert.deepEqual((await node.process.resolve("both.green")).addresses, [greenVip]);
      assert.equal((await node.process.resolve("both")).error, "ENOTFOUND", "ambiguous for the host");
      await cluster.remove([...replicas, "both-of-green", "in-blue", "in-green"]);
    },
  );

  test(
    "cluster: a container on a Docker network resolves through Docker's own resolver, and sees that network's services",
    { skip },
    async () => {
      const cluster = open();
      const [node, other] = [cluster.node(1), cluster.node(2)];
      await node.host.docker("network", "create", "red");
      const labels = { "skein.port": "80:8080", "skein.network": "red" };
      const replicas = await cluster.runReplicas("rose", [1, 2], labels);
      await cluster.untilEligible("red/rose", replicas);
      const red = await node.runClient("in-red", "--network=red");
      const vip = await vipOf("red/rose");
      const isKnown = async (): Promise<boolean> => (await red.lookup("rose")).addresses[0] === vip;
      await until(isKnown, { what: "the container on red is known" });
      assert.match(await node.inContainer("in-red", "cat", "/etc/resolv.conf"), /nameserver 127\.0\.0\.11/);
      assertSpread(await red.get("http://rose/", 4), { "rose-1": 2, "rose-2": 2 }, "in red");
      assert.equal((await other.client.resolve("rose")).error, "ENOTFOUND");
      await cluster.remove([...replicas, "in-red"]);
      await node.host.docker("network", "rm", "red");
    },
  );

  test("cluster: a bad label is told by status and explain, and harms nobody", { skip }, async () => {
    const cluster = open();
    const good = await cluster.runReplicas("good", [1, 3], { "skein.port": "80:8080" });
    const bad = {
      "skein.service": "bad",
      "skein.port": "80:8080,81a",
      "skein.prot": "90",
      "skein.weight": "-3",
    };
    await cluster.node(1).host.runReplica("bad-1", { labels: bad });
    await cluster.untilEligible("good", good);
    await cluster.untilEligible("bad", ["bad-1"]);
    const { problems } = await cluster.node(1).status();
    const texts = problems.map(({ subject, text }) => `${subject}: ${text}`);
    const about = texts.filter((text) => text.includes("bad-1"));
    for (const expected of [/81a/, /skein\.prot.*did you mean "skein\.port"/, /skein\.weight.*-3/]) {
      assert.ok(
        about.some((text) => expected.test(text)),
        `${expected} in ${JSON.stringify(texts)}`,
      );
    }
    assert.deepEqual(
      texts.filter((text) => text.includes("good")),
      [],
    );
    const explained = await cluster.node(1).cli("explain", "bad");
    assert.equal(explained.code, 0);
    assert.match(explained.stdout, /81a/);
    // The label's other port serves, and so do the others.
    const { client } = cluster.node(2);
    assertSpread(await client.get("http://bad/", 2), { "bad-1": 2 }, "the rest of its labels counts");
    assertSpread(await client.get("http://good/", 4), { "good-1": 2, "good-2": 2 }, "its neighbours");
    await cluster.remove([...good, "bad-1"]);
  });

  test(
    "cluster: a UDP port beside a TCP port is listened on at every host, and nothing is told of it",
    { skip },
    async () => {
      const cluster = open();
      const labels = { "skein.port": "80:8080,5353:8080/udp", "skein.publish": "5354:5353/udp" };
      const replicas = await cluster.runReplicas("mixed", [2], labels);
      await cluster.untilEligible("mixed", replicas);
      for (const node of cluster.nodes) {
        // A wildcard is a socket for each of the host's addresses.
        const isOpen = (at: string): boolean => at.endsWith(":5354/udp");
        const { problems } = await until(
          async () => {
            const status = await node.status();
            return status.listen.ingress.some(isOpen) && status;
          },
          { what: `${node.name} listens on the published UDP port` },
        );
        const told = problems.map(({ text }) => text).filter((text) => text.includes("default/mixed"));
        assert.deepEqual(told, [], node.name);
        assertSpread(await node.client.get("http://mixed/", 1), { "mixed-1": 1 }, "its TCP port");
      }
      await cluster.remove(replicas);
    },
  );

  test(
    "cluster: skein drain --wait ends when no host sends the replica anything, and others answer all along",
    { skip },
    async () => {
      const cluster = open();
      const replicas = await cluster.runReplicas("slow", [1, 2, 3], { "skein.port": "80:8080/http" });
      await cluster.untilEligible("slow", replicas);
      const [asking, worker] = [cluster.node(1), cluster.node(3)];
      const tally = await asking.client.during({ url: "http://slow/" }, async () => {
        // Both are asked of a host that the replica does not run on.
        const refused = await worker.cli("drain", "slow-2", "--wait");
        assert.deepEqual([refused.code, refused.stdout], [5, ""]);
        assert.match(refused.stderr, /for managers, and this node is a worker; ask a manager: h1, h2/);
        assert.deepEqual(await worker.eligible("slow"), replicas, "nothing came of it");
        const drained = await asking.cli("drain", "slow-2", "--wait");
        assert.equal(drained.code, 0, drained.stderr);
        for (const node of cluster.nodes) {
          assert.deepEqual(await node.eligible("slow"), ["slow-1", "slow-3"], `at once on ${node.name}`);
          // Not evenly: the load takes turns too.
          const { failures, countByName } = await node.process.get(`http://${await vipOf("slow")}/`, 4);
          assert.deepEqual(failures, [], node.name);
          assert.equal(countByName["slow-2"], undefined, `from ${node.name}`);
        }
        await cluster.node(2).host.docker("rm", "--force", "slow-2");
      });
      assert.deepEqual(tally.failures, []);
      assert.ok((tally.countByName["slow-2"] ?? 0) > 0, "it had traffic before");
      const missing = await asking.cli("drain", "slow-2");
      assert.equal(missing.code, 3, missing.stderr);
      await cluster.remove(replicas);
    },
  );

  // The last one: the clients in containers of h2 end with its engine, and so does its daemon for that time.
  test(
    "cluster: an engine that stops takes its containers out of service, our daemon too, and back in with it",
    { skip },
    async () => {
      const cluster = open();
      const [asking, struck] = [cluster.node(1), cluster.node(2)];
      const labels = { "skein.service": "firm", "skein.port": "80:8080/http" };
      const always = { labels, arguments: ["--restart=always"] };
      await Promise.all(
        [asking, struck].map(async ({ host }) => await host.runReplica(`firm-of-${host.name}`, always)),
      );
      await cluster.untilEligible("firm", ["firm-of-h1", "firm-of-h2"]);
      const tally = await asking.client.during({ url: "http://firm/" }, async () => {
        await struck.host.stopEngine();
        const others = cluster.nodes.filter((node) => node !== struck);
        await cluster.untilEligible("firm", ["firm-of-h1"], { nodes: others });
        await struck.host.startEngine();
        await cluster.untilEligible("firm", ["firm-of-h1", "firm-of-h2"], { deadlineMs: 20_000 });
      });
      assert.deepEqual(tally.failures, []);
      assert.deepEqual((await asking.client.get("http://firm/", 4)).countByName, {
        "firm-of-h1": 2,
        "firm-of-h2": 2,
      });
      await cluster.remove(["firm-of-h1", "firm-of-h2"]);
    },
  );
});
