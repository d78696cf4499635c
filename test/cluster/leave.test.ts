// Leaving for good: what `skein leave` says and does, what the others see, and who joins later.

import assert from "node:assert/strict";
import test from "node:test";

import type { LeaveResult } from "../../src/admin/contract.ts";
import { until } from "../support/wait.ts";

import {
  doorAt,
  explain,
  membersOf,
  prepareCluster,
  startAll,
  stateOf,
  untilAlive,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { steadyLoad } from "./load.ts";

test("cluster: a host leaves for good", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second, third] = hosts;
  const [[one] = [], [two] = [], [three] = []] = await webReplicas(t, block, [1, 1, 1]);
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const publish = ["8088:8000"];
  first.configure({ services: [webService([one], { publish })] });
  second.configure({ services: [webService([two], { publish }), webService([two], { name: "solo" })] });
  third.configure({ services: [webService([three], { publish })] });
  const pair = [first, second];
  await startAll(pair);
  await untilServing(pair, [one, two]);
  await untilServing(pair, [two], { service: "solo" });
  const door = doorAt(first, 8088);
  await untilOpen(door);
  const { vip } = await explain(first);

  await t.test(
    "under load that enters elsewhere: exit 0 when its daemon has ended, and no request fails",
    async () => {
      const load = steadyLoad(t, [door]);
      await load.more(40);
      const { code, stdout, stderr } = await second.cli("leave", "-o", "json");
      assert.equal(code, 0, stderr);
      const result: LeaveResult = { node: "host-2", farewell: "left", pending: [] };
      assert.deepEqual(JSON.parse(stdout), result);
      // What is served there is gone at once, and not after a verdict.
      assert.equal(await stateOf(first, "host-2"), "left");
      assert.equal(await first.lookup("solo.default.skein.internal"), "ENOTFOUND");
      assert.equal(await first.lookup("tasks.solo.default.skein.internal"), "ENOTFOUND");
      assert.deepEqual(await first.lookup("web"), [vip]);
      await untilServing([first], [one]);
      await load.more(40);
      await load.stop();
      await until(() => !second.isRunning(), { what: "its process has ended" });
      assert.match(second.log(), /skein leave: draining, then stopping\n.*stopped\n$/s);
      assert.equal((await second.cli("leave")).code, 4, "there is nobody left to ask");
    },
  );

  await t.test("who joins later sees that it left, and nothing of what ran there", async () => {
    await third.start();
    for (const host of [first, third]) await untilAlive(host, [first, third]);
    await until(async () => (await stateOf(third, "host-2")) === "left", { what: "the third host knows" });
    await untilServing([first, third], [one, three]);
    assert.equal(await third.lookup("solo.default.skein.internal"), "ENOTFOUND");
    const line = (await membersOf(third)).find(({ name }) => name === "host-2");
    assert.equal(line?.replicas, 0);
  });

  await t.test("started again it is a member again, with what runs there", async () => {
    await second.start();
    for (const host of hosts) await untilAlive(host, hosts);
    await untilServing(hosts, [one, two, three]);
    await untilServing(hosts, [two], { service: "solo" });
    assert.equal((await explain(second)).vip, vip);
  });
});

test("leave: a host on its own may leave too; what it was stopped for is in its log", async (t) => {
  const { hosts } = await prepareCluster(t);
  const [first] = hosts;
  await first.start();
  const { code, stdout } = await first.cli("leave");
  assert.equal(code, 0);
  assert.equal(stdout, "host-1 has left the cluster for good, its daemon has ended\n");
});
