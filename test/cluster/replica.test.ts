// A replica's troubles: it fails its checks, refuses, hangs, comes, goes; clients on no host should notice.

import assert from "node:assert/strict";
import test from "node:test";

import { webReplica } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import {
  doorAt,
  expectEven,
  explain,
  explainReplica,
  prepareCluster,
  startAll,
  tally,
  tasksOf,
  untilOpen,
  untilRefused,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { steadyLoad } from "./load.ts";

test("cluster: trouble with one replica of three", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [[one, two] = [], [three] = []] = await webReplicas(t, block, [2, 1]);
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const all = [one, two, three];
  // `slow` has the same replicas and is hardly ever checked: there the proxy is alone with what it meets.
  const servicesOf = (...own: Parameters<typeof webService>[0]) => {
    const slow = { name: "slow", publish: ["8089:8000"], health: { http: "/healthz", interval: "1h" } };
    return { services: [webService(own, { publish: ["8088:8000"] }), webService(own, slow)] };
  };
  first.configure(servicesOf(one, two));
  second.configure(servicesOf(three));
  const pair = [first, second];
  await startAll(pair);
  await untilServing(pair, all);
  await untilServing(pair, all, { service: "slow" });
  const doors = pair.map((host) => doorAt(host, 8088));
  const slowDoors = pair.map((host) => doorAt(host, 8089));
  for (const door of [...doors, ...slowDoors]) await untilOpen(door);

  await t.test("one that fails its check leaves DNS and traffic everywhere, and returns", async () => {
    const beforeMs = Date.now();
    two.healthy = false;
    await untilServing(pair, [one, three]);
    for (const door of doors) await expectEven(door, [one, three], 4);
    two.healthy = true;
    await untilServing(pair, all);
    for (const door of doors) await expectEven(door, all, 4);
    assert.ok((await explainReplica(second, two.address)).sinceMs >= beforeMs);
  });

  await t.test("explain tells on every host why a replica is out, who says so and since when", async () => {
    const beforeMs = Date.now();
    two.healthy = false;
    await untilServing(pair, [one, three]);
    for (const host of pair) {
      const told = await explainReplica(host, two.address);
      assert.equal(told.eligible, false);
      assert.match(told.reason, /http status 503/);
      assert.equal(told.saidBy, "host-1");
      assert.equal(told.node, "host-1");
      assert.ok(told.sinceMs >= beforeMs && told.sinceMs <= Date.now(), `since ${told.sinceMs}`);
    }
    two.healthy = true;
    await untilServing(pair, all);
  });

  await t.test("one whose process dies under load: no request fails; back, it gets its share", async () => {
    const load = steadyLoad(t, doors);
    await load.more(20);
    await two.stop();
    await untilServing(pair, [one, three]);
    assert.match((await explainReplica(second, two.address)).reason, /refused/);
    await two.start();
    await untilServing(pair, all);
    await load.more(20);
    await load.stop();
    for (const door of doors) await expectEven(door, all);
  });

  await t.test("one that refuses is skipped long before its check tells, and explain says so", async () => {
    await two.stop();
    for (const [index, door] of slowDoors.entries()) {
      const counts = await tally(door, 12);
      assert.equal(counts[two.name], undefined, `through host-${index + 1}`);
    }
    const told = await explainReplica(first, two.address, "slow");
    assert.equal(told.eligible, true, "its check has not told yet");
    assert.notEqual(told.ejected, null, "the proxy of this host keeps it out");
    await two.start();
    for (const door of slowDoors) await expectEven(door, all);
  });

  await t.test("one that takes requests and never answers costs nobody an answer", async () => {
    await untilServing(pair, all, { service: "slow" });
    two.silent = true;
    for (const door of slowDoors) {
      const counts = await tally(door, 12);
      assert.equal(counts[two.name], undefined);
    }
    two.silent = false;
    for (const door of slowDoors) await expectEven(door, all);
  });

  await t.test("a new one gets nothing before its first passed check, then its share", async () => {
    const fourth = await webReplica(t, "web-1.3", block.address(1, 13));
    fourth.healthy = false;
    first.configure(servicesOf(one, two, fourth));
    await first.reload();
    await until(async () => (await explain(second)).replicas.length === 4, { what: "host-2 hears of it" });
    for (const door of doors) await expectEven(door, all, 4);
    for (const host of pair) assert.ok(!(await tasksOf(host)).includes(fourth.address));
    fourth.healthy = true;
    await untilServing(pair, [...all, fourth]);
    for (const door of doors) await expectEven(door, [...all, fourth], 3);
  });

  await t.test("published otherwise by reloads under load: no request fails, on any host", async () => {
    // All of its replicas are of the host that reloads: nobody else could serve meanwhile.
    const configure = (...publish: string[]): void => {
      const alone = webService([one, two], { name: "alone", publish });
      first.configure({ services: [...servicesOf(one, two).services, alone] });
    };
    configure("8090:8000");
    await first.reload();
    await untilServing(pair, [one, two], { service: "alone" });
    const vip = (await explain(first, "alone")).vip ?? "";
    const steady = [...pair.map((host) => doorAt(host, 8090)), doorAt(first, 8000, { host: vip })];
    for (const door of steady) await untilOpen(door);
    const load = steadyLoad(t, steady);
    for (const isMore of [true, false, true, false]) {
      configure("8090:8000", ...(isMore ? ["8091:8000"] : []));
      await first.reload();
      for (const host of pair) await (isMore ? untilOpen : untilRefused)(doorAt(host, 8091));
      await load.more(30);
    }
    await load.stop();
  });

  await t.test("scaled down under load: no request fails, and the rest share", async () => {
    const load = steadyLoad(t, doors);
    await load.more(20);
    first.configure(servicesOf(one));
    await first.reload();
    await untilServing(pair, [one, three]);
    for (const host of pair) assert.equal((await explain(host)).replicas.length, 2, host.name);
    await load.more(20);
    await load.stop();
    for (const door of doors) await expectEven(door, [one, three], 4);
  });

  await t.test(
    "when none is healthy the name keeps its VIP, and requests are tried all the same",
    async () => {
      const { vip } = await explain(first);
      for (const replica of [one, three]) replica.healthy = false;
      await untilServing(pair, []);
      for (const host of pair) assert.deepEqual(await host.lookup("web"), [vip]);
      for (const door of doors) await expectEven(door, [one, three]);
    },
  );
});
