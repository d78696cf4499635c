/**
 * Tests of names as containers of real engines ask for them, whichever way their questions come to us.
 *
 * Docker stands in between: it copies the host's resolv.conf, or answers itself at 127.0.0.11 and hands on what it does
 * not know. Numbers in brackets are those of the cases in Weave's suite, which any name server for containers should
 * pass. One cluster for all tests of this file, in the order written; its third host also is the upstream of the other
 * two, and remembers what it was asked.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";

import type { DoctorReport } from "../../src/admin/contract-doctor.ts";

import { LAB_IMAGE } from "./host.ts";
import type { LabProgram } from "./program.ts";
import { skipReason } from "./requirements.ts";
import { prepareCluster, type SkeinCluster, type SkeinNode } from "./skein.ts";
import { until } from "../support/wait.ts";

const DOMAIN = "skein.internal";
const FOREIGN = { name: "host.test", address: "203.0.113.7" };
/** So many replicas have static services of the first host. */
const MANY = [50, 500];
const LABELS = { "skein.port": "http=80:8080/http" };

/** Within which all is as before, from when a fault has ended. */
const HEALED_MS = 2000;

const [NOERROR, SERVFAIL, NXDOMAIN, REFUSED] = [0, 2, 3, 5];

/** What kdig tells of an answer. */
interface Told {
  readonly rcode: number;
  /** Type and content of each record, sorted. */
  readonly answers: readonly string[];
}

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("dns", { timeout: 400_000 }, () => {
  let opened: SkeinCluster | null = null;
  let upstream: LabProgram | null = null;
  const open = (): SkeinCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  before(async () => {
    if (skip !== false) return;
    // Engines keep containers running when they stop, so that one can be started with another configuration.
    // So daemons outlive it as well, as processes: a socket that is mounted is the old engine's. And doctor reads what
    // containers ask by, which a container does not see.
    const cluster = await prepareCluster({ engineArguments: ["--live-restore"], daemons: "processes" });
    opened = cluster;
    upstream = await startUpstream(cluster.node(3));
    for (const nth of [1, 2]) {
      const { host } = cluster.node(nth);
      // The first one refuses port 53, and so is no more than a name in this list (290).
      const servers = [cluster.lab.gateway, cluster.node(3).host.address];
      writeFileSync(
        host.path("/etc/resolv.conf"),
        servers.map((server) => `nameserver ${server}\n`).join(""),
      );
    }
    await serveMany(cluster.node(1));
    await cluster.start();
    await cluster.untilEligible("web", await cluster.runReplicas("web", [1, 2], LABELS));
  });

  afterEach((context) => {
    if ("passed" in context && !context.passed && opened !== null) console.error(opened.lab.logs());
  });

  after(async () => await opened?.close());

  const vipOf = async (service: string): Promise<string> => {
    const { vip = null } = (await open().node(1).explain(service)) ?? {};
    assert.ok(vip !== null, `${service} has a VIP`);
    return vip;
  };

  /** Asks for everything that a container may ask for, in one; throws at the first wrong answer. */
  const expectNames = async (node: SkeinNode, container: string): Promise<void> => {
    const vip = await vipOf("web");
    const asked = async (name: string, type = "A"): Promise<Told> => await ask(node, container, name, type);
    for (const name of ["web", "web.default", `web.default.${DOMAIN}`, `WEB.Default.${DOMAIN}`]) {
      const looked = await node.inContainer(container, "getent", "ahostsv4", name);
      assert.equal(looked.split(/\s/)[0], vip, `${name} by the C library in ${container}`);
    }
    const full = `web.default.${DOMAIN}`;
    assert.deepEqual(await asked(full), { rcode: NOERROR, answers: [`A ${vip}`] });
    assert.deepEqual(await asked(full, "AAAA"), { rcode: NOERROR, answers: [] });
    assert.deepEqual(await asked(full, "MX"), { rcode: NOERROR, answers: [] });
    assert.deepEqual(await asked(`nosuch.default.${DOMAIN}`), { rcode: NXDOMAIN, answers: [] });
    assert.equal((await asked(`tasks.${full}`)).answers.length, 2);
    const srv = [`SRV 0 1 8080 web-1.${full}.`, `SRV 0 1 8080 web-2.${full}.`];
    assert.deepEqual(await asked(`_http._tcp.${full}`, "SRV"), { rcode: NOERROR, answers: srv });
    assert.deepEqual(await asked(reverseOf(vip), "PTR"), { rcode: NOERROR, answers: [`PTR ${full}.`] });
  };

  /** Starts a container that only is there, and waits until it can ask for `web`. */
  const runAsker = async (node: SkeinNode, name: string, ...words: readonly string[]): Promise<void> => {
    await node.host.docker("run", "--detach", `--name=${name}`, ...words, LAB_IMAGE, "sleep", "infinity");
    // A network's gateway answers once Docker has told of it.
    const canAsk = async (): Promise<boolean> => {
      return (await ask(node, name, `web.default.${DOMAIN}`)).answers.length === 1;
    };
    await until(canAsk, { what: `${name} finds web`, everyMs: 100 });
  };

  const createNetwork = async (
    node: SkeinNode,
    name: string,
    ...words: readonly string[]
  ): Promise<string> => {
    await node.host.docker("network", "create", ...words, name);
    return await node.host.docker("network", "inspect", "--format={{(index .IPAM.Config 0).Gateway}}", name);
  };

  test(
    "dns: on the default bridge, with its gateway as name server, all names are there",
    { skip },
    async () => {
      for (const node of [open().node(1), open().node(2)]) await expectNames(node, "client");
    },
  );

  for (const gateway of ["the host's", "its own"]) {
    test(
      `dns: on a user-defined network, behind Docker's server and ${gateway} gateway, all names are there`,
      { skip },
      async () => {
        const node = open().node(1);
        const [network, name] =
          gateway === "its own" ? ["own-gateway", "asker-own"] : ["far-gateway", "asker-far"];
        const own = await createNetwork(node, network);
        const server = gateway === "its own" ? own : node.host.bridgeGateway;
        await runAsker(node, name, `--network=${network}`, `--dns=${server}`);
        assert.match(await node.inContainer(name, "cat", "/etc/resolv.conf"), /^nameserver 127\.0\.0\.11$/m);
        await expectNames(node, name);
        const body = await node.inContainer(name, "curl", "-sS", "http://web/");
        assert.match(body, /^web-[12]$/);
        // Docker's own names are there beside ours.
        await node.host.runReplica(`${name}-peer`, { arguments: [`--network=${network}`] });
        assert.equal((await ask(node, name, `${name}-peer`)).answers.length, 1);
        await node.host.docker("rm", "--force", name, `${name}-peer`);
      },
    );
  }

  test(
    "dns: 50 and 500 addresses come whole, past Docker's server and through it (295)",
    { skip },
    async () => {
      const node = open().node(1);
      await createNetwork(node, "crowded");
      await runAsker(node, "asker-crowded", "--network=crowded", `--dns=${node.host.bridgeGateway}`);
      for (const count of MANY) {
        const name = `tasks.many-${count}.default.${DOMAIN}`;
        const isThere = async (): Promise<boolean> => (await node.eligible(`many-${count}`)).length === count;
        await until(isThere, { what: `all of many-${count} are ready` });
        const wanted = addressesOf(count).map((address) => `A ${address}`);
        for (const container of ["client", "asker-crowded"]) {
          for (const flags of [[], ["+tcp"], ["+bufsize=700"], ["+tcp", "+bufsize=700"]]) {
            const told = await ask(node, container, name, ...flags);
            assert.deepEqual(told, { rcode: NOERROR, answers: wanted }, `in ${container} ${flags.join(" ")}`);
          }
          const looked = await node.inContainer(container, "getent", "ahostsv4", name);
          assert.equal(new Set(looked.split("\n").map((line) => line.split(" ")[0])).size, count, container);
        }
      }
      await node.host.docker("rm", "--force", "asker-crowded");
    },
  );

  test("dns: an internal network has our names and Docker's (TestInternalNetworkDNS)", { skip }, async () => {
    const node = open().node(1);
    const gateway = await createNetwork(node, "sealed", "--internal");
    await runAsker(node, "asker-sealed", "--network=sealed", `--dns=${gateway}`);
    await expectNames(node, "asker-sealed");
    await node.host.runReplica("sealed-peer", { arguments: ["--network=sealed"] });
    assert.equal((await ask(node, "asker-sealed", "sealed-peer")).answers.length, 1);
    await node.host.docker("rm", "--force", "asker-sealed", "sealed-peer");
  });

  test(
    "dns: for an internal network's containers nothing is asked outside (TestInternalNetworkDNS)",
    { skip },
    async () => {
      const node = open().node(1);
      const { host } = node;
      const name = "asker-silent";
      const gateway = await createNetwork(node, "silent", "--internal");
      await runAsker(node, name, "--network=silent", `--dns=${gateway}`);
      for (const [foreign, server] of [
        ["through-docker.test", []],
        ["past-docker.test", [`@${gateway}`]],
      ] as const) {
        // Docker's own server makes a failure of its own of every other one.
        const { rcode } = await ask(node, name, ...server, foreign);
        assert.ok(rcode === REFUSED || (server.length === 0 && rcode === SERVFAIL), `${foreign}: ${rcode}`);
        assert.ok(!(upstream?.log() ?? "").includes(foreign), `${foreign} left the host`);
      }
      // With a way out it may ask outside, without one no more, and of us it knows the same all the time.
      const foreignCode = async (): Promise<number> =>
        (await ask(node, name, `@${gateway}`, FOREIGN.name)).rcode;
      for (const [verb, wanted] of [
        ["connect", NOERROR],
        ["disconnect", REFUSED],
      ] as const) {
        await host.docker("network", verb, "bridge", name);
        await until(async () => (await foreignCode()) === wanted, {
          what: `${verb}ed: ${wanted}`,
          everyMs: 100,
        });
        assert.equal((await ask(node, name, `web.default.${DOMAIN}`)).answers.length, 1, verb);
      }
      await host.docker("rm", "--force", name);
    },
  );

  test("dns: with our address in daemon.json every container asks us", { skip }, async () => {
    const node = open().node(3);
    const { host } = node;
    await host.stopEngine();
    mkdirSync(host.path("/etc/docker"), { recursive: true });
    writeFileSync(host.path("/etc/docker/daemon.json"), JSON.stringify({ dns: [host.bridgeGateway] }));
    await host.startEngine();
    await runAsker(node, "asker-bridge");
    await expectNames(node, "asker-bridge");
    await createNetwork(node, "plain");
    await runAsker(node, "asker-plain", "--network=plain");
    await expectNames(node, "asker-plain");
    await host.docker("rm", "--force", "asker-bridge", "asker-plain");
  });

  test("dns: who asks through Docker's server sees the networks of its container", { skip }, async () => {
    const cluster = open();
    const node = cluster.node(1);
    const blue = await cluster.runReplicas("sky", [2], { ...LABELS, "skein.network": "blue" });
    await cluster.untilEligible("blue/sky", blue);
    await createNetwork(node, "viewers");
    const words = ["--network=viewers", `--dns=${node.host.bridgeGateway}`];
    const { host } = node;
    const runViewer = async (name: string, network: string): Promise<void> => {
      const labels = [`--label=skein.network=${network}`, "--label=skein.enable=false"];
      await host.docker(
        "run",
        "--detach",
        `--name=${name}`,
        ...words,
        ...labels,
        LAB_IMAGE,
        "sleep",
        "infinity",
      );
    };
    await Promise.all([runViewer("in-blue", "blue"), runViewer("in-default", "default")]);
    const sky = [`A ${await vipOf("blue/sky")}`];
    for (const name of ["sky", "sky.blue", `sky.blue.${DOMAIN}`]) {
      const seen = async (): Promise<boolean> => (await ask(node, "in-blue", name)).answers[0] === sky[0];
      await until(seen, { what: `${name} is seen in blue`, everyMs: 100 });
      assert.equal((await ask(node, "in-default", name)).answers.length, 0, `${name} in default`);
    }
    assert.equal((await ask(node, "in-default", `sky.blue.${DOMAIN}`)).rcode, NXDOMAIN);
    assert.equal((await ask(node, "in-blue", `web.default.${DOMAIN}`)).rcode, NXDOMAIN);
    const reverse = reverseOf(await vipOf("blue/sky"));
    assert.deepEqual((await ask(node, "in-blue", reverse, "PTR")).answers, [`PTR sky.blue.${DOMAIN}.`]);
    assert.equal((await ask(node, "in-default", reverse, "PTR")).rcode, NXDOMAIN);
    await cluster.remove([...blue, "in-blue", "in-default"]);
  });

  test("dns: names have any case, as given and as asked, and backwards too (245)", { skip }, async () => {
    const cluster = open();
    const node = cluster.node(1);
    await node.host.runReplica("Shop_Front", { labels: { "skein.service": "SHOP", ...LABELS } });
    await cluster.untilEligible("shop", ["shop_front"]);
    const vip = await vipOf("shop");
    for (const name of ["shop", "SHOP", `Shop.DEFAULT.${DOMAIN.toUpperCase()}`]) {
      assert.deepEqual((await ask(node, "client", name)).answers, [`A ${vip}`], name);
    }
    assert.equal((await ask(node, "client", `SHOP_front.shop.default.${DOMAIN}`)).answers.length, 1);
    const reversed = await ask(node, "client", reverseOf(vip).toUpperCase(), "PTR");
    assert.deepEqual(reversed.answers, [`PTR shop.default.${DOMAIN}.`]);
    await cluster.remove(["Shop_Front"]);
  });

  test("dns: the name of an address follows it through three containers (265)", { skip }, async () => {
    const cluster = open();
    const node = cluster.node(1);
    await createNetwork(node, "reused", "--subnet=10.201.250.0/24");
    const address = "10.201.250.77";
    for (const name of ["alpha", "beta", "gamma"]) {
      const labels = { "skein.service": "heir", ...LABELS };
      await node.host.runReplica(name, { labels, arguments: ["--network=reused", `--ip=${address}`] });
      const full = `${name}.heir.default.${DOMAIN}`;
      const follows = async (): Promise<boolean> =>
        (await ask(node, "client", reverseOf(address), "PTR")).answers.join() === `PTR ${full}.`;
      await until(follows, { what: `${address} is ${name}` });
      assert.deepEqual((await ask(node, "client", full)).answers, [`A ${address}`]);
      // A bridge's addresses are another container's on another host.
      const elsewhere = await ask(cluster.node(2), "client", reverseOf(address), "PTR");
      assert.deepEqual(elsewhere, { rcode: NXDOMAIN, answers: [] });
      await cluster.remove([name]);
    }
    const isGone = async (): Promise<boolean> =>
      (await ask(node, "client", reverseOf(address), "PTR")).answers.length === 0;
    await until(isGone, { what: `${address} is nobody's` });
  });

  test("dns: a removed container is gone from every answer (260)", { skip }, async () => {
    const cluster = open();
    const replicas = await cluster.runReplicas("brief", [1, 2], LABELS);
    await cluster.untilEligible("brief", replicas);
    const asked = async (name: string, type = "A"): Promise<Told[]> =>
      await Promise.all([1, 2, 3].map((nth) => ask(cluster.node(nth), "client", name, type)));
    const full = `brief.default.${DOMAIN}`;
    assert.ok((await asked(`tasks.${full}`)).every(({ answers }) => answers.length === 2));
    const held = (await asked(`brief-1.${full}`))[0]?.answers[0] ?? "";
    await cluster.remove(["brief-1"]);
    await cluster.untilEligible("brief", ["brief-2"]);
    for (const { answers } of await asked(`tasks.${full}`)) {
      assert.ok(answers.length === 1 && !answers.includes(held), answers.join());
    }
    const isUnnamed = async (): Promise<boolean> =>
      (await asked(`brief-1.${full}`)).every(({ rcode }) => rcode === NXDOMAIN);
    await until(isUnnamed, { what: "its own name is gone", deadlineMs: 2000 });
    await cluster.remove(["brief-2"]);
    const isForgotten = async (): Promise<boolean> =>
      (await asked(full)).every(({ rcode }) => rcode === NXDOMAIN);
    await until(isForgotten, { what: "the service's name is gone", deadlineMs: 10_000 });
  });

  test("dns: a daemon that starts again has the names of its host at once (255)", { skip }, async () => {
    const node = open().node(1);
    const vip = await vipOf("web");
    await node.stop();
    await node.start();
    await expectNames(node, "client");
    assert.equal(await vipOf("web"), vip);
    await open().untilEligible("web", ["web-1", "web-2"]);
  });

  test(
    "dns: a container removed while its host is cut off from one other is gone there within 2 s of healing (215)",
    { skip },
    async () => {
      const cluster = open();
      const [asking, between, cut] = [cluster.node(1), cluster.node(2), cluster.node(3)];
      const replicas = await cluster.runReplicas("stale", [3], LABELS);
      await cluster.untilEligible("stale", replicas);
      // The first reaches the third through the second alone, and then the second hears nothing of it either.
      const ways = [
        { from: "h1", to: "h3" },
        { from: "h3", to: "h1" },
        { from: "h2", to: "h3" },
      ];
      await cluster.lab.block(...ways);
      await cluster.remove(replicas);
      await asking.stop();
      await asking.start();
      await cluster.lab.unblock(...ways);
      const isGone = async (): Promise<boolean> => {
        const told = await Promise.all(
          [asking, between, cut].map((node) => ask(node, "client", `tasks.stale.default.${DOMAIN}`)),
        );
        return told.every(({ answers }) => answers.length === 0);
      };
      await until(isGone, { what: "the record is gone everywhere", deadlineMs: HEALED_MS });
      await cluster.untilWhole();
      const isUnknown = async (): Promise<boolean> =>
        (await ask(asking, "client", `stale.default.${DOMAIN}`)).rcode === NXDOMAIN;
      await until(isUnknown, { what: "the name is gone" });
    },
  );

  test(
    "dns: doctor tells of each container how its questions come to us, and what to do where they do not",
    { skip },
    async () => {
      const cluster = open();
      const { host } = cluster.node(1);
      await createNetwork(cluster.node(1), "doctored");
      const gateway = host.bridgeGateway;
      const runOne = async (name: string, ...words: readonly string[]): Promise<string> =>
        await host.runReplica(name, { labels: { "skein.service": "patient", ...LABELS }, arguments: words });
      await runOne("told", `--dns=${gateway}`);
      await runOne("behind", "--network=doctored", `--dns=${gateway}`);
      await runOne("untold");
      const sealed = await createNetwork(cluster.node(1), "sealed-doctored", "--internal");
      await runOne("sealed", "--network=sealed-doctored", `--dns=${sealed}`);
      await runOne("unsaid", "--network=doctored");
      await cluster.untilEligible("patient", ["behind", "sealed", "told", "unsaid", "untold"]);

      const { code, checks } = await diagnosed(cluster.node(1));
      assert.equal(code, 0, JSON.stringify(checks));
      const ofOne = (name: string): Check => checkOf(checks, "container", name);
      assert.equal(ofOne("told").state, "ok");
      assert.match(ofOne("told").text, new RegExp(`^asks ${gateway}: this daemon`));
      assert.equal(ofOne("behind").state, "ok");
      assert.match(ofOne("behind").text, new RegExp(`^asks Docker's own server .*${gateway}: this daemon`));
      assert.equal(ofOne("untold").state, "ok");
      assert.match(ofOne("untold").text, /^asks .*, which the kernel's rules lead to this daemon/);
      assert.equal(ofOne("sealed").state, "warn");
      assert.match(ofOne("sealed").text, /^all its networks are internal: /);
      // Docker writes down whom its server asks since version 26; before, nobody can tell.
      assert.match(
        ofOne("unsaid").text,
        /^asks Docker's own server .*not this daemon|^the kernel's rules lead its questions to this daemon/,
      );
      assert.deepEqual(checkOf(checks, "gateway", `${gateway}:53`).state, "ok");
      assert.deepEqual(
        checks.filter(({ area }) => area === "upstream").map(({ subject, state }) => [subject, state]),
        [
          [`${cluster.lab.gateway}:53`, "warn"],
          [`${cluster.node(3).host.address}:53`, "ok"],
        ],
        "one that refuses is not said to answer",
      );

      // What it says is true: those it calls well are answered, and then it has seen them ask.
      for (const name of ["told", "behind", "untold"]) {
        assert.equal((await ask(cluster.node(1), name, `web.default.${DOMAIN}`)).rcode, NOERROR, name);
        const after = checkOf((await diagnosed(cluster.node(1))).checks, "container", name);
        assert.match(after.text, /^asked this daemon \d+ s ago$/);
      }
      assert.equal(
        (await ask(cluster.node(1), "sealed", `@${sealed}`, `web.default.${DOMAIN}`)).rcode,
        NOERROR,
      );
      const after = checkOf((await diagnosed(cluster.node(1))).checks, "container", "sealed");
      assert.match(after.text, /^asked this daemon \d+ s ago; names outside the zone are refused/);
      await cluster.remove(["told", "behind", "untold", "sealed", "unsaid"]);
    },
  );

  test(
    "dns: where another server holds the gateway's port the kernel leads past it, and without it doctor fails",
    { skip },
    async () => {
      const cluster = open();
      const node = cluster.node(2);
      const { host } = node;
      await node.stop();
      const where = [`--listen-address=${host.bridgeGateway}`, "--bind-interfaces", "--no-resolv"];
      const quiet = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"];
      const holder = await host.spawn(["dnsmasq", ...where, ...quiet, "--log-facility=-"], { log: "holder" });
      await until(() => holder.log().includes("started"), { what: "the gateway's port is held" });
      await node.start();
      const words = [`--dns=${host.bridgeGateway}`];
      await host.runReplica("held", { labels: { "skein.service": "patient", ...LABELS }, arguments: words });
      await cluster.untilEligible("patient", ["held"]);
      const isLed = async (): Promise<boolean> =>
        (await ask(node, "held", `web.default.${DOMAIN}`)).rcode === NOERROR;
      await until(isLed, { what: "held is answered all the same", everyMs: 100 });
      assert.equal(checkOf((await diagnosed(node)).checks, "container", "held").state, "ok");
      await node.stop();
      await node.start({ settings: { SKEIN_DATAPLANE_MODE: "proxy" } });
      await cluster.untilEligible("patient", ["held"]);
      const { code, checks } = await diagnosed(node);
      assert.equal(code, 1);
      const place = `${host.bridgeGateway}:53`;
      const [gateway, container] = [checkOf(checks, "gateway", place), checkOf(checks, "container", "held")];
      assert.deepEqual([gateway.state, container.state], ["warn", "fail"]);
      for (const { text } of [gateway, container]) assert.match(text, /is taken; expected a free port/);
      await holder.stop();
      const isWell = async (): Promise<boolean> => (await diagnosed(node)).code === 0;
      await until(isWell, { what: "it answers at the gateway after all", everyMs: 250 });
      assert.equal((await ask(node, "held", `web.default.${DOMAIN}`)).rcode, NOERROR);
      await cluster.remove(["held"]);
    },
  );

  test(
    "dns: foreign names go to the upstream that answers, ours never leave (250, 290, moby#22185)",
    { skip },
    async () => {
      const node = open().node(1);
      assert.deepEqual(await ask(node, "client", FOREIGN.name), {
        rcode: NOERROR,
        answers: [`A ${FOREIGN.address}`],
      });
      assert.deepEqual(await ask(node, "client", FOREIGN.name, "AAAA"), { rcode: NOERROR, answers: [] });
      assert.equal((await ask(node, "client", "nosuch.test")).rcode, NXDOMAIN);
      assert.ok(upstream !== null);
      const queried = [...upstream.log().matchAll(/query\[[^\]]*\] (\S+) from/g)].map(
        ([, name = ""]) => name,
      );
      assert.ok(queried.includes(FOREIGN.name), "the upstream is asked, and tells what");
      // Names of one label, of the domain, and of addresses that may be VIPs (10.96.0.0/12).
      const ours = new RegExp(`^[^.]+$|${DOMAIN}$|\\.(9[6-9]|10\\d|11[01])\\.10\\.in-addr\\.arpa$`, "i");
      const isOurs = (name: string): boolean => ours.test(name);
      assert.deepEqual(queried.filter(isOurs), []);
    },
  );
});

/** One check of a doctor. */
type Check = DoctorReport["checks"][number];

/** What `skein doctor` says on a host, and how it ends. */
async function diagnosed(node: SkeinNode): Promise<DoctorReport & { readonly code: number }> {
  const { code, stdout, stderr } = await node.cli("doctor", "-o", "json");
  assert.notEqual(stdout, "", stderr);
  return { code, ...(JSON.parse(stdout) as DoctorReport) };
}

function checkOf(checks: readonly Check[], area: Check["area"], subject: string): Check {
  const found = checks.find((check) => check.area === area && check.subject === subject);
  assert.ok(found !== undefined, `${area} ${subject} is in ${JSON.stringify(checks)}`);
  return found;
}

function reverseOf(address: string): string {
  return `${address.split(".").toReversed().join(".")}.in-addr.arpa`;
}

/** What a container is told by the name server of its resolv.conf; `words` are those of kdig: a name, a type, flags. */
async function ask(node: SkeinNode, container: string, ...words: readonly string[]): Promise<Told> {
  const argv = ["kdig", "+json", "+retry=1", "+timeout=2", ...words];
  const text = await node.inContainer(container, ...argv);
  const { RCODE, answerRRs = [] } = JSON.parse(text) as {
    readonly RCODE: number;
    readonly answerRRs?: readonly (Readonly<Record<string, unknown>> & { readonly TYPEname: string })[];
  };
  const answers = answerRRs.map(
    (record) => `${record.TYPEname} ${String(record[`rdata${record.TYPEname}`])}`,
  );
  return { rcode: RCODE, answers: answers.toSorted() };
}

/** Addresses of so many replicas, sorted. */
function addressesOf(count: number): readonly string[] {
  const nth = (at: number): string => `127.${count / 10}.${Math.floor(at / 250)}.${1 + (at % 250)}`;
  return Array.from({ length: count }, (_, at) => nth(at)).toSorted();
}

/** Gives a host whose daemon is not started yet static services with as many replicas as MANY says. */
async function serveMany({ host }: SkeinNode): Promise<void> {
  const program = `require("node:net").createServer((socket) => socket.end())
    .listen(9100, () => console.log("listening"))`;
  const listener = await host.spawn([process.execPath, "--eval", program], { log: "listener" });
  await until(() => listener.log().includes("listening"), { what: "the replicas listen" });
  const services = MANY.map((count) => ({
    name: `many-${count}`,
    ports: [{ port: 80 }],
    replicas: addressesOf(count).map((address) => `${address}:9100`),
    health: { interval: "10s" },
  }));
  mkdirSync(host.path("/etc/skein"), { recursive: true });
  writeFileSync(host.path("/etc/skein/skein.yaml"), JSON.stringify({ services }));
}

/** Starts dnsmasq on a host, at its address on the wire; its log tells what it was asked. */
async function startUpstream({ host }: SkeinNode): Promise<LabProgram> {
  const where = [`--listen-address=${host.address}`, "--bind-interfaces", "--no-resolv", "--no-hosts"];
  const names = ["--address=/#/", `--host-record=${FOREIGN.name},${FOREIGN.address}`];
  const quiet = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"];
  const logged = ["--log-queries", "--log-facility=-"];
  const program = await host.spawn(["dnsmasq", ...where, ...names, ...quiet, ...logged], { log: "upstream" });
  const answers = async (): Promise<boolean> => {
    const argv = ["kdig", "+short", `@${host.address}`, FOREIGN.name];
    return (await host.mustExec(argv)).trim() === FOREIGN.address;
  };
  await until(answers, { what: "the upstream answers" });
  return program;
}
