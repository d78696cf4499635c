// One service on three hosts: one name, one VIP, and the same turns for every way in.

import assert from "node:assert/strict";
import test from "node:test";

import {
  ask,
  doorAt,
  expectEven,
  explain,
  INGRESS_PORT,
  prepareCluster,
  startAll,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
  type Door,
} from "./cluster.ts";

test("cluster: one service with a replica on each of three hosts", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const replicas = (await webReplicas(t, block, [1, 1, 1])).flat();
  for (const [index, host] of hosts.entries()) {
    const own = replicas.slice(index, index + 1);
    host.configure({
      services: [
        webService(own, { publish: ["8088:8000"], http: [{ host: "web.example.com" }] }),
        webService(own, { name: "raw", ports: [{ port: 8000 }], publish: ["8089:8000"] }),
      ],
    });
  }
  await startAll(hosts);
  await untilServing(hosts, replicas);
  await untilServing(hosts, replicas, { service: "raw" });
  const [first] = hosts;
  const { vip } = await explain(first);
  assert.ok(vip !== null);

  await t.test("every host answers every form of its name with the same VIP", async () => {
    for (const host of hosts) {
      for (const name of ["web", "WEB", "web.default", "web.default.skein.internal"])
        assert.deepEqual(await host.lookup(name), [vip], `${name} on ${host.name}`);
    }
    assert.ok(vip.startsWith(block.vipPool.split(".").slice(0, 2).join(".")), `${vip} is of the pool`);
    assert.notDeepEqual(await first.lookup("raw"), [vip], "another service has another VIP");
  });

  await t.test("tasks.web lists every replica; one replica and one host have names too", async () => {
    const addresses = replicas.map(({ address }) => address).sort();
    for (const host of hosts) {
      assert.deepEqual(await host.lookup("tasks.web.default.skein.internal"), addresses);
      for (const other of hosts)
        assert.deepEqual(await host.lookup(`${other.name}.node.skein.internal`), [other.address]);
    }
  });

  await t.test("a known name without AAAA is no error; an unknown name of the zone is NXDOMAIN", async () => {
    for (const host of hosts) {
      assert.equal(await host.lookup("web", 6), "ENODATA");
      assert.equal(await host.lookup("tasks.web", 6), "ENODATA");
      assert.equal(await host.lookup("wbe.default.skein.internal"), "ENOTFOUND");
      assert.equal(await host.lookup("web.front.skein.internal"), "ENOTFOUND");
    }
  });

  const doors: Record<string, (host: typeof first) => Door> = {
    "published port, chosen per connection": (host) => doorAt(host, 8089),
    "published port, chosen per request": (host) => doorAt(host, 8088),
    "HTTP ingress": (host) => doorAt(host, INGRESS_PORT, { hostHeader: "web.example.com" }),
  };
  for (const [what, doorOf] of Object.entries(doors)) {
    await t.test(`12 requests through the ${what}: 4 to each replica, on every host`, async () => {
      for (const host of hosts) {
        const door = doorOf(host);
        await untilOpen(door);
        await expectEven(door, replicas, 4);
      }
    });
  }

  await t.test("12 requests to the VIP: 4 to each replica", async () => {
    for (const service of ["web", "raw"]) {
      const door = doorAt(first, 8000, { host: (await explain(first, service)).vip ?? "" });
      await untilOpen(door);
      await expectEven(door, replicas, 4);
    }
  });

  await t.test("the VIP listens on the service's ports only, and only where VIPs are served", async () => {
    await assert.rejects(ask(doorAt(first, 8001, { host: vip })), /ECONNREFUSED/);
  });
});
