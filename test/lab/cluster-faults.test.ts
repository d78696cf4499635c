/**
 * Tests of what a cluster of three real Docker hosts survives: replicas, links, daemons and engines that fail.
 *
 * One cluster and one service for all tests of this file, in the order written: replicas web-1, web-2, web-3, each on
 * its host, on an HTTP port; a test that breaks something mends it. Whatever fails, clients ask all the time and no
 * request of theirs may fail: what they are answered, and by whom, is what is tested.
 *
 * Engines keep containers running when they stop (--live-restore), as those of hosts that matter do.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import type { Resolved } from "./client.ts";
import { skipReason } from "./requirements.ts";
import { openCluster, type LabClient, type SkeinCluster, type SkeinNode } from "./skein.ts";
import { until } from "../support/wait.ts";

const WEB = ["web-1", "web-2", "web-3"];
const LABELS = { "skein.port": "80:8080/http" };

/** What a member that fails may cost at most, from the fault on; the promise of the design. */
const NOTICED_MS = 3000;

/** For what takes milliseconds: at 50 a second few requests would meet it. */
const HEAVY = { perSecond: 150 };
const ROUNDS = 3;

/** A port on which replicas listen besides, unknown to the daemon: whoever uses it asked the replica itself. */
const DIRECT_PORT = 9090;

async function repeated(action: () => Promise<void>): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) await action();
}

/** Asks for a name again and again while `action` runs. @returns each different answer, as text */
async function answersDuring(
  clients: readonly LabClient[],
  name: string,
  action: () => Promise<void>,
): Promise<readonly string[]> {
  const seen = new Set<string>();
  let isOver = false;
  const watching = until(
    async () => {
      for (const answer of await Promise.all(clients.map((client) => client.resolve(name))))
        seen.add(textOf(answer));
      return isOver;
    },
    { what: `${name} is watched`, deadlineMs: 60_000, everyMs: 20 },
  );
  try {
    await action();
  } finally {
    isOver = true;
    await watching;
  }
  return [...seen];
}

function textOf({ error, addresses }: Resolved): string {
  return error === "" ? addresses.join(" ") : error;
}

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("cluster under faults", { timeout: 300_000 }, () => {
  let opened: SkeinCluster | null = null;
  let vip = "";
  const open = (): SkeinCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  before(async () => {
    if (skip !== false) return;
    opened = await openCluster({ engineArguments: ["--live-restore"] });
    await opened.runReplicas("web", [1, 2, 3], LABELS, `--env=REPLICA_PORTS=8080,${DIRECT_PORT}`);
    await opened.untilEligible("web", WEB);
    vip = (await opened.node(1).explain("web"))?.vip ?? "";
    assert.notEqual(vip, "");
  });

  afterEach(async (context) => {
    if ("passed" in context && !context.passed) console.error(open().lab.logs());
    else if (opened !== null) await opened.untilEligible("web", WEB);
  });

  after(async () => await opened?.close());

  /**
   * Runs `action` while clients on `nodes` ask for the service by name; none of their requests may fail. The first has
   * a connection for each request, the others keep theirs.
   */
  const unharmed = async (
    nodes: readonly SkeinNode[],
    action: () => Promise<void>,
    load: { readonly perSecond: number; readonly keepsConnections?: boolean } = { perSecond: 50 },
  ): Promise<void> => {
    const [first, ...others] = nodes;
    if (first === undefined) return await action();
    const tally = await first.client.during({ url: "http://web/", ...load }, async () => {
      await unharmed(others, action, { ...load, keepsConnections: true });
    });
    assert.deepEqual(tally.failures, [], `asked from ${first.name}: ${JSON.stringify(tally)}`);
  };

  /** Waits until only these are told of by `tasks.web` and take traffic, on each of `nodes`. */
  const untilOnly = async (
    replicas: readonly string[],
    nodes: readonly SkeinNode[],
    deadlineMs: number,
  ): Promise<void> => {
    await open().untilEligible("web", replicas, { nodes, deadlineMs });
    const explained = await nodes[0]?.explain("web");
    const addresses = (explained?.replicas ?? [])
      .filter(({ name }) => replicas.includes(name))
      .map(({ address }) => address)
      .toSorted();
    for (const node of nodes) {
      assert.deepEqual(
        (await node.process.resolve("tasks.web")).addresses,
        addresses,
        `by DNS of ${node.name}`,
      );
      assert.deepEqual((await node.client.resolve("web")).addresses, [vip]);
      const { failures, countByName } = await node.process.get(`http://${vip}/`, 4);
      assert.deepEqual(failures, []);
      const strangers = Object.keys(countByName).filter((name) => !replicas.includes(name));
      assert.deepEqual(strangers, [], `who answers on ${node.name}`);
    }
  };

  const reasonOf = async (node: SkeinNode, replica: string): Promise<string> => {
    const replicas = (await node.explain("web"))?.replicas ?? [];
    return replicas.find(({ name }) => name === replica)?.reason ?? "not there";
  };

  test(
    "faults: a paused replica takes no traffic, is told as paused, and is back when unpaused",
    { skip },
    async () => {
      const { nodes } = open();
      const [asking, struck] = [open().node(1), open().node(2)];
      const pauseAndUnpause = async (): Promise<void> => {
        await struck.host.docker("pause", "web-2");
        await untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
        for (const node of nodes) assert.equal(await reasonOf(node, "web-2"), "docker: paused", node.name);
        assert.match((await asking.cli("explain", "web")).stdout, /web-2 .* out .*docker: paused/);
        await struck.host.docker("unpause", "web-2");
        await untilOnly(WEB, nodes, NOTICED_MS);
      };
      await unharmed([asking, struck], () => repeated(pauseAndUnpause), HEAVY);
    },
  );

  test(
    "faults: a replica that is stopped drains while it answers what is in flight, goes, and is back when started",
    { skip },
    async () => {
      const { nodes } = open();
      const [asking, struck] = [open().node(1), open().node(2)];
      const address = (await struck.explain("web"))?.replicas.find(({ name }) => name === "web-2")?.address;
      await unharmed(
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
            (await reasonOf(asking, "web-2")) === "docker: stop signal sent";
          await until(drains, { what: "web-2 is told as draining", deadlineMs: NOTICED_MS });
          await untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
          assert.deepEqual((await slow).countByName, { "web-2": 1 });
          await stopped;
          const isGone = async (): Promise<boolean> => (await reasonOf(asking, "web-2")) === "not there";
          await until(isGone, { what: "web-2 is gone", deadlineMs: NOTICED_MS });
          await struck.host.docker("start", "web-2");
          await untilOnly(WEB, nodes, 10_000);
          await repeated(async () => {
            await struck.host.docker("stop", "web-2");
            await untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
            await struck.host.docker("start", "web-2");
            await untilOnly(WEB, nodes, 10_000);
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
        await untilOnly(["web-1", "web-3"], nodes, NOTICED_MS);
        for (const node of nodes) {
          const told = (await node.events()).filter(({ subject }) => subject === "default/web web-2@h2");
          assert.equal(told.at(-1)?.kind, "replica.gone", `the last event on ${node.name}`);
        }
        await struck.host.docker("start", "web-2");
        await untilOnly(WEB, nodes, 10_000);
      };
      await unharmed([asking, struck], () => repeated(killAndStart), HEAVY);
    },
  );

  test(
    "faults: with a host's link cut both sides go on with their own, under the same VIP, and heal",
    { skip },
    async () => {
      const [one, two, cut] = [open().node(1), open().node(2), open().node(3)];
      const watched = [one.process, cut.process, cut.client];
      const seen = await answersDuring(watched, "web", async () => {
        await unharmed([one, cut], async () => {
          await cut.host.cutLink();
          await untilOnly(["web-1", "web-2"], [one, two], NOTICED_MS);
          await open().untilEligible("web", ["web-3"], { nodes: [cut], deadlineMs: NOTICED_MS });
          assert.deepEqual((await cut.client.get("http://web/", 4)).countByName, { "web-3": 4 });
          assert.match(await reasonOf(one, "web-3"), /node h3 (does not answer|is dead)/);
          const isDead = async (): Promise<boolean> =>
            (await one.members()).some(({ name, state }) => name === "h3" && state === "dead");
          await until(isDead, { what: "h3 is dead to h1" });
          await cut.host.healLink();
          await untilOnly(WEB, open().nodes, 5000);
        });
      });
      assert.deepEqual(seen, [vip], "what web was answered, on either side");
      await open().untilWhole();
    },
  );

  for (const [signal, nth] of [
    ["SIGTERM", 3],
    ["SIGKILL", 3],
    ["SIGTERM", 1],
    ["SIGKILL", 1],
  ] as const) {
    test(
      `faults: ${signal} to the daemon of h${nth}, and its new start, cost others no request; ids and VIPs stay`,
      { skip },
      async () => {
        const restarted = open().node(nth);
        const others = open().nodes.filter((node) => node !== restarted);
        const idsOf = async (node: SkeinNode): Promise<readonly string[]> =>
          (await node.members()).map(({ name, id }) => `${name} ${id}`);
        const ids = await idsOf(restarted);
        // A service that only this host has: with its daemon goes all that is known of it at first hand.
        const solo = `solo-${signal.toLowerCase()}-${nth}`;
        const replicas = await open().runReplicas(solo, [nth], LABELS);
        await open().untilEligible(solo, replicas);
        const soloVip = (await restarted.explain(solo))?.vip ?? "";
        const asking = others.map(({ process }) => process);
        const restart = async (): Promise<void> => {
          const exit = await restarted.stop(signal);
          if (signal === "SIGTERM") assert.deepEqual(exit, { code: 0, signal: null });
          const rest = WEB.filter((name) => name !== `web-${nth}`);
          await untilOnly(rest, others, NOTICED_MS);
          await restarted.start();
          await open().untilWhole();
          await untilOnly(WEB, open().nodes, 5000);
          await open().untilEligible(solo, replicas, { deadlineMs: 5000 });
        };
        let seenOfSolo: readonly string[] = [];
        const seen = await answersDuring(asking, "web", async () => {
          seenOfSolo = await answersDuring(
            asking,
            `${solo}.default.skein.internal`,
            async () => await unharmed(others, restart),
          );
        });
        assert.deepEqual(seen, [vip]);
        // A goodbye takes names along, a death does not. And a name is back a moment before its VIP.
        const mayGo = signal === "SIGTERM" ? ["ENOTFOUND", "ENODATA"] : [];
        assert.deepEqual(
          seenOfSolo.filter((answer) => answer !== soloVip && !mayGo.includes(answer)),
          [],
        );
        for (const node of open().nodes) {
          assert.deepEqual(await idsOf(node), ids, node.name);
          assert.equal((await node.explain(solo))?.vip, soloVip, node.name);
          const ofSolo = await node.client.get(`http://${solo}/`, 2);
          assert.deepEqual(ofSolo.countByName, { [`${solo}-1`]: 2 }, node.name);
          const ofWeb = await node.client.get("http://web/", 12);
          assert.deepEqual(ofWeb.countByName, { "web-1": 4, "web-2": 4, "web-3": 4 }, node.name);
        }
        await open().remove(replicas);
      },
    );
  }

  test("faults: a daemon that is frozen counts as gone, and is back when it goes on", { skip }, async () => {
    const [one, two, frozen] = [open().node(1), open().node(2), open().node(3)];
    await unharmed([one, two], async () => {
      frozen.daemon.signal("SIGSTOP");
      await untilOnly(["web-1", "web-2"], [one, two], NOTICED_MS);
      frozen.daemon.signal("SIGCONT");
      await open().untilWhole();
      await untilOnly(WEB, open().nodes, 5000);
    });
  });

  test("faults: hosts that cannot hear each other go on by what they hear", { skip }, async () => {
    const [one, two, three] = [open().node(1), open().node(2), open().node(3)];
    await unharmed([one, two, three], async () => {
      await open().lab.block({ from: "h3", to: "h1" });
      await untilOnly(["web-1", "web-2"], [one], NOTICED_MS);
      await untilOnly(["web-2", "web-3"], [three], NOTICED_MS);
      await untilOnly(WEB, [two], NOTICED_MS);
      await open().lab.unblock({ from: "h3", to: "h1" });
      await untilOnly(WEB, open().nodes, 5000);
    });
  });

  test(
    "faults: a link that loses one frame in twenty costs no request and kills no member",
    { skip },
    async () => {
      const [one, two, lossy] = [open().node(1), open().node(2), open().node(3)];
      const deathsSeen = async (): Promise<number> => {
        const events = await Promise.all(open().nodes.map(async (node) => await node.events()));
        return events.flat().filter(({ kind }) => kind === "member.dead").length;
      };
      const before = await deathsSeen();
      await unharmed([one, two, lossy], async () => {
        await lossy.host.loss(5);
        for (const node of [one, lossy]) {
          for (let round = 0; round < 10; round += 1) {
            assert.deepEqual((await node.client.get("http://web/", 12)).failures, []);
          }
        }
        await lossy.host.loss(0);
      });
      assert.equal(await deathsSeen(), before);
    },
  );

  test(
    "faults: what changed on both sides of a cut is known everywhere once it is healed",
    { skip },
    async () => {
      const [one, cut] = [open().node(1), open().node(3)];
      const service = { "skein.service": "late", ...LABELS };
      await one.host.runReplica("late-1", { labels: service });
      await cut.host.runReplica("late-3", { labels: service });
      await open().untilEligible("late", ["late-1", "late-3"]);
      const vipBefore = (await one.explain("late"))?.vip;
      await cut.host.cutLink();
      await open().untilEligible("late", ["late-1"], { nodes: [one] });
      await open().untilEligible("late", ["late-3"], { nodes: [cut] });
      await one.host.docker("rm", "--force", "late-1");
      await one.host.runReplica("late-2", { labels: service });
      await cut.host.docker("rm", "--force", "late-3");
      await open().runReplicas("new", [3], LABELS);
      await open().untilEligible("late", ["late-2"], { nodes: [one] });
      await open().untilEligible("late", [], { nodes: [cut] });
      await cut.host.healLink();
      await open().untilEligible("late", ["late-2"], { deadlineMs: 5000 });
      await open().untilEligible("new", ["new-1"], { deadlineMs: 5000 });
      for (const node of open().nodes) {
        const late = await node.explain("late");
        assert.equal(late?.vip, vipBefore, node.name);
        assert.deepEqual(
          late?.replicas.map(({ name }) => name),
          ["late-2"],
          node.name,
        );
        assert.deepEqual((await node.client.get("http://new/", 1)).countByName, { "new-1": 1 }, node.name);
      }
      await open().remove(["late-2", "new-1"]);
    },
  );

  test(
    "faults: without its engine a host keeps its replicas in service, says so, and catches up later",
    { skip },
    async () => {
      const [one, struck] = [open().node(1), open().node(2)];
      const staleness = async (): Promise<string | null | undefined> =>
        (await struck.status()).sources.find(({ name }) => name === "docker")?.stale;
      await unharmed([one, struck], async () => {
        assert.equal(await staleness(), null);
        await struck.host.stopEngine();
        await until(async () => typeof (await staleness()) === "string", {
          what: "the source is told as stale",
        });
        const told = await struck.cli("status");
        assert.match(told.stdout, /docker: \d+ endpoints, stale: docker does not answer/);
        await untilOnly(WEB, open().nodes, NOTICED_MS);
        assert.deepEqual((await one.client.get("http://web/", 3)).failures, []);
        await struck.host.startEngine();
        await until(async () => (await staleness()) === null, {
          what: "the source is fresh",
          deadlineMs: 15_000,
        });
        await untilOnly(WEB, open().nodes, NOTICED_MS);
      });
      await struck.host.runReplica("web-4", { labels: { "skein.service": "web", ...LABELS } });
      await open().untilEligible("web", [...WEB, "web-4"]);
      await open().remove(["web-4"]);
    },
  );
});
