/**
 * Tests of overlay networks between three real Docker hosts: names, the ways packets take, who is seen asking, and what
 * does not get through.
 *
 * One cluster for all tests of this file, in the order written. Network `app` is there for all of them, with service
 * `web` of a replica on each host and, on each host, a container `asker` that nobody told whom to ask for names.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { until } from "../support/wait.ts";

import { exchange } from "./exchange.ts";
import type { LabClient } from "./lab-client.ts";
import {
  addressesOf,
  addressesOn,
  agreedVip,
  askersSeen,
  BOTH_PORTS,
  createNetwork,
  kernelOf,
  meetAt,
  meetingsIn,
  reachable,
  removeNetworks,
  retransmitsIn,
  untilFinds,
  untilLed,
  untilOnHost,
  type Meeting,
} from "./overlay.ts";
import { skipReason } from "./requirements.ts";
import { prepareCluster, type SkeinCluster, type SkeinNode } from "./skein.ts";
import { assertSpread } from "./spread.ts";

/** Of a network with four slices of five addresses. */
const SMALL = "10.77.0.0/27";
/** For encrypted networks on a kernel without WireGuard, as compose.yaml has it for those who need it. */
const TUN = ["--device=/dev/net/tun", "--tmpfs=/run/wireguard"];

const WEB = ["web-1", "web-2", "web-3"];
const EVEN = { "web-1": 4, "web-2": 4, "web-3": 4 };
const PUBLISHED = 18_080;
const LABELS = { ...BOTH_PORTS, "skein.publish": `${PUBLISHED}:80,${PUBLISHED}:80/udp` };
/** What nobody on the wire may read. */
const SECRET = "plain-words-0123456789-on-the-wire";

type Kernel = Awaited<ReturnType<typeof kernelOf>>;

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("overlay", { timeout: 300_000 }, () => {
  let opened: SkeinCluster | null = null;
  let untouched: readonly Kernel[] = [];
  let askers: readonly LabClient[] = [];
  let inBlue: LabClient | null = null;
  let vip = "";
  const open = (): SkeinCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };
  /** Each host with its container that asks. */
  const sides = (): readonly { node: SkeinNode; asker: LabClient }[] =>
    open().nodes.flatMap((node, index) => {
      const asker = askers[index];
      return asker === undefined ? [] : [{ node, asker }];
    });

  before(async () => {
    if (skip !== false) return;
    const cluster = await prepareCluster({ words: TUN });
    opened = cluster;
    untouched = await Promise.all(cluster.nodes.map(async ({ host }) => await kernelOf(host)));
    await cluster.start();
    await createNetwork(cluster, "app");
    await cluster.runReplicas("web", [1, 2, 3], LABELS, "--network=app");
    askers = await Promise.all(
      cluster.nodes.map(async (node) => await node.runPlainClient("asker", "--network=app")),
    );
    await cluster.untilEligible("app/web", WEB);
    vip = await agreedVip(cluster, "app/web");
    await untilLed(cluster, "app/web");
  });

  afterEach((context) => {
    if ("passed" in context && !context.passed && opened !== null) console.error(opened.lab.logs());
  });

  after(async () => await opened?.close());

  test("overlay: names resolve in a container that nobody told whom to ask", { skip }, async () => {
    const addresses = Object.values(await addressesOf(open(), "app/web")).toSorted();
    for (const { node, asker } of sides()) {
      await untilFinds(asker, "web", vip);
      for (const name of ["web.app", "web.app.skein.internal"]) await untilFinds(asker, name, vip);
      assert.deepEqual((await asker.lookup("tasks.web")).addresses, addresses, node.name);
      assert.match(await node.inContainer("asker", "cat", "/etc/resolv.conf"), /nameserver 127\.0\.0\.11/);
    }
  });

  test(
    "overlay: each host's container reaches all replicas, and the VIP 12 times 4 each, TCP and UDP",
    { skip },
    async () => {
      const addressByName = await addressesOf(open(), "app/web");
      for (const { node, asker } of sides()) {
        for (const [name, address] of Object.entries(addressByName)) {
          const where = `${name} from ${node.name}`;
          assertSpread(await asker.get(`http://${address}:8080/`), { [name]: 1 }, where);
          assertSpread(await asker.datagrams(address, 8080), { [name]: 1 }, where);
        }
        assertSpread(await asker.get("http://web/", 12), EVEN, `TCP from ${node.name}`);
        assertSpread(await asker.datagrams("web", 80, { count: 12 }), EVEN, `UDP from ${node.name}`);
        assertSpread(await node.process.get(`http://${vip}/`, 12), EVEN, `TCP by ${node.name} itself`);
        const own = await node.process.datagrams(vip, 80, { count: 12 });
        assertSpread(own, EVEN, `UDP by ${node.name} itself`);
      }
    },
  );

  test("overlay: a replica that calls its own VIP 100 times loses no packet", { skip }, async () => {
    const node = open().node(2);
    const sentAgain = await retransmitsIn(node, "web-2");
    const url = `http://${vip}/?[1-100]`;
    const said = await node.inContainer("web-2", "curl", "-sS", "-m5", "-H", "Connection: close", url);
    const names = said.split("\n");
    assert.equal(names.length, 100);
    assert.deepEqual([...new Set(names)].toSorted(), WEB);
    assert.equal(await retransmitsIn(node, "web-2"), sentAgain);
  });

  test(
    "overlay: a replica sees the client's address, by VIP and through every ingress host",
    { skip },
    async () => {
      const { machineAddress } = open().lab;
      for (const { node, asker } of sides()) {
        const own = await addressesOn(node.host, "asker", "app");
        const meetings = meetingsIn(await asker.get(`http://${vip}/whoami`, 6));
        const byDatagrams = meetingsIn(await asker.datagrams(vip, 80, WHO));
        assertSeen([...meetings, ...byDatagrams], own.address, node.name);
        const vip6 = (await asker.resolve("web.app.skein.internal", "AAAA")).addresses[0] ?? "";
        const meetings6 = meetingsIn(await asker.get(`http://[${vip6}]/whoami`, 6));
        const byDatagrams6 = meetingsIn(await asker.datagrams(vip6, 80, WHO));
        assertSeen([...meetings6, ...byDatagrams6], own.address6, `${node.name} by IPv6`);
        const outside = await meetAt(node.host.address, PUBLISHED);
        assertSeen(outside, machineAddress, `this machine, through ${node.name}`);
        for (const other of open().nodes.filter((one) => one !== node)) {
          const url = `http://${other.host.address}:${PUBLISHED}/whoami`;
          // The replica on the client's own host would answer it past the ingress if it knew the client.
          const beside = node.name.replace("h", "web-");
          const through = meetingsIn(await node.process.get(url, 6));
          const elsewhere = askersSeen(through.filter(({ name }) => name !== beside));
          assert.deepEqual(elsewhere, [node.host.address], `${node.name}, through ${other.name}`);
          assert.ok(
            through.some(({ name }) => name === beside),
            `${beside} answers its own host`,
          );
        }
      }
    },
  );

  test(
    "overlay: a service that asks for it is reached by masqueraded connections alone",
    { skip },
    async () => {
      const cluster = open();
      const labels = { "skein.port": "80:8080", "skein.publish": "18081:80", "skein.source": "masquerade" };
      const replicas = await cluster.runReplicas("masked", [2, 3], labels, "--network=app");
      await cluster.untilEligible("app/masked", replicas);
      const { host } = cluster.node(1);
      // A port is opened some moments after its service is there.
      const { text } = await until(
        async () => await exchange({ host: host.address, port: 18_081, path: "/whoami", method: "GET" }),
        { what: "h1 answers at the published port" },
      );
      const { client } = JSON.parse(text) as Meeting;
      assert.notEqual(client.address, cluster.lab.machineAddress);
      await cluster.remove(replicas);
      await cluster.untilEligible("app/masked", []);
    },
  );

  test(
    "overlay: two networks with a service of one name stay apart, names and packets",
    { skip },
    async () => {
      const cluster = open();
      await createNetwork(cluster, "blue", "--subnet", SMALL);
      const labels = { ...BOTH_PORTS, "skein.service": "web" };
      const twins = await cluster.runReplicas("twin", [1, 2, 3], labels, "--network=blue");
      await cluster.untilEligible("blue/web", twins);
      const other = await agreedVip(cluster, "blue/web");
      assert.notEqual(other, vip);
      const node = cluster.node(1);
      inBlue = await node.runPlainClient("in-blue", "--network=blue");
      await untilFinds(inBlue, "web", other);
      await untilLed(cluster, "blue/web");
      const thirds = { "twin-1": 2, "twin-2": 2, "twin-3": 2 };
      assertSpread(await inBlue.get("http://web/", 6), thirds, "in blue");
      assertSpread(await askerOf(1).get("http://web/", 12), EVEN, "in app");
      const closed = [other, ...Object.values(await addressesOf(cluster, "blue/web"))];
      const closedToo = [vip, ...Object.values(await addressesOf(cluster, "app/web"))];
      const reached = await Promise.all([
        ...closed.map(async (address) => [address, await reachable(node, "asker", address)]),
        ...closedToo.map(async (address) => [address, await reachable(node, "in-blue", address)]),
      ]);
      assert.deepEqual(
        reached.filter(([, isReached]) => isReached),
        [],
      );
    },
  );

  test(
    "overlay: a container on two networks is found in both, and finds what is in both",
    { skip },
    async () => {
      const cluster = open();
      const node = cluster.node(2);
      const labels = { "skein.service": "both", "skein.port": "80:8080" };
      await node.host.runReplica("both-1", { labels, arguments: ["--network=app"] });
      await node.host.docker("network", "connect", "blue", "both-1");
      for (const [network, client] of [
        ["app", askerOf(1)],
        ["blue", inBlueThere()],
      ] as const) {
        await cluster.untilEligible(`${network}/both`, ["both-1"]);
        await untilFinds(client, "both", await agreedVip(cluster, `${network}/both`));
        assertSpread(await client.get("http://both/", 2), { "both-1": 2 }, `in ${network}`);
      }
      const asked = async (name: string): Promise<string> =>
        await node.inContainer("both-1", "curl", "-sS", "-m5", `http://${name}/`);
      assert.match(await asked("web.app"), /^web-\d$/);
      assert.match(await asked("web.blue"), /^twin-\d$/);
      assert.match(await asked("web"), /^web-\d$/, "the network it was made with comes first");
      await cluster.remove(["both-1"]);
    },
  );

  test(
    "overlay: a range that a host uses, or that is too small, is refused, and one that is used up is told",
    { skip },
    async () => {
      const cluster = open();
      const [one, other, third] = [cluster.node(1), cluster.node(2), cluster.node(3)];
      const used = other.host.bridgeGateway.replace(/\.1$/, ".0/24");
      const clash = await one.cli("network", "create", "clash", "--subnet", used);
      assert.notEqual(clash.code, 0);
      assert.match(clash.stderr, new RegExp(`${used} overlaps ${used} of h2; expected a range`));
      const tooSmall = await one.cli("network", "create", "clash", "--subnet", "10.78.0.0/28");
      assert.notEqual(tooSmall.code, 0);
      assert.match(tooSmall.stderr, /10\.78\.0\.0\/28 .*3 hosts; expected at least a \/27/);
      // A /29 has five addresses for containers; one has its twin already.
      const names = ["full-1", "full-2", "full-3", "full-4"];
      const labels = { "skein.service": "full", "skein.port": "80:8080" };
      const run = async (name: string): Promise<unknown> =>
        await third.host.runReplica(name, { labels, arguments: ["--network=blue"] });
      await Promise.all(names.map(run));
      await cluster.untilEligible("blue/full", names);
      const told = await one.cli("network", "ls");
      assert.match(
        `${told.stdout}${told.stderr}`,
        /h3 has no address left .* of 10\.77\.0\.0\/27; .*larger range/,
      );
      const twins = ["twin-1", "twin-2", "twin-3"];
      await cluster.remove([...twins, ...names, "in-blue"]);
      await removeNetworks(cluster, "blue");
    },
  );

  test("overlay: a container that is attached later is found, and finds others", { skip }, async () => {
    const cluster = open();
    const { host } = cluster.node(3);
    const labels = { "skein.service": "late", "skein.port": "80:8080", "skein.network": "app" };
    await host.runReplica("late-1", { labels });
    await host.docker("network", "connect", "app", "late-1");
    const { address } = await addressesOn(host, "late-1", "app");
    const isThere = async (): Promise<boolean> =>
      (await addressesOf(cluster, "app/late"))["late-1"] === address;
    await until(isThere, { what: "late-1 is known by its address on app", everyMs: 50 });
    await cluster.untilEligible("app/late", ["late-1"]);
    await untilFinds(askerOf(1), "late", await agreedVip(cluster, "app/late"));
    assertSpread(await askerOf(1).get("http://late/", 2), { "late-1": 2 }, "from another host");
    assert.match(await cluster.node(3).inContainer("late-1", "curl", "-sS", "-m5", "http://web/"), /^web-/);
    await cluster.remove(["late-1"]);
    await cluster.untilEligible("app/late", []);
  });

  test("overlay: nothing of an encrypted network is in clear on the wire", { skip }, async () => {
    const cluster = open();
    await createNetwork(cluster, "secret", "--encrypted");
    const replicas = await cluster.runReplicas("safe", [2], BOTH_PORTS, "--network=secret");
    const client = await cluster.node(1).runPlainClient("in-secret", "--network=secret");
    await cluster.untilEligible("secret/safe", replicas);
    await untilFinds(client, "safe", await agreedVip(cluster, "secret/safe"));
    const capture = await cluster.lab.capture();
    const path = `/?${SECRET}`;
    const answered = await client.get(`http://safe${path}`, 3);
    const inClear = await askerOf(1).get(
      `http://${(await addressesOf(cluster, "app/web"))["web-2"]}:8080${path}-app`,
    );
    await capture.untilSeen(`${SECRET}-app`);
    const wire = await capture.stop();
    assertSpread(answered, { "safe-1": 3 }, "over the encrypted network");
    assertSpread(inClear, { "web-2": 1 }, "over the other one");
    // What is sent in clear was captured; so nothing else was missed.
    assert.ok(!wire.includes(`${SECRET} `), "what is sent over the encrypted network cannot be read");
    await cluster.remove([...replicas, "in-secret"]);
    await removeNetworks(cluster, "secret");
  });

  test("overlay: VIPs, replicas and the ingress are there in IPv6 too", { skip }, async () => {
    const cluster = open();
    for (const { node, asker } of sides()) {
      const { addresses } = await asker.resolve("web.app.skein.internal", "AAAA");
      assert.equal(addresses.length, 1, `one IPv6 VIP, in a container of ${node.name}`);
      const url = `http://[${addresses[0]}]/`;
      assertSpread(await asker.get(url, 12), EVEN, `by IPv6 from ${node.name}`);
      const tasks = (await asker.resolve("tasks.web.app.skein.internal", "AAAA")).addresses;
      assert.equal(tasks.length, 3);
      for (const address of tasks) {
        const [{ client } = { client: { address: "" } }] = meetingsIn(
          await asker.get(`http://[${address}]:8080/whoami`),
        );
        assert.match(client.address, /^fd/, `${address} sees an address of the network`);
      }
    }
    assert.deepEqual((await cluster.node(1).explain("app/web"))?.problems, []);
  });

  test(
    "overlay: a Docker network that somebody removed is made again, and a host that was off has all again",
    { skip },
    async () => {
      const cluster = open();
      const node = cluster.node(3);
      await cluster.remove(["asker", "web-3"]);
      await node.host.docker("network", "rm", "app");
      await untilOnHost(node, "app");
      const words = ["--network=app", "--restart=always"];
      await node.host.runReplica("web-3", {
        labels: { "skein.service": "web", ...LABELS },
        arguments: words,
      });
      const others = [cluster.node(1), cluster.node(2)];
      askers = await Promise.all([
        ...others.map(async (one) => await one.runPlainClient("asker", "--network=app")),
        node.runPlainClient("asker", ...words),
      ]);
      await cluster.untilEligible("app/web", WEB);
      await node.host.powerOff();
      await cluster.untilEligible("app/web", ["web-1", "web-2"], { nodes: others });
      await node.host.boot();
      await node.start();
      await cluster.untilEligible("app/web", WEB);
      await untilFinds(askerOf(3), "web", vip);
      await untilLed(cluster, "app/web");
      assertSpread(await askerOf(3).get("http://web/", 12), EVEN, "from the host that was off");
      assertSpread(await askerOf(1).get("http://web/", 12), EVEN, "to the host that was off");
    },
  );

  test("overlay: after removal a host's kernel is as it was before", { skip }, async () => {
    const cluster = open();
    const [first, second, third] = [cluster.node(1), cluster.node(2), cluster.node(3)];
    await cluster.remove([...WEB, "asker"]);
    const left = await third.leave();
    assert.match(left.stdout, /h3 has left the cluster for good/);
    await second.stop();
    const cleaned = await second.cli("doctor", "--clean");
    assert.equal(cleaned.code, 0, `${cleaned.stdout}${cleaned.stderr}`);
    await first.stop();
    await first.start({ words: ["--purge"] });
    await first.stop();
    const now = await Promise.all(cluster.nodes.map(async ({ host }) => await kernelOf(host)));
    assert.deepEqual(now, untouched);
  });

  const inBlueThere = (): LabClient => {
    assert.ok(inBlue !== null, "there is a container on blue that asks");
    return inBlue;
  };

  const WHO = { count: 6, text: "whoami" };

  const askerOf = (nth: number): LabClient => {
    const asker = askers[nth - 1];
    assert.ok(asker !== undefined, `host ${nth} has a container that asks`);
    return asker;
  };
});

/** All replicas answered, and saw this address alone. */
function assertSeen(meetings: readonly Meeting[], address: string, who: string): void {
  assert.deepEqual([...new Set(meetings.map(({ name }) => name))].toSorted(), WEB, who);
  assert.deepEqual(askersSeen(meetings), [address], who);
}
