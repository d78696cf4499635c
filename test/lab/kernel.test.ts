/**
 * Tests of traffic at kernel speed between three real Docker hosts: what goes on without the daemon, what a replica
 * that fails costs, and what is left to Docker.
 *
 * One cluster for all tests of this file, in the order written. After the first one service `web` on overlay network
 * `app` has a replica on each host; a test that breaks something mends it.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, describe, test } from "node:test";

import type { TrafficReport } from "../../src/admin/contract-live.ts";
import { prometheusMissing } from "../support/prometheus.ts";
import { until } from "../support/wait.ts";

import type { Tally } from "./client.ts";
import { exchange } from "./exchange.ts";
import { LAB_IMAGE } from "./host.ts";
import { duringAll, type LabClient } from "./lab-client.ts";
import { openMonitor, rulesIn } from "./monitor.ts";
import {
  addressesOf,
  agreedVip,
  askersSeen,
  BOTH_PORTS,
  createNetwork,
  meetingsIn,
  rulesOf,
  untilFinds,
  untilLed,
  untilNotLed,
  untilQuiet,
  untilSettled,
  type Meeting,
} from "./overlay.ts";
import type { LabProgram } from "./program.ts";
import { skipReason } from "./requirements.ts";
import { askFromMachine, openCluster, type SkeinCluster, type SkeinNode } from "./skein.ts";
import { assertSpread, tallyFromMachine } from "./spread.ts";

const LINE_HOLDER = fileURLToPath(new URL("line-holder.mjs", import.meta.url));

const WEB = ["web-1", "web-2", "web-3"];
const EVEN = { "web-1": 4, "web-2": 4, "web-3": 4 };
const PUBLISHED = 18_080;
const LABELS = { ...BOTH_PORTS, "skein.publish": `${PUBLISHED}:80,${PUBLISHED}:80/udp` };
/** The published port of a service without an overlay network. */
const LONE = 18_082;
/** A port of Docker's own. */
const DOCKERS = 18_099;

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("kernel", { timeout: 300_000 }, () => {
  let opened: SkeinCluster | null = null;
  let asker: LabClient | null = null;
  let vip = "";
  const open = (): SkeinCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  before(async () => {
    if (skip === false) opened = await openCluster();
  });

  afterEach((context) => {
    if ("passed" in context && !context.passed && opened !== null) console.error(opened.lab.logs());
  });

  after(async () => await opened?.close());

  test(
    "kernel: without any overlay network who asks at a published port is led to a container on docker0",
    { skip },
    async () => {
      const cluster = open();
      const { host } = cluster.node(2);
      assert.match(await host.mustExec(["iptables", "-S", "FORWARD"]), /^-P FORWARD DROP$/m);
      const labels = { "skein.port": "80:8080", "skein.publish": `${LONE}:80` };
      await cluster.untilEligible("lone", await cluster.runReplicas("lone", [2], labels));
      // The daemon would be seen asking in place of this machine.
      const isLed = async (): Promise<boolean> => {
        const { text } = await exchange({ host: host.address, port: LONE, path: "/whoami", method: "GET" });
        return (JSON.parse(text) as Meeting).client.address === cluster.lab.machineAddress;
      };
      await until(isLed, { what: "lone-1 sees who asks" });
      await cluster.remove(["lone-1"]);
    },
  );

  test("kernel: it is what carries traffic where it can, and status says so", { skip }, async () => {
    const cluster = open();
    await createNetwork(cluster, "app");
    const started = cluster.runReplicas("web", [1, 2, 3], LABELS, "--network=app");
    asker = await cluster.node(1).runPlainClient("asker", "--network=app");
    await started;
    await cluster.untilEligible("app/web", WEB);
    vip = await agreedVip(cluster, "app/web");
    await untilFinds(asker, "web", vip);
    await untilLed(cluster, "app/web");
    for (const node of cluster.nodes) {
      const { dataPlane, problems } = await node.status();
      assert.equal(dataPlane.mode, "kernel", dataPlane.reason);
      assert.deepEqual(problems, [], node.name);
    }
  });

  test(
    "kernel: with the daemon killed connections and new ones go on, and its restart makes no rule anew",
    { skip },
    async () => {
      const cluster = open();
      const node = cluster.node(1);
      const lines = [
        await holdLine(node, vip, 80),
        await holdLine(cluster.node(2), node.host.address, PUBLISHED),
      ];
      await untilQuiet(node);
      const rules = await rulesOf(node.host);
      await node.stop("SIGKILL");
      assertSpread(await node.process.get(`http://${vip}/`, 12), EVEN, "TCP by VIP");
      assertSpread(await node.process.datagrams(vip, 80, { count: 12 }), EVEN, "UDP by VIP");
      assertSpread(await askerThere().get(`http://${vip}/`, 12), EVEN, "by VIP from a container");
      assert.deepEqual(await tallyFromMachine(node, PUBLISHED, { count: 12 }), EVEN);
      for (const line of lines) {
        line.signal("SIGUSR2");
        await until(() => line.log().includes("still here"), { what: "a connection from before answers" });
      }
      assert.equal(await rulesOf(node.host), rules);
      await node.start();
      await cluster.untilEligible("app/web", WEB);
      await untilQuiet(node);
      assert.equal(await rulesOf(node.host), rules);
      for (const line of lines) {
        assert.ok(!line.log().includes("closed"), "the connection is there still");
        await line.stop("SIGKILL");
      }
    },
  );

  test("kernel: what it led on by itself is in the metrics, and by the second in top", { skip }, async () => {
    const node = open().node(1);
    const led = (): Promise<number> => node.metric("skein_kernel_connections_total", 'service="app/web"');
    const before = await led();
    await node.process.get(`http://${vip}/`, 12);
    await until(async () => (await led()) >= before + 12, { what: "12 more are counted", everyMs: 500 });
    // Not of the host whose daemon was killed before: its restart had nothing to apply.
    assert.ok((await open().node(2).metric("skein_kernel_apply_duration_seconds_count")) > 0);
    assert.equal(await node.metric("skein_kernel_apply_failures_total"), 0);
    const isTold = async (): Promise<boolean> => {
      const [{ stdout }] = await Promise.all([
        node.cli("top", "--once", "-o", "json"),
        node.process.get(`http://${vip}/`, 12),
      ]);
      const { services } = JSON.parse(stdout) as TrafficReport;
      const web = services.find(({ key }) => key === "app/web");
      return (web?.rates.kernelConnections ?? 0) > 0 && web?.rates.requests === 0;
    };
    await until(isTold, { what: "top tells them" });
  });

  test(
    "kernel: Debian's Prometheus on the hosts has all of them, and judges them by the alerts that we ship",
    { skip: skip === false ? (prometheusMissing() ?? false) : skip },
    async () => {
      const monitor = await openMonitor(open());
      try {
        for (const [query, hosts] of [
          ['up{job="skein"} == 1', "h1,h2,h3"],
          ['skein_members{state="alive"} == 3', "h1,h2,h3"],
          ['skein_service_ready_replicas{service="app/web"} == 3', "h1,h2,h3"],
          // Only there somebody asked.
          ['skein_kernel_connections_total{service="app/web"} > 0', "h1"],
        ] as const) {
          const found = async (): Promise<boolean> => {
            const seen = (await monitor.query(query)).map(({ metric }) => metric["instance"] ?? "");
            return [...new Set(seen)].toSorted().join().startsWith(hosts);
          };
          await until(found, { what: `of ${hosts}: ${query}`, everyMs: 100 });
        }
        const judged = async (): Promise<boolean> => {
          const rules = await rulesIn(monitor);
          assert.deepEqual(
            rules
              .filter(({ health }) => health === "err")
              .map(({ name, lastError }) => `${name}: ${lastError}`),
            [],
          );
          return rules.length > 0 && rules.every(({ health }) => health === "ok");
        };
        await until(judged, { what: "each rule was tried, and none fails", everyMs: 100 });
      } finally {
        await monitor.close();
      }
    },
  );

  test("kernel: a replica that is paused costs no new connection, of 200 a second", { skip }, async () => {
    const cluster = open();
    const tally = await underNewConnections(async () => {
      await cluster.node(2).host.pause("web-2");
      await cluster.untilEligible("app/web", ["web-1", "web-3"]);
      await cluster.node(2).host.docker("unpause", "web-2");
      await cluster.untilEligible("app/web", WEB);
    });
    assertUnharmed(tally);
  });

  test(
    "kernel: a replica that is drained and then stopped costs no new connection, of 200 a second",
    { skip },
    async () => {
      const cluster = open();
      const node = cluster.node(2);
      const drain = async (flag: string): Promise<void> => {
        const { code, stdout, stderr } = await node.cli("drain", "web-2", flag);
        assert.equal(code, 0, `${stdout}${stderr}`);
      };
      const tally = await underNewConnections(async () => {
        await drain("--wait");
        await node.host.docker("stop", "web-2");
        await cluster.untilEligible("app/web", ["web-1", "web-3"]);
        await node.host.docker("start", "web-2");
        await until(async () => (await node.explain("app/web"))?.replicas.length === 3);
        await drain("--undo");
        await cluster.untilEligible("app/web", WEB);
      });
      assertUnharmed(tally);
    },
  );

  test("kernel: a replica that is cut off costs no new connection, of 200 a second", { skip }, async () => {
    const cluster = open();
    const { host } = cluster.node(3);
    const port = await portOf(cluster.node(3), "web-3");
    const cutOff = await addressOf(cluster, "web-3");
    const tally = await underNewConnections(async () => {
      await host.mustExec(["ip", "link", "set", port, "down"]);
      await cluster.untilEligible("app/web", ["web-1", "web-2"]);
      await untilNotLed(cluster.nodes, cutOff);
      await host.mustExec(["ip", "link", "set", port, "up"]);
      await cluster.untilEligible("app/web", WEB);
    });
    assertUnharmed(tally, UNDER_WAY);
  });

  test(
    "kernel: a host that is cut off costs no new connection elsewhere, of 200 a second",
    { skip },
    async () => {
      const cluster = open();
      const [one, two, cut] = [cluster.node(1), cluster.node(2), cluster.node(3)];
      const cutOff = await addressOf(cluster, "web-3");
      const tally = await underNewConnections(async () => {
        await cut.host.cutLink();
        await cluster.untilEligible("app/web", ["web-1", "web-2"], { nodes: [one, two] });
        await untilNotLed([one, two], cutOff);
        await cut.host.healLink();
        await cluster.untilEligible("app/web", WEB);
      });
      assertUnharmed(tally, UNDER_WAY);
      await cluster.untilWhole();
    },
  );

  test("kernel: Docker's own published ports and networks work as ever", { skip }, async () => {
    const [node, other] = [open().node(1), open().node(2)];
    await node.host.runReplica("plain", { arguments: [`--publish=${DOCKERS}:8080`] });
    await node.host.docker("network", "create", "red");
    for (const name of ["red-1", "red-2"]) await node.host.runReplica(name, { arguments: ["--network=red"] });
    const url = `http://${node.host.address}:${DOCKERS}/`;
    const answers = async (): Promise<boolean> => {
      const { text } = await exchange({ host: node.host.address, port: DOCKERS, path: "/", method: "GET" });
      return text.trim() === "plain";
    };
    await until(answers, { what: "the port is open from outside" });
    assertSpread(await other.process.get(url), { plain: 1 }, "from another host");
    assertSpread(await other.client.get(url), { plain: 1 }, "from another host's container");
    assertSpread(await askerThere().get(url), { plain: 1 }, "from a container of app");
    const isNamed = async (): Promise<boolean> =>
      (await node.inContainer("red-1", "curl", "-sS", "-m5", "http://red-2:8080/")) === "red-2";
    // Its program begins to listen some moments after its container.
    await until(isNamed, { what: "red-1 is answered by red-2" });
    const outside = await node.inContainer(
      "red-1",
      "curl",
      "-sS",
      "-m5",
      `http://${other.host.address}:${PUBLISHED}/`,
    );
    assert.match(outside, /^web-/);
    await node.host.docker("rm", "--force", "plain", "red-1", "red-2");
    await node.host.docker("network", "rm", "red");
  });

  test(
    "kernel: without nft the daemon itself carries traffic, says why, and goes back",
    { skip },
    async () => {
      const cluster = open();
      const node = cluster.node(2);
      const giveBack = await node.hide("nft");
      const more = ["--detach", "--name=web-4", "--hostname=web-4", "--network=app"];
      const labels = Object.entries({ "skein.service": "web", ...LABELS });
      await node.host.docker(
        "run",
        ...more,
        ...labels.map(([key, value]) => `--label=${key}=${value}`),
        LAB_IMAGE,
        "node",
        "/replica.mjs",
      );
      await untilMode(node, "proxy", /nft/);
      await cluster.untilEligible("app/web", [...WEB, "web-4"]);
      assert.deepEqual((await node.process.get(`http://${vip}/`, 12)).failures, []);
      await giveBack();
      await untilMode(node, "kernel", /./);
      const all = { ...EVEN, "web-4": 4 };
      assertSpread(await node.process.get(`http://${vip}/`, 16), all, "by the kernel again");
      await cluster.remove(["web-4"]);
      await cluster.untilEligible("app/web", WEB);
    },
  );

  test("kernel: without NET_ADMIN the daemon itself carries traffic, and says why", { skip }, async () => {
    const cluster = open();
    const node = cluster.node(3);
    await node.stop();
    const cleaned = await node.cli("doctor", "--clean");
    assert.equal(cleaned.code, 1);
    assert.match(
      `${cleaned.stdout}${cleaned.stderr}`,
      /network app.*web-3/,
      "it is in use, and that is told",
    );
    await node.start({ without: ["NET_ADMIN"] });
    await untilMode(node, "proxy", /NET_ADMIN/);
    await cluster.untilEligible("app/web", WEB, { nodes: [node] });
    const isOpen = async (): Promise<boolean> => (await askFromMachine(node.host, PUBLISHED)).status === 200;
    await until(isOpen, { what: `${PUBLISHED} is open on ${node.name}` });
    const answered = await tallyFromMachine(node, PUBLISHED, { count: 12 });
    assert.deepEqual(Object.keys(answered).toSorted(), WEB);
    await node.stop();
    // Both families, for the next test too.
    await node.start({ settings: { SKEIN_INGRESS_ADDRESS: "::" } });
    await untilMode(node, "kernel", /./);
    await cluster.untilEligible("app/web", WEB);
    await untilLed(cluster, "app/web");
    assert.deepEqual(await tallyFromMachine(node, PUBLISHED, { count: 12 }), EVEN);
  });

  test(
    "kernel: with ingress.address :: the ports are open in IPv6 too, and replicas see who asks",
    { skip },
    async () => {
      const cluster = open();
      const [asking, asked] = [cluster.node(2), cluster.node(3)];
      // One that is on the client's own host would answer it past the ingress.
      await cluster.remove(["web-2"]);
      await cluster.untilEligible("app/web", ["web-1", "web-3"]);
      await untilSettled(cluster);
      const [own, at] = ["fd53::2", "fd53::3"];
      await asking.host.mustExec(["ip", "addr", "add", `${own}/64`, "dev", "eth0", "nodad"]);
      await asked.host.mustExec(["ip", "addr", "add", `${at}/64`, "dev", "eth0", "nodad"]);
      const url = `http://[${at}]:${PUBLISHED}/whoami`;
      const meetings = meetingsIn(await asking.process.get(url, 12));
      assert.deepEqual([...new Set(meetings.map(({ name }) => name))].toSorted(), ["web-1", "web-3"]);
      assert.deepEqual(askersSeen(meetings), [own]);
      const { failures } = await asking.process.get(`http://[${at}]:8080/`);
      assert.match(failures.join(), /status 404/, "the HTTP ingress answers, and has no such host");
    },
  );

  const askerThere = (): LabClient => {
    assert.ok(asker !== null, "there is a container that asks");
    return asker;
  };

  /** Half by VIP from a container of the first host, half by the published port from a process of the second. */
  const underNewConnections = async (action: () => Promise<void>): Promise<readonly Tally[]> => {
    const { process, host } = open().node(2);
    const perSecond = 100;
    return await duringAll(
      [
        { client: askerThere(), load: { url: `http://${vip}/`, perSecond } },
        { client: process, load: { url: `http://${host.address}:${PUBLISHED}/`, perSecond } },
      ],
      action,
    );
  };
});

/** A connection that stood stays where it was led: what it has asked is lost with who was cut off. */
const UNDER_WAY = /: no answer in /;

/** No request failed, but for those whose failure is excused, and each replica answered some. */
function assertUnharmed(tallies: readonly Tally[], excused = /^$/): void {
  for (const { failures, countByName } of tallies) {
    assert.deepEqual(
      failures.filter((failure) => !excused.test(failure)),
      [],
    );
    assert.deepEqual(Object.keys(countByName).toSorted(), WEB);
  }
}

/** A connection from a process of a host to a port, that is then left alone. */
async function holdLine({ host }: SkeinNode, address: string, port: number): Promise<LabProgram> {
  const argv = [process.execPath, LINE_HOLDER, address, String(port)];
  const line = await host.spawn(argv, { log: `line-${port}` });
  await until(() => line.log().includes("held"), { what: `the line to ${address} is held` });
  return line;
}

async function untilMode(node: SkeinNode, mode: "kernel" | "proxy", reason: RegExp): Promise<void> {
  const isSo = async (): Promise<boolean> => {
    const { dataPlane } = await node.status();
    if (dataPlane.mode === mode && reason.test(dataPlane.reason)) return true;
    throw new Error(`it is ${dataPlane.mode}: ${dataPlane.reason}`);
  };
  await until(isSo, { what: `${node.name} is in mode ${mode}`, everyMs: 100 });
}

/** The port of the bridge that a container is plugged into. */
async function addressOf(cluster: SkeinCluster, replica: string): Promise<string> {
  const address = (await addressesOf(cluster, "app/web"))[replica];
  assert.ok(address !== undefined, `${replica} has an address`);
  return address;
}

async function portOf(node: SkeinNode, container: string): Promise<string> {
  const index = Number(await node.inContainer(container, "cat", "/sys/class/net/eth0/iflink"));
  const links = JSON.parse(await node.host.mustExec(["ip", "-json", "link", "show"])) as {
    ifname: string;
    ifindex: number;
  }[];
  const port = links.find(({ ifindex }) => ifindex === index);
  assert.ok(port !== undefined, `${container} is plugged in`);
  return port.ifname;
}
