/**
 * Tests of what a cluster of three real Docker hosts survives: replicas and engines that fail.
 *
 * One cluster for all tests of this file, in the order written. Engines keep containers running when they stop
 * (--live-restore), as those of hosts that matter do.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { skipReason } from "./requirements.ts";
import { DIRECT_PORT, LABELS, NOTICED_MS, openWebCluster, WEB, type WebCluster } from "./web-cluster.ts";
import { until } from "../support/wait.ts";

/** For what takes milliseconds: at 50 a second few requests would meet it. */
const HEAVY = { perSecond: 150 };
const ROUNDS = 3;

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
    if (skip === false) opened = await openWebCluster({ engineArguments: ["--live-restore"] });
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
        await struck.host.docker("pause", "web-2");
        await open().untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
        for (const node of nodes)
          assert.equal(await open().reasonOf(node, "web-2"), "docker: paused", node.name);
        assert.match((await asking.cli("explain", "web")).stdout, /web-2 .* out .*docker: paused/);
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
