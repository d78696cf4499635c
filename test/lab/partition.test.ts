/**
 * Tests of what a cluster of three real Docker hosts survives between its hosts: links that are cut, that lose frames,
 * and that carry one way only.
 *
 * One cluster for all tests of this file, in the order written. A member that returns for the third time within minutes
 * settles before it gets traffic (src/gossip/damping.ts), so the tests with strict deadlines after healing come first.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import type { LabClient } from "./lab-client.ts";
import { skipReason } from "./requirements.ts";
import { clientsOf, openWebCluster, strayAnswers, type WebCluster } from "./web-cluster.ts";
import { HEALED_MS, LABELS, NOTICED_MS, WEB } from "./web-cluster.ts";
import type { Direction } from "./switch.ts";
import { until } from "../support/wait.ts";

/** For what comes back after the third return: up to 30 s of settling (damping.ts), and the rest. */
const SETTLED_MS = 40_000;

/** As long as in the report of names that were gone for ever after it (moby#53141). */
const DISTURBED_MS = 30_000;

/** Both ways between two hosts. */
function between(one: string, other: string): readonly Direction[] {
  return [
    { from: one, to: other },
    { from: other, to: one },
  ];
}

const ALL_WAYS = [...between("h1", "h2"), ...between("h1", "h3"), ...between("h2", "h3")];

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("cluster parted", { timeout: 400_000 }, () => {
  let opened: WebCluster | null = null;
  const open = (): WebCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  before(async () => {
    if (skip === false) opened = await openWebCluster();
  });

  afterEach(async (context) => {
    if (opened === null) return;
    const { cluster } = opened;
    if ("passed" in context && !context.passed) console.error(cluster.lab.logs());
    // So that a test that failed halfway does not take the next ones with it.
    await cluster.lab.unblock(...ALL_WAYS);
    await Promise.all(cluster.nodes.map(async ({ host }) => await host.healLink()));
    await cluster.untilWhole(SETTLED_MS);
    await cluster.untilEligible("web", WEB, { deadlineMs: SETTLED_MS });
  });

  after(async () => await opened?.cluster.close());

  test(
    "partition: with a host's link cut both sides go on with their own, under the same VIP, and heal",
    { skip },
    async () => {
      const { cluster, nodes, vip } = open();
      const [one, two, cut] = [open().node(1), open().node(2), open().node(3)];
      const cutAndHeal = async (): Promise<void> => {
        await cut.host.cutLink();
        await open().untilOnly(["web-1", "web-2"], [one, two], NOTICED_MS);
        await cluster.untilEligible("web", ["web-3"], { nodes: [cut], deadlineMs: NOTICED_MS });
        assert.deepEqual((await cut.client.get("http://web/", 4)).countByName, { "web-3": 4 });
        assert.match(await open().reasonOf(one, "web-3"), /node h3 (does not answer|is dead)/);
        await open().untilHeld(one, cut, { state: "dead" });
        await cut.host.healLink();
        await open().untilOnly(WEB, nodes, HEALED_MS);
      };
      const strays = await strayAnswers(clientsOf(nodes), { web: vip }, async () => {
        await open().unharmed([one, two, cut], cutAndHeal);
      });
      assert.deepEqual(strays, []);
      await cluster.untilWhole(HEALED_MS);
    },
  );

  test(
    "partition: a way that carries nothing is gone round: nobody dies and no request fails",
    { skip },
    async () => {
      const { cluster, nodes, vip } = open();
      const [deaf, third, mute] = [open().node(1), open().node(2), open().node(3)];
      const blockAndUnblock = async (): Promise<void> => {
        await cluster.lab.block({ from: mute.name, to: deaf.name });
        await open().untilHeld(deaf, mute, { state: "alive", via: third.name });
        // It still hears the other for a while: until TCP there sends no more to who confirms nothing.
        await open().untilHeld(mute, deaf, { state: "alive", via: third.name }, 15_000);
        const listed = JSON.parse((await deaf.cli("node", "ls", "-o", "json")).stdout) as readonly unknown[];
        const isTold = (line: unknown): boolean =>
          JSON.stringify(line).includes(`"name":"${mute.name}"`) &&
          JSON.stringify(line).includes(`"via":"${third.name}"`);
        assert.ok(listed.some(isTold), JSON.stringify(listed));
        for (const node of nodes) {
          await open().untilOnly(WEB, [node], NOTICED_MS);
          // Not at once: its proxy leaves alone for a while what it could not connect to.
          const reachesAll = async (): Promise<boolean> => {
            const { failures, countByName } = await node.client.get("http://web/", 6);
            assert.deepEqual(failures, []);
            return Object.keys(countByName).length === WEB.length;
          };
          await until(reachesAll, { what: `${node.name} reaches each replica`, deadlineMs: SETTLED_MS });
        }
        await cluster.lab.unblock({ from: mute.name, to: deaf.name });
        await open().untilHeld(deaf, mute, { state: "alive", via: null }, HEALED_MS);
        await open().untilHeld(mute, deaf, { state: "alive", via: null }, HEALED_MS);
      };
      const deaths = await open().deathsDuring(async () => {
        const strays = await strayAnswers(clientsOf(nodes), { web: vip }, async () => {
          await open().unharmed(nodes, blockAndUnblock);
        });
        assert.deepEqual(strays, []);
      });
      assert.deepEqual(deaths, []);
    },
  );

  test(
    "partition: a link that loses one frame in twenty costs no request and kills no member",
    { skip },
    async () => {
      const [one, two, lossy] = [open().node(1), open().node(2), open().node(3)];
      const deaths = await open().deathsDuring(async () => {
        await open().unharmed([one, two, lossy], async () => {
          await lossy.host.loss(5);
          for (const node of [one, lossy]) {
            for (let round = 0; round < 10; round += 1) {
              assert.deepEqual((await node.client.get("http://web/", 12)).failures, []);
            }
          }
          await lossy.host.loss(0);
        });
      });
      assert.deepEqual(deaths, []);
    },
  );

  // After Weave's test 215, "stale DNS after gossip stall".
  test(
    "partition: what was removed behind a cut is gone 2 s after healing where it was known by hearsay only",
    { skip },
    async () => {
      const { cluster } = open();
      const [far, middle, owner] = [open().node(1), open().node(2), open().node(3)];
      await open().runService("gone", [2, 3]);
      await cluster.lab.block(...between(far.name, owner.name));
      await open().untilHeld(far, owner, { state: "alive", via: middle.name });
      await cluster.lab.block(...between(middle.name, owner.name));
      for (const node of [far, middle]) await open().untilHeld(node, owner, { state: "dead" }, 10_000);
      await cluster.remove(["gone-2"]);
      await cluster.untilEligible("gone", [], { nodes: [owner] });
      await far.stop();
      await far.start();
      const namesOn = async (node: typeof far): Promise<string> =>
        ((await node.explain("gone"))?.replicas ?? [])
          .map(({ name }) => name)
          .toSorted()
          .join(" ");
      // What it had of the owner it has again, from the one who cannot know better.
      await until(async () => (await namesOn(far)) === "gone-1 gone-2", { what: "h1 has heard of both" });
      await cluster.lab.unblock(...between(middle.name, owner.name));
      await until(async () => (await namesOn(far)) === "gone-1", {
        what: "h1 forgets",
        deadlineMs: HEALED_MS,
      });
      assert.equal((await far.process.resolve("tasks.gone")).addresses.length, 1);
      await cluster.lab.unblock(...between(far.name, owner.name));
      await cluster.untilWhole();
      await cluster.remove(["gone-1"]);
    },
  );

  test(
    "partition: drain --wait ends at once, and with a host cut off as soon as that host is given up",
    { skip },
    async () => {
      const { cluster } = open();
      const [one, cut] = [open().node(1), open().node(2)];
      await open().runService("dry", [1, 1, 3]);
      const ended = async (replica: string, isDue: () => Promise<unknown>): Promise<void> => {
        let code: number | null = null;
        const draining = one.cli("drain", replica, "--wait").then((output) => (code = output.code));
        await isDue();
        // Far below the 10 s after which it ends in any case, with code 4.
        await until(() => code !== null, { what: `the drain of ${replica} ends`, deadlineMs: NOTICED_MS });
        assert.equal(await draining, 0);
      };
      await ended("dry-1", async () => undefined);
      await cut.host.cutLink();
      await ended("dry-2", async () => await open().untilHeld(one, cut, { state: "dead" }, 10_000));
      await open().untilHeld(one, cut, { state: "dead" }, 0);
      await cluster.untilEligible("dry", ["dry-3"], { nodes: [one, open().node(3)] });
      await cut.host.healLink();
      await cluster.untilEligible("dry", ["dry-3"]);
      await cluster.remove(["dry-1", "dry-2", "dry-3"]);
    },
  );

  test(
    "partition: what changed on both sides of a cut is known everywhere once it is healed",
    { skip },
    async () => {
      const { cluster, nodes } = open();
      const [cut, other] = [open().node(1), open().node(3)];
      const service = { "skein.service": "late", ...LABELS };
      const vip = await open().runService("late", [1, 3]);
      await cut.host.cutLink();
      await cluster.untilEligible("late", ["late-1"], { nodes: [cut] });
      await cluster.untilEligible("late", ["late-2"], { nodes: [other] });
      await cut.host.docker("rm", "--force", "late-1");
      await cut.host.runReplica("late-3", { labels: service });
      await other.host.docker("rm", "--force", "late-2");
      await cluster.runReplicas("new", [3], LABELS);
      await cluster.untilEligible("late", ["late-3"], { nodes: [cut] });
      await cluster.untilEligible("late", [], { nodes: [other] });
      await cut.host.healLink();
      await cluster.untilEligible("late", ["late-3"], { deadlineMs: SETTLED_MS });
      await cluster.untilEligible("new", ["new-1"], { deadlineMs: SETTLED_MS });
      for (const node of nodes) {
        const late = await node.explain("late");
        assert.equal(late?.vip, vip, node.name);
        assert.deepEqual(
          late?.replicas.map(({ name }) => name),
          ["late-3"],
          node.name,
        );
        const { failures, countByName } = await node.client.get("http://new/", 1);
        assert.deepEqual({ failures, countByName }, { failures: [], countByName: { "new-1": 1 } }, node.name);
      }
      await cluster.remove(["late-3", "new-1"]);
    },
  );

  /** In a network of its own, with a client in it on each host, and with all its replicas on one of them. */
  const NETWORK = "blue";
  const inNetwork = new Map<string, LabClient>();

  for (const [percent, what] of [
    [100, "hosts that hear nothing of each other for 30 s"],
    [30, "30 s in which hosts lose 30 % of each other's frames"],
  ] as const) {
    // The case of moby#53141: names were NXDOMAIN during such a time, and on some hosts for ever after it.
    test(`partition: ${what} cost no name, at any moment, on any host`, { skip }, async () => {
      const { cluster, nodes, vip } = open();
      const name = `sky-${percent}`;
      const full = `${name}.${NETWORK}.skein.internal`;
      const skyVip = await open().runService(name, [3], NETWORK);
      const labels = [`--label=skein.network=${NETWORK}`, "--label=skein.enable=false"];
      for (const node of nodes) {
        const client = inNetwork.get(node.name) ?? (await node.runClient("in-blue", ...labels));
        inNetwork.set(node.name, client);
        const isKnown = async (): Promise<boolean> => (await client.resolve(full)).addresses[0] === skyVip;
        await until(isKnown, { what: `${full} is known in the network on ${node.name}` });
      }
      const processes = new Map(nodes.map((node) => [`a process of ${node.name}`, node.process]));
      const containers = new Map(nodes.map((node) => [`a container of ${node.name}`, node.client]));
      const disturb = async (): Promise<void> => {
        const endMs = performance.now() + DISTURBED_MS;
        await cluster.lab.loseBetween(percent, ...ALL_WAYS);
        for (const node of percent === 100 ? nodes : [])
          for (const other of nodes.filter((one) => one !== node))
            await open().untilHeld(node, other, { state: "dead" }, 10_000);
        await until(() => performance.now() >= endMs, { deadlineMs: 2 * DISTURBED_MS, everyMs: 100 });
        await cluster.lab.unblock(...ALL_WAYS);
        await cluster.untilWhole(SETTLED_MS);
        await cluster.untilEligible("web", WEB, { deadlineMs: SETTLED_MS });
        await cluster.untilEligible(`${NETWORK}/${name}`, [`${name}-1`], { deadlineMs: SETTLED_MS });
      };
      const onHosts = await strayAnswers(processes, { web: vip, [full]: skyVip }, async () => {
        const inContainers = await strayAnswers(containers, { web: vip }, async () => {
          assert.deepEqual(await strayAnswers(inNetwork, { [full]: skyVip }, disturb), []);
        });
        assert.deepEqual(inContainers, []);
      });
      assert.deepEqual(onHosts, []);
      for (const node of nodes) {
        const { failures, countByName } = await node.client.get("http://web/", 6);
        assert.deepEqual(failures, []);
        assert.deepEqual(countByName, { "web-1": 2, "web-2": 2, "web-3": 2 }, node.name);
      }
      await cluster.remove([`${name}-1`]);
    });
  }
});
