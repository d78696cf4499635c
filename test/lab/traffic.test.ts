/**
 * Tests that no request fails which could have been served, on three real Docker hosts: while replicas are replaced one
 * by one, while they are harmed in every way that we know of, and while a host is cut off.
 *
 * One cluster for all tests of this file, in the order written; a test that harms something mends it.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { skipReason } from "./requirements.ts";
import type { LabHost } from "./host.ts";
import type { LabProgram } from "./program.ts";
import { openCluster, type SkeinCluster } from "./skein.ts";
import {
  assertUnharmed,
  failuresOf,
  holdLines,
  restartAll,
  runApp,
  sendersOn,
  sentIn,
  signalInside,
  slowestMsIn,
  startAsker,
  underLoad,
  untilAnswered,
  untilSent,
  untilTakesTraffic,
  type AppService,
} from "./traffic.ts";
import { until } from "../support/wait.ts";

const SHOP: AppService = { name: "shop", publishedPort: 8088 };
const SHOPS = ["shop-1", "shop-2", "shop-3"];

/** Requests while all replicas are restarted again and again: 10,000, or as many as are asked for. */
const ROLLING_REQUESTS = Number(process.env["SKEIN_LAB_REQUESTS"] ?? 10_000);
const PER_SECOND = 500;

/**
 * The longest a GET may take while another replica can serve it: the deadline for a first byte (1 s) once, for the
 * replica is left alone after it, the one for connecting (500 ms), and what a busy machine adds.
 */
const BOUND_MS = 3000;

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("traffic", { timeout: 400_000 }, () => {
  let opened: SkeinCluster | null = null;
  const open = (): SkeinCluster => {
    assert.ok(opened !== null, "the cluster is open");
    return opened;
  };

  const lines: LabProgram[] = [];

  before(async () => {
    if (skip !== false) return;
    opened = await openCluster();
    await Promise.all(SHOPS.map(async (name, index) => await runApp(open().node(index + 1), name, SHOP)));
    await opened.untilEligible(SHOP.name, SHOPS);
    // Held from here on, and used by the last test.
    lines.push(...(await holdLines(opened)));
  });

  afterEach((context) => {
    if ("passed" in context && !context.passed) console.error(open().lab.logs());
  });

  after(async () => await opened?.close());

  test(
    `traffic: all replicas are restarted one by one, of ${ROLLING_REQUESTS} GETs and POSTs none fails`,
    { skip },
    async () => {
      const cluster = open();
      const senders = sendersOn(cluster.nodes, SHOP, { perSecond: PER_SECOND, posts: true });
      const tallies = await underLoad(senders, async () => {
        const sent = untilSent(senders, ROLLING_REQUESTS, 85_000);
        const over = new AbortController();
        const rolling = restartAll(cluster, SHOPS, over.signal);
        await sent.finally(() => over.abort());
        await rolling;
      });
      assertUnharmed(tallies, SHOPS);
      assert.ok(sentIn(tallies) >= ROLLING_REQUESTS, `${sentIn(tallies)} were sent`);
    },
  );

  for (const [what, harm, mend] of [
    ["killed", (host: LabHost) => host.docker("kill", "--signal=KILL", "shop-2"), "start"],
    ["paused", (host: LabHost) => host.pause("shop-2"), "unpause"],
  ] as const) {
    test(
      `traffic: a replica that is ${what} costs no GET, and none waits longer than the deadlines allow`,
      { skip },
      async () => {
        const cluster = open();
        const senders = sendersOn(cluster.nodes, SHOP, { perSecond: 200, posts: false });
        const tallies = await underLoad(senders, async () => {
          await harm(cluster.node(2).host);
          await cluster.untilEligible(SHOP.name, ["shop-1", "shop-3"]);
          await cluster.node(2).host.docker(mend, "shop-2");
          await untilTakesTraffic(cluster, "shop-2");
        });
        assertUnharmed(tallies, SHOPS);
        assert.ok(slowestMsIn(tallies) < BOUND_MS, `the slowest took ${slowestMsIn(tallies)} ms`);
      },
    );
  }

  test("traffic: a replica that is stopped behind the engine's back costs no GET", { skip }, async () => {
    const cluster = open();
    const senders = sendersOn(cluster.nodes, SHOP, { perSecond: 200, posts: false });
    const tallies = await underLoad(senders, async () => {
      await signalInside(cluster.node(3), "shop-3", "STOP");
      await untilSent(senders, 500, 30_000);
      await signalInside(cluster.node(3), "shop-3", "CONT");
    });
    assertUnharmed(tallies, SHOPS);
    assert.ok(slowestMsIn(tallies) < BOUND_MS, `the slowest took ${slowestMsIn(tallies)} ms`);
  });

  for (const harm of ["silent", "reset"] as const) {
    test(`traffic: a replica that is ${harm} to every request costs no GET`, { skip }, async () => {
      const cluster = open();
      const senders = sendersOn(cluster.nodes, SHOP, { perSecond: 200, posts: false });
      const tallies = await underLoad(senders, async () => {
        await runApp(cluster.node(1), "shop-4", SHOP, harm);
        await untilTakesTraffic(cluster, "shop-4");
        await untilSent(senders, 500, 30_000);
      });
      await cluster.remove(["shop-4"]);
      await cluster.untilEligible(SHOP.name, SHOPS);
      assertUnharmed(tallies, SHOPS);
      assert.ok(slowestMsIn(tallies) < BOUND_MS, `the slowest took ${slowestMsIn(tallies)} ms`);
    });
  }

  test(
    "traffic: an answer that breaks off half way is cut for the client too, and never taken for whole",
    { skip },
    async () => {
      const cluster = open();
      const senders = sendersOn(cluster.nodes, SHOP, { perSecond: 200, posts: false });
      const tallies = await underLoad(senders, async () => {
        await runApp(cluster.node(1), "shop-4", SHOP, "half");
        await untilTakesTraffic(cluster, "shop-4");
        await untilSent(senders, 500, 30_000);
      });
      await cluster.remove(["shop-4"]);
      await cluster.untilEligible(SHOP.name, SHOPS);
      const failures = failuresOf(tallies);
      assert.ok(failures.length > 0, "some requests came to it");
      assert.deepEqual(
        failures.filter((text) => !/: (aborted|socket hang up|read ECONNRESET|terminated)$/.test(text)),
        [],
      );
      const names = new Set([...tallies.values()].flatMap(({ countByName }) => Object.keys(countByName)));
      assert.deepEqual([...names].toSorted(), SHOPS, "whose answers were whole");
    },
  );

  test(
    "traffic: a UDP client with one source port outlives its replica, stopped or killed",
    { skip },
    async () => {
      const cluster = open();
      const labels = { "skein.port": "5353:8080/udp", "skein.publish": "5353:5353/udp" };
      const replicas = await cluster.runReplicas("time", [1, 2, 3], labels);
      await cluster.untilEligible("time", replicas);
      for (const [index, harm] of (["stop", "kill"] as const).entries()) {
        const node = cluster.node(index + 1);
        const asker = await startAsker(node, 5353);
        const asked = await untilAnswered(asker, 20);
        const served = asked.at(-1) ?? "";
        const its = cluster.node(Number(served.slice(-1)));
        await its.host.docker(harm, served);
        const answered = await untilAnswered(asker, 40, (name) => name !== served);
        await asker.stop("SIGKILL");
        assert.equal(new Set(asked).size, 1, `one replica for one client: ${asked.join(" ")}`);
        assert.equal(new Set(answered).size, 1, `and one again: ${answered.join(" ")}`);
        await its.host.docker("start", served);
        await cluster.untilEligible("time", replicas);
      }
      await cluster.remove(replicas);
    },
  );

  test("traffic: with a host cut off no GET fails that was sent 500 ms after it", { skip }, async () => {
    const cluster = open();
    const [one, two, cut] = [cluster.node(1), cluster.node(2), cluster.node(3)];
    const senders = sendersOn([one, two], SHOP, { perSecond: 200, posts: false });
    const tallies = await underLoad(senders, async () => {
      await cut.host.cutLink();
      await cluster.untilEligible(SHOP.name, ["shop-1", "shop-2"], { nodes: [one, two] });
      await cut.host.healLink();
      await untilTakesTraffic(cluster, "shop-3");
    });
    assertUnharmed(tallies, SHOPS);
    assert.ok(slowestMsIn(tallies) < BOUND_MS, `the slowest took ${slowestMsIn(tallies)} ms`);
  });

  test("traffic: a daemon that is replaced by a new one under load costs no request", { skip }, async () => {
    const cluster = open();
    const senders = sendersOn(cluster.nodes, SHOP, { perSecond: 200, posts: false });
    const tallies = await underLoad(senders, async () => {
      await cluster.node(2).replace();
      await cluster.untilWhole();
      await cluster.untilEligible(SHOP.name, SHOPS);
    });
    assertUnharmed(tallies, SHOPS);
  });

  test("traffic: connections that were quiet all the while are open, and asked after", { skip }, async () => {
    const node = open().node(1);
    const { stdout } = await node.host.exec(["ss", "-Htno", "state", "established"]);
    const legs = stdout.split("\n").filter((line) => /:(?:9000|8080|7650)\s/.test(line));
    assert.ok(legs.length >= 2, stdout);
    for (const line of lines) {
      line.signal("SIGUSR2");
      await until(() => line.log().includes("still here"), { what: `the line is open: ${line.log()}` });
      assert.ok(!line.log().includes("closed"));
    }
    for (const leg of legs) assert.match(leg, /timer:\(/, "nobody asks whether the other side is there");
  });
});
