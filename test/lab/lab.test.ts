/**
 * Tests of the lab itself: that its hosts are hosts, its wires can fail, and that our daemon's assumptions about
 * Linux and Docker (a pool of local addresses, DNS on a bridge's gateway) hold in it.
 *
 * One lab for all tests of this file, in the order written; a test that breaks something mends it.
 *
 * Touches: a lab of three hosts, and two smaller ones.
 */

import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import type { LabHost } from "./host.ts";
import { openLab } from "./lab.ts";
import type { Lab } from "./lab.ts";
import type { LabProgram } from "./program.ts";
import { findLeftovers, sweepStaleRuns } from "./removal.ts";
import { skipReason } from "./requirements.ts";
import { newRunId } from "./run.ts";
import { until } from "../support/wait.ts";

const REPLICA = fileURLToPath(new URL("replica.mjs", import.meta.url));

// Answers every query with the address 10.96.1.2: header with one answer, the question, and a pointer to its name.
const DNS_SERVER = `
const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (query, peer) => {
  const question = query.subarray(12, query.indexOf(0, 12) + 5);
  const header = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 1, 2]);
  socket.send(Buffer.concat([header, question, answer]), peer.port, peer.address);
});
socket.bind(53, process.argv[1], () => console.log("bound"));`;

type Parts = { lab: Lab; h1: LabHost; h2: LabHost; h3: LabHost };

/** What curl in container `name` on a host gets from a URL; null when it gets nothing within 2 s. */
async function curlFrom(host: LabHost, name: string, url: string): Promise<string | null> {
  const { code, stdout } = await host.exec(["docker", "exec", name, "curl", "-s", "--max-time", "2", url]);
  return code === 0 ? stdout.trim() : null;
}

/** A request from this machine, which sits beside the lab's hosts on their wire. */
async function ask(host: LabHost, port: number, path = "/"): Promise<Response> {
  return await fetch(`http://${host.address}:${port}${path}`, { signal: AbortSignal.timeout(2_000) });
}

async function untilAnswering(host: LabHost, port: number, name: string): Promise<void> {
  const answers = async (): Promise<boolean> => (await (await ask(host, port)).text()) === `${name}\n`;
  await until(answers, { what: `${name} answers on port ${port} of ${host.name}`, everyMs: 50 });
}

/** How many of `count` pings from container "probe" on a host are answered. */
async function pings(host: LabHost, address: string, count: number): Promise<number> {
  const ping = ["ping", "-q", "-i", "0.01", "-W", "1", "-c", String(count), address];
  const { stdout } = await host.exec(["docker", "exec", "probe", ...ping]);
  return Number(/(\d+) received/.exec(stdout)?.[1] ?? -1);
}

/** Runs the replica program on a host itself, not in a container. */
async function spawnReplica(host: LabHost, address: string, port: number): Promise<LabProgram> {
  const env = { REPLICA_NAME: host.name, REPLICA_ADDRESS: address, REPLICA_PORTS: String(port) };
  const replica = await host.spawn([process.execPath, REPLICA], { env, log: `replica-${port}` });
  await until(() => replica.log().includes("listening"), {
    what: `the replica on ${address}:${port} listens`,
  });
  return replica;
}

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("lab", { timeout: 300_000 }, () => {
  let parts: Parts | null = null;
  const open = (): Parts => {
    assert.ok(parts !== null, "the lab is open");
    return parts;
  };

  before(async () => {
    if (skip !== false) return;
    const lab = await openLab({ hosts: 3 });
    parts = { lab, h1: lab.host(1), h2: lab.host(2), h3: lab.host(3) };
    // What the tests send from, and send to.
    await parts.h1.docker("run", "-d", "--name=probe", lab.image, "sleep", "infinity");
    await parts.h2.runReplica("web-2", { arguments: ["--publish=8080:8080"] });
    await untilAnswering(parts.h2, 8080, "web-2");
  });

  afterEach((context) => {
    if ("passed" in context && !context.passed) console.error(open().lab.logs());
  });

  after(async () => await parts?.lab.close());

  test(
    "lab: three engines answer, each with its own host's name, and hold the lab's image",
    { skip },
    async () => {
      for (const host of open().lab.hosts) {
        assert.match(await host.docker("version", "--format={{.Server.Version}}"), /^\d+\.\d+/);
        assert.equal(await host.docker("info", "--format={{.Name}}"), host.name);
        assert.equal(
          await host.docker("run", "--rm", open().lab.image, "node", "-p", "process.version"),
          process.version,
        );
      }
    },
  );

  test(
    "lab: /run, /etc and /var/lib of a host are its own, and readable from outside",
    { skip },
    async () => {
      const { h1, h2 } = open();
      for (const path of ["/run/skein-mark", "/etc/skein-mark", "/var/lib/skein-mark"]) {
        await h1.mustExec(["sh", "-c", `cat > ${path}`], { input: "of h1" });
        assert.ok(existsSync(h1.path(path)), `${path} is seen from outside`);
        assert.ok(!existsSync(h2.path(path)), `${path} is not on h2`);
        assert.ok(!existsSync(path), `${path} is not on this machine`);
      }
      assert.equal(await h1.mustExec(["hostname"]), "h1");
      assert.equal((await h1.exec(["sh", "-c", "exit 7"])).code, 7);
    },
  );

  test("lab: a program that does not end in time is ended, with its children", { skip }, async () => {
    const { h1 } = open();
    const stuck = h1.exec(["sh", "-c", "sleep 1234 & sleep 1234"], { timeoutMs: 300 });
    await assert.rejects(stuck, /not done within 300 ms/);
    const commands = async (): Promise<string> => await h1.mustExec(["sh", "-c", "cat /proc/[0-9]*/cmdline"]);
    await until(async () => !(await commands()).includes("sleep\u{0}1234"), {
      what: "the sleepers have ended",
    });
  });

  test(
    "lab: a container reaches a port published on another host, and so does this machine",
    { skip },
    async () => {
      const { h1, h2 } = open();
      assert.equal(await curlFrom(h1, "probe", `http://${h2.address}:8080/`), "web-2");
      assert.equal(await (await ask(h2, 8080)).text(), "web-2\n");
      assert.equal(await pings(h1, h2.address, 5), 5);
    },
  );

  test("lab: a container reaches its bridge's gateway", { skip }, async () => {
    const { h1 } = open();
    const replica = await spawnReplica(h1, h1.bridgeGateway, 9001);
    assert.equal(await curlFrom(h1, "probe", `http://${h1.bridgeGateway}:9001/`), "h1");
    assert.deepEqual(await replica.stop(), { code: 0, signal: null });
  });

  test(
    "lab: with a local route for the VIP pool a container reaches a listener on a VIP",
    { skip },
    async () => {
      const { h1 } = open();
      await h1.mustExec(["ip", "route", "add", "local", "10.96.0.0/12", "dev", "lo"]);
      const replica = await spawnReplica(h1, "10.96.1.2", 80);
      assert.equal(await curlFrom(h1, "probe", "http://10.96.1.2/"), "h1");
      await replica.stop();
      await h1.mustExec(["ip", "route", "del", "local", "10.96.0.0/12", "dev", "lo"]);
    },
  );

  test(
    "lab: docker run --dns <bridge gateway> asks a server on port 53 of the gateway",
    { skip },
    async () => {
      const { lab, h1 } = open();
      const server = await h1.spawn([process.execPath, "-e", DNS_SERVER, h1.bridgeGateway], { log: "dns" });
      await until(() => server.log().includes("bound"), { what: "the DNS server is bound" });
      const run = ["run", "--rm", `--dns=${h1.bridgeGateway}`, lab.image];
      assert.match(await h1.docker(...run, "getent", "ahostsv4", "web"), /^10\.96\.1\.2\s/);
      assert.equal(await h1.docker(...run, "kdig", "+short", "web.skein.internal"), "10.96.1.2");
      await server.stop();
    },
  );

  test("lab: a cut link parts a host from the others until it is healed", { skip }, async () => {
    const { h1, h2 } = open();
    const address = await h2.mustExec(["ip", "-br", "addr", "show", "eth0"]);
    await h2.cutLink();
    assert.equal(await curlFrom(h1, "probe", `http://${h2.address}:8080/`), null);
    assert.match(await h2.mustExec(["cat", "/sys/class/net/eth0/carrier"]), /^0$/);
    await h2.healLink();
    await untilAnswering(h2, 8080, "web-2");
    assert.equal(await curlFrom(h1, "probe", `http://${h2.address}:8080/`), "web-2");
    assert.equal(await h2.mustExec(["ip", "-br", "addr", "show", "eth0"]), address);
  });

  test("lab: loss takes some frames, all, or none", { skip }, async () => {
    const { h1, h2, h3 } = open();
    await h2.loss(30);
    const some = await pings(h1, h2.address, 100);
    assert.ok(some > 10 && some < 90, `${some} of 100 pings came back; expected about 49`);
    await h2.loss(100);
    assert.equal(await pings(h1, h2.address, 5), 0);
    assert.equal(await pings(h1, h3.address, 5), 5);
    await h2.loss(0);
    assert.equal(await pings(h1, h2.address, 50), 50);
  });

  test("lab: a block drops one direction between two hosts", { skip }, async () => {
    const { lab, h1, h2, h3 } = open();
    // ARP would hide which direction is blocked: both must know each other already.
    assert.equal(await pings(h1, h2.address, 1), 1);
    await lab.block({ from: "h2", to: "h1" });
    const seen = async (): Promise<string> =>
      await h2.mustExec(["cat", "/sys/class/net/eth0/statistics/rx_packets"]);
    const before = Number(await seen());
    assert.equal(await pings(h1, h2.address, 5), 0);
    assert.ok(Number(await seen()) >= before + 5, "the requests arrive");
    assert.equal(await pings(h1, h3.address, 2), 2);
    await lab.unblock({ from: "h2", to: "h1" });
    await until(async () => (await pings(h1, h2.address, 1)) === 1, { what: "h2 answers h1" });
  });

  test("lab: a paused container keeps still until unpaused, and a killed one is gone", { skip }, async () => {
    const { h1, h2 } = open();
    const url = `http://${h2.address}:8080/`;
    await h2.pause("web-2");
    assert.equal(await curlFrom(h1, "probe", url), null);
    await h2.docker("unpause", "web-2");
    assert.equal(await curlFrom(h1, "probe", url), "web-2");
    await h2.runReplica("web-3");
    await h2.docker("kill", "web-3");
    assert.equal(await h2.docker("inspect", "--format={{.State.ExitCode}}", "web-3"), "137");
  });

  test(
    "lab: a replica that is stopped answers what is in flight, and ends with code 0",
    { skip },
    async () => {
      const { h3 } = open();
      await h3.runReplica("web-4", {
        labels: { "skein.service": "web" },
        arguments: ["--publish=8080:8080"],
      });
      assert.equal(await h3.docker("ps", "--quiet", "--filter=label=skein.service=web").then(Boolean), true);
      await untilAnswering(h3, 8080, "web-4");
      const slow = await ask(h3, 8080, "/slow?ms=800&head");
      const [text] = await Promise.all([slow.text(), h3.docker("stop", "web-4")]);
      assert.equal(text, "web-4\n");
      assert.equal(await h3.docker("inspect", "--format={{.State.ExitCode}}", "web-4"), "0");
    },
  );

  test("lab: a program on a host can be frozen, thawed, and ended while frozen", { skip }, async () => {
    const { h3 } = open();
    const replica = await spawnReplica(h3, h3.address, 9002);
    replica.signal("SIGSTOP");
    await assert.rejects(ask(h3, 9002), { name: "TimeoutError" });
    replica.signal("SIGCONT");
    await untilAnswering(h3, 9002, "h3");
    assert.equal(replica.exit, null);
    replica.signal("SIGSTOP");
    assert.deepEqual(await replica.stop("SIGKILL"), { code: null, signal: "SIGKILL" });
    await assert.rejects(h3.spawn(["/no/such/program"]), /ended at once/);
  });

  test("lab: an engine restarts, and a host without power comes back with its disk", { skip }, async () => {
    const { h1, h3 } = open();
    await h3.stopEngine();
    await assert.rejects(h3.docker("version"));
    await h3.startEngine();
    writeFileSync(h3.path("/var/lib/skein-disk"), "kept");
    writeFileSync(h3.path("/run/skein-memory"), "lost");
    await h3.runReplica("web-5", { arguments: ["--publish=8085:8080", "--restart=always"] });
    await h3.powerOff();
    assert.equal(await pings(h1, h3.address, 1), 0);
    await h3.boot();
    assert.equal(await h3.mustExec(["cat", "/var/lib/skein-disk"]), "kept");
    assert.ok(!existsSync(h3.path("/run/skein-memory")));
    await untilAnswering(h3, 8085, "web-5");
    assert.equal(await curlFrom(h1, "probe", `http://${h3.address}:8085/`), "web-5");
  });

  test(
    "lab: labs side by side do not meet, even when opened at once for the same range",
    { skip },
    async () => {
      const { lab, h1 } = open();
      // The last four letters choose where the search for a range begins.
      const runIds = [`${newRunId()}-same`, `${newRunId()}-same`];
      const others = await Promise.all(
        runIds.map(
          async (runId) => await openLab({ runId, hosts: 1, images: "none", bridgeSubnets: "same" }),
        ),
      );
      const addresses = [lab, ...others].flatMap((each) => each.hosts.map((host) => host.address));
      assert.equal(new Set(addresses).size, 5);
      for (const other of others) {
        assert.equal(await other.host(1).docker("info", "--format={{.Name}}"), "h1");
        assert.equal(await pings(h1, other.host(1).address, 1), 0);
        assert.equal(other.host(1).bridgeGateway, "172.17.0.1");
      }
      await assert.rejects(openLab({ runId: lab.runId }), /EEXIST/);
      assert.ok(!(await sweepStaleRuns()).some((id) => [lab.runId, ...runIds].includes(id)));
      for (const other of others) await other.close();
      assert.deepEqual(runIds.flatMap(findLeftovers), []);
      assert.equal(await pings(h1, open().h2.address, 1), 1);
    },
  );

  test("lab: closing leaves nothing behind, and may be done twice", { skip }, async () => {
    const { lab } = open();
    assert.notDeepEqual(findLeftovers(lab.runId), []);
    await lab.close();
    assert.deepEqual(findLeftovers(lab.runId), []);
    await lab.close();
  });
});
