// Services that share names, networks, ports or routes: each client gets the one it asked for, and conflicts are told.

import assert from "node:assert/strict";
import test from "node:test";

import { until } from "../support/wait.ts";

import {
  ask,
  doorAt,
  expectEven,
  explain,
  INGRESS_PORT,
  prepareCluster,
  problemsOf,
  startAll,
  tasksOf,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";

test("networks: the same name in two networks, and another service beside them", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const pair = [first, second];
  // Per host: one of front/web, one of back/web, one of default/api.
  const [[front1, back1, api1] = [], [front2, back2, api2] = []] = await webReplicas(t, block, [3, 3]);
  assert.ok(front1 !== undefined && back1 !== undefined && api1 !== undefined);
  assert.ok(front2 !== undefined && back2 !== undefined && api2 !== undefined);
  const servicesOf = (front: typeof front1, back: typeof front1, api: typeof front1) => ({
    services: [
      webService([front], {
        network: "front",
        publish: ["8088:8000"],
        http: [{ host: "front.example.com" }],
      }),
      webService([back], { network: "back", publish: ["8089:8000"], http: [{ host: "back.example.com" }] }),
      webService([api], {
        name: "api",
        publish: ["8090:8000"],
        http: [{ host: "front.example.com", path: "/api" }, { host: "*.example.com" }],
      }),
    ],
  });
  first.configure(servicesOf(front1, back1, api1));
  second.configure(servicesOf(front2, back2, api2));
  await startAll(pair);
  await untilServing(pair, [front1, front2], { service: "web.front" });
  await untilServing(pair, [back1, back2], { service: "web.back" });
  await untilServing(pair, [api1, api2], { service: "api" });
  const expected = { "web.front": [front1, front2], "web.back": [back1, back2], api: [api1, api2] };

  await t.test("each has a VIP of its own, and names lead to the right one", async () => {
    const vips = new Map<string, string>();
    for (const [name, replicas] of Object.entries(expected)) {
      const { vip } = await explain(first, name);
      vips.set(name, vip ?? "");
      for (const host of pair) {
        assert.deepEqual(await host.lookup(name), [vip], `${name} on ${host.name}`);
        assert.deepEqual(await tasksOf(host, name), replicas.map(({ address }) => address).sort());
      }
    }
    assert.equal(new Set(vips.values()).size, 3);
  });

  await t.test(
    "a name that two networks have is ambiguous: NXDOMAIN, and resolve and explain say so",
    async () => {
      for (const host of pair) assert.equal(await host.lookup("web"), "ENOTFOUND");
      assert.equal((await first.cli("resolve", "web")).code, 3);
      const { code, stderr } = await first.cli("explain", "web");
      assert.equal(code, 2);
      assert.match(stderr, /back\/web, front\/web/);
    },
  );

  await t.test("VIPs, published ports and routes lead to their own service only", async () => {
    const published = { "web.front": 8088, "web.back": 8089, api: 8090 };
    const routed = { "web.front": "front.example.com", "web.back": "back.example.com", api: "x.example.com" };
    for (const [name, replicas] of Object.entries(expected)) {
      const key = name as keyof typeof expected;
      const vip = doorAt(first, 8000, { host: (await explain(first, name)).vip ?? "" });
      const doors = pair.flatMap((host) => [
        doorAt(host, published[key]),
        doorAt(host, INGRESS_PORT, { hostHeader: routed[key] }),
      ]);
      for (const door of [vip, ...doors]) {
        await untilOpen(door);
        await expectEven(door, replicas);
      }
    }
  });

  await t.test(
    "a published port and a route that are taken: the older service keeps them, the other is told of",
    async () => {
      const [late = assert.fail()] = (await webReplicas(t, block, [0, 0, 1])).flat();
      const [, , third] = hosts;
      const wants = {
        name: "late",
        publish: ["8088:8000", "8091:8000"],
        http: [{ host: "back.example.com" }],
      };
      third.configure({ services: [webService([late], wants)] });
      await third.start();
      await untilServing(hosts, [late], { service: "late" });
      await until(async () => (await explain(first, "late")).problems.length === 2, {
        what: "both conflicts are told",
      });
      for (const host of hosts) {
        const { problems } = await explain(host, "late");
        assert.match(problems.join("\n"), /published port 8088\/tcp belongs to front\/web/);
        assert.match(problems.join("\n"), /route back\.example\.com\/ belongs to back\/web/);
        assert.ok(
          (await problemsOf(host)).some((text) => text.startsWith("service: default/late: ")),
          host.name,
        );
        const mine = doorAt(host, 8091);
        await untilOpen(mine);
        assert.equal(await ask(mine), late.name, "what nobody else wants it has");
        const taken = doorAt(host, 8088);
        await untilOpen(taken);
        await expectEven(taken, [front1, front2]);
      }
    },
  );
});
