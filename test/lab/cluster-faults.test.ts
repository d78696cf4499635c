/**
 * Tests of what a cluster of three real Docker hosts survives: replicas, engines and daemons that fail.
 *
 * One cluster for all tests of this file, in the order written. Engines keep containers running when they stop
 * (--live-restore), as those of hosts that matter do.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { skipReason } from "./requirements.ts";
import type { SkeinNode } from "./skein.ts";
import { clientsOf, openWebCluster, strayAnswers, type WebCluster } from "./web-cluster.ts";
import { DIRECT_PORT, HEALED_MS, LABELS, NOTICED_MS, WEB } from "./web-cluster.ts";
import { until } from "../support/wait.ts";

/** For what takes milliseconds: at 50 a second few requests would meet it. */
/**
 * Engines that leave containers running when they stop, and make their socket anew when they start: so it is mounted by
 * its folder, as the documentation has it for that case.
 */
const LIVE_RESTORE = {
  engineArguments: ["--live-restore"],
  words: ["--volume=/run:/host/run:ro", "--env=SKEIN_DOCKER_SOCKET=/host/run/docker.sock"],
};

const HEAVY = { perSecond: 150 };
const ROUNDS = 3;

/** Long enough that the others have given it up, and its peers' connections have been replaced. */
const FROZEN_MS = 20_000;

async function repeated(action: () => Promise<void>): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) await action();
}

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("cluster under faults", { timeout: 300_000 }, () => {
  let opened: WebCluster | null = null;
  const open = (): WebCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  before(async () => {
    if (skip === false) opened = await openWebCluster(LIVE_RESTORE);
  });

  afterEach(async (context) => {
    if ("passed" in context && !context.passed) console.error(open().cluster.lab.logs());
    else if (opened !== null) await opened.cluster.untilEligible("web", WEB);
  });

  after(async () => await opened?.cluster.close());

  test(
    "faults: a paused replica takes no traffic, is told as paused, and is back when unpaused",
    { skip },
    async () => {
      const { nodes } = open();
      const [asking, struck] = [open().node(1), open().node(2)];
      const pauseAndUnpause = async (): Promise<void> => {
        await struck.host.pause("web-2");
        await open().untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
        for (const node of nodes)
          assert.equal(await open().reasonOf(node, "web-2"), "docker: paused", node.name);
        // Not at once: for a second it may say that this host's own traffic met it paused.
        const isTold = async (): Promise<boolean> =>
          /web-2 .* out .*docker: paused/.test((await asking.cli("explain", "web")).stdout);
        await until(isTold, { what: "the CLI tells that web-2 is paused" });
        await struck.host.docker("unpause", "web-2");
        await open().untilOnly(WEB, nodes, NOTICED_MS);
      };
      await open().unharmed([asking, struck], () => repeated(pauseAndUnpause), HEAVY);
    },
  );

  test(
    "faults: a replica that is stopped drains while it answers what is in flight, goes, and is back when started",
    { skip },
    async () => {
      const { nodes } = open();
      const [asking, struck] = [open().node(1), open().node(2)];
      const address = (await struck.explain("web"))?.replicas.find(({ name }) => name === "web-2")?.address;
      await open().unharmed(
        [asking, struck],
        async () => {
          const slow = struck.process.get(`http://${address}:${DIRECT_PORT}/slow?ms=1500`);
          const isBusy = async (): Promise<boolean> => {
            const established = ["ss", "-Htn", "state", "established", `dport = :${DIRECT_PORT}`];
            return (await struck.host.mustExec(established)) !== "";
          };
          await until(isBusy, { what: "web-2 has a request in flight" });
          const stopped = struck.host.docker("stop", "web-2");
          const drains = async (): Promise<boolean> =>
            (await open().reasonOf(asking, "web-2")) === "docker: stop signal sent";
          await until(drains, { what: "web-2 is told as draining", deadlineMs: NOTICED_MS });
          await open().untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
          assert.deepEqual((await slow).countByName, { "web-2": 1 });
          await stopped;
          const isGone = async (): Promise<boolean> =>
            (await open().reasonOf(asking, "web-2")) === "not there";
          await until(isGone, { what: "web-2 is gone", deadlineMs: NOTICED_MS });
          await struck.host.docker("start", "web-2");
          await open().untilOnly(WEB, nodes, 10_000);
          await repeated(async () => {
            await struck.host.docker("stop", "web-2");
            await open().untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
            await struck.host.docker("start", "web-2");
            await open().untilOnly(WEB, nodes, 10_000);
          });
        },
        HEAVY,
      );
    },
  );

  test(
    "faults: a replica that is killed is gone everywhere at once, and back when started",
    { skip },
    async () => {
      const { nodes } = open();
      const [asking, struck] = [open().node(1), open().node(2)];
      const killAndStart = async (): Promise<void> => {
        await struck.host.docker("kill", "web-2");
        await open().untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
        for (const node of nodes) {
          const told = (await node.events()).filter(({ subject }) => subject === "default/web web-2@h2");
          assert.equal(told.at(-1)?.kind, "replica.gone", `the last event on ${node.name}`);
        }
        await struck.host.docker("start", "web-2");
        await open().untilOnly(WEB, nodes, 10_000);
      };
      await open().unharmed([asking, struck], () => repeated(killAndStart), HEAVY);
    },
  );

  for (const [signal, nth] of [
    ["SIGTERM", 3],
    ["SIGKILL", 3],
    ["SIGTERM", 1],
    ["SIGKILL", 1],
  ] as const) {
    test(
      `faults: ${signal} to the daemon of h${nth}, and its new start, cost others no request and no name`,
      { skip },
      async () => {
        const restarted = open().node(nth);
        const others = open().nodes.filter((node) => node !== restarted);
        const idsOf = async (node: SkeinNode): Promise<readonly string[]> =>
          (await node.members()).map(({ name, id }) => `${name} ${id}`);
        const ids = await idsOf(restarted);
        // A service that only this host has: with its daemon goes all that is known of it at first hand.
        const solo = `solo-${signal.toLowerCase()}-${nth}`;
        const soloVip = await open().runService(solo, [nth]);
        const restart = async (): Promise<void> => {
          const exit = await restarted.stop(signal);
          if (signal === "SIGTERM") assert.equal(exit.code, 0);
          const rest = WEB.filter((name) => name !== `web-${nth}`);
          await open().untilOnly(rest, others, NOTICED_MS);
          const state = signal === "SIGTERM" ? "away" : "dead";
          for (const other of others) await open().untilHeld(other, restarted, { state });
          await restarted.start();
          await open().cluster.untilWhole();
          await open().untilOnly(WEB, open().nodes, 5000);
          await open().cluster.untilEligible(solo, [`${solo}-1`], { deadlineMs: 5000 });
        };
        const names = { web: open().vip, [`${solo}.default.skein.internal`]: soloVip };
        const strays = await strayAnswers(clientsOf(others), names, async () => {
          await open().unharmed(others, restart);
        });
        assert.deepEqual(strays, []);
        for (const node of open().nodes) {
          assert.deepEqual(await idsOf(node), ids, node.name);
          assert.equal((await node.explain(solo))?.vip, soloVip, node.name);
          const ofSolo = await node.client.get(`http://${solo}/`, 2);
          assert.deepEqual(ofSolo.countByName, { [`${solo}-1`]: 2 }, node.name);
          const ofWeb = await node.client.get("http://web/", 12);
          assert.deepEqual(ofWeb.countByName, { "web-1": 4, "web-2": 4, "web-3": 4 }, node.name);
        }
        await open().cluster.remove([`${solo}-1`]);
      },
    );
  }

  test(
    "faults: a daemon frozen for 20 s holds nothing stale 2 s after it goes on, and declares nobody dead",
    { skip },
    async () => {
      const { cluster, nodes } = open();
      const [one, two, frozen] = [open().node(1), open().node(2), open().node(3)];
      await open().runService("ever", [1, 2, 3]);
      const faultAndEnd = async (): Promise<void> => {
        const goesOnMs = performance.now() + FROZEN_MS;
        await frozen.daemon.freeze();
        await open().untilOnly(["web-1", "web-2"], [one, two], NOTICED_MS);
        await cluster.remove(["ever-1"]);
        await one.host.runReplica("ever-4", { labels: { "skein.service": "ever", ...LABELS } });
        const drained = await two.cli("drain", "ever-2", "--wait");
        assert.equal(drained.code, 0, drained.stderr);
        await cluster.untilEligible("ever", ["ever-4"], { nodes: [one, two] });
        await until(() => performance.now() >= goesOnMs, { what: "it was frozen for 20 s" });
        await frozen.daemon.thaw();
        const within = { deadlineMs: HEALED_MS };
        await Promise.all([
          cluster.untilEligible("ever", ["ever-3", "ever-4"], within),
          cluster.untilEligible("web", WEB, within),
          cluster.untilWhole(HEALED_MS),
        ]);
      };
      const deaths = await open().deathsDuring(async () => {
        await open().unharmed([one, two], faultAndEnd);
      });
      assert.deepEqual(deaths, ["h1: h3", "h2: h3"], "whom each declared dead");
      for (const node of nodes) {
        const ever = (await node.explain("ever"))?.replicas ?? [];
        assert.deepEqual(ever.map(({ name }) => name).toSorted(), ["ever-2", "ever-3", "ever-4"], node.name);
        assert.equal((await node.process.resolve("tasks.ever")).addresses.length, 2, node.name);
      }
      await cluster.remove(["ever-2", "ever-3", "ever-4"]);
    },
  );

  test(
    "faults: without its engine a host keeps its replicas in service, says so, and catches up later",
    { skip },
    async () => {
      const [one, struck] = [open().node(1), open().node(2)];
      const staleness = async (): Promise<string | null | undefined> =>
        (await struck.status()).sources.find(({ name }) => name === "docker")?.stale;
      await open().unharmed([one, struck], async () => {
        assert.equal(await staleness(), null);
        await struck.host.stopEngine();
        await until(async () => typeof (await staleness()) === "string", {
          what: "the source is told as stale",
        });
        const told = await struck.cli("status");
        assert.match(told.stdout, /docker: \d+ endpoints, stale: docker does not answer/);
        await open().untilOnly(WEB, open().nodes, NOTICED_MS);
        assert.deepEqual((await one.client.get("http://web/", 3)).failures, []);
        await struck.host.startEngine();
        await until(async () => (await staleness()) === null, {
          what: "the source is fresh",
          deadlineMs: 15_000,
        });
        await open().untilOnly(WEB, open().nodes, NOTICED_MS);
      });
      await struck.host.runReplica("web-4", { labels: { "skein.service": "web", ...LABELS } });
      await open().cluster.untilEligible("web", [...WEB, "web-4"]);
      await open().cluster.remove(["web-4"]);
    },
  );
});
