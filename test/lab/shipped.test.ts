/**
 * Tests of the image as users run it: what it may, how it starts, how it is stopped and upgraded.
 *
 * Touches: a lab of two hosts.
 */

import assert from "node:assert/strict";
import { chownSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";

import { until } from "../support/wait.ts";

import { composeWords } from "./compose.ts";
import { duringAll } from "./lab-client.ts";
import { skipReason } from "./requirements.ts";
import { NEXT_VERSION, SKEIN_IMAGE } from "./shipped.ts";
import { openCluster, type SkeinCluster, type SkeinNode } from "./skein.ts";
import { holdLines } from "./traffic.ts";

const WEB = ["web-1", "web-2"];
const LABELS = { "skein.port": "80:8080/http" };
const COMPOSE = readFileSync(new URL("../../compose.yaml", import.meta.url), "utf8");
const USER = 1000;

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

test("compose: what compose.yaml says is what docker run is told; what is not known is refused", () => {
  const words = composeWords(COMPOSE, { SKEIN_MESH_JOIN: "192.0.2.1:7650" });
  for (const word of ["--read-only", "--cap-drop=ALL", "--cap-add=NET_ADMIN", "--network=host"]) {
    assert.ok(words.includes(word), word);
  }
  assert.ok(words.includes("--env=SKEIN_MESH_JOIN=192.0.2.1:7650"));
  assert.ok(
    composeWords(COMPOSE, {}).includes("--env=SKEIN_MESH_JOIN="),
    "an empty variable is an empty text",
  );
  assert.ok(words.includes("--volume=/dev/null:/run/skein-token:ro"));
  assert.throws(() => composeWords("services: { skein: { privileged: true } }", {}), /privileged/);
  assert.throws(() => composeWords("services: { a: {}, b: {} }", {}), /one service/);
  assert.throws(() => composeWords("services: { a: { image: '${TAG}' } }", {}), /TAG without a default/);
});

describe("image", { timeout: 240_000 }, () => {
  let opened: SkeinCluster | null = null;
  const open = (): SkeinCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  before(async () => {
    if (skip !== false) return;
    const cluster = await openCluster({ hosts: 2 });
    opened = cluster;
    await cluster.untilEligible("web", await cluster.runReplicas("web", [1, 2], LABELS));
  });

  afterEach((context) => {
    if ("passed" in context && !context.passed && opened !== null) console.error(opened.lab.logs());
  });

  after(async () => await opened?.close());

  test("image: it tells what it is, and is healthy by its own check", { skip }, async (t) => {
    const { host } = open().node(1);
    const labels = await inspected<Readonly<Record<string, string>>>(host, ".Config.Labels");
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    const prefix = "org.opencontainers.image";
    assert.equal(labels[`${prefix}.title`], "skein");
    assert.equal(labels[`${prefix}.version`], version);
    assert.equal(labels[`${prefix}.licenses`], "Apache-2.0");
    // Each check costs a start of Node: seldom once it is healthy, for as long as it runs.
    const check = await inspected<{ readonly Interval: number }>(host, ".Config.Healthcheck");
    assert.ok(check.Interval >= 30e9, `each ${check.Interval / 1e9} s`);
    const health = async (): Promise<string> => await inspected(host, ".State.Health.Status");
    await until(async () => (await health()) === "healthy", { what: "it is healthy" });
    t.diagnostic(`memory: ${await host.docker("stats", "--no-stream", "--format={{.MemUsage}}", "skein")}`);
  });

  test("image: it can write nothing but its state, and has three rights of root's", { skip }, async () => {
    const { host } = open().node(1);
    for (const path of ["/x", "/etc/x", "/opt/skein/x", "/tmp/x"]) {
      const { code, stderr } = await host.tryDocker("exec", "skein", "touch", path);
      assert.notEqual(code, 0, path);
      assert.match(stderr, /Read-only file system/, path);
    }
    const status = await host.docker("exec", "skein", "cat", "/proc/1/status");
    // Bits 10, 12 and 13 of capabilities(7): NET_BIND_SERVICE, NET_ADMIN, NET_RAW.
    assert.match(status, /CapBnd:\s*0000000000003400\n/);
    assert.match(status, /NoNewPrivs:\s*1\n/);
  });

  test(
    "image: an upgrade to the next one, beside the old, costs no request and no connection",
    { skip },
    async (t) => {
      const cluster = open();
      const upgraded = cluster.node(2);
      const lines = await holdLines(cluster);
      const sendings = cluster.nodes.map(({ client }, index) => ({
        client,
        load: { url: "http://web/", perSecond: 100, keepsConnections: index === 0 },
      }));
      const tallies = await duringAll(sendings, async () => {
        await upgraded.replace();
        await cluster.untilWhole();
        await cluster.untilEligible("web", WEB);
      });
      for (const { sent, failures } of tallies) {
        t.diagnostic(`${sent} requests, ${failures.length} failed`);
        assert.deepEqual(failures, []);
      }
      const self = (await upgraded.members()).find((member) => member.self);
      assert.equal(self?.version, NEXT_VERSION);
      for (const line of lines) {
        line.signal("SIGUSR2");
        await until(() => line.log().includes("still here"), { what: "the line answers" });
        assert.ok(!line.log().includes("closed"), line.log());
        await line.stop("SIGKILL");
      }
    },
  );

  test(
    "image: docker stop and docker start bring back the same host, with what it had",
    { skip },
    async (t) => {
      const cluster = open();
      const node = cluster.node(2);
      const idOf = async (): Promise<string | undefined> =>
        (await cluster.node(1).members()).find(({ name }) => name === node.name)?.id;
      const id = await idOf();
      assert.equal((await node.stop()).code, 0);
      const startedMs = performance.now();
      await node.start();
      t.diagnostic(`docker start, until ready: ${(performance.now() - startedMs).toFixed(0)} ms`);
      await cluster.untilWhole();
      await cluster.untilEligible("web", WEB);
      assert.equal(await idOf(), id);
    },
  );

  // The last one: the host is in no cluster of the others then.
  test(
    "image: as uid 1000, without any right, it serves the host's processes by itself",
    { skip },
    async () => {
      const node = open().node(2);
      await node.stop();
      // What root has left in the kernel a user cannot take away.
      await node.cli("doctor", "--clean");
      await runAsUser(node);
      // Its own ports are above 1023, and so must those of services be.
      const labels = { "skein.service": "mine", "skein.port": "8888:8080/http" };
      await node.host.runReplica("mine-1", { labels });
      const said = async (...words: readonly string[]): Promise<string> =>
        await node.host.docker("exec", "skein-user", "skein", ...words);
      const isReady = async (): Promise<boolean> => /docker: \d+ endpoints/.test(await said("status"));
      await until(isReady, { what: "it knows what runs here" });
      assert.match(await said("status"), /data plane\s+proxy/);
      assert.match(await node.host.docker("exec", "skein-user", "cat", "/proc/1/status"), /Uid:\s*1000\s/);
      const served = async (): Promise<string | null> => {
        const [vip] = (await node.process.resolve("mine")).addresses;
        const url = `http://${vip}:8888/`;
        return (await node.process.get(url, 1)).failures.length === 0 ? url : null;
      };
      const url = await until(served, { what: "mine is served on the host" });
      assert.deepEqual((await node.process.get(url, 4)).countByName, { "mine-1": 4 });
    },
  );
});

/** A part of what Docker tells of the daemon's container, by Go's path. */
async function inspected<T>(host: SkeinNode["host"], path: string): Promise<T> {
  return JSON.parse(await host.docker("inspect", `--format={{json ${path}}}`, "skein")) as T;
}

/** Starts the image as compose.yaml has it, but as a user whose own the state and the socket's folder are. */
async function runAsUser({ host }: SkeinNode): Promise<void> {
  const folder = host.path("/run/skein-user");
  mkdirSync(folder, { recursive: true });
  chownSync(folder, USER, USER);
  const words = composeWords(COMPOSE, {})
    .filter((word) => !/^--(?:cap-add|name|volume=skein:|volume=\/run\/skein:)/.test(word))
    .concat("--name=skein-user", `--user=${USER}`, `--group-add=${statSync(host.dockerSocket).gid}`)
    .concat("--volume=skein-user:/var/lib/skein", "--volume=/run/skein-user:/run/skein");
  await host.docker("run", "--detach", ...words, SKEIN_IMAGE, "run");
}
